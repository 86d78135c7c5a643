"""Claims about dealing one data set to nodes: as many as each has, of its labels, to one alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from headgate.profiles.errors import DataError, UsageError
from headgate.train.pact.dealing import deal, dealing
from headgate.train.run.plan import Plan
from train.pact.small_plans import node

LABELS = ("cat", "dog")
LABELS_N = np.array([0, 1] * 50)


def test_each_picture_goes_to_one_node_and_shows_what_the_node_does() -> None:
    nodes = [node("all", pictures=40), node("dogs", pictures=30, labels=("dog",))]
    dealt = deal(nodes, LABELS_N, labels=LABELS, seed=0)
    assert list(dealt) == ["all", "dogs"]
    assert [len(own_N) for own_N in dealt.values()] == [40, 30]
    assert len({*dealt["all"], *dealt["dogs"]}) == 70
    assert set(LABELS_N[dealt["dogs"]]) == {1}
    assert set(LABELS_N[dealt["all"]]) == {0, 1}


def test_the_same_seed_deals_the_same_and_another_does_not() -> None:
    nodes = [node("all", pictures=40)]
    one, same, other = (deal(nodes, LABELS_N, labels=LABELS, seed=s)["all"] for s in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


def test_a_node_with_few_labels_is_served_before_others_take_them() -> None:
    nodes = [node("all", pictures=50), node("dogs", pictures=50, labels=("dog",))]
    dealt = deal(nodes, LABELS_N, labels=LABELS, seed=0)
    assert set(LABELS_N[dealt["dogs"]]) == {1}


def test_more_pictures_than_there_are_are_refused() -> None:
    with pytest.raises(DataError, match="node dogs: is to have 51 pictures, and 50 are left") as e:
        deal([node("dogs", pictures=51, labels=("dog",))], LABELS_N, labels=LABELS, seed=0)
    assert "are to have 51, and the data set has 100; give nodes fewer" in str(e.value)


def test_too_few_pictures_for_a_batch_are_refused() -> None:
    with pytest.raises(DataError, match="node all: is to have 1 pictures, expected 2 or more"):
        deal([node("all", pictures=1)], LABELS_N, labels=LABELS, seed=0)


def test_nodes_that_do_not_train_are_dealt_no_pictures() -> None:
    nodes = [node("idle", pictures=90), node("busy", pictures=80)]
    data = SimpleNamespace(train_labels_N=torch.from_numpy(LABELS_N), labels=LABELS)
    plan = SimpleNamespace(data=data, config=SimpleNamespace(seed=0))
    dealt = dealing(nodes, names={"busy"})(cast("Plan", plan))
    assert {name: len(own_N) for name, own_N in dealt.items()} == {"busy": 80}


def test_a_label_that_the_data_set_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="the data set has no label 'cow'; it has cat, dog"):
        deal([node("cows", labels=("cow",))], LABELS_N, labels=LABELS, seed=0)
