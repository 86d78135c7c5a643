"""The oracle against every possible sequence of choices."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.profiles.trace import Trace, named_trace
from headgate.runtime.simulation.oracle import (
    LinkTimes,
    OraclePoint,
    OwnAnswer,
    oracle_credit,
)

RTT_S, FPS, FALLBACK = 0.01, 20.0, 0.3


def point(quality: float, num_bytes: int, *, sla_s: float = 0.08) -> OraclePoint:
    return OraclePoint(quality, 0.004, 0.002, sla_s, np.full(64, num_bytes))


OWN = (OwnAnswer(FALLBACK, 0.01),)
POINTS = (point(0.5, 1000), point(0.8, 4000))


def best_by_trying_all(trace: Trace, points: tuple[OraclePoint, ...], num_frames: int) -> float:
    best = 0.0
    for choices in itertools.product((None, *points), repeat=num_frames):
        earned, free_s = 0.0, 0.0
        for frame, chosen in enumerate(choices):
            at_s = frame / FPS
            if chosen is None:
                earned += FALLBACK
                continue
            start_s = max(free_s, at_s + chosen.device_s)
            free_s = trace.finish_s(start_s, int(chosen.sizes_bytes[frame]))
            if free_s + RTT_S + chosen.edge_s <= at_s + chosen.sla_s:
                earned += chosen.quality
        best = max(best, earned / num_frames)
    return best


def oracle(trace: Trace, points: tuple[OraclePoint, ...] = POINTS, *, num_frames: int = 6) -> float:
    return oracle_credit(
        trace, points, rtt_s=RTT_S, fps=FPS, num_frames=num_frames, own_answers=OWN
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0, 3.0]), min_size=2, max_size=6))
def test_oracle_is_what_trying_every_sequence_finds(mbps: list[float]) -> None:
    times_s = tuple(0.07 * i for i in range(len(mbps)))
    trace = Trace("drawn", times_s, tuple(1e6 * rate for rate in mbps), 0.07 * len(mbps))
    found, best = oracle(trace), best_by_trying_all(trace, POINTS, 6)
    assert found >= best - 1e-9
    # Rounding the queue down by up to a millisecond may win a frame, not more.
    assert found <= best + 0.5 / 6 + 1e-9


def test_greed_is_not_optimal_and_the_oracle_is_not_greedy() -> None:
    # A large frame takes 64 ms of a period of 50 ms, and just fits an idle link. Large and local
    # by turns would earn 0.55; a small one in between lets every second frame be large.
    assert oracle(named_trace("steady:0.5"), num_frames=40) == pytest.approx(0.65)


def test_it_does_not_matter_how_many_frames_are_computed_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = Trace("t", (0.0, 0.1, 0.2), (2e6, 4e5, 3e6), duration_s=0.3)
    together = oracle(link, num_frames=20)
    monkeypatch.setattr("headgate.runtime.simulation.oracle.MAX_STATES", 1)
    assert oracle(link, num_frames=20) == together


def test_dead_link_leaves_the_fallback() -> None:
    assert oracle(named_trace("steady:0")) == FALLBACK


def test_deadline_within_the_round_trip_leaves_the_fallback() -> None:
    assert oracle(named_trace("steady:100"), (point(0.9, 10, sla_s=0.009),)) == FALLBACK


def test_many_finish_times_are_those_of_the_trace() -> None:
    trace = Trace("steps", (0.0, 0.5, 0.9), (1e6, 0.0, 2e6), 1.3)
    starts_s = np.linspace(0, 5, 211)
    sizes = np.linspace(1, 90_000, 211)
    found = LinkTimes(trace, until_s=30).finish_s(starts_s, sizes)
    expected = [trace.finish_s(at_s, size) for at_s, size in zip(starts_s, sizes, strict=True)]
    assert found == pytest.approx(expected)


def test_device_that_is_slow_alone_does_so_between_frames_that_it_sends() -> None:
    """It answers 5 of 12 frames by itself, and its link takes every second one meanwhile."""
    sent = (OraclePoint(0.9, 0.002, 0.0, 0.15, np.full(300, 7000)),)
    own = (OwnAnswer(0.6, 0.08), OwnAnswer(0.1, 0.03))

    def found(trace: str) -> float:
        return oracle_credit(
            named_trace(trace), sent, rtt_s=0.02, fps=30, num_frames=300, own_answers=own
        )

    alone = 0.6 / (30 * 0.08)
    assert found("steady:0") == pytest.approx(alone)
    # 56 kbit a picture: half of the frames at 0.84 Mbit/s; they leave 32 ms a frame.
    between = 0.5 * 0.9 + 0.6 * (1 / 30 - 0.5 * 0.002) / 0.08
    # Two more at the end, whose answers come after the last capture.
    assert found("steady:0.84") == pytest.approx(between, abs=0.01)
    assert found("steady:9") == pytest.approx(0.9)
