"""The system on one machine: Supabase, LiteLLM, a model provider, a Paystack, the webhook, the worker."""

import fcntl
import os
import random
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import LiteralString, Self

import psycopg

from core.domain.schema import PUBLIC
from dev import litellm, paystack, postgres, provider, redis, service, supabase
from dev.child import Child, StackError
from dev.litellm import Proxy
from dev.part import Part
from dev.postgres import SUPERUSER, Address
from dev.prepared import REGIMES, Prepared, random_passwords
from dev.reaper import Reaper
from operate import migrations

ROOT = Path(__file__).parent.parent
PACKAGES = ROOT / "dev" / "packages.sql"  # on sale here, at rates of its own
CROWDED = (
    "update keyfund.settings set signup_grants_per_hour = 1000"  # who tries a stack signs many people up
)
UNHURRIED = """
    update keyfund.settings set signup_grants_per_hour = null, key_creations_per_hour = null,
      key_rotations_per_hour = null, key_changes_per_hour = null, key_unblocks_per_hour = null,
      key_resyncs_per_hour = null"""
ORDER = ("postgres", "redis", "supabase", "provider", "litellm", "paystack", "webhook", "worker")
"""Parts as they are listed, and stopped from the last to the first; `redis` only if the proxy asks for it."""

LOGINS = (SUPERUSER, "postgres", "authenticator", "supabase_auth_admin", "litellm")


