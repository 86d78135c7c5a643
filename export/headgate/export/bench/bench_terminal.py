"""Lays a benchmark's table out for a terminal that is too narrow for its Markdown.

What is the same in every row is said once, headings take several lines, and columns that still
have no room follow in a further table, which begins with what tells the rows apart.
"""

import textwrap
from collections.abc import Iterator, Sequence

from headgate.export.bench.bench_table import BenchResult

Columns = Sequence[Sequence[str]]  # each: its heading, then a cell for each row
GAP = "  "


def terminal_text(result: BenchResult, *, width: int) -> str:
    """Return the Markdown of `result` where its table fits, else the same in `width` characters."""
    markdown = result.to_markdown()
    lines = markdown.splitlines()
    if max(len(line) for line in lines if line.startswith("|")) <= width:
        return markdown
    columns = list(zip(result.columns, *result.rows, strict=True))
    keys = _telling_apart(columns)
    constant = [each for each in columns[keys:] if len(each) > 2 and len(set(each[1:])) == 1]
    told = [*columns[:keys], *(each for each in columns[keys:] if each not in constant)]
    parts = [lines[0]]
    parts += ["\n".join(_aligned(part)) for part in _that_fit(told, keys=keys, width=width)]
    notes = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    if constant:
        same = "; ".join(f"{each[0]}: {each[1] or 'empty'}" for each in constant)
        notes.insert(0, f"the same in every row: {same}")
    parts.append("\n".join(_wrapped(note, width=width) for note in notes))
    return "\n\n".join(parts) + "\n"


def _telling_apart(columns: Columns) -> int:
    """Return how many of the first columns no two rows share; 1 if all do not suffice."""
    for number in range(1, len(columns)):
        keys = list(zip(*(each[1:] for each in columns[:number]), strict=True))
        if len(set(keys)) == len(keys):
            return number
    return 1


def _that_fit(columns: Columns, *, keys: int, width: int) -> Iterator[Columns]:
    """Share the columns out to tables that are no wider than `width`, each with the first ones."""
    first, rest = columns[:keys], list(columns[keys:])
    while True:
        taken = 1
        while taken < len(rest) and _width([*first, *rest[: taken + 1]]) <= width:
            taken += 1
        yield [*first, *rest[:taken]]
        rest = rest[taken:]
        if not rest:
            return


def _aligned(columns: Columns) -> Iterator[str]:
    """Yield the lines of a table: headings at the bottom of theirs, numbers to the right."""
    widths = [_column_width(each) for each in columns]
    headings = [each[0].split() for each in columns]
    height = max(map(len, headings))
    block = [[""] * (height - len(words)) + words for words in headings]
    rows = [*zip(*block, strict=True), [w * "-" for w in widths]]
    rows += zip(*(each[1:] for each in columns), strict=True)
    for row in rows:
        cells = [
            cell.ljust(room) if place == 0 else cell.rjust(room)
            for place, (cell, room) in enumerate(zip(row, widths, strict=True))
        ]
        yield GAP.join(cells).rstrip()


def _column_width(column: Sequence[str]) -> int:
    return max(map(len, [*column[0].split(), *column[1:], ""]))


def _width(columns: Columns) -> int:
    return sum(map(_column_width, columns)) + len(GAP) * (len(columns) - 1)


def _wrapped(note: str, *, width: int) -> str:
    return textwrap.fill(
        note,
        max(width, 20),
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
