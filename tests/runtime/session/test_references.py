import numpy as np
import pytest

from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.session.events import Computed
from headgate.runtime.session.references import (
    FIRST_TRIAL_S,
    MAX_SENT,
    TRIAL_GRACE_S,
    DeviceReferences,
)
from headgate.runtime.wire.messages import Reject, RejectReason
from runtime.predicted import Integers, predicted_manifest

MANIFEST = predicted_manifest()
POINT, OTHER = MANIFEST.point("b1r1-l16-p"), MANIFEST.point("b1r1-l17-p")
TWIN, PICTURE = MANIFEST.point("b1r1-l16"), MANIFEST.point("webp-q80")


class Bench:
    """One device's references, and the frames it computes."""

    def __init__(self, *, refresh_s: float = 10.0) -> None:
        self.costs = PointCosts(MANIFEST)
        self.references = DeviceReferences(MANIFEST, costs=self.costs, refresh_s=refresh_s)
        self.now_s = 100.0

    def send(self, frame_id: int, point: OperatingPoint = POINT, *, whole: bool = False) -> None:
        reference = self.references.choose(point, frame_id=frame_id, now_s=self.now_s)
        distance = 0 if reference is None or whole else reference.distance
        payload = bytes([distance]) + bytes(100)
        self.references.computed(point, payload)
        outcome = Computed(payload, None, 0.0, 0.0, frame(frame_id))
        self.grace_s = self.references.sent(frame_id, point, outcome, now_s=self.now_s)

    def distance(self, frame_id: int, point: OperatingPoint = POINT) -> int | None:
        reference = self.references.choose(point, frame_id=frame_id, now_s=self.now_s)
        if reference is None:
            return None
        assert np.array_equal(reference.integers, frame(frame_id - reference.distance))
        return reference.distance

    def middling(self, point: OperatingPoint, *, frame_id: int = 0) -> float:
        self.references.before_choice(frame_id, now_s=self.now_s)
        return self.costs.sizes_bytes(point)[1]


def frame(frame_id: int) -> Integers:
    return np.full((1, 4, 4), frame_id % 16, np.uint8)


def lost(frame_id: int) -> Reject:
    return Reject(frame_id, RejectReason.LOST_REFERENCE, "gone")


def test_only_a_frame_that_the_edge_answered_is_a_reference() -> None:
    bench = Bench()
    bench.send(0)
    assert bench.distance(1) is None
    bench.references.answered(0)
    assert bench.distance(1) == 1
    assert bench.distance(9) == 9


def test_the_newest_answered_frame_is_taken_whatever_the_order_of_answers() -> None:
    bench = Bench()
    for frame_id in range(3):
        bench.send(frame_id)
    bench.references.answered(2)
    bench.references.answered(0)
    assert bench.distance(3) == 1


def test_whole_frames_of_the_twin_are_references_and_other_streams_are_not() -> None:
    bench = Bench()
    bench.send(0, TWIN)
    bench.send(1, PICTURE)
    bench.references.answered(0)
    bench.references.answered(1)
    assert bench.distance(2) == 2
    assert bench.distance(2, OTHER) is None
    assert bench.distance(2, TWIN) is None
    assert bench.distance(2, PICTURE) is None


def test_a_reference_further_back_than_a_byte_says_is_dropped() -> None:
    bench = Bench()
    bench.send(0)
    bench.references.answered(0)
    assert bench.distance(255) == 255
    assert bench.distance(256) is None
    assert bench.references.num_kept == 0


def test_a_reference_that_the_edge_may_have_dropped_for_newer_frames_is_not_used() -> None:
    """At 30 frames/s and 0.6 s there and back the newest answer is 18 frames old, of 16 kept."""
    bench = Bench()
    bench.send(0)
    bench.references.answered(0)
    for frame_id in range(1, 16):
        bench.send(frame_id)
    assert bench.distance(16) == 16
    bench.send(16)
    assert bench.distance(17) is None
    bench.references.answered(3)
    assert bench.distance(17) == 14


def test_a_new_greeting_and_a_lost_reference_end_prediction_until_the_next_answer() -> None:
    bench = Bench()
    bench.send(0)
    bench.references.answered(0)
    bench.send(1)
    bench.references.rejected(lost(1))
    assert bench.distance(2) is None
    bench.send(2)
    bench.references.answered(2)
    assert bench.distance(3) == 1
    bench.send(3)
    bench.references.forget()
    bench.references.answered(3)  # the answer of an earlier life
    assert bench.distance(4) is None
    assert bench.references.num_kept == 0


def test_a_frame_that_was_rejected_for_anything_else_only_is_no_reference_itself() -> None:
    bench = Bench()
    bench.send(0)
    bench.references.answered(0)
    bench.send(1)
    bench.references.rejected(Reject(1, RejectReason.EXPIRED, "late"))
    bench.references.rejected(Reject(None, RejectReason.BUSY, "full"))
    bench.references.answered(1)  # as no proper edge does
    assert bench.distance(2) == 2


def test_a_frame_goes_whole_at_least_every_refresh_and_then_prediction_goes_on() -> None:
    bench = Bench(refresh_s=2.0)
    bench.send(0)
    bench.references.answered(0)
    bench.now_s = 101.9
    assert bench.distance(1) == 1
    bench.now_s = 102.0
    assert bench.distance(2) is None
    bench.send(2)
    assert bench.distance(3) == 3
    bench.now_s = 104.0
    assert bench.distance(4) is None


