"""A step of one half: what it changes, and what is left of one that is undone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headgate.profiles.train_messages import Place
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.half_step import HalfSteps
from headgate.train.split_training.settings import DepruneSettings, parse_schedule, rate_of

CONFIG = PruneConfig(lr=0.5, momentum=0.0, weight_decay=0.0)
SETTINGS = DepruneSettings(parse_schedule("2:2"))


def normalised(seed: int = 0) -> tuple[nn.BatchNorm1d, HalfSteps]:
    """Return a layer that a forward pass changes, and its steps."""
    torch.manual_seed(seed)
    layer = nn.BatchNorm1d(3)
    averages = [layer.running_mean, layer.running_var]
    found = [average for average in averages if average is not None]
    return layer, HalfSteps(list(layer.parameters()), found, config=CONFIG, settings=SETTINGS)


def test_averages_that_are_put_back_are_as_before_the_pass() -> None:
    layer, steps = normalised()
    before = steps.averages_before()
    layer(torch.randn(8, 3) + 5)
    assert not all(map(torch.equal, before, steps.averages))
    steps.put_back(before)
    assert all(map(torch.equal, before, steps.averages))
    assert layer.running_mean is steps.averages[0]


def test_a_step_moves_the_weights_by_the_rate_of_its_place() -> None:
    layer, steps = normalised()
    begun = layer.bias.detach().clone()
    steps.backward([layer.bias.sum()])
    steps.take(Place(1, 2), num_steps=4)
    rate = rate_of(CONFIG, SETTINGS, epoch=1, step=2, num_steps=4)
    assert 0 < rate < 0.5  # it has fallen by then
    torch.testing.assert_close(begun - layer.bias.detach(), torch.full((3,), rate))


def test_gradients_of_one_step_do_not_add_to_those_of_the_next() -> None:
    layer, steps = normalised()
    for _ in range(2):
        steps.backward([layer.bias], [torch.full((3,), 2.0)])
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("where", ["gradient", "average", "elsewhere"])
def test_a_number_that_is_not_finite_is_seen_wherever_it_is(where: str) -> None:
    layer, steps = normalised()
    steps.backward([layer.bias.sum()])
    other = torch.zeros(2)
    assert steps.is_finite(other)
    assert layer.bias.grad is not None
    spoilt = {"gradient": layer.bias.grad, "average": steps.averages[1], "elsewhere": other}
    spoilt[where][1] = float("nan")
    assert not steps.is_finite(other)
