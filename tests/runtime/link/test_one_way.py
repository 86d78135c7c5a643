"""Clocks that differ and drift, and paths that jitter: when was a message through the uplink?"""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.runtime.link.least_delay import WINDOW_S
from headgate.runtime.link.one_way import MAX_SKEW, OneWay, Served


@dataclass
class Path:
    """Asymmetric, with an edge whose clock is off by `offset_s` and gains `skew` a second."""

    up_s: float = 0.03
    down_s: float = 0.005
    offset_s: float = 5000.0
    skew: float = 0.0
    one_way: OneWay = field(default_factory=OneWay)

    def exchange(
        self,
        sent_s: float,
        *,
        service_s: float = 0.0,
        jitter_s: float = 0.0,
        num_bytes: int = 64,
        alone: bool = True,
        own_s: float | None = None,
    ) -> Served | None:
        """Send one message; `jitter_s` is what its answer is late."""
        arrived_s = sent_s + service_s + self.up_s
        return self.one_way.answered(
            sent_s=sent_s,
            edge_s=(1 + self.skew) * arrived_s + self.offset_s,
            back_s=arrived_s + self.down_s + jitter_s,
            num_bytes=num_bytes,
            alone=alone,
            own_s=own_s,
        )


def test_nothing_is_known_before_the_first_small_message() -> None:
    path = Path()
    assert path.exchange(0.0, service_s=0.1, num_bytes=10_000) is None
    assert path.exchange(1.0) is not None


@given(st.floats(0.0, 0.2), st.floats(0.0, 0.2), st.floats(-1e6, 1e6))
def test_service_is_told_whatever_the_way_back_and_the_clocks(
    up_s: float, jitter_s: float, offset_s: float
) -> None:
    path = Path(up_s=up_s, offset_s=offset_s)
    path.exchange(1.0)
    served = path.exchange(2.0, service_s=0.04, jitter_s=jitter_s, num_bytes=10_000)
    assert served is not None
    assert served.at_s == pytest.approx(2.04, abs=1e-6)
    assert served.least.num_bytes == 64


def test_the_delay_is_that_of_the_luckiest_small_message() -> None:
    path = Path()
    for i, late_s in enumerate([0.004, 0.0, 0.002]):
        path.exchange(float(i), service_s=late_s)
    served = path.exchange(3.0, service_s=0.01, num_bytes=5000, alone=False)
    assert served is not None
    assert served.at_s == pytest.approx(3.01, abs=1e-6)


def test_messages_behind_others_do_not_show_the_delay() -> None:
    path = Path()
    path.exchange(0.0)
    path.exchange(1.0, service_s=-0.02, alone=False)  # however quick it seems
    served = path.exchange(2.0, service_s=0.01, num_bytes=5000)
    assert served is not None
    assert served.at_s == pytest.approx(2.01, abs=1e-6)


@pytest.mark.parametrize("skew", [-100e-6, 0.0, 30e-6, 100e-6])
def test_skew_is_learnt_from_jittering_answers_within_a_minute(skew: float) -> None:
    """Ten messages a second, answers up to 20 ms late, now and then one in time."""
    path = Path(skew=skew)
    for i in range(600):
        path.exchange(i * 0.1, jitter_s=0.02 * abs(math.sin(12.9898 * i)))
    assert path.one_way.skew == pytest.approx(skew, abs=10e-6)
    served = path.exchange(60.0 + 0.9 * WINDOW_S, service_s=0.01, num_bytes=5000)
    assert served is not None
    assert served.at_s == pytest.approx(69.01, abs=0.0003)


def test_a_path_that_became_longer_is_believed_after_ten_seconds_and_a_shorter_one_at_once() -> (
    None
):
    path = Path()
    path.exchange(0.0)
    path.up_s += 0.05
    for i in range(1, 12):
        path.exchange(float(i))
    served = path.exchange(12.0, service_s=0.01, num_bytes=5000)
    assert served is not None
    assert served.at_s == pytest.approx(12.01, abs=1e-6)
    path.up_s -= 0.06
    path.exchange(13.0)
    served = path.exchange(14.0, service_s=0.01, num_bytes=5000)
    assert served is not None
    assert served.at_s == pytest.approx(14.01, abs=1e-6)


def test_noise_is_what_small_messages_are_usually_late() -> None:
    path = Path()
    for i in range(100):
        path.exchange(0.05 * i, service_s=0.004 * (i % 2))
    served = path.exchange(5.0, service_s=0.01, num_bytes=5000)
    assert served is not None
    assert served.noise_s == pytest.approx(0.002, abs=0.0005)


def test_noise_is_not_the_service_of_tiny_messages_on_a_slow_link() -> None:
    """64 B take 25 ms of 20 kbit/s, and the least delay was shown when the link was fast."""
    path = Path()
    path.exchange(0.0)
    for i in range(1, 90):
        path.exchange(0.1 * i, service_s=0.0256, own_s=0.025)
    served = path.exchange(9.0, service_s=0.05, own_s=0.05, num_bytes=120)
    assert served is not None
    assert served.noise_s < 0.001


@pytest.mark.parametrize("jump_s", [-100.0, 100.0, 0.5])
def test_a_clock_that_jumps_does_not_make_a_skew(jump_s: float) -> None:
    path = Path(skew=50e-6)
    for i in range(30):
        path.exchange(float(i))
    path.offset_s += jump_s
    for i in range(30, 90):
        path.exchange(float(i))
        assert abs(path.one_way.skew) <= MAX_SKEW
    assert path.one_way.skew == pytest.approx(50e-6, abs=2e-6)


@given(offset_s=st.floats(0.0, 1e6), from_s=st.floats(0.0, 1e5))
def test_deadlines_are_early_by_what_the_edge_counts_with_whatever_the_clocks(
    offset_s: float, from_s: float
) -> None:
    path = Path(offset_s=offset_s)
    assert path.one_way.counted_trip_s(now_s=from_s) is None
    path.exchange(from_s)
    trips_s = [path.one_way.counted_trip_s(now_s=from_s + 0.1)]
    for tick in range(1, 120):  # the uplink is never idle from now on
        path.exchange(from_s + tick / 10, service_s=0.04 + tick % 3 / 100, num_bytes=2000)
    trips_s.append(path.one_way.counted_trip_s(now_s=from_s + 12.0))
    path.exchange(from_s + 12.1)
    trips_s.append(path.one_way.counted_trip_s(now_s=from_s + 12.2))
    fixed_s = path.up_s + path.down_s
    assert trips_s == pytest.approx([fixed_s, fixed_s + 0.04, fixed_s], abs=1e-5)


def test_the_way_back_counts_with_its_least_of_ten_seconds() -> None:
    path = Path()
    path.exchange(0.0)
    path.exchange(2.0, jitter_s=0.2)
    assert path.one_way.counted_trip_s(now_s=5.0) == pytest.approx(0.035, abs=1e-5)
    assert path.one_way.counted_trip_s(now_s=11.0) == pytest.approx(0.235, abs=1e-5)
    assert path.one_way.counted_trip_s(now_s=30.0) is None
