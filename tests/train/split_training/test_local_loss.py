"""Claims about the losses by which a client trains without the server."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headgate.train.split_training.local_loss import LocalHead, contrastive_loss


def in_words(directions: list[list[float]], labels: list[int], temperature: float) -> float:
    """Return the loss as its definition reads, one pair at a time."""
    losses = []
    for i, own in enumerate(directions):
        likeness = [
            math.exp(sum(a * b for a, b in zip(own, other, strict=True)) / temperature)
            for other in directions
        ]
        others = sum(each for j, each in enumerate(likeness) if j != i)
        company = [j for j in range(len(labels)) if j != i and labels[j] == labels[i]]
        if company:
            losses.append(-sum(math.log(likeness[j] / others) for j in company) / len(company))
    return sum(losses) / len(losses) if losses else 0.0


@given(
    labels=st.lists(st.integers(0, 2), min_size=2, max_size=7),
    seed=st.integers(0, 1000),
    temperature=st.floats(0.1, 2.0),
)
def test_contrastive_loss_is_what_its_definition_says(
    labels: list[int], seed: int, temperature: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    directions_BD = torch.nn.functional.normalize(torch.randn(len(labels), 3, generator=draw))
    found = contrastive_loss(directions_BD, torch.tensor(labels), temperature=temperature)
    expected = in_words(directions_BD.tolist(), labels, temperature)
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_batch_in_which_no_class_has_two_pictures_teaches_nothing() -> None:
    directions_BD = torch.eye(3).requires_grad_(True)
    loss = contrastive_loss(directions_BD, torch.tensor([0, 1, 2]), temperature=0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert directions_BD.grad is not None
    assert not directions_BD.grad.any()


@pytest.mark.parametrize("kind", ["contrastive", "label"])
def test_maps_that_do_not_cross_count_as_zero(kind: str) -> None:
    torch.manual_seed(0)
    head = LocalHead(5, code_px=(6, 6), num_classes=3, kind=kind)
    whole = torch.full((2, 5, 6, 6), 0.0)
    sent = torch.rand(2, 2, 6, 6)
    whole[:, [1, 4]] = sent
    every, some = torch.arange(5), torch.tensor([1, 4])
    torch.testing.assert_close(head(whole, selected_C=every), head(sent, selected_C=some))


@pytest.mark.parametrize("kind", ["contrastive", "label"])
def test_descending_the_loss_tells_classes_apart(kind: str) -> None:
    torch.manual_seed(0)
    head = LocalHead(2, code_px=(3, 3), num_classes=2, kind=kind)
    code_BCHW = torch.rand(8, 2, 3, 3).requires_grad_(True)
    labels_B = torch.tensor([0, 1] * 4)
    optimizer = torch.optim.SGD([code_BCHW, *head.parameters()], lr=0.5)

    def loss() -> torch.Tensor:
        return head.loss(code_BCHW, labels_B, selected_C=torch.arange(2), temperature=0.5)

    before = loss().item()
    for _ in range(30):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss().item() < 0.8 * before
