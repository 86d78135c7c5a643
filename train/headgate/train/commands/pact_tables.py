"""Tables that `headgate train pact` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.table import Table

from headgate.train.pact.pilot_file import Pilot
from headgate.train.pact.plan_file import TrainingPlan
from headgate.train.pact.planning import Planned
from headgate.train.split_training.epoch_record import DepruneEpoch

# Of the least error that a pilot saw: a floor below it is no finding, but where the fit was let go.
LEAST_FLOOR = 0.25


def trials_table(pilot: Pilot) -> Table:
    """Show what each short training reached, and what the curve makes of it."""
    table = _table(
        "short trainings", ("maps:epochs", "clients", "pictures seen", "accuracy", "curve")
    )
    for run in pilot.trained:
        budgets = [each.budget for each in run.epochs]
        phases = [(budget, len(list(group))) for budget, group in groupby(budgets)]
        table.add_row(
            ",".join(f"{budget}:{num}" for budget, num in phases),
            str(run.epochs[0].num_clients),
            f"{sum(each.num_pictures for each in run.epochs):,}",
            _percent(run.accuracy),
            _percent(pilot.curve.accuracy(run.epochs)),
        )
    table.caption = (
        f"the curve's error is taken for {_percent(pilot.curve.rms_error)}: more than the "
        "differences here, which it was fitted to"
    )
    return table


def curve_table(pilot: Pilot) -> Table:
    """Show what a picture teaches by the number of maps, and what it costs."""
    headings = ("maps", "teaches", "best accuracy", "B up", "B down", "MMACs client", "server")
    table = _table("a picture, by the maps that cross", headings)
    least = LEAST_FLOOR * min(1.0 - run.accuracy for run in pilot.trained)
    for costs, share, floor in zip(
        pilot.costs.budgets, pilot.curve.shares, pilot.curve.floors, strict=True
    ):
        table.add_row(
            str(costs.budget),
            _percent(share),
            _percent(1.0 - floor) if floor >= least else "not determined",
            f"{costs.bytes_up:,.0f}",
            f"{costs.bytes_down:,.0f}",
            f"{costs.client_macs / 1e6:,.1f}",
            f"{costs.server_macs / 1e6:,.1f}",
        )
    if min(pilot.curve.floors) < least:
        table.caption = (
            "not determined by this pilot: its trainings are too short to tell where long ones "
            "end; more of --epochs, or more pictures, may"
        )
    return table


def epochs_table(plan: TrainingPlan) -> Table:
    """Show who trains when, and what it costs; equal epochs in a row are one row."""
    title = f"plan: {_percent(plan.accuracy)} predicted, of {plan.config.model}"
    time, energy = _time_in(plan.time_s), _energy_in(plan.energy_j)
    table = _table(title, ("epochs", "maps", "nodes", time.heading, energy.heading, "MB"))
    number = 0
    for (budget, nodes), group in groupby(plan.epochs, key=lambda each: (each.budget, each.nodes)):
        same = list(group)
        first, number = number + 1, number + len(same)
        table.add_row(
            f"{first}" if first == number else f"{first} to {number}",
            str(budget),
            ", ".join(nodes),
            time.cell(sum(each.time_s for each in same)),
            energy.cell(sum(each.energy_j for each in same)),
            _megabytes(sum(each.num_bytes for each in same)),
        )
    table.add_section()
    table.add_row(
        str(number),
        "",
        "",
        time.cell(plan.time_s),
        energy.cell(plan.energy_j),
        _megabytes(plan.num_bytes),
    )
    idle = [node.name for node in plan.nodes if node.name not in plan.names]
    if idle:
        table.caption = f"not needed: {', '.join(idle)}"
    return table


def rivals_table(planned: Planned) -> Table:
    """Show what the same accuracy in the same time takes without the plan."""
    found = [each for each in planned.rivals.values() if each is not None]
    time = _time_in(max((each.time_s for each in found), default=0.0))
    energy = _energy_in(max((each.energy_j for each in found), default=0.0))
    headings = ("", "epochs", time.heading, energy.heading, "of the plan's")
    table = _table("the same without it", headings)
    for name, each in planned.rivals.items():
        if each is None:
            table.add_row(name, "", "", "not reached", "")
            continue
        table.add_row(
            name,
            str(len(each.epochs)),
            time.cell(each.time_s),
            energy.cell(each.energy_j),
            f"{each.energy_j / planned.best.energy_j:.2f}" if planned.best.energy_j else "",
        )
    return table


def came_to(plan: TrainingPlan, epochs: Sequence[DepruneEpoch]) -> str:
    """Say of a run what it came to, beside what its plan had said of it."""
    num_bytes = sum(epoch.bytes_up + epoch.bytes_down for epoch in epochs)
    return (
        f"reached {_percent(epochs[-1].accuracy)}, {_percent(plan.accuracy)} was predicted; "
        f"{_megabytes(num_bytes)} MB crossed, {_megabytes(plan.num_bytes)} were planned"
    )


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in headings:
        left = heading in ("", "nodes", "maps:epochs")
        table.add_column(heading, justify="left" if left else "right")
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.1f}"


@dataclass(frozen=True, slots=True)
class _Unit:
    """What all numbers of a column are shown in."""

    heading: str
    divisor: float
    decimals: int

    def cell(self, value: float) -> str:
        return f"{value / self.divisor:,.{self.decimals}f}"


def _time_in(largest_s: float) -> _Unit:
    if largest_s >= 120:
        return _Unit("time, min", 60.0, 1)
    return _Unit("time, s", 1.0, 0 if largest_s >= 10 else 1)


def _energy_in(largest_j: float) -> _Unit:
    if largest_j >= 3600:
        return _Unit("energy, Wh", 3600.0, 2)
    return _Unit("energy, J", 1.0, 0 if largest_j >= 10 else 1)
