"""Claims about settings that are refused."""

from dataclasses import replace

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.recipe import PruneConfig
from headgate.train.run.recipe_checks import check_config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "--lr: found 0.0, expected a number above 0"),
        ({"lr": float("nan")}, "--lr"),
        ({"normalise": "mean"}, "--normalise: found 'mean', expected data, unit, imagenet"),
        ({"gamma": -1.0}, "--gamma"),
        ({"epsilon": -0.1}, "--epsilon"),
        ({"delta": 10.5}, "--delta: found 10.5, expected at most 10"),
        ({"lambda_": 1.5}, "--lambda: found 1.5, expected 0 to 1"),
        ({"distill": -0.5}, "--distill"),
        ({"momentum": 1.0}, "--momentum"),
        ({"levels": (256, 1)}, "--levels: 1 is impossible; give numbers from 2 to 256"),
        ({"levels": ()}, "--levels: the list is empty"),
        ({"levels": (8, 8)}, "--levels: 8 is given more than once"),
        ({"schedule": "linear"}, "--schedule: 'linear' is not one of cosine, step"),
        ({"precision": "float16"}, "--precision"),
        ({"device": "tpu"}, "--device"),
        ({"epochs": 0}, "--epochs: found 0, expected 1 or more"),
        ({"member_epochs": 0}, "--member-epochs"),
        ({"batch_size": 1}, "--batch-size"),
        ({"resolution_factor": 0}, "--resolution: found 0"),
        ({"checkpoint_steps": 0}, "--checkpoint-steps"),
        ({"backbone": "a", "from_scratch": True}, "--backbone"),
        ({"distill": 0.5, "from_scratch": True}, "--distill"),
        ({"data": "npz:/tmp/\udcff.npz"}, r"--data: 'npz:/tmp/\\udcff.npz' is not UTF-8"),
        ({"backbone": "\udcff"}, "--backbone: .* is not UTF-8, expected text"),
    ],
)
def test_senseless_settings_are_refused_by_the_name_of_their_option(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_config(replace(PruneConfig(), **changes))  # type: ignore[arg-type]


def test_a_given_backbone_needs_no_epochs() -> None:
    check_config(PruneConfig(backbone="run", epochs=0))
    assert PruneConfig(backbone="run").backbone_epochs == 0
