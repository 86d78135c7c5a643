"""Claims about whose pictures are whose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.train.split_training.partition import own_pictures

LABELS = np.arange(60) % 6


@given(partition=st.sampled_from(["drawn", "classes"]), of=st.integers(1, 20), seed=st.integers())
def test_each_picture_is_one_clients(partition: str, of: int, seed: int) -> None:
    parts = [
        own_pictures(LABELS, (number, of), partition=partition, num_classes=6, seed=seed)
        for number in range(1, of + 1)
    ]
    assert sorted(np.concatenate(parts).tolist()) == list(range(60))
    assert all(len(part) for part in parts)


@pytest.mark.parametrize(("of", "expected"), [(2, {0, 2, 4}), (3, {0, 3}), (6, {0}), (12, {0})])
def test_clients_have_classes_of_their_own(of: int, expected: set[int]) -> None:
    mine = own_pictures(LABELS, (1, of), partition="classes", num_classes=6, seed=0)
    assert set(LABELS[mine].tolist()) == expected


def test_clients_that_share_a_class_have_half_of_it_each() -> None:
    one, other = (
        own_pictures(LABELS, (number, 12), partition="classes", num_classes=6, seed=0)
        for number in (2, 8)
    )
    assert set(LABELS[one]) == set(LABELS[other]) == {1}
    assert len(one) == len(other) == 5
