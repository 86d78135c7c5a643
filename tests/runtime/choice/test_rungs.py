"""How far up the ladder the next frame may go."""

from collections.abc import Mapping

import pytest

from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.runtime.choice.rungs import Rungs
from runtime.ladders import stats

KB = (1, 2, 10, 30, 100)  # of the rungs; each is worth .05 more than the one before
QUALITY = {f"p{kb}": 0.6 + 0.05 * place for place, kb in enumerate(KB)}


def point(kb: int, *, quality: float | None = None) -> OperatingPoint:
    name = f"p{kb}"
    metrics = {"top1": QUALITY[name] if quality is None else quality}
    return OperatingPoint(name, PointKind.OFFLOAD, metrics, stats(1000 * kb))


def rungs(*, last_kb: int | None = None) -> Rungs:
    """A ladder on which that point was sent last."""
    made = Rungs(
        [point(kb) for kb in reversed(KB)],
        merits=lambda each: (-each.bytes.mean, QUALITY[each.id]),
    )
    if last_kb is not None:
        made.sent(point(last_kb))
    return made


def reachable_kb(
    made: Rungs, *, here: float = 0.0, promised: Mapping[str, float] = QUALITY
) -> list[float]:
    found = made.reachable(here=here, promise=lambda each: promised[each.id])
    return [each.bytes.mean / 1000 for each in found]


def test_the_next_frame_goes_up_two_rungs_at_most() -> None:
    assert reachable_kb(rungs(last_kb=2)) == [1, 2, 10, 30]
    assert reachable_kb(rungs(last_kb=100)) == [1, 2, 10, 30, 100]


def test_before_anything_was_sent_and_after_a_stall_the_foot_is_in_reach() -> None:
    made = rungs(last_kb=10)
    made.begin_anew()
    assert reachable_kb(made) == reachable_kb(rungs()) == [1, 2]


def test_rungs_that_answering_here_beats_are_no_steps() -> None:
    assert reachable_kb(rungs(), here=0.72) == [1, 2, 10, 30]


def test_rungs_that_promise_no_more_than_the_last_sent_are_no_steps() -> None:
    promised = {**QUALITY, "p10": 0.3, "p30": QUALITY["p2"]}
    assert reachable_kb(rungs(last_kb=2), promised=promised) == [1, 2, 10, 30, 100]
    assert reachable_kb(rungs(last_kb=2), promised={**promised, "p10": 0.7}) == [1, 2, 10, 30]


def test_what_answering_here_is_worth_counts_where_it_is_more_than_the_last_sent() -> None:
    assert reachable_kb(rungs(last_kb=2), here=0.72) == [1, 2, 10, 30]
    assert reachable_kb(rungs(last_kb=2), here=0.76) == [1, 2, 10, 30, 100]


@pytest.mark.parametrize(("last_kb", "top_kb"), [(None, 11), (10, 20), (12, 24), (29, 30)])
def test_on_a_dense_ladder_twice_the_bytes_are_in_reach(last_kb: int | None, top_kb: int) -> None:
    dense = [point(kb, quality=0.01 * kb) for kb in range(10, 31)]
    made = Rungs(dense, merits=lambda each: (-each.bytes.mean, each.metrics["top1"]))
    if last_kb is not None:
        made.sent(dense[last_kb - 10])
    reached = made.reachable(here=0.0, promise=lambda each: each.metrics["top1"])
    assert [each.bytes.mean / 1000 for each in reached] == list(range(10, top_kb + 1))


def prefix(num_bytes: int, quality: float) -> OperatingPoint:
    """A prefix of a progressive member."""
    made = stats(num_bytes)
    return OperatingPoint("s-p5", PointKind.SPLIT, {"top1": quality}, made, member="s", prefix=5)


@pytest.mark.parametrize(("num_bytes", "last_kb"), [(1000, 1), (2500, 2), (30_000, 30)])
def test_layers_count_as_the_rung_of_their_bytes(num_bytes: int, last_kb: int) -> None:
    made = rungs()
    made.sent(prefix(num_bytes, 0.9))
    assert made.last.bytes.mean == 1000 * last_kb


@pytest.mark.parametrize(
    ("quality", "reached_kb"), [(0.5, [1, 2]), (0.66, [1, 2, 10]), (0.74, [1, 2, 10, 30])]
)
def test_rungs_that_are_worth_no_more_than_smaller_layers_are_no_steps(
    quality: float, reached_kb: list[float]
) -> None:
    made = rungs()
    made.sent(prefix(500, quality))
    assert reachable_kb(made, promised={**QUALITY, "s-p5": quality}) == reached_kb
    assert made.has_above


def test_there_is_a_rung_above_only_where_something_is_under_way() -> None:
    assert not rungs().has_above
    assert rungs(last_kb=30).has_above
    assert not rungs(last_kb=100).has_above