class Stack:
    """One stack with its own database, ports and secrets; ``home`` holds its env file and logs.

    ``settings`` are added to what the webhook and the worker get; with ``asymmetric``, user tokens are ES256
    with a JWKS, and the env file has no SUPABASE_JWT_SECRET; ``proxy`` says how LiteLLM is set up; ``schema``
    holds Keyfund's tables and functions, and ``theirs`` is SQL of what the project had before. Use as a
    context manager; whatever happens to this process, nothing it started stays behind.
    """

    def __init__(
        self,
        home: Path,
        say: Callable[[str], None] = print,
        settings: Mapping[str, str] | None = None,
        *,
        asymmetric: bool = False,
        proxy: Proxy | None = None,
        schema: str = PUBLIC,
        theirs: Path | None = None,
    ) -> None:
        self.home = home
        self.say = say
        self.paystack_state = home / "paystack.state"
        self.more = dict(settings or {})
        self.asymmetric = asymmetric
        self.proxy = proxy or Proxy()
        self.schema = schema
        self.theirs = theirs
        self.children: dict[str, Child] = {}
        self.env: dict[str, str] = {}
        self.stopping = threading.Event()
        self.lock: TextIOWrapper | None = None
        self.reaper: Reaper | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- start and stop -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every part, the slow one beside the others; raises StackError naming the part that failed."""
        began = time.monotonic()
        self.claim_home()
        try:
            self.reaper = Reaper(secrets.token_hex(16))
            self.choose()
            self.data = self.make_data()
            self.parts = self.describe()
            self.start_parts()
        except BaseException:
            self.stop()
            raise
        self.write_env()
        self.say(f"ready in {time.monotonic() - began:.1f} s; settings in {shown(self.home / 'env')}")

    def stop(self) -> None:
        self.stopping.set()
        for name in reversed(ORDER):
            if name in self.children:
                self.children[name].stop()
        for leftover in (self.home / "env", self.home / "control.json"):
            leftover.unlink(missing_ok=True)
        if self.reaper:
            self.reaper.close()
            self.reaper = None
        if self.lock:
            self.lock.close()
            self.lock = None

    def claim_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.lock = claim(self.home)
        if self.lock is None:
            raise StackError(f"another stack is running in {shown(self.home)}")
        self.logs = self.home / "logs"
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir()
        # The database is new each time: to it, the payments of the stack before are a stranger's.
        self.paystack_state.unlink(missing_ok=True)

    def choose(self) -> None:
        self.held = {name: hold_port() for name in ORDER if name != "redis" or self.proxy.redis}
        self.ports = {name: held.getsockname()[1] for name, held in self.held.items()}
        self.address = Address(self.ports["postgres"], random_passwords(*LOGINS))
        self.keys = supabase.Keys.random(asymmetric=self.asymmetric)
        self.redis_password = secrets.token_hex(16)
        self.master_key = f"sk-{secrets.token_urlsafe(24)}"
        self.paystack_key = f"sk_test_{secrets.token_hex(20)}"
        self.provider_key = f"sk-provider-{secrets.token_hex(20)}"

    def make_data(self) -> Path:
        began = time.monotonic()
        folder = postgres.data_folder(self.home, "postgres")
        assert self.reaper is not None
        self.reaper.remove_at_end(folder)
        Prepared(ROOT, self.say, free_port).copy_stack(folder / "data", self.proxy.release)
        postgres.set_passwords(folder / "data", self.address.passwords)
        self.report("database files", time.monotonic() - began)
        return folder / "data"

    # --- the parts ----------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Part]:
        url = {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        self.env = {
            "SUPABASE_URL": url["supabase"],
            "SUPABASE_ANON_KEY": self.keys.publishable,
            "SUPABASE_SERVICE_ROLE_KEY": self.keys.secret,
            "SUPABASE_JWT_SECRET": self.keys.jwt_secret,
            "DATABASE_URL": self.address.url("postgres", "keyfund"),
            "LITELLM_BASE_URL": url["litellm"],
            "LITELLM_MASTER_KEY": self.master_key,
            "PROVIDER_BASE_URL": url["provider"],
            "PAYSTACK_BASE_URL": url["paystack"],
            "PAYSTACK_SECRET_KEY": self.paystack_key,
            "WEBHOOK_BASE_URL": url["webhook"],
        }
        if self.proxy.redis:
            self.env["REDIS_URL"] = f"redis://:{self.redis_password}@127.0.0.1:{self.ports['redis']}"
        if self.schema != PUBLIC:
            self.env["SUPABASE_SCHEMA"] = self.schema
        if self.asymmetric:
            del self.env["SUPABASE_JWT_SECRET"]
        # One LiteLLM worker: what it is told holds at once. The product never sees the database itself.
        # No limit on calls: tests and benchmarks make many as one person.
        settings = {**self.env, "LITELLM_CACHE_SECONDS": "0", "API_RATE_PER_MINUTE": "0", **self.more}
        del settings["DATABASE_URL"], settings["PROVIDER_BASE_URL"]
        port = self.ports
        parts = [
            postgres.part(self.data, self.address),
            supabase.part(
                ROOT,
                address=self.address,
                database="keyfund",
                port=port["supabase"],
                keys=self.keys,
                schema=self.schema,
            ),
            provider.part(port=port["provider"], key=self.provider_key),
            litellm.part(
                ROOT,
                database_url=self.address.url("litellm", "litellm"),
                port=port["litellm"],
                master_key=self.master_key,
                home=self.home / "litellm",
                proxy=self.proxy,
                env={**self.env, **provider.env(url["provider"], self.provider_key)},
            ),
            paystack.part(
                port=port["paystack"],
                secret_key=self.paystack_key,
                webhook_url=f"{url['webhook']}/webhooks/paystack",
                state_file=self.paystack_state,
            ),
            service.webhook(ROOT, port=port["webhook"], settings=settings),
            service.worker(ROOT, port=port["worker"], settings=settings),
        ]
        if self.proxy.redis:
            parts.append(redis.part(self.home / "redis", port=port["redis"], password=self.redis_password))
        return {part.name: part for part in parts}

    def start_parts(self) -> None:
        self.start_part("postgres")
        with ThreadPoolExecutor(max_workers=2) as pool:
            slow = pool.submit(self.start_slow)
            quick = pool.submit(self.start_quick)
            settle(slow, quick, given_up=self.stopping)
        self.start_part("worker")

    def start_slow(self) -> None:
        if self.proxy.redis:
            self.start_part("redis")
        self.start_part("litellm")

    def start_quick(self) -> None:
        self.migrate()
        for name in ("provider", "supabase", "paystack", "webhook"):
            self.start_part(name)

    def migrate(self) -> None:
        began = time.monotonic()
        supabase.clone_database(self.superuser_url("postgres"), REGIMES["locked"], "keyfund")
        url = self.env["DATABASE_URL"]
        if self.theirs is not None:
            supabase.apply_seed(url, self.theirs)
        applied = supabase.apply_migrations(url, self.migrations())
        supabase.apply_seed(url, ROOT / "supabase" / "seed.sql", self.schema)
        supabase.apply_seed(url, PACKAGES, self.schema)
        self.set_up(CROWDED)
        self.report(f"{len(applied)} migrations", time.monotonic() - began)

    def migrations(self) -> Path:
        """The checkout's files, or what is written for a schema of another name."""
        if self.schema == PUBLIC:
            return ROOT / "supabase" / "migrations"
        folder = self.home / "migrations"
        shutil.rmtree(folder, ignore_errors=True)
        migrations.write(folder, self.schema, migrations.read_folder(folder), datetime.now(UTC))
        return folder

    def superuser_url(self, database: str) -> str:
        """For what `postgres` may not do, such as making databases beside the others."""
        return self.address.url(SUPERUSER, database)

    def unhurry(self) -> None:
        """Let hundreds sign up and change keys within an hour: for tests and benchmarks alone."""
        self.set_up(UNHURRIED)

    def set_up(self, settings: LiteralString) -> None:
        with psycopg.connect(self.superuser_url("keyfund"), autocommit=True) as connection:
            connection.execute(settings)

    def start_part(self, name: str) -> None:
        """Start one part, or one that was stopped, on the port that it had."""
        child = self.child(name)
        with child.lock:
            if child.pid is not None:
                raise StackError(f"{name} is already running")
            if held := self.held.pop(name, None):
                held.close()
            assert self.reaper is not None
            self.reaper.add(child.spawn())
            seconds = ready(child, self.stopping)
        self.report(name, seconds, child.part.url)

    def stop_part(self, name: str) -> None:
        self.running(name).stop()

    def kill_part(self, name: str) -> None:
        """SIGKILL the part and all it started."""
        self.running(name).kill()

    def running(self, name: str) -> Child:
        child = self.child(name)
        if child.pid is None:
            raise StackError(f"{name} is not running")
        return child

    def child(self, name: str) -> Child:
        assert self.reaper is not None
        if name not in self.parts:
            raise StackError(f"this stack has no {name}")
        if name not in self.children:
            self.children[name] = Child(self.parts[name], self.logs / f"{name}.log", self.reaper.marks)
        return self.children[name]

    def status(self) -> list[str]:
        return [
            f"{name:<9} {child.state:<16} {child.pid or '-':<8} {child.part.url}"
            for name, child in ((name, self.child(name)) for name in ORDER if name in self.parts)
        ]

    def report(self, what: str, seconds: float, where: str = "") -> None:
        self.say(f"  {what:<16} {seconds:6.1f} s  {where}".rstrip())

    def write_env(self) -> None:
        file = self.home / "env"
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in {**self.env, **self.more}.items()))


