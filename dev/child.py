"""One running process of the stack, with everything it started."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil

from dev.part import Part

# PostgreSQL waits for its clients to leave on SIGTERM; SIGINT is its fast shutdown.
STOP_SIGNALS = {"postgres": signal.SIGINT}
STOP_SECONDS = 15
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PYTHONDONTWRITEBYTECODE")


class StackError(Exception):
    """Something of the stack did not do what was asked; the message says what and where to look."""


class Child:
    """A part's process, in a session of its own: a Ctrl-C on the terminal reaches the supervisor alone."""

    def __init__(self, part: Part, log: Path, marks: dict[str, str]) -> None:
        self.part = part
        self.log = log
        self.marks = marks
        self.asked = "stopped"
        self.process: subprocess.Popen[bytes] | None = None
        self.lock = threading.RLock()

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.poll() is None else None

    @property
    def state(self) -> str:
        if self.pid is not None or self.process is None:
            return self.asked
        return self.asked if self.asked in ("stopped", "killed") else f"died ({self.ending})"

    @property
    def ending(self) -> str:
        code = self.process.returncode if self.process else None
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"

    def spawn(self) -> int:
        """Start the process and return its pid. Only what every program needs is inherited: a setting left in
        someone's shell must not reach the product."""
        env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.part.argv,
                cwd=self.part.cwd,
                env=env | self.part.env | self.marks,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.asked = "starting"
        return self.process.pid

    def wait_ready(self, given_up: threading.Event | None = None) -> float:
        """Wait until the part says that it is ready, and return the seconds it took."""
        given_up = given_up or threading.Event()
        started = time.monotonic()
        deadline = started + self.part.ready_timeout_seconds
        while not self.part.ready():
            if self.pid is None:
                raise StackError(self.complaint(f"ended while starting ({self.ending})"))
            if time.monotonic() > deadline:
                raise StackError(
                    self.complaint(f"was not ready after {self.part.ready_timeout_seconds:.0f} s")
                )
            if given_up.wait(0.05):
                raise StackError(f"{self.part.name} was given up")
        if not self.listens():
            raise StackError(self.complaint(f"is not what answers at {self.part.url}: the port was taken"))
        self.asked = "running"
        return time.monotonic() - started

    def listens(self) -> bool:
        """Whether the port is held by this part itself, and not by a stranger who answers in its place."""
        port = int(self.part.url.rsplit(":", 1)[1].split("/")[0])
        try:
            family = self.family()
            return any(
                connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
                for process in family
                for connection in process.net_connections("tcp")
            )
        except psutil.Error:
            return True  # not allowed to look

    def family(self) -> list[psutil.Process]:
        if self.pid is None:
            return []
        try:
            leader = psutil.Process(self.pid)
            return [leader, *leader.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def complaint(self, what: str) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n  ".join([f"{self.part.name} {what}; its log is {self.log}, and ends:", *lines])

    def stop(self) -> None:
        """Ask the process to end, and after a while make it."""
        with self.lock:
            self.asked = "stopped"
            family = self.family()
            if self.process and self.pid is not None:
                self.process.send_signal(STOP_SIGNALS.get(self.part.name, signal.SIGTERM))
                try:
                    self.process.wait(timeout=STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    self.asked = "killed"
            self.end(family)

    def kill(self) -> None:
        """SIGKILL for all at once: a PostgreSQL that lost only its postmaster would keep the data locked."""
        with self.lock:
            self.asked = "killed"
            self.end(self.family())

    def end(self, family: list[psutil.Process]) -> None:
        kill_all(family)
        if self.process:
            self.process.wait(timeout=STOP_SECONDS)


def kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()  # psutil compares the start time first, so a pid used again is safe
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=10)
