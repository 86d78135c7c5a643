"""The page and pictures of `headgate bench deprune-network`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult, provenance
from headgate.export.bench.split_training.plot_deprune_network import Bars, draw_deprune_network
from headgate.export.figures import NARROW_IN, WIDE_IN
from headgate.export.page import bullets, facts, page, paragraphs, text_table, themed_picture
from headgate.profiles.storage import write_atomic

STEM = "deprune-network"


def write_network_report(
    result: BenchResult, links: Sequence[Bars], folder: Path, *, maps: tuple[int, int]
) -> Path:
    """Write deprune-network.html and .png (and a narrow one); return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, width_in in ((STEM, WIDE_IN), (f"{STEM}-narrow", NARROW_IN)):
        picture = draw_deprune_network(links, maps=maps, width_in=width_in)
        write_atomic(folder / f"{name}.png", picture)
    chart = themed_picture(
        lambda width_in, theme: draw_deprune_network(
            links, maps=maps, width_in=width_in, theme=theme
        ),
        alt="bytes per picture and pictures per second over each link, without and with the module",
    )
    goals = [
        f"{goal.text}: {goal.value:.3g}, {'met' if goal.met else 'not met'}"
        for goal in result.goals
    ]
    body = "\n".join(
        [
            "<h1>Split training over a network, with the module and without</h1>",
            paragraphs([_said(bars) for bars in links]),
            chart,
            text_table(result.columns, result.rows, caption="Each way over each link"),
            bullets([*goals, *result.notes]),
            "<h2>How this was made</h2>",
            facts(provenance()),
        ]
    )
    path = folder / f"{STEM}.html"
    write_atomic(path, page("Headgate: split training over a network", body))
    return path


def _said(bars: Bars) -> str:
    fewer = bars.bytes_per_picture[0] / bars.bytes_per_picture[1]
    faster = bars.pictures_per_s[1] / bars.pictures_per_s[0]
    return (
        f"Over {bars.link} the module sent {fewer:.1f} times fewer bytes, and training went "
        f"{faster:.2f} times as fast."
    )
