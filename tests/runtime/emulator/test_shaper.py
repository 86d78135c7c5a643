"""The emulated link in virtual time: exact rates, delays, stalls and a bounded queue."""

from __future__ import annotations

import pytest

from headgate.profiles.trace import Trace
from headgate.runtime.emulator.shaper import MAX_PIPE_BYTES, LinkShaper, Release, Window, push_past


def steady(mbps: float) -> Trace:
    return Trace(name="steady", times_s=(0.0,), rates_bps=(mbps * 1e6,), duration_s=1.0)


def drain(shaper: LinkShaper, *, until_s: float = 1e9) -> list[Release]:
    """Let virtual time jump from timer to timer, as a shell that is never late would."""
    out: list[Release] = []
    while (at_s := shaper.next_timer_s()) is not None and at_s <= until_s:
        out += shaper.pop_due(now_s=at_s)
    return out


def test_bytes_come_out_at_the_rate_of_the_trace() -> None:
    shaper = LinkShaper(steady(8.0), queue_bytes=100_000)
    shaper.push(1, bytes(100_000), now_s=0.0)
    out = drain(shaper)
    assert sum(len(release.data) for release in out) == 100_000
    assert out[-1].at_s == pytest.approx(0.1, rel=1e-6)


def test_a_slow_link_trickles_in_pieces_of_about_a_millisecond() -> None:
    shaper = LinkShaper(steady(8.0))
    shaper.push(1, bytes(10_000), now_s=0.0)
    assert [len(release.data) for release in drain(shaper)] == [1000] * 10


def test_waking_late_releases_late_but_loses_no_rate() -> None:
    shaper = LinkShaper(steady(8.0))
    shaper.push(1, bytes(20_000), now_s=0.0)
    late = shaper.pop_due(now_s=0.0155)
    assert sum(len(release.data) for release in late) == 15_000
    assert drain(shaper)[-1].at_s == pytest.approx(0.020, rel=1e-6)


def test_the_delay_is_added_after_the_queue_and_does_not_slow_the_server() -> None:
    shaper = LinkShaper(steady(8.0), delay_s=0.05)
    shaper.push(1, bytes(10_000), now_s=1.0)
    out = drain(shaper)
    assert out[0].at_s == pytest.approx(1.051)
    assert out[-1].at_s == pytest.approx(1.060)


def test_an_idle_link_saves_up_no_bytes() -> None:
    shaper = LinkShaper(steady(8.0))
    shaper.push(1, bytes(1000), now_s=0.0)
    drain(shaper)
    shaper.push(1, bytes(1000), now_s=5.0)
    assert drain(shaper)[-1].at_s == pytest.approx(5.001)


def test_a_rate_that_changes_under_way_counts_from_then_on() -> None:
    trace = Trace("step", times_s=(0.0, 0.5), rates_bps=(8e6, 0.8e6), duration_s=10.0)
    shaper = LinkShaper(trace, queue_bytes=600_000)
    shaper.push(1, bytes(550_000), now_s=0.0)  # 500,000 in the first half second
    assert drain(shaper)[-1].at_s == pytest.approx(1.0, rel=1e-6)


def test_order_is_kept_and_connections_share_the_link() -> None:
    shaper = LinkShaper(steady(8.0))
    shaper.push(1, b"a" * 3000, now_s=0.0)
    shaper.push(2, b"b" * 2000, now_s=0.0)
    out = drain(shaper)
    assert [release.key for release in out] == [1, 1, 1, 2, 2]
    assert out[-1].at_s == pytest.approx(0.005)


def test_the_end_of_a_stream_comes_out_after_its_last_byte() -> None:
    shaper = LinkShaper(steady(8.0), delay_s=0.01)
    shaper.push(1, b"x" * 1500, now_s=0.0)
    shaper.push(1, b"", now_s=0.0)
    assert [len(release.data) for release in drain(shaper)] == [1000, 500, 0]


def test_a_full_queue_has_no_room_until_bytes_are_served() -> None:
    shaper = LinkShaper(steady(8.0), queue_bytes=4000)
    assert shaper.room_bytes == 4000
    shaper.push(1, bytes(4000), now_s=0.0)
    assert shaper.room_bytes == 0
    shaper.pop_due(now_s=0.001)
    assert shaper.room_bytes == 1000


def test_an_unlimited_link_only_delays() -> None:
    shaper = LinkShaper(None, delay_s=0.02)
    shaper.push(1, bytes(50_000), now_s=3.0)
    assert [(len(r.data), r.at_s) for r in drain(shaper)] == [(50_000, 3.02)]


def test_an_unlimited_link_still_bounds_what_it_holds() -> None:
    shaper = LinkShaper(None, delay_s=10.0, queue_bytes=2 * MAX_PIPE_BYTES)
    shaper.push(1, bytes(MAX_PIPE_BYTES), now_s=0.0)
    shaper.pop_due(now_s=0.0)
    assert shaper.room_bytes == 0


def test_nothing_comes_out_during_a_stall_and_everything_after_it() -> None:
    stall = Window(start_s=0.005, duration_s=2.0)
    shaper = LinkShaper(steady(8.0), delay_s=0.003, stalls=(stall,))
    shaper.push(1, bytes(10_000), now_s=0.0)
    out = drain(shaper)
    assert not [release for release in out if stall.start_s < release.at_s < stall.end_s]
    assert sum(len(release.data) for release in out) == 10_000
    assert out[-1].at_s == pytest.approx(2.013, abs=1e-6)


def test_what_arrives_during_a_stall_is_served_after_it() -> None:
    shaper = LinkShaper(steady(8.0), stalls=(Window(1.0, 3.0),))
    shaper.push(1, bytes(1000), now_s=2.0)
    assert drain(shaper)[-1].at_s == pytest.approx(4.001)


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, 0.5, (0.0, 0.5)),  # before
        (0.0, 1.5, (0.0, 3.5)),  # interrupted
        (1.5, 1.6, (3.0, 3.1)),  # starts within
        (3.0, 4.0, (3.0, 4.0)),  # after
        (0.5, 5.0, (0.5, 8.0)),  # interrupted by both
    ],
)
def test_service_is_moved_out_of_stalls(
    start_s: float, end_s: float, expected: tuple[float, float]
) -> None:
    stalls = (Window(1.0, 2.0), Window(6.0, 1.0))
    assert push_past(start_s, end_s, stalls) == pytest.approx(expected)


def test_a_dropped_connection_leaves_the_link_to_the_others() -> None:
    shaper = LinkShaper(steady(8.0))
    shaper.push(1, bytes(30_000), now_s=0.0)
    shaper.push(2, bytes(1000), now_s=0.0)
    shaper.pop_due(now_s=0.0005)
    shaper.drop(1)
    out = drain(shaper)
    assert [release.key for release in out] == [2]
    assert out[0].at_s == pytest.approx(0.001)
    assert shaper.held_bytes == 0