def ready(child: Child, given_up: threading.Event) -> float:
    """Wait for a child; one that does not come up is ended, so that it can be started again."""
    try:
        return child.wait_ready(given_up)
    except StackError:
        child.kill()
        raise


def settle(*futures: "Future[None]", given_up: threading.Event) -> None:
    """Wait for all; the first to fail makes the others give up, and is the one whose error is raised."""
    failures: list[BaseException] = []

    def note(future: "Future[None]") -> None:
        if error := future.exception():
            failures.append(error)
            given_up.set()

    for future in futures:
        future.add_done_callback(note)
    try:
        for future in futures:
            future.exception()
    except KeyboardInterrupt:
        given_up.set()
        raise
    if failures:
        raise failures[0]


# --- homes and ports --------------------------------------------------------------------------------------


def claim(home: Path) -> TextIOWrapper | None:
    """Lock the home for as long as the returned file is open; None while another live stack has it."""
    file = (home / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def choose_home(wanted: Path, say: Callable[[str], None]) -> Path:
    """The wanted home, or one inside it while another stack has it; what ended stacks left is removed."""
    wanted.mkdir(parents=True, exist_ok=True)
    for old in wanted.glob("stack-*"):
        if lock := claim(old):
            shutil.rmtree(old)
            lock.close()
    lock = claim(wanted)
    if lock is not None:
        lock.close()
        return wanted
    home = wanted / f"stack-{os.getpid()}"
    say(f"another stack is running here, so this one lives in {shown(home)}")
    return home


def shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def hold_port() -> socket.socket:
    """Bind a free port below the range from which the kernel takes ports of its own, and hold it."""
    for _ in range(100):
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", random.randrange(20_000, 32_000)))  # noqa: S311 (no secret)
        except OSError:
            held.close()
        else:
            return held
    raise StackError("no free port was found on 127.0.0.1")


def free_port() -> int:
    with hold_port() as held:
        return int(held.getsockname()[1])
