"""Claims about each client's own view of the server's layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headgate.train.split_training.client_views import ClientViews, maskable_layers


def tail() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 4 * 4, 5),
        nn.ReLU(),
        nn.Linear(5, 2),
    )


def views_of(layers: nn.Sequential, kind: str = "masks") -> ClientViews:
    return ClientViews(layers, list(layers.buffers()), kind=kind, mask_weight=0.1)


def seen(layers: nn.Sequential, x_BCHW: torch.Tensor) -> torch.Tensor:
    layers.eval()
    with torch.no_grad():
        out: torch.Tensor = layers(x_BCHW)
    return out


def trained(layers: nn.Sequential, views: ClientViews, name: str, x_BCHW: torch.Tensor) -> None:
    """Take one step on a client's batch, of its gains alone."""
    layers.train()
    with views.worn(name) as gains_M:
        (layers(x_BCHW).square().mean() + views.penalty(gains_M)).backward()
        views.step(gains_M, rate=0.5)


def test_gains_are_those_of_batch_norms_and_hidden_units_and_of_convolutions_without_any() -> None:
    layers = tail()
    assert maskable_layers(layers) == [layers[1], layers[4]]
    plain = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    assert maskable_layers(plain) == [plain[0]]


@pytest.mark.parametrize("kind", ["statistics", "masks"])
def test_what_one_client_is_trained_on_changes_nothing_that_another_sees(kind: str) -> None:
    layers, x_BCHW = tail(), torch.randn(4, 2, 6, 6)
    views = views_of(layers, kind)
    with views.worn("bo"):
        before = seen(layers, x_BCHW)
    for _ in range(3):
        trained(layers, views, "ann", 5.0 + x_BCHW)
    with views.worn("bo"):
        torch.testing.assert_close(seen(layers, x_BCHW), before, rtol=0, atol=0)
    with views.worn("ann"):
        assert not torch.allclose(seen(layers, x_BCHW), before, atol=1e-3)


def test_a_shared_view_is_everyones() -> None:
    layers, x_BCHW = tail(), torch.randn(4, 2, 6, 6)
    views = views_of(layers, "shared")
    with views.worn("bo"):
        before = seen(layers, x_BCHW)
    trained(layers, views, "ann", 5.0 + x_BCHW)
    with views.worn("bo"):
        assert not torch.allclose(seen(layers, x_BCHW), before, atol=1e-3)
    assert views.state() == {}


@pytest.mark.parametrize("kind", ["statistics", "masks"])
def test_a_folded_network_answers_as_the_one_that_is_worn_and_is_put_back(kind: str) -> None:
    layers, x_BCHW = tail(), torch.randn(4, 2, 6, 6)
    views = views_of(layers, kind)
    for _ in range(3):
        trained(layers, views, "ann", x_BCHW)
    with views.worn("ann"):
        worn = seen(layers, x_BCHW)
    before = {key: tensor.clone() for key, tensor in layers.state_dict().items()}
    with views.folded("ann"):
        torch.testing.assert_close(seen(layers, x_BCHW), worn)
        exported = nn.Sequential(*tail().children())
        exported.load_state_dict(layers.state_dict())
        torch.testing.assert_close(seen(exported, x_BCHW), worn)
    assert all(torch.equal(before[key], value) for key, value in layers.state_dict().items())


def test_gains_that_nothing_needs_fall() -> None:
    layers = tail()
    views = ClientViews(layers, [], kind="masks", mask_weight=8.0)
    x_BCHW = torch.zeros(4, 2, 6, 6)
    with views.worn("ann") as gains_M:
        views.penalty(gains_M).backward()  # type: ignore[union-attr]
        views.step(gains_M, rate=0.5)
        assert torch.allclose(gains_M, torch.full((8,), 0.5))
        assert gains_M.grad is None
        assert seen(layers, x_BCHW).isfinite().all()


def test_views_go_on_from_what_a_checkpoint_kept() -> None:
    layers, x_BCHW = tail(), torch.randn(4, 2, 6, 6)
    views = views_of(layers)
    trained(layers, views, "ann", 5.0 + x_BCHW)
    with views.worn("ann"):
        expected = seen(layers, x_BCHW)
    later = views_of(layers)  # of a process that goes on; only one of them is worn at a time
    for name, view in views.state().items():
        for key, tensor in view.items():
            later.restore(name, key, tensor.clone())
    with later.worn("ann"):
        torch.testing.assert_close(seen(layers, x_BCHW), expected, rtol=0, atol=0)
