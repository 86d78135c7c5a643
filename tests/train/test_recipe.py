"""Claims about what settings mean."""

from dataclasses import replace

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.progressive import ProgressiveConfig
from headgate.train.recipe import PruneConfig, default_split, default_width, differences


def test_a_users_model_has_no_default_split() -> None:
    with pytest.raises(UsageError, match="train splits mine:net"):
        default_split(PruneConfig(model="mine:net"))
    assert default_split(PruneConfig(model="mine:net", split="body.3")) == "body.3"


def test_a_misspelt_model_is_told_the_models_there_are_and_not_of_splits() -> None:
    with pytest.raises(UsageError, match="'vgg12' is not a built-in model; use one of vgg11, "):
        default_split(PruneConfig(model="vgg12"))


def test_networks_for_the_embedded_pictures_are_narrow_unless_they_are_the_users() -> None:
    assert default_width(PruneConfig(data="embedded:px=128")) == 0.25
    assert default_width(PruneConfig(data="embedded", width=1.0)) == 1.0
    assert default_width(PruneConfig(data="embedded", model="mine:net")) == 1.0
    assert default_width(PruneConfig(data="cifar10:somewhere")) == 1.0


def test_differences_name_what_changes_the_result_and_nothing_else() -> None:
    before = PruneConfig(seed=1, checkpoint_steps=None)
    assert differences(PruneConfig(seed=2, checkpoint_steps=5), before) == ["seed: now 2, before 1"]


def test_differences_of_two_progressive_members_are_named_one_by_one() -> None:
    before = PruneConfig(epochs=3, progressive=ProgressiveConfig(epochs=4))
    now = PruneConfig(epochs=5, progressive=ProgressiveConfig(epochs=6, method="clio"))
    assert differences(now, before) == [
        "epochs: now 5, before 3",
        "progressive.method: now clio, before nair",
        "progressive.epochs: now 6, before 4",
    ]
    assert differences(PruneConfig(), replace(PruneConfig(), progressive=now.progressive)) == [
        f"progressive: now None, before {now.progressive}"
    ]
