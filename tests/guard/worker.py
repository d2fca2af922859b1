"""A LiteLLM worker that a test has examine calls (``desk.py`` in LiteLLM's own virtual environment)."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

Json = Any
DESK = Path(__file__).parent / "desk.py"
NUMBERS = count(1)


class Worker:
    """Speaks with one desk, a line of JSON each way."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.is_ready = False

    def ask(self, do: str, **what: Json) -> Json:
        """Have the desk do something; the first time this waits until LiteLLM is imported."""
        while not self.is_ready:
            self.is_ready = self.read() == "ready\n"
        self.write({"do": do, **what})
        return json.loads(self.read())

    def write(self, what: Json) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the desk died; its standard error says why"
        return line

    def admit(self, *calls: Mapping[str, Json]) -> list[Json]:
        """Have calls examined at once; each answer has the ``id`` by which the call can be ended."""
        named = [{"id": str(next(NUMBERS)), **call} for call in calls]
        answers = self.ask("admit", calls=named)
        return [{"id": call["id"], **answer} for call, answer in zip(named, answers, strict=True)]

    def end(self, *admitted: Json, how: str = "end") -> None:
        """Have the calls among these that were let through end; ``how`` may be ``cut``."""
        self.ask(how, ids=[answer["id"] for answer in admitted if answer["status"] == 200])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def worker(python: Path, guard: Path, models: list[Json], **setup: Json) -> Iterator[Worker]:
    """A LiteLLM worker with these models (as in its configuration) and this file as its guard."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("KEYFUND_GUARD")}
    env |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    process = subprocess.Popen(
        [str(python), str(DESK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        one = Worker(process)
        one.write({"guard": str(guard), "models": models, **setup})
        yield one
    finally:
        process.kill()
        process.wait()
