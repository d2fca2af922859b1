"""The table of results, as Markdown that also reads well in a terminal."""

from collections.abc import Iterable

from bench.measure import Fact, Row

HEADS = ("what", "measured", "limit of the same run", "ratio", "aim")


def lines(rows: Iterable[Row]) -> Iterable[str]:
    cells = [HEADS, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADS))]
    for number, row in enumerate(cells):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {True: f"{row.aim} met", False: f"{row.aim} missed", None: ""}[row.holds]
    if isinstance(row, Fact):
        return (row.what, f"{row.value} {row.unit}", "", "", verdict)
    limit = f"{row.limit_is}: {row.limit} {row.unit}"
    return (row.what, f"{row.ours} {row.unit}", limit, str(row.ratio), verdict)
