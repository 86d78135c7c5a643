"""Claims about curves: what they are, that a fit finds them again, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.pact.learning_curve import LearningCurve, Shown, Trained, fit
from headgate.train.pact.pilot import trials_of
from train.pact.small_plans import CURVE


def pilot_of(curve: LearningCurve, *, epochs: int = 8, noise: float = 0.0) -> list[Trained]:
    """Return what a pilot would find where a network learns as `curve` says."""
    runs = []
    for number, trial in enumerate(trials_of(curve.budgets, epochs=epochs)):
        num_pictures = 10_000 // trial.part
        shown = [
            Shown(p.budget, num_pictures, trial.clients)
            for p in trial.phases
            for _ in range(p.epochs)
        ]
        off = noise * (-1) ** number
        runs.append(Trained(tuple(shown), curve.accuracy(shown) + off))
    return runs


def test_progress_counts_maps_order_and_how_often_pictures_were_seen() -> None:
    fade = exp(-1 / 30)
    assert CURVE.progress([Shown(32, 100), Shown(32, 100)]) == pytest.approx(100 + 100 * fade)
    assert CURVE.progress([Shown(4, 100), Shown(32, 100)]) == pytest.approx(70 + 100 * fade)
    assert CURVE.progress([Shown(32, 100), Shown(4, 100)]) == pytest.approx(100 + 85 * fade)
    third = CURVE.progress([Shown(32, 100), Shown(4, 100), Shown(4, 100)])
    assert third == pytest.approx(100 + 85 * fade + 70 * fade**2)  # one epoch does not carry two


def test_more_clients_are_worth_less_for_the_same_pictures() -> None:
    assert CURVE.progress([Shown(32, 100, 4)]) == pytest.approx(100 * 4**-0.2)


def test_the_progress_that_an_accuracy_needs_leads_to_it() -> None:
    needed = CURVE.progress_for(0.7, last_budget=32)
    assert needed is not None
    unfading = replace(CURVE, repeats=1e9)
    assert unfading.accuracy([Shown(32, round(needed))]) == pytest.approx(0.7, abs=1e-4)


def test_below_its_floor_no_budget_comes() -> None:
    assert CURVE.progress_for(0.985, last_budget=4) is None
    assert CURVE.progress_for(0.985, last_budget=32) is not None


def test_a_fit_finds_the_curve_again_that_trainings_follow() -> None:
    found = fit(pilot_of(CURVE))
    assert found.rms_error < 0.003
    for epochs in (
        [Shown(4, 10_000)] * 20,
        [Shown(32, 10_000)] * 20,
        [Shown(32, 5_000)] * 4 + [Shown(4, 5_000)] * 20,
    ):
        assert found.accuracy(epochs) == pytest.approx(CURVE.accuracy(epochs), abs=0.01)


def test_a_fit_is_not_thrown_off_by_trainings_that_differ_by_chance() -> None:
    found = fit(pilot_of(CURVE, noise=0.01))
    assert found.rms_error == pytest.approx(0.015, abs=0.007)
    epochs = [Shown(4, 10_000)] * 12
    assert found.accuracy(epochs) == pytest.approx(CURVE.accuracy(epochs), abs=0.03)


def test_a_floor_of_few_maps_above_what_many_reach_is_found() -> None:
    steep = replace(CURVE, floors=(0.3, 0.0), exponent=0.6, scale=0.6 * 1e4**0.6)
    found = fit(pilot_of(steep))
    assert found.floors[0] == pytest.approx(0.3, abs=0.02)
    epochs = [Shown(4, 10_000)] * 32
    assert found.accuracy(epochs) == pytest.approx(steep.accuracy(epochs), abs=0.02)


def test_an_accuracy_that_would_take_for_ever_is_out_of_reach() -> None:
    flat = replace(CURVE, floors=(0.05, 0.05), scale=0.9, exponent=0.02)
    assert flat.progress_for(0.95 - 1e-9, last_budget=32) is None


def test_fewer_maps_never_have_the_lower_floor() -> None:
    odd = replace(CURVE, floors=(0.0, 0.1))
    found = fit(pilot_of(odd))
    assert found.floors[0] >= found.floors[1]


def test_too_few_trainings_are_refused() -> None:
    with pytest.raises(UsageError, match="4 trainings, expected 8 or more"):
        fit(pilot_of(CURVE)[:4])


def test_trainings_of_one_length_are_refused() -> None:
    alike = [Trained((Shown(4, 100), Shown(4, 100)), 0.5), Trained((Shown(32, 100),), 0.6)] * 4
    with pytest.raises(UsageError, match="of 4 maps there are trainings of 1 lengths"):
        fit(alike)
