"""Which of several judged points is picked, by what a profile prefers."""

from dataclasses import replace

import pytest

from headgate.profiles.manifest import OperatingPoint
from headgate.profiles.profile import Preference, Profile
from headgate.runtime.choice.candidates import SIMILAR, STICKINESS, Candidate, pick
from runtime.ladders import ladder_manifest

MANIFEST = ladder_manifest()
QUALITY = {point.id: MANIFEST.quality(point) for point in MANIFEST.points}
LOCAL, SMALL, LARGE = (MANIFEST.point(name) for name in ("local-full", "b1r1-l16", "b1r1-l18"))


def judged(
    point: OperatingPoint, credit: float, *, on_time: float = 1.0, latency_s: float = 0.05
) -> Candidate:
    return Candidate(point, credit, on_time, latency_s)


def picked(
    *sending: Candidate,
    local: Candidate | None = None,
    profile: Profile | None = None,
    last: OperatingPoint | None = None,
) -> OperatingPoint | None:
    chosen = pick(
        sending,
        [] if local is None else [local],
        profile=profile or Profile(name="x"),
        quality=QUALITY,
        last=last,
    )
    return None if chosen is None else chosen.point


def test_nothing_is_picked_of_nothing() -> None:
    assert picked() is None


def test_most_credit_wins_unless_the_last_point_has_nearly_as_much() -> None:
    better = 0.7 + STICKINESS / 2
    assert picked(judged(SMALL, 0.7), judged(LARGE, better)) is LARGE
    assert picked(judged(SMALL, 0.7), judged(LARGE, better), last=SMALL) is SMALL
    assert picked(judged(SMALL, 0.7), judged(LARGE, 0.71), last=SMALL) is LARGE


def test_hope_counts_against_answering_here_and_not_among_points_that_send() -> None:
    hopeful = replace(judged(LARGE, 0.58), hope=0.04)
    assert picked(hopeful, local=judged(LOCAL, 0.6)) is LARGE
    assert picked(hopeful, local=judged(LOCAL, 0.63)) is LOCAL
    assert picked(judged(SMALL, 0.61), hopeful, local=judged(LOCAL, 0.6)) is SMALL


def test_the_most_hopeful_point_that_sends_is_held_against_answering_here() -> None:
    hopeful, better = replace(judged(LARGE, 0.58), hope=0.04), judged(SMALL, 0.59)
    assert picked(better, hopeful, local=judged(LOCAL, 0.6)) is LARGE
    assert picked(replace(better, hope=0.02), local=judged(LOCAL, 0.6)) is SMALL


@pytest.mark.parametrize("prefer", [Preference.BYTES, Preference.LATENCY])
def test_a_little_credit_is_given_up_for_what_is_preferred(prefer: Preference) -> None:
    profile = Profile(name="x", prefer=prefer)
    quick = judged(SMALL, 0.7, latency_s=0.02)
    assert picked(quick, judged(LARGE, 0.7 + SIMILAR / 2), profile=profile) is SMALL
    assert picked(quick, judged(LARGE, 0.7 + 2 * SIMILAR), profile=profile) is LARGE


def test_fewer_bytes_and_less_latency_are_not_the_same() -> None:
    small, quick = judged(SMALL, 0.7, latency_s=0.05), judged(LARGE, 0.7, latency_s=0.02)
    assert picked(small, quick, profile=Profile(name="x", prefer=Preference.BYTES)) is SMALL
    assert picked(small, quick, profile=Profile(name="x", prefer=Preference.LATENCY)) is LARGE


@pytest.mark.parametrize("prefer", [Preference.BYTES, Preference.LATENCY])
def test_of_points_alike_in_what_is_preferred_the_one_with_more_credit_wins(
    prefer: Preference,
) -> None:
    twin = replace(LARGE, bytes=SMALL.bytes)
    first, second = judged(SMALL, 0.7), judged(twin, 0.71)
    assert picked(first, second, profile=Profile(name="x", prefer=prefer)) is twin


@pytest.mark.parametrize(
    ("miss_rate", "likely", "unlikely"), [(0.0, 0.985, 0.975), (0.05, 0.955, 0.945)]
)
def test_above_a_floor_any_point_that_is_likely_in_time_will_do(
    miss_rate: float, likely: float, unlikely: float
) -> None:
    floor = QUALITY[SMALL.id]
    profile = Profile(name="x", prefer=Preference.BYTES, min_accuracy=floor, miss_rate=miss_rate)
    best = judged(LARGE, 0.8)
    assert picked(judged(SMALL, 0.7, on_time=likely), best, profile=profile) is SMALL
    assert picked(judged(SMALL, 0.7, on_time=unlikely), best, profile=profile) is LARGE
    none_likely = judged(SMALL, 0.5, on_time=0.6), judged(LARGE, 0.8, on_time=0.9)
    assert picked(*none_likely, profile=profile) is LARGE


def test_local_at_the_floor_keeps_it() -> None:
    profile = Profile(name="x", min_accuracy=QUALITY[LOCAL.id])
    assert picked(judged(LARGE, 0.5), local=judged(LOCAL, 0.6), profile=profile) is LOCAL


def test_one_point_likely_in_time_is_enough_to_keep_to_the_floor() -> None:
    profile = Profile(name="x", min_accuracy=QUALITY[LOCAL.id] + 0.01)
    sending = judged(SMALL, 0.5, on_time=0.5), judged(LARGE, 0.4, on_time=0.4)
    assert picked(*sending, local=judged(LOCAL, 0.6), profile=profile) is SMALL


def test_local_under_the_floor_is_taken_only_where_nothing_sent_is_likely_in_time() -> None:
    profile = Profile(name="x", min_accuracy=QUALITY[LOCAL.id] + 0.01)
    own = judged(LOCAL, 0.6)
    assert picked(judged(LARGE, 0.5, on_time=0.6), local=own, profile=profile) is LARGE
    assert picked(judged(LARGE, 0.5, on_time=0.4), local=own, profile=profile) is LOCAL
