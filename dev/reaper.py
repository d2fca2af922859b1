"""Ends whatever a supervisor leaves behind, even one that was killed with SIGKILL.

A supervisor holds the only writing end of this process's standard input. When that pipe closes, for whatever
reason, every process that carries the supervisor's mark is killed and the named folders are removed.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from dev.child import kill_all

MARK = "KEYFUND_STACK"
ROOT = Path(__file__).parent.parent


class Reaper:
    """The supervisor's side of the pipe."""

    def __init__(self, mark: str) -> None:
        self.marks = {MARK: mark}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dev.reaper", mark],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def add(self, pid: int) -> None:
        """Tell of a child. Its descendants are found through it, or by the mark in their environment."""
        self.tell(f"pid {pid}")

    def remove_at_end(self, folder: Path) -> None:
        self.tell(f"folder {folder}")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Let go, and wait until the reaper has looked for the last time."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


def main(mark: str) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    children: list[psutil.Process] = []
    folders: list[Path] = []
    for line in sys.stdin:
        kind, _, value = line.rstrip("\n").partition(" ")
        if kind == "folder":
            folders.append(Path(value))
        elif psutil.pid_exists(int(value)):
            children.append(psutil.Process(int(value)))
    end_all(children, mark)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def end_all(children: list[psutil.Process], mark: str) -> None:
    """Kill until a look finds nobody: a process may start another while the first look is under way."""
    for _ in range(20):
        found = {process for child in children for process in family(child)} | marked(mark)
        if not found:
            return
        kill_all(list(found))
        time.sleep(0.05)


def family(child: psutil.Process) -> set[psutil.Process]:
    try:
        return {child, *child.children(recursive=True)} if child.is_running() else set()
    except psutil.NoSuchProcess:
        return set()


def marked(mark: str) -> set[psutil.Process]:
    found = set()
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.add(process)
        except psutil.Error:
            continue  # gone, or not ours to look at
    return found


if __name__ == "__main__":
    main(sys.argv[1])
