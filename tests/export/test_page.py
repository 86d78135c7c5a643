"""Claims about what all pages share: units stay with their numbers, and print loses nothing."""

from __future__ import annotations

import re

import pytest

from headgate.export.figures import DARK, LIGHT, NARROW_IN, WIDE_IN, Theme
from headgate.export.page import (
    STYLE,
    bullets,
    inline,
    paragraphs,
    text_table,
    themed_picture,
)


@pytest.mark.parametrize("said", ["84.6 %", "30 kbit/s", "2 Mbit/s", "50 ms", "120 B", "96 px"])
def test_a_number_and_its_unit_are_never_parted_by_the_end_of_a_line(said: str) -> None:
    line = f"answers ({said}) from there"
    kept = said.replace(" ", "\u00a0")
    assert paragraphs([line]) == f"<p>answers ({kept}) from there</p>\n"
    assert f"({kept}) from there" in bullets([line])
    assert f"({kept}) from there" in text_table(("a",), (), caption=line)


def test_other_words_after_a_number_may_begin_a_line() -> None:
    assert paragraphs(["4 members & 2 boxes"]) == "<p>4 members &amp; 2 boxes</p>\n"


def test_a_printed_page_scrolls_nothing_and_shows_what_is_folded() -> None:
    printed = re.search(r"@media print \{(.*)\}", STYLE, flags=re.DOTALL)
    assert printed is not None
    assert (
        ".scroll { overflow: visible; }" in printed[1]
    )  # else columns are cut at the paper's edge
    assert "details::details-content { content-visibility: visible;" in printed[1]


def test_only_the_rows_that_are_marked_are_set_off() -> None:
    table = text_table(("a",), (("1",), ("2",), ("3",)), caption="c", marked=(False, True))
    assert re.findall(r"<tr class=own><th scope=\"row\">(\d)", table) == ["2"]


def test_a_figure_is_drawn_for_each_width_and_paper() -> None:
    drawn: list[tuple[float, Theme]] = []

    def draw(width_in: float, theme: Theme) -> bytes:
        drawn.append((width_in, theme))
        return str(len(drawn)).encode()

    found = re.findall(r'(media|src|srcset)="([^"]*)"', themed_picture(draw, alt="x"))
    shown = {found[index][1]: found[index + 1][1] for index in (0, 2, 4)} | dict([found[6]])
    wanted = {
        "(max-width: 640px) and (prefers-color-scheme: dark)": (NARROW_IN, DARK),
        "(max-width: 640px)": (NARROW_IN, LIGHT),
        "(prefers-color-scheme: dark)": (WIDE_IN, DARK),
        "src": (WIDE_IN, LIGHT),
    }
    assert shown == {
        media: inline(str(drawn.index(how) + 1).encode()) for media, how in wanted.items()
    }
