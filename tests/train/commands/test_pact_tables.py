"""Claims about tables of `headgate train pact`: a column has one unit, and none says too much."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from headgate.train.commands.pact_tables import came_to, curve_table, epochs_table, rivals_table
from headgate.train.pact.learning_curve import Shown, Trained
from headgate.train.pact.pilot import TimeLeft
from headgate.train.pact.pilot_file import SCHEMA, Pilot
from headgate.train.pact.plan_file import PlannedEpoch, TrainingPlan
from headgate.train.pact.planner import Solution
from headgate.train.pact.planning import Planned
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.epoch_record import DEPRUNE_EPOCH_SCHEMA, DepruneEpoch
from headgate.train.split_training.settings import DepruneSettings
from train.pact.small_plans import CURVE, NETWORK

SETTINGS = DepruneSettings(phases=(), client_sync="fedavg")


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=120, markup=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def plan(*epochs: PlannedEpoch) -> TrainingPlan:
    return TrainingPlan(
        1,
        PruneConfig(),
        SETTINGS,
        (),
        epochs,
        accuracy=0.6,
        time_s=sum(each.time_s for each in epochs),
        energy_j=sum(each.energy_j for each in epochs),
        num_bytes=sum(each.num_bytes for each in epochs),
    )


def test_all_rows_of_a_plan_are_in_the_units_of_its_sum() -> None:
    short = PlannedEpoch(4, ("door",), time_s=30.0, energy_j=360.0, num_bytes=2e6)
    long = PlannedEpoch(32, ("gate",), time_s=600.0, energy_j=7200.0, num_bytes=5e6)
    text = printed(epochs_table(plan(short, long)))
    assert "min" in text
    assert "Wh" in text
    for cell in (" 0.5 ", " 10.0 ", " 10.5 ", " 0.10 ", " 2.00 ", " 2.10 ", " 7.0 "):
        assert cell in text, text
    assert ", J" not in text
    text = printed(epochs_table(plan(short)))
    for cell in ("energy, J", "time, s", " 360 ", " 30 "):
        assert cell in text, text


def test_all_rivals_are_in_the_same_units() -> None:
    def solution(time_s: float, energy_j: float) -> Solution:
        return Solution((), 0.6, time_s, energy_j, num_bytes=0.0)

    few, many = solution(60.0, 720.0), solution(1200.0, 36_000.0)
    text = printed(rivals_table(Planned(few, {"few": few, "many": many, "none": None})))
    for cell in ("time, min", "energy, Wh", " 1.0 ", " 20.0 ", " 0.20 ", " 10.00 ", "not reached"):
        assert cell in text, text


def test_a_best_accuracy_that_the_pilot_cannot_tell_is_not_told() -> None:
    trained = (Trained((Shown(32, 10_000),), 0.95),)
    pilot = Pilot(SCHEMA, PruneConfig(), SETTINGS, ("cat", "dog"), NETWORK, trained, CURVE)
    text = printed(curve_table(pilot))  # the floors are 2 % and none
    assert "98.0 %" in text
    assert "not determined by this pilot" in text
    shorter = replace(pilot, trained=(replace(trained[0], accuracy=0.3),))
    assert "98.0 %" not in printed(curve_table(shorter))


def test_a_run_is_told_beside_its_plan() -> None:
    def epoch(accuracy: float) -> DepruneEpoch:
        return DepruneEpoch(
            DEPRUNE_EPOCH_SCHEMA,
            epoch=1,
            num_epochs=2,
            phase=0,
            budget=4,
            learning_rate=0.1,
            loss=1.0,
            train_accuracy=0.5,
            accuracy=accuracy,
            exit_accuracy=0.5,
            num_batches=1,
            num_pictures=1,
            bytes_up=2_000_000,
            bytes_down=1_000_000,
            total_bytes=0,
            refused=0,
            train_s=1.0,
            evaluate_s=1.0,
            pictures_per_s=1.0,
        )

    planned = plan(PlannedEpoch(4, ("door",), time_s=30.0, energy_j=360.0, num_bytes=7e6))
    assert came_to(planned, [epoch(0.4), epoch(0.59)]) == (
        "reached 59.0 %, 60.0 % was predicted; 6.0 MB crossed, 7.0 were planned"
    )


@pytest.mark.parametrize(
    ("took_s", "words"), [(10.0, "; about 60 s left"), (60.0, "; about 6 min left"), (None, "")]
)
def test_the_time_left_is_that_of_the_epochs_left(took_s: float | None, words: str) -> None:
    left = TimeLeft([1.0, 2.0, 4.0])
    left.done(1.0, took_s)
    assert left.words == words
    left.done(6.0, 100.0)
    assert left.words == ""
