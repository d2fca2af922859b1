"""Tests on the whole running stack. Each leaves every part running and the sandbox well-behaved."""

from collections.abc import Callable, Iterator

import pytest

from dev.stack import Stack
from tests.integration.world import World
from tests.support import Connection, User


@pytest.fixture
def world(stack: Stack, admin_db: Connection, sign_up: Callable[..., User]) -> Iterator[World]:
    world = World(stack, admin_db, sign_up)
    yield world
    for name in list(stack.children):
        if stack.child(name).state != "running":
            stack.start_part(name)
    world.behave()
    world.http.close()


@pytest.fixture
def admin(world: World) -> User:
    return world.administrator()
