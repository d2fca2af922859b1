"""``python -m bench``: measure everything, or the figures that are named. ``QUICK=1``: fewer and shorter."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable

from bench import books, effect, growth, guard, idle, intake, push
from bench.measure import Row
from bench.peer import deliveries
from bench.table import lines

FIGURES: dict[str, tuple[Callable[[int, float], list[Row]], str]] = {
    "intake": (intake.measure, "from the webhook to the committed credit"),
    "push": (push.measure, "keys and budgets on their way to LiteLLM"),
    "effect": (effect.measure, "from a payment until it can be spent"),
    "guard": (guard.measure, "what the guard adds to a call inside LiteLLM"),
    "growth": (growth.measure, "the same work with up to a million rows"),
    "idle": (
        idle.measure,
        "with nothing to do: queries, what is noticed how soon; starts, memory under load",
    ),
    "peer": (deliveries.measure, "beside a published webhook for Django"),
    "books": (books.measure, "the nightly comparisons by size; left out by QUICK unless it is named"),
}
QUICK = bool(os.environ.get("QUICK"))
RUNS, SCALE = (2, 0.2) if QUICK else (5, 1.0)


def main() -> int:
    chosen = parse() or [name for name in FIGURES if not (QUICK and name == "books")]
    rows: list[Row] = []
    for name in chosen:
        began = time.monotonic()
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        measure, _ = FIGURES[name]
        rows += measure(RUNS, SCALE)
        print(f"  done in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"{machine()}; median (least–most) of up to {RUNS} runs\n")
    print("\n".join(lines(rows)))
    missed = [row.what for row in rows if row.holds is False]
    print(f"\n{len(missed)} aims missed" + "".join(f"\n- {what}" for what in missed))
    return 0


def parse() -> list[str]:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures everything, or the figures that are named, and prints a table in Markdown.\n"
        "A limit is what the same machine does in the same run with nothing of Keyfund's around it;\n"
        "a ratio is taken run by run. QUICK=1 in the environment: fewer and shorter, for a look.",
        epilog="\n".join(f"{name:<8} {what}" for name, (_, what) in FIGURES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="one of those below")
    chosen: list[str] = parser.parse_args().figures
    if unknown := set(chosen) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    return chosen


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