def test_a_payload_whose_reference_was_lost_while_it_was_computed_is_of_no_use() -> None:
    bench = Bench()
    bench.send(0)
    bench.references.answered(0)
    assert bench.distance(1) == 1
    assert bench.references.computed(POINT, b"\x01changes")
    bench.references.forget()
    assert not bench.references.computed(POINT, b"\x01changes")
    assert bench.references.computed(POINT, b"\x00whole")
    assert bench.references.computed(TWIN, b"\x01whole")  # no distance


def test_what_predicted_frames_have_says_nothing_of_whole_ones() -> None:
    bench = Bench()
    bench.send(0)
    bench.references.answered(0)
    before = bench.middling(TWIN, frame_id=1)
    bench.send(1)
    assert bench.middling(TWIN, frame_id=2) == before


def test_what_is_held_is_bounded_without_answers() -> None:
    bench = Bench()
    for frame_id in range(500):
        bench.send(frame_id)
    assert bench.references.num_kept == MAX_SENT


def test_without_a_reference_the_twins_size_is_expected() -> None:
    bench = Bench()
    assert bench.middling(POINT) == bench.middling(TWIN) == 2000
    bench.send(0)
    bench.references.answered(0)
    learnt = bench.middling(TWIN, frame_id=1)  # from the one frame that went whole
    assert learnt == pytest.approx(0.9 * 2000 + 0.1 * 101)
    assert bench.middling(POINT, frame_id=1) == 500


def test_a_scene_that_moves_makes_the_point_dearer_but_never_dearer_than_its_twin() -> None:
    bench = Bench()
    bench.send(0)
    bench.references.answered(0)
    for frame_id in range(1, 200):
        reference = bench.references.choose(POINT, frame_id=frame_id, now_s=bench.now_s)
        assert reference is not None
        bench.references.computed(POINT, bytes(2500))  # whole: prediction was no smaller
    twin = bench.middling(TWIN, frame_id=200)
    assert twin == pytest.approx(2500, rel=0.01)
    assert bench.middling(POINT, frame_id=200) == pytest.approx(twin, rel=0.01)
    bench.references.forget()
    bench.middling(POINT, frame_id=200)  # the gap ends what was learnt of changes
    bench.send(200)
    bench.references.answered(200)
    assert bench.middling(POINT, frame_id=201) == 500


def test_now_and_then_a_stream_without_a_reference_is_judged_as_if_it_had_one() -> None:
    bench = Bench()
    assert bench.middling(POINT) == 2000
    bench.now_s += FIRST_TRIAL_S - 0.1
    assert bench.middling(POINT) == 2000
    bench.now_s += 0.1
    assert bench.middling(POINT) == 500
    assert bench.middling(POINT) == 500  # until a point is chosen for it
    bench.send(0)
    assert bench.grace_s == TRIAL_GRACE_S
    assert bench.middling(POINT) > 1800
    bench.now_s += FIRST_TRIAL_S
    assert bench.middling(POINT) == 500


def test_trials_that_come_to_nothing_become_rare_and_an_answer_makes_them_frequent_again() -> None:
    bench = Bench()
    bench.middling(POINT)
    waits_s = []
    for frame_id in range(8):
        began_s = bench.now_s
        while bench.middling(POINT, frame_id=frame_id) != 500:
            bench.now_s += 0.5
        bench.send(frame_id)
        waits_s.append(bench.now_s - began_s)
    assert waits_s == [2, 2, 4, 8, 16, 32, 64, 64]
    bench.references.answered(7)
    bench.references.rejected(lost(8))
    bench.send(9)
    bench.now_s += 64
    bench.middling(POINT, frame_id=10)
    bench.send(10)
    bench.now_s += 2 * FIRST_TRIAL_S
    assert bench.middling(POINT, frame_id=11) == 500


def test_a_trial_whose_frame_was_skipped_is_made_up_for_with_the_next_frame() -> None:
    bench = Bench()
    bench.middling(POINT)
    bench.now_s += FIRST_TRIAL_S
    for frame_id in range(1, 9):
        assert bench.middling(POINT, frame_id=frame_id) == 500
        bench.references.choose(POINT, frame_id=frame_id, now_s=bench.now_s)
        bench.references.computed(POINT, bytes(101))
        bench.references.kept_back()
        bench.now_s += 0.03
    assert bench.middling(POINT, frame_id=9) == 500
    bench.send(9)
    assert bench.middling(POINT, frame_id=10) != 500
    bench.references.choose(TWIN, frame_id=10, now_s=bench.now_s)
    bench.references.kept_back()  # was no trial: the next one is not due for that
    assert bench.middling(POINT, frame_id=11) != 500
    bench.now_s += FIRST_TRIAL_S
    assert bench.middling(POINT, frame_id=12) == 500


def test_only_the_first_whole_frame_of_a_stream_is_worth_a_late_answer() -> None:
    bench = Bench(refresh_s=1.0)
    bench.send(0)
    assert bench.grace_s == TRIAL_GRACE_S
    bench.references.answered(0)
    bench.now_s += 2.0
    bench.send(1)  # a refresh
    assert bench.grace_s == 0
    bench.send(2, TWIN)
    assert bench.grace_s == 0
    bench.send(3, PICTURE)
    assert bench.grace_s == 0
