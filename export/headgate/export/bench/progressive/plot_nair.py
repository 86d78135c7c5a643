"""Draw accuracy against the time that a picture's maps take to cross, and where importance went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

from headgate.export.bench.progressive.nair_lines import Line
from headgate.export.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    MAUVE,
    NAVY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDE_IN,
    legend_above,
    log_ticks,
    new_figure,
    png,
    whole_ticks,
)

COLOURS = (BLUE, GREEN, PURPLE, ORANGE, SKY, BLACK, NAVY, MAUVE)
MARKERS = ("o", "s", "^", "v", "<", ">", "x", "P")
PICTURE_STYLE = (VERMILLION, "D", "--")  # as in all figures
LOCAL_DASHES = ("--", ":", "-.")


def draw_nair(
    lines: Sequence[Line],
    *,
    pictures: Sequence[Line],
    rate_bps: float,
    at_once: Mapping[str, float],
    width_in: float = WIDE_IN,
) -> bytes:
    """Return a PNG: accuracy in percent against milliseconds on the link, log scale.

    Of a line with several numbers of levels only what is worth sending is drawn. `pictures` are
    what is compared with: whole pictures, compressed. `at_once` are the accuracies of what the
    device answers by itself, for which nothing crosses, by name.
    """
    figure, (axes,) = new_figure(width_in, height_in=5.6)
    styles = [
        (colour, marker, dashes)
        for dashes in ("-", ":")
        for colour, marker in zip(COLOURS, MARKERS, strict=True)
    ]
    drawn = [
        *zip(lines, cycle(styles), strict=False),
        *((each, PICTURE_STYLE) for each in pictures),
    ]
    for line, (colour, marker, dashes) in drawn:
        shown = line.front if line.mixed else line.sent
        axes.plot(
            [1000 * each.seconds(rate_bps) for each in shown],
            [100 * each.accuracy for each in shown],
            color=colour,
            marker=marker,
            markersize=4,
            linestyle=dashes,
            label=line.name,
        )
    for dashes, (name, accuracy) in zip(cycle(LOCAL_DASHES), at_once.items(), strict=False):
        axes.axhline(100 * accuracy, color=GREY, linestyle=dashes, linewidth=1, label=name)
    log_ticks(axes, lambda value: f"{value:g}")
    axes.set_xlabel(f"ms on a link of {rate_bps / 1000:g} kbit/s (log scale)")
    axes.set_ylabel("accuracy, %")
    legend_above(axes, ncols=2)
    return png(figure)


def draw_importance(
    before: Sequence[float], after: Sequence[float], *, width_in: float = WIDE_IN
) -> bytes:
    """Return a PNG: the share of the importance in each layer, before the training and after."""
    figure, (axes,) = new_figure(width_in, height_in=3.6)
    places = range(1, len(before) + 1)
    for offset, shares, colour, label in (
        (-0.2, before, GREY, "before this training"),
        (0.2, after, BLUE, "after it"),
    ):
        axes.bar(
            [place + offset for place in places],
            [100 * share for share in shares],
            width=0.4,
            color=colour,
            label=label,
        )
    whole_ticks(axes)
    axes.set_xlabel("layer, in the order of sending")
    axes.set_ylabel("share of the importance, %")
    legend_above(axes, ncols=2)
    return png(figure)
