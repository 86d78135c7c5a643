"""Draw split training: accuracy against epochs and against bytes, and throughput over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headgate.export.bench.split_training.deprune_runs import (
    ADASPLIT,
    ALL_MAPS,
    DEPRUNE,
    HIGH_COMPRESSION,
    NO_COMPRESSION,
    Series,
)
from headgate.export.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    MAUVE,
    NARROW_IN,
    NAVY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDE_IN,
    Theme,
    legend_above,
    log_ticks,
    new_figure,
    png,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    NO_COMPRESSION: (BLACK, GREY),
    ALL_MAPS: (GREEN, PURPLE, MAUVE),
    HIGH_COMPRESSION: (ORANGE, VERMILLION),
    DEPRUNE: (BLUE, SKY, NAVY),
    ADASPLIT: (BLUE, SKY, NAVY, GREEN),
}
MARKERS = {NO_COMPRESSION: "s", ALL_MAPS: "D", HIGH_COMPRESSION: "v", DEPRUNE: "o", ADASPLIT: "^"}
MAX_HALF_LABEL = 46  # characters of a label, so that two stand beside each other
LINE_STYLES = ("-", "--", ":", "-.")


def draw_deprune(
    series: Sequence[Series], width_in: float = WIDE_IN, theme: Theme = LIGHT
) -> bytes:
    """Return a PNG; lines are means over seeds, bands one deviation."""
    wide = width_in > NARROW_IN
    figure, axes = new_figure(width_in, height_in=9.0, rows=3, ratios=(1.3, 1.3, 1.0), one_x=False)
    num_of: dict[str, int] = {}
    for each in series:
        number = num_of.get(each.kind, 0)
        num_of[each.kind] = number + 1
        colours = COLOURS[each.kind]
        style = {
            "color": colours[number % len(colours)],
            "marker": MARKERS[each.kind],
            "linestyle": LINE_STYLES[number // len(colours) % len(LINE_STYLES)],
            "markersize": 3.5,
            "linewidth": 1.4,
        }
        # Where no maps cross the server learns nothing, and its answers mean nothing yet.
        epochs = [n for n, epoch in enumerate(each.runs[0].epochs, start=1) if epoch.num_batches]
        epochs = [number for number in epochs if number <= each.num_epochs]
        _draw_accuracy(axes[0], each, style, x=epochs, epochs=epochs, label=each.label)
        sent = [each.mean_bytes(epoch) for epoch in epochs]
        _draw_accuracy(axes[1], each, style, x=sent, epochs=epochs)
        _draw_throughput(axes[2], each, style)
    axes[0].set_xlabel("epoch")
    whole_ticks(axes[0])
    axes[1].set_xlabel("bytes on the wire, both ways (log scale)")
    log_ticks(axes[1], _bytes_text)
    axes[2].set_xlabel("time, s")
    for axis in axes[:2]:
        axis.set_ylabel("accuracy, %")
    axes[2].set_ylabel("pictures / s")
    axes[2].set_ylim(0, 1.08 * axes[2].dataLim.ymax)  # room for the markers at the top
    are_short = max(len(each.label) for each in series) <= MAX_HALF_LABEL
    legend_above(axes[0], ncols=2 if wide and are_short else 1)
    return png(figure, theme)


def _draw_accuracy(
    axes: Axes,
    series: Series,
    style: dict[str, object],
    *,
    x: Sequence[float],
    epochs: Sequence[int],
    label: str | None = None,
) -> None:
    """Draw the accuracy at the end of `epochs` over `x`, which has a value for each."""
    found = [series.accuracy(epoch) for epoch in epochs]
    axes.plot(x, [100 * mean for mean, _ in found], label=label, **style)  # type: ignore[arg-type]
    if len(series.runs) > 1:
        axes.fill_between(
            x,
            [100 * (mean - deviation) for mean, deviation in found],
            [100 * (mean + deviation) for mean, deviation in found],
            color=str(style["color"]),
            alpha=0.15,
            linewidth=0,
        )


def _draw_throughput(axes: Axes, series: Series, style: dict[str, object]) -> None:
    """Draw the first run: seeds differ in nothing that time depends on."""
    at_s, x, y = 0.0, [], []
    for epoch in series.runs[0].epochs:
        at_s += epoch.train_s + epoch.evaluate_s
        if epoch.num_batches:
            x.append(at_s)
            y.append(epoch.pictures_per_s)
    axes.plot(x, y, **style)  # type: ignore[arg-type]


def _bytes_text(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"
