"""The running stack takes orders over loopback TCP: one JSON line each way, with control.json's token."""

import json
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from dev.child import StackError
from dev.stack import ORDER, Stack, shown

ACTIONS = ("stop", "start", "kill")


class Control:
    """Listens while the stack runs."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.token = secrets.token_urlsafe(24)
        self.busy = threading.Lock()

    def __enter__(self) -> Self:
        answer = self.answer

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                reply = answer(json.loads(self.rfile.readline()))
                self.wfile.write(json.dumps(reply).encode() + b"\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()
        self.announce()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def announce(self) -> None:
        file = self.stack.home / "control.json"
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps({"port": self.server.server_address[1], "token": self.token}))

    def answer(self, order: dict[str, str]) -> dict[str, object]:
        if not secrets.compare_digest(order.get("token", ""), self.token):
            return {"error": "wrong token"}
        try:
            return {"lines": self.carry_out(order["action"], order.get("part", ""))}
        except StackError as error:
            return {"error": str(error)}

    def carry_out(self, action: str, part: str) -> list[str]:
        if action == "status":
            return self.stack.status()
        if action not in ACTIONS or part not in ORDER:
            raise StackError(f"unknown order: {action} {part}")
        does: dict[str, Callable[[str], None]] = {
            "stop": self.stack.stop_part,
            "start": self.stack.start_part,
            "kill": self.stack.kill_part,
        }
        with self.busy:
            does[action](part)
        return [line for line in self.stack.status() if line.split()[0] == part]


def ask(home: Path, action: str, part: str = "") -> list[str]:
    """Send an order to the stack that lives in ``home`` and return its lines."""
    try:
        where = json.loads((home / "control.json").read_text())
        with socket.create_connection(("127.0.0.1", where["port"]), timeout=180) as connection:
            order = {"token": where["token"], "action": action, "part": part}
            connection.sendall(json.dumps(order).encode() + b"\n")
            reply = json.loads(connection.makefile().readline())
    except (OSError, ValueError):  # no file, nobody there, or somebody else on the port
        raise StackError(f"no stack is running in {shown(home)}; `make run` starts one") from None
    if "error" in reply:
        raise StackError(reply["error"])
    return list(reply["lines"])
