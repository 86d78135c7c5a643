"""What a trained network is worth, and when it is worth nothing."""

from pathlib import Path

import pytest
import torch

from headgate.profiles.errors import TrainingError
from headgate.train.split_training.evaluation import evaluate_levels
from train.split_training.small import small_client, small_plan, small_settings


def test_a_network_whose_maps_are_not_finite_is_refused(pictures: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    model = small_client(plan, settings).half.model
    levels = plan.config.levels
    entry, *_ = evaluate_levels(model, plan.data, levels=levels)
    assert 0 <= entry.accuracy <= 1
    torch.nn.init.constant_(model.get_parameter("bottleneck.encoder.weight"), float("nan"))
    with pytest.raises(TrainingError, match="maps are not finite numbers; lower --lr"):
        evaluate_levels(model, plan.data, levels=levels)
