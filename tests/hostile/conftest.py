"""The running stack under attack, a database with its REST side alone, and the evidence of all of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from dev.stack import Stack
from tests.hostile.bare import Bare
from tests.hostile.evidence import Evidence, collect
from tests.integration.world import World
from tests.support import SqlServer, User


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    return Evidence()


@pytest.fixture(scope="session")
def handed_in(run_folder: Path) -> Path:
    """Where the processes of a run hand in what they learnt, a file for each file of this folder."""
    folder = run_folder / "evidence"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(scope="module", autouse=True)
def learnt(request: pytest.FixtureRequest, evidence: Evidence, handed_in: Path) -> Iterator[None]:
    """Set up before every other fixture of the file, so taken down last: then all is learnt."""
    yield
    evidence.write(handed_in / request.path.stem)


@pytest.fixture(scope="module")
def world(stack: Stack, sign_up: Callable[..., User], evidence: Evidence) -> Iterator[World]:
    """The whole stack; every answer to `world.http` is kept as evidence."""

    def meet(*arguments: str, **data: object) -> User:
        return evidence.meet(sign_up(*arguments, **data))

    with psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db:
        world = World(stack, db, meet, evidence.client())
        yield world
        collect(evidence, stack, db)  # keys are still in the database now; later some are forgotten
        world.behave()
        world.http.close()


@pytest.fixture(scope="module")
def bare(sql_server: SqlServer, evidence: Evidence) -> Iterator[Bare]:
    """A database with Supabase's HTTP side and nothing else: no worker moves a row, every change is ours."""
    with Bare.running(sql_server, evidence) as made:
        yield made
