"""What a session tells its policy of the frames that ended."""

from dataclasses import replace

from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.situation import Choice, Situation
from headgate.runtime.session.events import ComputeFailed
from runtime.device_bench import SPLIT, Bench, result
from runtime.told import Ended, Notes


def test_pictures_that_cannot_be_read_raise_no_price_of_a_miss() -> None:
    notes = Notes()
    bench = Bench(SPLIT, policy=notes.policy).welcomed()
    bench.capture_unreadable()
    assert notes.ended == []
    frame_id = bench.capture()
    bench.compute()
    bench.receive(result(frame_id))
    assert [frame.missed for frame in notes.ended] == [False]


def test_a_compute_that_fails_says_nothing_of_the_edge() -> None:
    notes = Notes()
    bench = Bench(SPLIT, policy=notes.policy).welcomed()
    frame_id = bench.capture()
    failed = ComputeFailed("out of memory")
    bench.take(bench.session.computed(frame_id, failed, now_s=bench.now_s))
    assert [frame.by_edge for frame in notes.ended] == [None]
    assert notes.let_down == []


def test_a_frame_ends_with_the_trust_that_it_was_chosen_by() -> None:
    notes = Notes()

    class Distrustful(Controller):
        trusted = 1.0

        def choose(self, situation: Situation) -> Choice:
            Distrustful.trusted -= 0.25
            return replace(super().choose(situation), trusted=Distrustful.trusted)

        finished = notes.policy.finished  # type: ignore[attr-defined]

    bench = Bench(SPLIT, policy=Distrustful).welcomed()
    first = bench.capture()
    bench.compute()
    second = bench.capture()
    bench.compute()
    for frame_id in (first, second):
        bench.receive(result(frame_id))
    assert notes.ended == [Ended(False, 0.75, True), Ended(False, 0.5, True)]
