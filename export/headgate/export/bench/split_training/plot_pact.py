"""Draw planned trainings: the energy that each way to plan takes to an accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from headgate.export.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    NARROW_IN,
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
)
from headgate.train.pact.planner import Solution

STYLES = (
    (BLUE, "o", "-"),
    (BLACK, "s", "--"),
    (ORANGE, "v", "-."),
    (GREEN, "D", ":"),
    (PURPLE, "^", "--"),
    (VERMILLION, "P", "-."),
    (SKY, "X", ":"),
    (GREY, "*", "-"),
)


@dataclass(frozen=True, slots=True)
class Reached:
    """One way to train, what it was planned to come to, and what it did for each seed."""

    name: str
    way: Solution
    accuracies: tuple[float, ...]
    num_bytes: float  # counted, mean over seeds

    @property
    def mean(self) -> float:
        return fmean(self.accuracies)


def draw_pact(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    found: Sequence[Reached],
    width_in: float = WIDE_IN,
    theme: Theme = LIGHT,
) -> bytes:
    """Return a PNG; lines are predicted, by energy in J and accuracy, and marks were trained."""
    figure, (axes,) = new_figure(width_in, height_in=5.0)
    reached = {each.name: each for each in found}
    for (name, points), (colour, marker, line) in zip(lines.items(), STYLES, strict=False):
        axes.plot(
            [energy_j for energy_j, _ in points],
            [100 * accuracy for _, accuracy in points],
            color=colour,
            linestyle=line,
            linewidth=1.4,
            label=name,
        )
        if name in reached:
            axes.plot(
                [reached[name].way.energy_j] * len(reached[name].accuracies),
                [100 * accuracy for accuracy in reached[name].accuracies],
                color=colour,
                marker=marker,
                linestyle="none",
                markersize=6,
            )
    axes.set_xlabel("energy of the training (log scale); marks: what was trained")
    axes.set_ylabel("accuracy, %")
    log_ticks(axes, _energy_text)
    legend_above(axes, ncols=3 if width_in > NARROW_IN else 2)
    return png(figure, theme)


def _energy_text(value: float) -> str:
    return f"{value / 1e3:g} kJ" if value >= 1e3 else f"{value:g} J"
