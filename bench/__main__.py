"""``python -m bench``: measure everything, or the figures that are named. ``QUICK=1``: fewer and shorter."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable

from bench import books, effect, growth, idle, intake, push
from bench.measure import Row
from bench.table import lines

FIGURES: dict[str, Callable[[int, float], list[Row]]] = {
    "intake": intake.measure,
    "push": push.measure,
    "effect": effect.measure,
    "growth": growth.measure,
    "books": books.measure,
    "idle": idle.measure,
}
QUICK = bool(os.environ.get("QUICK"))
RUNS, SCALE = (2, 0.3) if QUICK else (5, 1.0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"any of: {', '.join(FIGURES)}")
    chosen = parser.parse_args().figures or list(FIGURES)
    if unknown := set(chosen) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for name in chosen:
        began = time.monotonic()
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        rows += FIGURES[name](RUNS, SCALE)
        print(f"  done in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"{machine()}; median (least–most) of {RUNS} runs\n")
    print("\n".join(lines(rows)))
    return 0


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
