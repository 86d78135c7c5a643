"""Tests of the data set that is made rather than downloaded."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.labelled import Split
from headgate.train.pictures import embedded
from headgate.train.pictures.embedded import EmbeddedSpec, make_embedded, parse_embedded


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("embedded", EmbeddedSpec()),
        ("embedded:128", EmbeddedSpec(px=128)),
        ("embedded:px=128,train=50,val=7,seed=3", EmbeddedSpec(128, 50, 7, 3)),
        ("embedded:160,train=50", EmbeddedSpec(px=160, train=50)),
    ],
)
def test_specifications_are_read(text: str, spec: EmbeddedSpec) -> None:
    assert parse_embedded(text) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("embedded:64", "64 px, expected 96 to 512"),
        ("embedded:1000", "1000 px, expected"),
        ("embedded:big", "option 'big'"),
        ("embedded:px=96,px=97", "option 'px=97'"),
        ("embedded:width=96", "option 'width=96', expected each of px, train, val, seed"),
        ("embedded:train=0", "0 and 1500 pictures"),
        ("embedded:train=-4", "option 'train=-4'"),
        ("cifar10:x", "not the embedded one"),
    ],
)
def test_wrong_specifications_are_usage_errors(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_embedded(text)


def test_the_same_specification_makes_the_same_pictures() -> None:
    first = make_embedded(EmbeddedSpec(train=20), "train")
    second = make_embedded(EmbeddedSpec(train=20), "train")
    np.testing.assert_array_equal(first.all_pictures(), second.all_pictures())
    assert first.digest == second.digest
    assert first.size_px == (96, 96)
    assert first.labels == tuple("0123456789")


def test_a_shorter_data_set_is_the_beginning_of_a_longer_one() -> None:
    long = make_embedded(EmbeddedSpec(train=80), "train")
    short = make_embedded(EmbeddedSpec(train=80), "train", limit=70)
    assert len(short) == 70
    np.testing.assert_array_equal(short.all_pictures(), long.all_pictures()[:70])
    np.testing.assert_array_equal(short.all_labels(), long.all_labels()[:70])
    assert short.digest != long.digest


def test_seed_split_and_block_change_the_pictures() -> None:
    train = make_embedded(EmbeddedSpec(train=65), "train")
    seeded = make_embedded(EmbeddedSpec(train=1, seed=1), "train")
    val = make_embedded(EmbeddedSpec(val=1), "val")
    for other in (seeded.picture(0), val.picture(0), train.picture(64)):
        assert (other != train.picture(0)).mean() > 0.5


def test_training_and_validation_share_no_digit() -> None:
    digits: dict[Split, set[bytes]] = {}
    for split in embedded._SPLITS:
        coarse, labels = embedded._load_digits(split)
        assert set(labels) == set(range(10))
        digits[split] = {digit.numpy().tobytes() for digit in coarse}
    assert len(digits["train"]) + len(digits["val"]) > 1700
    assert not digits["train"] & digits["val"]


def test_training_and_validation_share_no_strip_of_a_photograph() -> None:
    strips = sorted(strip for part in embedded._STRIPS.values() for strip in part)
    assert all(first[1] <= second[0] for first, second in pairwise(strips))


@pytest.mark.parametrize("px", [96, 250])
def test_every_size_is_made(px: int) -> None:
    made = make_embedded(EmbeddedSpec(px=px, val=2), "val")
    assert made.picture(1).shape == (px, px, 3)
    assert made.picture(1).std() > 10


def test_all_digits_occur_about_equally() -> None:
    labels = make_embedded(EmbeddedSpec(train=384), "train").all_labels()
    assert np.bincount(labels, minlength=10).min() > 15
