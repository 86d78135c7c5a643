"""Tables that `headgate train pact` prints."""

from __future__ import annotations

from itertools import groupby

from rich.table import Table

from headgate.train.pact.pilot_file import Pilot
from headgate.train.pact.plan_file import TrainingPlan
from headgate.train.pact.planning import Planned


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
    for costs, share, floor in zip(
        pilot.costs.budgets, pilot.curve.shares, pilot.curve.floors, strict=True
    ):
        table.add_row(
            str(costs.budget),
            _percent(share),
            _percent(1.0 - floor),
            f"{costs.bytes_up:,.0f}",
            f"{costs.bytes_down:,.0f}",
            f"{costs.client_macs / 1e6:,.1f}",
            f"{costs.server_macs / 1e6:,.1f}",
        )
    return table


def epochs_table(plan: TrainingPlan) -> Table:
    """Show who trains when, and what it costs; equal epochs in a row are one row."""
    title = f"plan: {_percent(plan.accuracy)} predicted, of {plan.config.model}"
    table = _table(title, ("epochs", "maps", "nodes", "time", "energy", "bytes"))
    number = 0
    for (budget, nodes), group in groupby(plan.epochs, key=lambda each: (each.budget, each.nodes)):
        same = list(group)
        first, number = number + 1, number + len(same)
        table.add_row(
            f"{first}" if first == number else f"{first} to {number}",
            str(budget),
            ", ".join(nodes),
            _time(sum(each.time_s for each in same)),
            _energy(sum(each.energy_j for each in same)),
            f"{sum(each.num_bytes for each in same) / 1e6:,.1f} MB",
        )
    table.add_section()
    table.add_row(
        str(number),
        "",
        "",
        _time(plan.time_s),
        _energy(plan.energy_j),
        f"{plan.num_bytes / 1e6:,.1f} MB",
    )
    idle = [node.name for node in plan.nodes if node.name not in plan.names]
    if idle:
        table.caption = f"not needed: {', '.join(idle)}"
    return table


def rivals_table(planned: Planned) -> Table:
    """Show what the same accuracy in the same time takes without the plan."""
    table = _table("the same without it", ("", "epochs", "time", "energy", "of the plan's"))
    for name, each in planned.rivals.items():
        if each is None:
            table.add_row(name, "", "", "not reached", "")
            continue
        table.add_row(
            name,
            str(len(each.epochs)),
            _time(each.time_s),
            _energy(each.energy_j),
            f"{each.energy_j / planned.best.energy_j:.2f}" if planned.best.energy_j else "",
        )
    return table


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in headings:
        left = heading in ("", "nodes", "maps:epochs")
        table.add_column(heading, justify="left" if left else "right")
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _time(seconds: float) -> str:
    return f"{seconds / 60:,.1f} min" if seconds >= 120 else f"{seconds:,.0f} s"


def _energy(joules: float) -> str:
    return f"{joules / 3600:,.2f} Wh" if joules >= 3600 else f"{joules:,.0f} J"
