"""The stack as a whole: its parts obey, two of it live side by side, and nothing it started outlives it."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from dotenv import dotenv_values

from dev.control import ask
from dev.stack import ORDER, ROOT, Stack
from tests.support import Connection, User, eventually

SUPERVISOR = """
import signal, sys
from pathlib import Path
from dev.control import Control
from dev.stack import Stack
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
with Stack(Path(sys.argv[1]), lambda line: print(line, flush=True)) as stack, Control(stack):
    print("up", flush=True)
    signal.pause()
"""


def dev(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "dev", "--home", str(home), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def supervisor(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """A stack in a process of its own, as `make run` has it; killed at the end if it still lives."""
    command = [sys.executable, "-c", SUPERVISOR, str(home)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: "subprocess.Popen[str]", start: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.strip().startswith(start):
            return
    raise AssertionError("".join(seen))


def everything_below(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


def none_left(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def answers(env: dict[str, str | None]) -> bool:
    health = f"{env['SUPABASE_URL']}/auth/v1/health"
    seen = httpx.get(health, headers={"apikey": str(env["SUPABASE_ANON_KEY"])})
    alive = httpx.get(f"{env['LITELLM_BASE_URL']}/health/liveliness")
    return seen.status_code == 200 and alive.status_code == 200


def test_the_env_file_is_private_and_names_every_address_and_key(stack: Stack) -> None:
    file = stack.home / "env"
    contract = (
        "SUPABASE_URL SUPABASE_ANON_KEY SUPABASE_SERVICE_ROLE_KEY DATABASE_URL LITELLM_BASE_URL "
        "LITELLM_MASTER_KEY PROVIDER_BASE_URL PAYSTACK_BASE_URL PAYSTACK_SECRET_KEY WEBHOOK_BASE_URL"
    )
    assert set(contract.split()) <= set(dotenv_values(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_settings_that_a_stack_is_given_stand_in_its_env_file(tmp_path: Path) -> None:
    Stack(tmp_path, settings={"METRICS_TOKEN": "a-token-of-the-operators"}).write_env()
    assert dotenv_values(tmp_path / "env") == {"METRICS_TOKEN": "a-token-of-the-operators"}


def test_status_prints_a_line_per_part(stack: Stack) -> None:
    printed = dev(stack.home, "status")
    assert printed.returncode == 0, printed.stderr
    lines = [line.split() for line in printed.stdout.splitlines()]
    assert [line[0] for line in lines] == [name for name in ORDER if name in stack.parts]
    assert {line[1] for line in lines} == {"running"}


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_a_part_that_was_ended_starts_again_on_its_port(stack: Stack, action: str) -> None:
    before = stack.child("paystack")
    pid, url = before.pid, before.part.url
    assert dev(stack.home, action, "paystack").returncode == 0
    assert before.pid is None
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert dev(stack.home, "start", "paystack").returncode == 0
    assert stack.child("paystack").part.url == url
    assert stack.child("paystack").pid not in (None, pid)


def test_postgres_can_be_killed_and_comes_back_with_its_data(stack: Stack) -> None:
    before = stack.status()
    family = stack.child("postgres").family()
    ask(stack.home, "kill", "postgres")
    assert none_left(family)
    away = httpx.get(f"{stack.env['SUPABASE_URL']}/rest/v1/profiles", headers=service(stack))
    assert away.status_code == 503
    ask(stack.home, "start", "postgres")
    back = httpx.get(f"{stack.env['SUPABASE_URL']}/rest/v1/profiles", headers=service(stack))
    assert back.status_code == 200
    assert [line.split()[0] for line in stack.status()] == [line.split()[0] for line in before]


def test_somebody_who_signed_up_is_made_an_administrator(
    stack: Stack, admin_db: Connection, sign_up: Callable[..., User], tmp_path: Path
) -> None:
    user = sign_up()
    for _ in range(2):
        made = dev(stack.home, "administrator", user.email)
        assert (made.returncode, made.stdout) == (0, f"{user.email} is an administrator\n"), made.stderr
    listed = "select count(*) from keyfund.administrators where user_id = %s"
    assert admin_db.execute(listed, [user.id]).fetchone() == (1,)
    nobody = dev(stack.home, "administrator", "nobody@example.com")
    assert (nobody.returncode, nobody.stderr) == (1, "error: nobody signed up with nobody@example.com\n")
    nowhere = dev(tmp_path, "administrator", user.email)
    assert (nowhere.returncode, "no stack is running" in nowhere.stderr) == (1, True)


def service(stack: Stack) -> dict[str, str]:
    return {"apikey": stack.env["SUPABASE_SERVICE_ROLE_KEY"]}


def test_an_order_that_cannot_be_carried_out_says_why(stack: Stack, tmp_path: Path) -> None:
    running = dev(stack.home, "start", "worker")
    assert (running.returncode, running.stderr) == (1, "error: worker is already running\n")
    nowhere = dev(tmp_path, "status")
    assert (nowhere.returncode, "no stack is running" in nowhere.stderr) == (1, True)
    assert dev(stack.home, "stop", "nonsense").returncode == 2


def test_a_second_stack_runs_beside_and_a_killed_supervisor_leaves_no_process(
    stack: Stack, homes: Path
) -> None:
    home = homes / "second"
    home.mkdir()
    payments = home / "paystack.state"
    payments.write_text("of the stack before")
    with supervisor(home) as process:
        read_until(process, "up")
        assert not payments.exists() or b"of the stack before" not in payments.read_bytes()
        second = dotenv_values(home / "env")
        first: dict[str, str | None] = dict(stack.env)
        assert not {first[name] for name in first} & {second[name] for name in first}
        assert answers(first)
        assert answers(second)
        family = everything_below(process.pid)
        assert len(family) > len(ORDER)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert eventually(lambda: none_left(family))
    assert answers(first)


def test_an_interrupt_while_starting_leaves_no_process(homes: Path) -> None:
    home = homes / "interrupted"
    with supervisor(home) as process:
        read_until(process, "supabase")
        family = everything_below(process.pid)
        os.kill(process.pid, signal.SIGINT)
        process.wait(timeout=60)
    assert none_left(family)
    assert not (home / "env").exists()
