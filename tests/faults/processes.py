"""The real `python -m webhook` and `python -m worker`, each behind proxies of its own.

They share the stack's PostgreSQL, Supabase, LiteLLM and Paystack with everybody; only the way there is
theirs, so that what befalls one of them befalls nobody else.
"""

import signal
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import count
from typing import Literal, Self

from dev import service
from dev.child import Child
from dev.stack import ROOT, Stack, free_port
from tests.faults.proxy import Late, Proxy, Seen
from tests.integration.world import until

Kind = Literal["webhook", "worker"]
UPSTREAMS = {"supabase": "SUPABASE_URL", "litellm": "LITELLM_BASE_URL", "paystack": "PAYSTACK_BASE_URL"}
SHORT = {"LITELLM_TIMEOUT_SECONDS": "2", "PAYSTACK_TIMEOUT_SECONDS": "2", "LEASE_SECONDS": "6"}
FIRST_CALL = "POST /rest/v1/rpc/check_installation"
NUMBERS = count(1)


class Actor:
    """One webhook or worker. Close it: whatever became of the process, it is gone afterwards."""

    def __init__(
        self, stack: Stack, kind: Kind, settings: Mapping[str, str], upstreams: Mapping[str, str]
    ) -> None:
        self.stack, self.kind = stack, kind
        self.name = f"{kind}-{next(NUMBERS)}"
        self.settings = {**SHORT, **settings}
        self.gate = Late()
        self.doors = ExitStack()
        self.killed = threading.Event()

        self.proxies = {
            name: self.doors.enter_context(Proxy(name, upstreams.get(name, stack.env[setting])))
            for name, setting in UPSTREAMS.items()
        }
        self.supabase, self.litellm, self.paystack = self.proxies.values()
        self.port = free_port()

    def close(self) -> None:
        self.kill()
        self.doors.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ---------------------------------------------------------- life and death

    def start(self) -> Self:
        """Start it, or start it again after a death, and wait until it is ready."""
        self.spawn()
        self.child.wait_ready()
        return self

    def start_gated(self) -> Self:
        """Start it, but let it do nothing before `open` is called."""
        self.supabase.on(FIRST_CALL, self.gate)
        self.spawn()
        until(lambda: self.supabase.seen, seconds=30, what=f"{self.name} asks for the installation")
        return self

    def open(self) -> None:
        """Let a gated process begin its work."""
        self.gate.release.set()
        if self.kind == "webhook":
            self.child.wait_ready()

    def spawn(self) -> None:
        urls = {setting: self.proxies[name].url for name, setting in UPSTREAMS.items()}
        make = service.webhook if self.kind == "webhook" else service.worker
        shared = {name: value for name, value in self.stack.env.items() if name != "DATABASE_URL"}
        usual = {"LITELLM_CACHE_SECONDS": "0", "API_RATE_PER_MINUTE": "0"}
        settings = {**shared, **usual, **self.settings, **urls}
        part = make(ROOT, port=self.port, settings=settings)
        assert self.stack.reaper is not None
        self.child = Child(part, self.stack.logs / f"faults-{self.name}.log", self.stack.reaper.marks)
        self.stack.reaper.add(self.child.spawn())
        self.killed.clear()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        process = getattr(self, "child", None) and self.child.process
        if process is not None:
            process.kill()
            process.wait()
        self.killed.set()

    def freeze(self) -> None:
        assert self.child.process is not None
        self.child.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.child.process is not None
        self.child.process.send_signal(signal.SIGCONT)

    # ----------------------------------------------------------------- its calls

    def behave(self) -> None:
        for proxy in self.proxies.values():
            proxy.clear()

    def seen(self) -> list[Seen]:
        """All its calls so far, in order."""
        calls = [one for proxy in self.proxies.values() for one in proxy.seen]
        return sorted(calls, key=lambda one: one.number)

    def forget(self) -> None:
        for proxy in self.proxies.values():
            proxy.forget()
