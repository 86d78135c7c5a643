"""Whether plans keep what they predict: a plan and its rivals are trained, and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from headgate.export.bench.bench_table import BenchResult, Goal, provenance
from headgate.export.bench.split_training.plot_pact import Reached, draw_pact
from headgate.export.figures import NARROW_IN, WIDE_IN
from headgate.export.page import bullets, facts, page, paragraphs, text_table, themed_picture
from headgate.profiles.storage import write_atomic
from headgate.train.pact.choices import list_choices
from headgate.train.pact.dealing import dealing
from headgate.train.pact.nodes import NodeList
from headgate.train.pact.pilot_file import Pilot
from headgate.train.pact.plan_file import plan_of
from headgate.train.pact.planner import Solution, Wanted, solve
from headgate.train.pact.planning import plan_training, usual_margin
from headgate.train.pact.rivals import rivals
from headgate.train.split_training.epoch_record import read_epochs
from headgate.train.split_training.once import train_once

NAME = "pact-run"
PLAN = "the plan"
COLUMNS = (
    "way",
    "epochs",
    "energy, J",
    "of the plan's",
    "min",
    "MB planned",
    "MB counted",
    "accuracy predicted",
    "reached",
)
NUM_GOALS = 12  # accuracies of a line
ABOVE = 0.05  # what is planned for: accuracies that lines go on to
TITLE = "A planned training beside those without a plan"


@dataclass(frozen=True, slots=True)
class PactRunOptions:
    """What is planned and trained, and where."""

    nodes: NodeList
    pilot: Pilot
    wanted: Wanted
    margin: float | None
    seeds: tuple[int, ...]
    folder: Path


def bench_pact_run(
    options: PactRunOptions, *, say: Callable[[str], None]
) -> tuple[BenchResult, list[Reached]]:
    """Train the plan and each rival that is in time, for each seed; runs that are there stay."""
    planned = plan_training(options.nodes, options.pilot, options.wanted, margin=options.margin)
    ways: dict[str, Solution] = {PLAN: planned.best}
    for name, each in planned.rivals.items():
        if each is not None and each.epochs not in [way.epochs for way in ways.values()]:
            ways[name] = each
    found = [_reached(name, way, options, say=say) for name, way in ways.items()]
    missing = [name for name, each in planned.rivals.items() if each is None]
    notes = [
        "bytes are those of all parts of all messages, both ways, counted as they were sent",
        "time and energy follow from the file of nodes: there is no such hardware here to measure",
        "accuracy: after the last epoch, of the validation pictures, mean and deviation over seeds",
    ]
    if missing:
        notes.append(f"not good enough in time: {', '.join(missing)}")
    wanted = options.wanted.accuracy
    plan = found[0]
    result = BenchResult(
        NAME,
        COLUMNS,
        tuple(_row(each, plan) for each in found),
        goals=(
            Goal(
                f"the plan reaches the accuracy asked for, {wanted:g}",
                plan.mean,
                plan.mean >= wanted,
            ),
        ),
        notes=tuple(notes),
    )
    return result, found


def _reached(
    name: str, way: Solution, options: PactRunOptions, *, say: Callable[[str], None]
) -> Reached:
    training = plan_of(options.pilot, options.nodes.nodes, way)
    accuracies, sent = [], []
    for seed in options.seeds:
        seeded = replace(training, config=replace(training.config, seed=seed))
        path = options.folder / f"{name.replace(', ', '-').replace(' ', '-')}-s{seed}"
        train_once(
            seeded.config,
            seeded.settings,
            path,
            dealt=dealing(seeded.nodes, names=seeded.names),
            said=f"seed {seed}, {name}",
            say=say,
        )
        lines = read_epochs(path)
        accuracies.append(lines[-1].accuracy)
        sent.append(sum(line.bytes_up + line.bytes_down for line in lines))
    return Reached(name, way, tuple(accuracies), fmean(sent))


def _row(each: Reached, plan: Reached) -> tuple[str, ...]:
    way = each.way
    deviation = f" ± {100 * stdev(each.accuracies):.1f}" if len(each.accuracies) > 1 else ""
    return (
        each.name,
        str(len(way.epochs)),
        f"{way.energy_j:,.0f}",
        f"{way.energy_j / plan.way.energy_j:.2f}" if plan.way.energy_j else "",
        f"{way.time_s / 60:.1f}",
        f"{way.num_bytes / 1e6:.1f}",
        f"{each.num_bytes / 1e6:.1f}",
        f"{100 * way.accuracy:.1f}",
        f"{100 * each.mean:.1f}{deviation}",
    )


def predicted_lines(options: PactRunOptions) -> dict[str, list[tuple[float, float]]]:
    """Return (energy in J, accuracy) by way of planning, for accuracies up to the one asked for.

    Each is what is predicted; an accuracy that a way does not reach in time is left out.
    """
    pilot, found = options.pilot, options.nodes.showing(options.pilot.labels)
    choices = list_choices(found, pilot.costs)
    margin = usual_margin(pilot) if options.margin is None else options.margin
    highest = min(0.99, options.wanted.accuracy + margin + ABOVE)
    lines: dict[str, list[tuple[float, float]]] = {}
    for number in range(NUM_GOALS):
        goal = replace(options.wanted, accuracy=highest * (0.6 + 0.4 * number / (NUM_GOALS - 1)))
        ways = {
            PLAN: solve(choices, pilot.curve, goal),
            **rivals(found, pilot.costs, pilot.curve, goal),
        }
        for name, way in ways.items():
            if way is not None:
                lines.setdefault(name, []).append((way.energy_j, goal.accuracy))
    return lines


def write_pact_report(
    result: BenchResult, found: Sequence[Reached], options: PactRunOptions, folder: Path
) -> Path:
    """Write pact-run.html and pact-run.png; return the path of the report."""
    lines = predicted_lines(options)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / f"{NAME}.png", draw_pact(lines, found, WIDE_IN))
    write_atomic(folder / f"{NAME}-narrow.png", draw_pact(lines, found, NARROW_IN))
    chart = themed_picture(
        lambda width_in, theme: draw_pact(lines, found, width_in, theme),
        alt="energy against accuracy: one line for each way to plan, points where it was trained",
    )
    plan = found[0]
    dearest_j = max(each.way.energy_j for each in found)
    lead = (
        f"{options.wanted.accuracy:.1%} were asked for. The plan reached {plan.mean:.1%} with "
        f"{plan.way.energy_j:,.0f} J; the dearest way without it needs {dearest_j:,.0f} J."
    )
    body = "\n".join(
        [
            f"<h1>{TITLE}</h1>",
            paragraphs([lead]),
            chart,
            text_table(result.columns, result.rows, caption="All that was trained"),
            bullets(result.notes),
            "<h2>How this was made</h2>",
            facts(provenance()),
        ]
    )
    path = folder / f"{NAME}.html"
    write_atomic(path, page("Headgate: planned training", body))
    return path
