"""Claims about which of an epoch's batches cross."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headgate.train.split_training.lesson_plan import LessonPlan

PLANS = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


@given(PLANS)
def test_so_many_lessons_cross_one_after_the_other_and_the_last_of_them_is_the_last(
    sizes: tuple[int, int],
) -> None:
    num_lessons, num_crossing = sizes
    plan = LessonPlan(num_lessons, num_crossing=num_crossing)
    crossing = [plan.first_of(step) for step in range(num_crossing)]
    assert crossing == sorted(set(crossing))
    assert crossing[-1:] == [num_lessons - 1] * (num_crossing > 0)
    assert plan.first_of(num_crossing) == num_lessons  # then all are done
    gaps = [b - a for a, b in zip([-1, *crossing], crossing, strict=False)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(PLANS, st.data())
def test_who_enters_an_epoch_in_its_middle_goes_on_behind_what_has_crossed(
    sizes: tuple[int, int], data: st.DataObject
) -> None:
    num_lessons, num_crossing = sizes
    step = data.draw(st.integers(0, num_crossing))
    plan = LessonPlan(num_lessons)
    plan.enter(num_crossing=num_crossing, step=step, is_begin=True)
    assert plan.done == (plan.first_of(step - 1) + 1 if step else 0)
    if step < num_crossing:
        assert plan.done <= plan.lesson_of(step) == plan.first_of(step)
    else:
        assert plan.is_at(step) is (plan.done == num_lessons)


@given(PLANS, st.integers(1, 10_000))
def test_batches_that_carry_all_pictures_are_all_and_none_carry_none(
    sizes: tuple[int, int], num_pictures: int
) -> None:
    plan = LessonPlan(sizes[0])
    assert plan.crossing_of(num_pictures, of=num_pictures) == plan.num_lessons
    assert plan.crossing_of(0, of=num_pictures) == 0
    assert 1 <= plan.crossing_of(1, of=num_pictures) <= plan.num_lessons


def test_a_lesson_that_is_done_does_not_cross() -> None:
    plan = LessonPlan(10, num_crossing=2, done=7)
    assert plan.first_of(0) == 4
    assert plan.lesson_of(0) == 7
