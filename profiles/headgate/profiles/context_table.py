"""Integer frequencies of quantised features, given the neighbours that were sent before.

A feature map is smooth: what a value is likely to be depends on the values left of it, above it
and between the two. A table names the neighbours, in the order in which they count as digits:

    left    the value before it in its row
    up      the value above it in its map
    corner  the value left of that

Each neighbour is reduced to a class, `value * bins // levels`; beyond the border of a map the class
is `bins`. The classes are digits to the base bins + 1, first neighbour most significant; that
number is the place in `contexts` of a letter (0 to 9, a to z), which names one of `rows`. A row
holds a frequency for each value 0 .. levels - 1; they sum to 2 ** precision_bits.

Texts instead of lists keep family.json short: a row is one line.
"""

from dataclasses import dataclass

from headgate.profiles.parse import shown

NEIGHBOURS = ("left", "up", "corner")
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
MIN_PRECISION_BITS, MAX_PRECISION_BITS = 8, 14
MAX_CONTEXTS = 1 << 14


@dataclass(frozen=True, slots=True)
class ContextTable:
    """What the codec "context" needs to know of one operating point."""

    neighbours: tuple[str, ...]  # distinct, of NEIGHBOURS; "left" is the first
    bins: int  # classes of a neighbour's value, without the border's
    contexts: str  # a letter for every combination of classes
    rows: tuple[str, ...]  # frequencies of each value, with spaces between them

    @property
    def frequencies(self) -> tuple[tuple[int, ...], ...]:
        """Return the rows as numbers."""
        return tuple(tuple(int(text) for text in row.split(" ")) for row in self.rows)

    @property
    def assignment(self) -> tuple[int, ...]:
        """Return the row of every context."""
        return tuple(LETTERS.index(letter) for letter in self.contexts)


def make_table(
    *,
    neighbours: tuple[str, ...],
    bins: int,
    assignment: tuple[int, ...],
    frequencies: tuple[tuple[int, ...], ...],
) -> ContextTable:
    """Return the table that these numbers make."""
    return ContextTable(
        neighbours=neighbours,
        bins=bins,
        contexts="".join(LETTERS[row] for row in assignment),
        rows=tuple(" ".join(map(str, row)) for row in frequencies),
    )


def table_fault(table: ContextTable, *, levels: int) -> str | None:
    """Say what is wrong with a table for values 0 .. levels - 1, or None if it can be used."""
    names = table.neighbours
    if not names or names[0] != "left" or len(set(names)) != len(names):
        return f"neighbours: {list(names)}, expected left first and none twice"
    if not set(names) <= set(NEIGHBOURS):
        return f"neighbours: {list(names)}, known are {list(NEIGHBOURS)}"
    if not 1 <= table.bins <= levels:
        return f"bins: {table.bins}, expected 1 to {levels}"
    num_contexts = (table.bins + 1) ** len(names)
    if num_contexts > MAX_CONTEXTS or len(table.contexts) != num_contexts:
        return (
            f"contexts: {len(table.contexts)} letters, {len(names)} neighbours of {table.bins} "
            f"bins need {num_contexts}, at most {MAX_CONTEXTS}"
        )
    known = set(LETTERS[: len(table.rows)])
    if len(table.rows) > len(LETTERS):
        return f"rows: {len(table.rows)} of them, expected {len(LETTERS)} at most"
    if beyond := "".join(sorted(set(table.contexts) - known)):
        return f"contexts: found {shown(beyond)}, expected letters of the {len(table.rows)} rows"
    return _rows_fault(table, levels=levels)


def _rows_fault(table: ContextTable, *, levels: int) -> str | None:
    totals = set()
    for index, row in enumerate(table.rows):
        texts = row.split(" ")
        plain = all(text.isascii() and text.isdigit() and len(text) <= 5 for text in texts)
        if not plain or len(texts) != levels:
            return (
                f"rows[{index}]: found {shown(row)}, expected {levels} whole numbers with one "
                "space between them"
            )
        numbers = [int(text) for text in texts]
        if min(numbers) < 1:
            return f"rows[{index}]: found a frequency of {min(numbers)}, expected 1 or more"
        totals.add(sum(numbers))
    allowed = {1 << bits for bits in range(MIN_PRECISION_BITS, MAX_PRECISION_BITS + 1)}
    if len(totals) != 1 or not totals <= allowed:
        return (
            f"rows: they sum to {sorted(totals)}, expected one power of two, "
            f"{min(allowed)} to {max(allowed)}"
        )
    return None
