"""Fixtures: one whole stack for the tests of many parts together, one PostgreSQL for the tests of SQL."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from dev import litellm
from dev.control import Control
from dev.litellm import Proxy
from dev.postgres import SUPERUSER
from dev.stack import ROOT, Stack, claim
from tests.odd import odd
from tests.support import Connection, Database, SqlServer, User, sign_up_at

LONGEST = (
    "test_storm.py",
    "test_fields.py",
    "test_drift.py",
    "test_crash.py",
    "test_reconcile.py",
    "test_rotation.py",
)
"""These files come first, so that no process waits at the end for the other."""
LAST = "test_zz_secrets.py"
"""Its search for secrets reads what all other tests wrote and needs what its own folder learnt."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (item.path.name == LAST, item.path.name not in LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests said, such as what an attack came to: the fixture `say` keeps it."""
    passed = terminalreporter.getreports("passed")
    lines = [str(line) for report in passed for name, line in report.user_properties if name == "said"]
    if lines:
        terminalreporter.section("the wallet and the provider's bill")
        terminalreporter.write_line("\n".join(dict.fromkeys(lines)))


@pytest.fixture(scope="session")
def run_folder(testrun_uid: str) -> Path:
    """A folder in `.stack` for what this run writes; those of ended runs are removed."""
    top = ROOT / ".stack" / "tests"
    own = top / testrun_uid[:8]
    own.mkdir(parents=True, exist_ok=True)
    with (top / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for old in top.glob("*/"):
            if old != own and ended(old):
                shutil.rmtree(old)
    return own


def ended(run: Path) -> bool:
    """Whether no process of the run lives any more."""
    locks = [claim(home) for home in run.glob("*/")]
    for lock in locks:
        if lock is not None:
            lock.close()
    return None not in locks


@pytest.fixture(scope="session")
def homes(run_folder: Path, worker_id: str) -> Iterator[Path]:
    """This process's part of the run's folder, for its stacks and their logs."""
    own = run_folder / worker_id
    own.mkdir(parents=True)
    lock = claim(own)
    assert lock is not None
    yield own
    lock.close()


@pytest.fixture(scope="session")
def stack(homes: Path) -> Iterator[Stack]:
    """The whole system, shared by every test that asks for it: leave it running as you found it."""
    with Stack(homes / "stack", proxy=odd(Proxy())) as running, Control(running):
        running.unhurry()
        yield running


@pytest.fixture(scope="session")
def unguarded(homes: Path) -> Iterator[Stack]:
    """The same without the guard in LiteLLM."""
    with Stack(homes / "unguarded", proxy=odd(Proxy(guard=False))) as running:
        running.unhurry()
        yield running


@pytest.fixture(scope="session")
def unguarded_newest(homes: Path) -> Iterator[Stack]:
    """And on the newest LiteLLM that installs, whose packages are installed at the first use."""
    litellm.install(ROOT, print, "newest")
    with Stack(homes / "unguarded-newest", proxy=Proxy(release="newest", guard=False)) as running:
        running.unhurry()
        yield running


@pytest.fixture(scope="session")
def env(stack: Stack) -> dict[str, str]:
    """What the running stack's env file says."""
    return dict(stack.env)


@pytest.fixture
def admin_db(stack: Stack) -> Iterator[Connection]:
    """The stack's database as its superuser, in autocommit."""
    with psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def sign_up(env: dict[str, str]) -> Callable[..., User]:
    """Sign somebody new up, over HTTP as a browser would."""
    return partial(sign_up_at, env)


@pytest.fixture(scope="session")
def sql_server(homes: Path) -> Iterator[SqlServer]:
    with SqlServer(homes).running() as server:
        yield server


@pytest.fixture
def database(sql_server: SqlServer) -> Iterator[Database]:
    """A database of this test alone, in the newer regime of default privileges; for several connections."""
    with sql_server.database("locked") as made:
        yield made


@pytest.fixture
def open_database(sql_server: SqlServer) -> Iterator[Database]:
    """The same in the older regime, where new tables and functions are granted to the API roles."""
    with sql_server.database("open") as made:
        yield made


@pytest.fixture
def db(database: Database) -> Iterator[Connection]:
    """A superuser's connection to `database`, in autocommit; act as others with `tests.support.as_role`."""
    with database.connect(SUPERUSER) as connection:
        yield connection


@pytest.fixture
def open_db(open_database: Database) -> Iterator[Connection]:
    """A superuser's connection to `open_database`, in autocommit."""
    with open_database.connect(SUPERUSER) as connection:
        yield connection
