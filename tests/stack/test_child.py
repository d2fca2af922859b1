"""A part that does not come up is named, with the end of its log."""

import socket
import sys
from pathlib import Path

import pytest

from dev.child import Child, StackError
from dev.part import Part


def child(folder: Path, program: str, port: int = 1) -> Child:
    part = Part(
        name="part",
        argv=[sys.executable, "-c", program],
        url=f"http://127.0.0.1:{port}",
        ready=lambda: port != 1,
        ready_timeout_seconds=10,
    )
    return Child(part, folder / "part.log", {})


def test_a_part_that_dies_while_starting_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    dying = child(tmp_path, "print('no such setting: X'); raise SystemExit(3)")
    dying.spawn()
    with pytest.raises(
        StackError, match=r"^part ended while starting \(exit 3\); its log is .*part\.log"
    ) as told:
        dying.wait_ready()
    assert "no such setting: X" in str(told.value)
    assert dying.state == "died (exit 3)"


def test_a_stranger_who_answers_on_the_port_is_not_taken_for_the_part(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        fooled = child(tmp_path, "import time; time.sleep(60)", stranger.getsockname()[1])
        fooled.spawn()
        with pytest.raises(StackError, match="the port was taken"):
            fooled.wait_ready()
        fooled.kill()
        assert fooled.state == "killed"


def test_a_part_inherits_no_settings_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTACK_SECRET_KEY", "sk_live_left_over")
    plain = child(tmp_path, "import os; print('PAYSTACK_SECRET_KEY' in os.environ)")
    plain.spawn()
    assert plain.process is not None
    plain.process.wait()
    assert plain.log.read_text() == "False\n"
