"""The stage for faults: the stack's own webhook and worker make room, and are back at the end."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from dev.stack import Stack
from tests.faults.scene import Scene
from tests.support import User

OWN = ("worker", "webhook")


@pytest.fixture(scope="package")
def scene(stack: Stack, sign_up: Callable[..., User]) -> Iterator[Scene]:
    for name in OWN:
        stack.stop_part(name)
    with psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db:
        scene = Scene(stack, db, sign_up)
        scene.hold_others()
        try:
            yield scene
        finally:
            scene.close()
            for name in reversed(OWN):
                stack.start_part(name)
