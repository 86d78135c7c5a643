"""Claims about what a member's step minimises, and whose answers it follows."""

import random

import pytest
import torch
from torch.nn import functional

from headgate.train.learning.losses import LossWeights
from headgate.train.learning.material import Lesson
from headgate.train.learning.objectives import MemberObjective, teachers_answers
from headgate.train.networks.backbones import Normalise, PlainModel, build_backbone
from headgate.train.networks.split_model import SplitModel, build_split_model, cut_network

LABELS_B = torch.tensor([0, 1, 0, 1])
MEAN, STD = (0.5,) * 3, (0.25,) * 3


@pytest.fixture
def plain() -> PlainModel:
    torch.manual_seed(0)
    network = build_backbone("lenet", num_classes=2, input_px=16)
    return PlainModel(Normalise(MEAN, STD), network).eval()


@pytest.fixture
def member(plain: PlainModel) -> SplitModel:
    network = cut_network(
        plain.network,
        split="features.2",
        example_BCHW=torch.zeros(1, 3, 16, 16),
        num_classes=2,
        mean=MEAN,
        std=STD,
    )
    made = build_split_model(network, budget=3)
    made.freeze_selection()
    return made.train()


def lesson() -> Lesson:
    draw = torch.Generator().manual_seed(1)
    return Lesson(torch.rand(4, 3, 16, 16, generator=draw), LABELS_B)


def test_bits_are_free_until_the_ranges_are_held_that_they_are_counted_in(
    member: SplitModel,
) -> None:
    weights = LossWeights(prune=0.0, rate=0.01, exit=0.0, distill=0.0)
    step = MemberObjective(member, weights, levels=(16,))
    assert not member.ranges_follow  # nobody asked to hold them
    member.code_range.hold_after(2)
    for is_held in (False, True, True):  # the second batch is the last one that they follow
        losses = step(member, lesson(), random.Random(0)).losses
        assert losses.rate_bits.item() > 1
        cost = 0.01 * losses.rate_bits.item() if is_held else 0.0
        assert losses.total.item() == pytest.approx(losses.task.item() + cost)


def test_a_member_follows_a_teacher_that_answers_the_same_pictures(
    plain: PlainModel, member: SplitModel
) -> None:
    weights = LossWeights(prune=0.0, exit=0.0, distill=1.0)
    step = MemberObjective(member, weights, levels=(16,), teacher=plain)
    losses = step(member, lesson(), random.Random(0)).losses
    assert losses.total.item() == pytest.approx(losses.distill.item())
    taught_BK = teachers_answers(lesson(), teacher=plain, weights=weights)
    assert taught_BK is not None
    assert not taught_BK.requires_grad
    assert torch.equal(taught_BK, plain(lesson().x_BCHW))


def test_answers_that_came_with_a_lesson_go_before_those_of_a_teacher(plain: PlainModel) -> None:
    known_BK = torch.zeros(4, 2)
    dealt = Lesson(lesson().x_BCHW, LABELS_B, taught_BK=known_BK)
    assert teachers_answers(dealt, teacher=plain, weights=LossWeights(distill=0.5)) is known_BK
    assert teachers_answers(dealt, teacher=plain, weights=LossWeights(distill=0.0)) is None


def test_the_exit_learns_from_its_own_answers(member: SplitModel) -> None:
    step = MemberObjective(member, LossWeights(prune=0.0, exit=3.0, distill=0.0), levels=(16,))
    losses = step(member, lesson(), random.Random(0)).losses
    with torch.no_grad():
        exit_logits_BK = member(lesson().x_BCHW, levels=16).exit_logits_BK
    expected = functional.cross_entropy(exit_logits_BK, LABELS_B)
    torch.testing.assert_close(losses.exit, expected)
    torch.testing.assert_close(losses.total, losses.task + 3.0 * expected)
