"""Somebody who kills processes at random."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.processes import Actor


@contextmanager
def killing(actors: list[Actor], chance: random.Random) -> Iterator[list[str]]:
    """Kill one of them now and then, and start it again."""
    kills: list[str] = []
    enough = threading.Event()

    def kill() -> None:
        while not enough.wait(0.1 + chance.random() * 0.3):
            victim = chance.choice(actors)
            victim.kill()
            kills.append(victim.name)
            victim.start()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield kills
    finally:
        enough.set()
        thread.join()
