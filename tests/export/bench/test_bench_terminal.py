"""Claims about a benchmark's table on a terminal that is too narrow for its Markdown."""

import pytest

from headgate.export.bench.bench_table import BenchResult
from headgate.export.bench.bench_terminal import terminal_text

RESULT = BenchResult(
    name="Edge",
    columns=("devices", "load", "share of bound", "rejected", "edge cpu, ms/frame", "late"),
    rows=(
        ("1", "closed", "0.913", "0", "0.245", "2"),
        ("1", "10/s each", "1.000", "0", "0.311", "0"),
        ("20", "closed", "0.877", "0", "0.198", "14"),
    ),
    notes=("a note of several words that does not fit into a line of forty characters",),
)


def table_lines(text: str) -> list[str]:
    """Return what stands before the notes, without the name and empty lines."""
    lines = text.partition("\n- ")[0].splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_where_the_markdown_fits_it_is_what_is_shown() -> None:
    assert terminal_text(RESULT, width=1000) == RESULT.to_markdown()


def test_headings_take_several_lines_and_what_is_the_same_in_every_row_is_said_once() -> None:
    text = terminal_text(RESULT, width=50)
    assert table_lines(text) == [
        "                    share      edge",
        "                       of      cpu,",
        "devices       load  bound  ms/frame  late",
        "-------  ---------  -----  --------  ----",
        "1           closed  0.913     0.245     2",
        "1        10/s each  1.000     0.311     0",
        "20          closed  0.877     0.198    14",
    ]
    assert "- the same in every row: rejected: 0\n" in text


@pytest.mark.parametrize("width", [50, 40, 30])
def test_no_line_of_a_table_is_wider_than_the_terminal_and_no_cell_is_lost(width: int) -> None:
    text = terminal_text(RESULT, width=width)
    lines = table_lines(text)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for place, heading in enumerate(RESULT.columns):
        if heading != "rejected":
            assert {*heading.split(), *(row[place].split()[0] for row in RESULT.rows)} <= {*words}


def test_columns_that_have_no_room_follow_behind_what_tells_the_rows_apart() -> None:
    text = terminal_text(RESULT, width=30)
    headings = [line for line in table_lines(text) if line.startswith("devices")]
    assert [line.split() for line in headings] == [
        ["devices", "load", "bound"],
        ["devices", "load", "ms/frame"],
        ["devices", "load", "late"],
    ]


def test_notes_are_wrapped_and_a_single_row_keeps_all_of_its_columns() -> None:
    text = terminal_text(RESULT, width=40)
    assert "- a note of several words that does not\n  fit into a line" in text
    single = BenchResult(name="One", columns=RESULT.columns, rows=RESULT.rows[:1])
    assert "rejected" in " ".join(table_lines(terminal_text(single, width=40)))
    assert "the same in every row" not in terminal_text(single, width=40)
