"""What every figure shares: sizes, colours, axes without global state, PNG bytes.

Every figure comes in two widths, for a desk and for a phone: shrinking one picture would make its
letters unreadable. Colours are those of Okabe and Ito, told apart by colour-blind readers too, and
never the only difference: markers and line styles differ as well. A figure can be drawn for light
and for dark paper; the theme is applied last, so drawing code names its own colours only.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log10
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE_IN = 9.0
NARROW_IN = 4.6
LABELS_PER_IN = 2.0  # of an axis, so that they do not touch
DPI = 150

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#6E6E6E"
NAVY, MAUVE = "#004B75", "#8F5B7D"  # not theirs: for what is still left when theirs are taken
MEMBER_COLOURS = (BLUE, SKY, PURPLE, NAVY, MAUVE)


@dataclass(frozen=True, slots=True)
class Theme:
    """Paper, and what is written on it. `swaps` replace drawn colours that paper would swallow."""

    paper: str
    ink: str
    grid: str
    swaps: tuple[tuple[str, str], ...] = ()

    def colour(self, drawn: str) -> str:
        """Return the colour to use on this paper for one of this module's colours."""
        return dict(self.swaps).get(drawn, drawn)


LIGHT = Theme(paper="#FFFFFF", ink="#000000", grid="#E4E4E4")
DARK = Theme(
    paper="#161B22",
    ink="#E6EDF3",
    grid="#30363D",
    swaps=(
        (BLACK, "#E6EDF3"),
        (BLUE, "#4DA6E0"),
        (GREEN, "#2BC79A"),
        (GREY, "#9AA4AE"),
        (VERMILLION, "#FF8A4C"),
        (NAVY, "#9CD0F5"),
        (MAUVE, "#E3B5D0"),
    ),
)


def new_figure(
    width_in: float,
    *,
    height_in: float,
    rows: int = 1,
    ratios: tuple[float, ...] = (1.0,),
    one_x: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Make a figure with `rows` panels, over one x axis or each over its own.

    No global state of pyplot is touched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, 1, height_ratios=ratios)
    axes: list[Axes] = []
    for row in range(rows):
        panel = figure.add_subplot(grid[row], sharex=axes[0] if axes and one_x else None)
        panel.grid(visible=True, color=LIGHT.grid, linewidth=0.7)
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
        panel.tick_params(labelbottom=row == rows - 1 or not one_x)
        axes.append(panel)
    return figure, axes


def png(figure: Figure, theme: Theme = LIGHT) -> bytes:
    """Return the figure as PNG bytes: the same figure gives the same bytes."""
    if theme is not LIGHT:
        _apply(figure, theme)
    buffer = io.BytesIO()
    # A fixed software tag instead of matplotlib's version.
    figure.savefig(buffer, format="png", metadata={"Software": "headgate"})
    return buffer.getvalue()


def legend_above(axes: Axes, *, ncols: int = 3) -> None:
    """Name what is drawn above the panel, where it hides nothing."""
    if not axes.get_legend_handles_labels()[0]:
        return
    axes.legend(
        frameon=False, ncols=ncols, fontsize="small", loc="lower left", bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2, borderpad=0.2, handlelength=1.4, handletextpad=0.4, columnspacing=1.0,
    )  # fmt: skip


def bytes_text(num_bytes: float) -> str:
    """Write a size with the unit that suits it."""
    return f"{num_bytes:.0f} B" if num_bytes < 1000 else f"{num_bytes / 1000:.1f} kB"


def tick_text(text: Callable[[float], str]) -> Any:
    """Return a formatter of ticks from a function of the value."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: text(value))


def plain_bytes(axes: Axes) -> None:
    """Make x an axis of bytes on a logarithmic scale, labelled without powers."""
    log_ticks(axes, _round_bytes)


def log_ticks(axes: Axes, text: Callable[[float], str]) -> None:
    """Make x logarithmic, labelled at powers of ten, and at 2 and 5 of each where there is room.

    To be called after all is drawn: labels follow from what there is.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    drawn = axes.dataLim
    decades = log10(drawn.x1 / drawn.x0) if 0 < drawn.x0 <= drawn.x1 < inf else 0.0
    room = LABELS_PER_IN * axes.bbox.width / axes.figure.dpi
    subs = (1.0, 2.0, 5.0) if 3 * decades <= room else (1.0,)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=subs))
    axes.xaxis.set_major_formatter(tick_text(text))
    axes.xaxis.set_minor_formatter(NullFormatter())


def whole_ticks(axes: Axes) -> None:
    """Label x, which counts, at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _round_bytes(num_bytes: float) -> str:
    return f"{num_bytes:.3g} B" if num_bytes < 1000 else f"{num_bytes / 1000:.3g} kB"


def _apply(figure: Figure, theme: Theme) -> None:
    """Recolour everything that is not data, and data whose colour the paper would swallow."""
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D

    figure.set_facecolor(theme.paper)
    for axes in figure.axes:
        axes.set_facecolor(theme.paper)
        axes.tick_params(colors=theme.ink, which="both")
        axes.grid(visible=True, color=theme.grid, linewidth=0.7)
        for spine in axes.spines.values():
            spine.set_color(theme.ink)
        texts = [axes.xaxis.label, axes.yaxis.label, axes.title, *axes.texts]
        legend = axes.get_legend()
        handles: list[Any] = []
        if legend is not None:
            texts += legend.get_texts()
            handles = list(legend.legend_handles)
        for text in texts:
            text.set_color(theme.ink)
        for artist in [*axes.lines, *axes.collections, *handles]:
            if isinstance(artist, Line2D):
                artist.set_color(_swapped(artist.get_color(), theme))
            elif isinstance(artist, Collection):
                for get, put in (
                    (artist.get_facecolor, artist.set_facecolor),
                    (artist.get_edgecolor, artist.set_edgecolor),
                ):
                    put([_swapped(colour, theme) for colour in get()])


def _swapped(drawn: Any, theme: Theme) -> str:
    from matplotlib.colors import to_hex

    return theme.colour(to_hex(drawn).upper())
