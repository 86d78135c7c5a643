"""Draw bytes and speed of split training over sockets, with the compression module and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headgate.export.figures import BLUE, GREY, LIGHT, WIDE_IN, Theme, new_figure, png, tick_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR = 0.36  # of the room that a link has


@dataclass(frozen=True, slots=True)
class Bars:
    """What one link showed, without the module and with it."""

    link: str
    bytes_per_picture: tuple[float, float]
    pictures_per_s: tuple[float, float]


def draw_deprune_network(
    links: Sequence[Bars], *, maps: tuple[int, int], width_in: float = WIDE_IN, theme: Theme = LIGHT
) -> bytes:
    """Return a PNG; `maps` cross without and with the module."""
    figure, (moved, speed) = new_figure(width_in, height_in=4.6, rows=2, ratios=(1, 1), one_x=False)
    names = (f"without the module, {maps[0]} maps", f"with it, {maps[1]} maps")
    _draw(moved, links, [bars.bytes_per_picture for bars in links], names, unit="bytes / picture")
    _draw(speed, links, [bars.pictures_per_s for bars in links], names, unit="pictures / s")
    moved.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
    return png(figure, theme)


def _draw(
    axes: Axes,
    links: Sequence[Bars],
    found: Sequence[tuple[float, float]],
    names: tuple[str, str],
    *,
    unit: str,
) -> None:
    for which, (name, colour) in enumerate(zip(names, (GREY, BLUE), strict=True)):
        at = [row + (which - 0.5) * BAR for row in range(len(links))]
        values = [pair[which] for pair in found]
        bars = axes.barh(at, values, height=BAR * 0.94, color=colour, label=name)
        axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=3, fontsize=9)
    axes.set_yticks(range(len(links)), [bars.link for bars in links])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(tick_text(lambda value: f"{value:,.0f}"))
    axes.set_xlabel(unit)
