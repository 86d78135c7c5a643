"""Claims about the settings of split training: schedules, learning rates, what must agree."""

from dataclasses import replace
from typing import Any

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import InputSpec
from headgate.train.networks.blueprint import Blueprint
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.settings import (
    DepruneSettings,
    Phase,
    agreement,
    parse_schedule,
    rate_of,
)

PAPER = DepruneSettings(parse_schedule("4:15,128:7"))
BLUEPRINT = Blueprint(
    "vgg11", 1.0, "features.7", 1, 500, 128, (256,), InputSpec(32, 32), (0.5,) * 3, (0.2,) * 3
)
RECIPE = PruneConfig(lr=0.1, gamma=3.0, raise_epochs=2, schedule="constant")


def test_the_papers_schedule_has_4_maps_for_15_epochs_and_128_for_7() -> None:
    assert PAPER.phases == (Phase(4, 15), Phase(128, 7))
    assert PAPER.num_epochs == 22
    assert [PAPER.budget_of(epoch) for epoch in (0, 14, 15, 21)] == [4, 4, 128, 128]
    assert (PAPER.first_epoch(0), PAPER.first_epoch(1)) == (0, 15)


def test_one_map_for_one_epoch_is_a_schedule() -> None:
    assert parse_schedule("1:1") == (Phase(1, 1),)


def test_few_maps_may_come_last() -> None:
    assert parse_schedule("128:7,4:15") == (Phase(128, 7), Phase(4, 15))
    assert parse_schedule("4:1,128:7,4:15")[2] == Phase(4, 15)


@pytest.mark.parametrize(
    ("changes", "saves"),
    [
        ({}, False),
        ({"compress": True}, True),
        ({"feature_bits": 8}, True),
        ({"gradient_bits": 16}, True),
    ],
)
def test_bits_are_saved_by_any_of_three_settings(changes: dict[str, Any], saves: bool) -> None:
    assert replace(PAPER, **changes).saves_bits == saves


@pytest.mark.parametrize(
    "text", ["", "4", "4:", ":3", "4:0", "0:3", "4:3,4:3", "4:3,8:1,8:1", "4:3,,8:1", "4:-1", "a:b"]
)
def test_a_schedule_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--schedule: "):
        parse_schedule(text)


def test_the_rate_is_raised_by_gamma_in_the_first_epochs_of_a_larger_budget_only() -> None:
    rates = [rate_of(RECIPE, PAPER, epoch=epoch, step=3, num_steps=4) for epoch in range(22)]
    assert rates[1:15] == [0.1] * 14
    assert rates[15:17] == pytest.approx([0.3, 0.3])
    assert rates[17:] == [0.1] * 5


def test_the_rate_falls_once_over_the_run_or_anew_with_each_budget() -> None:
    recipe = PruneConfig(lr=0.1, gamma=1.0, schedule="cosine")
    whole, anew = (
        [
            rate_of(recipe, replace(PAPER, anneal=anneal), epoch=epoch, step=3, num_steps=4)
            for epoch in range(22)
        ]
        for anneal in ("whole", "budget")
    )
    assert whole[2:] == sorted(whole[2:], reverse=True)
    assert whole[21] < 0.001
    assert anew[14] < 0.001
    assert anew[15] > 0.09


def test_the_rate_of_a_side_that_begins_later_falls_over_what_is_left() -> None:
    recipe = PruneConfig(lr=0.1, gamma=1.0, schedule="cosine")
    ten, four = (DepruneSettings(parse_schedule(schedule)) for schedule in ("8:10", "8:4"))
    for epoch in range(4):
        at = {"step": 3, "num_steps": 5}
        late = rate_of(recipe, ten, epoch=6 + epoch, from_epoch=6, **at)
        assert late == rate_of(recipe, four, epoch=epoch, **at)


def test_the_first_steps_warm_up() -> None:
    rates = [rate_of(RECIPE, PAPER, epoch=0, step=step, num_steps=4) for step in range(4)]
    assert rates == sorted(rates)
    assert rates[0] < 0.05


def test_long_lists_of_labels_differ_by_their_digest() -> None:
    lists = [[f"class {n}" for n in range(500)], [f"class {n}" for n in range(500)]]
    lists[1][400:402] = ["class 401", "class 400"]
    one, other = (
        agreement(RECIPE, PAPER, BLUEPRINT, labels=labels, wire_version=2)["labels"]
        for labels in lists
    )
    assert one != other
    assert max(len(one), len(other)) <= 80
    few = agreement(RECIPE, PAPER, BLUEPRINT, labels=["cat", "dog"], wire_version=2)
    assert few["labels"] == "cat, dog"
