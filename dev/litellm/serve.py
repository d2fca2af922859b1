"""LiteLLM's own command line, run by its own virtual environment's Python, with a quicker start."""

import gc
import os
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    get_ready()
    import_module("litellm").run_server()


def get_ready() -> None:
    gc.disable()  # importing makes many objects and no garbage; looking for some takes a fifth of the start
    import_module("litellm.proxy.proxy_server")
    gc.freeze()
    gc.enable()
    name_the_engine(Path(os.environ["PRISMA_QUERY_ENGINE_BINARY"]))


def name_the_engine(engine: Path) -> None:
    """Left alone, Prisma runs `openssl`, which a machine may lack, to name a binary that isn't used here."""
    prisma: Any = import_module("prisma.engine.utils")
    prisma.ensure = lambda _paths: engine


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # what this file is called in each of several workers
    get_ready()
