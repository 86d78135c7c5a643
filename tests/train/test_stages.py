"""Claims about the stages of a run and their learning rates."""

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.recipe import PruneConfig
from headgate.train.stages import Stage, StageKind, learning_rate, plan_stages, resolve_budgets


def test_budgets_default_to_all_a_quarter_and_a_thirty_second_of_the_maps() -> None:
    assert resolve_budgets(PruneConfig(), num_maps=128) == (128, 32, 4)
    assert resolve_budgets(PruneConfig(), num_maps=16) == (16, 4, 1)
    assert resolve_budgets(PruneConfig(), num_maps=3) == (3, 1)


def test_budgets_are_trained_from_large_to_small_however_they_are_given() -> None:
    assert resolve_budgets(PruneConfig(budgets=(4, 128, 32)), num_maps=128) == (128, 32, 4)


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ((0,), "--budgets: 0 is impossible, 16 maps leave the split; give numbers from 1 to 16"),
        ((-3,), "-3 is impossible"),
        ((8, 17), "17 is impossible"),
        ((8, 4, 8), "8 is given more than once"),
    ],
)
def test_impossible_budgets_are_refused_by_name(budgets: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_budgets(PruneConfig(budgets=budgets), num_maps=16)


def test_each_member_starts_from_the_one_before_and_the_first_from_the_backbone() -> None:
    stages = plan_stages(PruneConfig(budgets=(16, 4, 1)), num_maps=16)
    assert [(stage.id, stage.start_from) for stage in stages] == [
        ("backbone", None),
        ("b16r1", "backbone"),
        ("b4r1", "b16r1"),
        ("b1r1", "b4r1"),
    ]


def test_base_member_is_trained_but_not_kept_when_its_budget_was_not_asked_for() -> None:
    stages = plan_stages(PruneConfig(budgets=(4,)), num_maps=16)
    assert [(stage.id, stage.kept) for stage in stages] == [
        ("backbone", True),
        ("b16r1", False),
        ("b4r1", True),
    ]


def test_twins_from_scratch_start_from_nothing_and_train_for_the_full_epochs() -> None:
    stages = plan_stages(
        PruneConfig(budgets=(16, 4), from_scratch=True, epochs=7, resolution_factor=2), num_maps=16
    )
    assert [(stage.id, stage.kind, stage.epochs, stage.start_from) for stage in stages] == [
        ("b16r2", StageKind.TWIN, 7, None),
        ("b4r2", StageKind.TWIN, 7, None),
    ]


def test_smaller_members_rate_is_raised_by_gamma_for_the_first_epochs_only() -> None:
    stage = Stage("b4r1", StageKind.MEMBER, epochs=3, lr=0.01, budget=4, gamma=5.0, raise_epochs=1)
    rates = [
        learning_rate(stage, step=step, steps_per_epoch=10, schedule="cosine") for step in range(30)
    ]
    assert rates[:10] == [pytest.approx(0.05)] * 10
    assert rates[10] == pytest.approx(0.01)
    assert rates[20] == pytest.approx(0.005)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[29] < 1e-4


def test_backbone_warms_up_and_a_step_schedule_drops_twice() -> None:
    stage = Stage("backbone", StageKind.BACKBONE, epochs=10, lr=0.1)
    rates = [
        learning_rate(stage, step=step, steps_per_epoch=10, schedule="step") for step in range(100)
    ]
    assert rates[0] == pytest.approx(0.001)
    assert rates[:6] == sorted(rates[:6])
    assert [rates[step] for step in (6, 49, 50, 75)] == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_a_constant_schedule_stays_after_it_warmed_up() -> None:
    stage = Stage("b4r1", StageKind.TWIN, epochs=10, lr=0.1)
    rates = [
        learning_rate(stage, step=step, steps_per_epoch=10, schedule="constant")
        for step in range(100)
    ]
    assert rates[0] < 0.05
    assert set(rates[6:]) == {0.1}


def test_a_raise_that_fills_the_whole_stage_leaves_nothing_to_anneal() -> None:
    (*_, member) = plan_stages(
        PruneConfig(budgets=(4,), member_epochs=2, raise_epochs=5), num_maps=16
    )
    rate = learning_rate(member, step=19, steps_per_epoch=10, schedule="cosine")
    assert rate == pytest.approx(member.lr * member.gamma)
