"""Draw accuracy against bytes: the family's points, the picture lines, the paper's payload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headgate.export.bench.rates.rates_rows import Rates, Row, Series
from headgate.export.bench.rates.rates_verdict import MARGIN
from headgate.export.figures import (
    BLACK,
    GREEN,
    GREY,
    LIGHT,
    MEMBER_COLOURS,
    NARROW_IN,
    ORANGE,
    VERMILLION,
    WIDE_IN,
    Theme,
    legend_above,
    new_figure,
    plain_bytes,
    png,
    tick_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLIT_MARKERS = ("o", "^", "v", "<", ">", "p", "h", "*")
PICTURE_STYLES = {Series.JPEG: (ORANGE, "s"), Series.WEBP: (VERMILLION, "D")}
PAPER_MARKERS = ("x", "+")
LINE_STYLES = ("-", "--", ":", "-.")


def draw_rates(rates: Rates, width_in: float = WIDE_IN, theme: Theme = LIGHT) -> bytes:
    """Return a PNG: accuracy in percent against mean bytes, bars of one standard error."""
    wide = width_in > NARROW_IN
    figure, (axes,) = new_figure(width_in, height_in=5.4 if wide else 5.2)
    _draw_splits(axes, rates)
    _draw_pictures(axes, rates)
    _draw_paper(axes, rates)
    _draw_levels(axes, rates)
    if any(row.mean_bytes > 0 for row in rates.rows):
        plain_bytes(axes)
    axes.set_xlabel("mean bytes per frame (log scale)")
    axes.set_ylabel("accuracy, %" if wide else "%")
    axes.yaxis.set_major_formatter(tick_text(lambda value: f"{value:g}"))
    legend_above(axes, ncols=3 if wide else 2)
    return png(figure, theme)


def _draw_splits(axes: Axes, rates: Rates) -> None:
    sent = (Series.SPLIT, Series.PREDICTED)
    groups = [rows for rows in rates.groups.values() if rows[0].series in sent]
    for number, rows in enumerate(groups):
        predicted = rows[0].series is Series.PREDICTED
        _draw_line(
            axes,
            rows,
            colour=MEMBER_COLOURS[number % len(MEMBER_COLOURS)],
            marker=SPLIT_MARKERS[number % len(SPLIT_MARKERS)],
            label=f"split, {rows[0].group}",
            bars=not predicted,
            line=":" if predicted else "-",
        )


def _draw_pictures(axes: Axes, rates: Rates) -> None:
    num_of: dict[Series, int] = {}
    for name, rows in rates.groups.items():
        series = rows[0].series
        if not series.is_picture:
            continue
        colour, marker = PICTURE_STYLES[series]
        number = num_of.get(series, 0)
        num_of[series] = number + 1
        _draw_line(
            axes,
            rows,
            colour=colour,
            marker=marker,
            label=name,
            bars=number == 0,  # bars of nearly equal lines would hide each other
            line=LINE_STYLES[number % len(LINE_STYLES)],
            size=4.0 if number == 0 else 2.5,
        )


def _draw_paper(axes: Axes, rates: Rates) -> None:
    groups = {n: rows for n, rows in rates.groups.items() if rows[0].series is Series.PAPER}
    for (name, rows), marker in zip(sorted(groups.items()), PAPER_MARKERS, strict=False):
        axes.plot(
            [row.mean_bytes for row in rows],
            [100 * row.accuracy for row in rows],
            color=GREY,
            marker=marker,
            markersize=7,
            linestyle="",
            label=name,
        )


def _draw_levels(axes: Axes, rates: Rates) -> None:
    """Draw answers without bytes, and what 1.5 points under full accuracy is."""
    full = rates.full
    if full is not None:
        axes.axhline(100 * full.accuracy, color=BLACK, linewidth=1.2, label="whole network")
        axes.axhline(
            100 * (full.accuracy - MARGIN),
            color=BLACK,
            linewidth=1.0,
            linestyle=":",
            label=f"{100 * MARGIN:g} points under",
        )
    for row, style in zip(rates.of(Series.LOCAL), LINE_STYLES[1:], strict=False):
        if full is not None and row.accuracy == full.accuracy:
            continue  # the same line twice
        axes.axhline(
            100 * row.accuracy, color=GREEN, linestyle=style, linewidth=1.3, label=f"{row.id}, 0 B"
        )


def _draw_line(
    axes: Axes,
    rows: Sequence[Row],
    *,
    colour: str,
    marker: str,
    label: str,
    bars: bool,
    line: str = "-",
    size: float = 5.0,
) -> None:
    drawn = [row for row in rows if row.mean_bytes > 0]
    x = [row.mean_bytes for row in drawn]
    y = [100 * row.accuracy for row in drawn]
    axes.plot(
        x, y, color=colour, marker=marker, markersize=size, linewidth=1.4, linestyle=line,
        label=label,
    )  # fmt: skip
    errors = [row.error for row in drawn]
    if bars and drawn and all(error is not None for error in errors):
        lows = [value - 100 * (error or 0) for value, error in zip(y, errors, strict=True)]
        highs = [value + 100 * (error or 0) for value, error in zip(y, errors, strict=True)]
        axes.vlines(x, lows, highs, color=colour, linewidth=0.8, alpha=0.6)
