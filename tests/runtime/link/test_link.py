"""The estimator of the uplink, fed by a fluid link in virtual time."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.profiles.trace import Trace, named_trace
from headgate.runtime.link.belief import RateBelief
from headgate.runtime.link.link import LinkEstimator
from headgate.runtime.wire.messages import NO_BURST, Burst


class Fluid:
    """A fluid uplink that answers after `delay_s`; keys count up."""

    def __init__(self, trace: Trace, *, delay_s: float, residence_s: float = 0.0) -> None:
        self.link = LinkEstimator()
        self._trace = trace
        self.delay_s, self._residence_s = delay_s, residence_s
        self._free_s = 0.0
        self.key = 0

    def send(self, num_bytes: int, *, now_s: float) -> float:
        """Send, and return when the answer will be back."""
        self.key += 1
        self.link.sent(self.key, num_bytes=num_bytes, now_s=now_s)
        self._free_s = self._trace.finish_s(max(now_s, self._free_s), num_bytes)
        return self._free_s + self.delay_s + self._residence_s

    def answer(
        self, *, now_s: float, key: int | None = None, burst: Burst = NO_BURST
    ) -> float | None:
        return self.link.answered(
            key or self.key,
            residence_s=self._residence_s,
            edge_s=now_s - self._residence_s - self.delay_s / 2 + 1000.0,
            now_s=now_s,
            burst=burst,
        )

    def exchange(self, num_bytes: int, *, now_s: float) -> float:
        """Send and take the answer; return when that is."""
        back_s = self.send(num_bytes, now_s=now_s)
        self.answer(now_s=back_s)
        return back_s


@pytest.mark.parametrize("mbps", [0.2, 2.0, 8.0, 30.0])
@pytest.mark.parametrize("delay_s", [0.005, 0.05])
@pytest.mark.parametrize("num_bytes", [5000, 50_000])
def test_rate_and_delay_are_told_apart(mbps: float, delay_s: float, num_bytes: int) -> None:
    fluid = Fluid(named_trace(f"steady:{mbps}"), delay_s=delay_s, residence_s=0.004)
    now_s = fluid.exchange(40, now_s=0.0)
    for _ in range(20):
        now_s = fluid.exchange(num_bytes, now_s=now_s + 0.03)
    outlook = fluid.link.outlook(now_s=now_s)
    assert outlook.rate_bps == pytest.approx(mbps * 1e6, rel=0.1)
    assert outlook.delay_s == pytest.approx(delay_s, abs=0.002)


@pytest.mark.parametrize("kbps", [43, 100, 200])
def test_the_delay_does_not_hold_the_service_of_the_message_that_showed_it(kbps: int) -> None:
    """A header of 64 bytes is 12 ms of a link of 43 kbit/s, and every frame has one."""
    fluid = Fluid(named_trace(f"steady:{kbps / 1000}"), delay_s=0.02)
    now_s = 0.0
    for _ in range(15):
        now_s = fluid.exchange(64, now_s=now_s + 0.1)
        now_s = fluid.exchange(400, now_s=now_s + 0.1)
    outlook = fluid.link.outlook(now_s=now_s)
    assert outlook.delay_s == pytest.approx(0.02, abs=0.002)


def test_a_way_back_that_jitters_is_not_taken_for_a_slow_uplink() -> None:
    """20 kB take 8 ms of this link, and every other answer is 30 ms late."""
    fluid = Fluid(named_trace("steady:20"), delay_s=0.02)
    now_s = fluid.exchange(64, now_s=0.0)
    for i in range(40):
        late_s = 0.03 * (i % 2)
        back_s = fluid.send(20_000, now_s=now_s)
        fluid.link.answered(
            fluid.key,
            residence_s=0.0,
            edge_s=back_s - 0.01 + 1000.0,
            now_s=back_s + late_s,
        )
        now_s = back_s + 0.05
    assert fluid.link.outlook(now_s=now_s).rate_bps == pytest.approx(20e6, rel=0.05)


def test_an_edge_whose_clock_stood_still_does_not_spoil_the_estimate_for_long() -> None:
    fluid = Fluid(named_trace("steady:20"), delay_s=0.02)
    now_s = fluid.exchange(64, now_s=0.0)
    for shift_s in (1000.0, 900.0, 1100.0):
        for num_bytes in (20_000, 64, 20_000, 20_000, 20_000, 20_000):
            back_s = fluid.send(num_bytes, now_s=now_s)
            fluid.link.answered(
                fluid.key, residence_s=0.0, edge_s=back_s - 0.01 + shift_s, now_s=back_s
            )
            now_s = back_s + 0.5
        assert fluid.link.outlook(now_s=now_s).rate_bps == pytest.approx(20e6, rel=0.2)


@pytest.mark.parametrize("held_up", [True, False])
def test_a_frame_that_waited_for_its_senders_window_does_not_tell_the_rate(
    held_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 kB take 10.6 ms of this link; the window made it 40 ms more."""
    told: list[int] = []
    monkeypatch.setattr(RateBelief, "alone", lambda _, num_bytes, **__: told.append(num_bytes))
    fluid = Fluid(named_trace("steady:30"), delay_s=0.05)
    now_s = fluid.exchange(40, now_s=0.0)
    for _ in range(20):
        now_s = fluid.exchange(10_000, now_s=now_s + 0.03)
    back_s = fluid.send(40_000, now_s=now_s) + 0.04
    gap_us = 40_000 if held_up else 1200
    burst = Burst(arrivals=10, spread_us=49_000, num_bytes=36_000, largest_gap_us=gap_us)
    fluid.answer(now_s=back_s, burst=burst)
    rate_bps = fluid.link.outlook(now_s=back_s).rate_bps
    if held_up:
        assert rate_bps == pytest.approx(30e6, rel=0.05)
        assert told[-1] == 10_000
    else:  # the link was as slow as that
        assert told[-1] == 40_000
        assert rate_bps < 25e6


@pytest.mark.parametrize("mbps", [0.02, 0.05, 0.2])
def test_frames_little_larger_than_a_probe_teach_the_rate_of_a_slow_link(mbps: float) -> None:
    fluid = Fluid(named_trace(f"steady:{mbps}"), delay_s=0.02)
    now_s = fluid.exchange(64, now_s=0.0)
    for _ in range(20):
        now_s = fluid.exchange(180, now_s=now_s + 0.1)
    assert fluid.link.outlook(now_s=now_s).rate_bps == pytest.approx(mbps * 1e6, rel=0.05)


def test_service_within_the_noise_does_not_make_the_estimate_look_fresh() -> None:
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = fluid.exchange(64, now_s=0.0)
    now_s = fluid.exchange(20_000, now_s=now_s + 0.1)
    clear_s = now_s
    for _ in range(30):
        now_s = fluid.exchange(200, now_s=now_s + 0.1)
    assert fluid.link.outlook(now_s=now_s).age_s == pytest.approx(now_s - clear_s)


@pytest.mark.parametrize("mbps", [0.5, 3.0, 12.0])
def test_spacing_of_equal_messages_tells_the_rate_without_the_delay(mbps: float) -> None:
    """The delay was shown by a message as large as all others, which none of them stands out of."""
    fluid = Fluid(named_trace(f"steady:{mbps}"), delay_s=0.02)
    now_s = fluid.exchange(1064, now_s=0.0)
    for _ in range(30):
        first = fluid.key + 1
        backs_s = [fluid.send(1064, now_s=now_s) for _ in range(5)]
        for key, back_s in enumerate(backs_s, start=first):
            fluid.answer(now_s=back_s, key=key)
        now_s = backs_s[-1] + 0.01
    outlook = fluid.link.outlook(now_s=now_s)
    assert outlook.rate_bps == pytest.approx(mbps * 1e6, rel=0.1)


@pytest.mark.parametrize("num_held", [2, 5])
def test_what_tcp_hands_over_at_once_behind_a_lost_packet_is_no_fast_link(num_held: int) -> None:
    """The first was sent again, and the others waited for it where no link can be seen.

    Each was foreseen at 8 Mbit/s, and raises that by no more than 0.5 nats.
    """
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = fluid.exchange(64, now_s=0.0)
    for held in [*[False] * 30, True]:
        first = fluid.key + 1
        backs_s = [fluid.send(2564, now_s=now_s) for _ in range(num_held)]
        if held:
            backs_s = [backs_s[-1] + 0.06 + 0.0001 * i for i in range(num_held)]
        for key, back_s in enumerate(backs_s, start=first):
            fluid.answer(now_s=back_s, key=key)
        now_s = backs_s[-1] + 0.01
    assert fluid.link.outlook(now_s=backs_s[-1]).rate_bps < 1.7 * 8e6


def test_a_link_that_has_become_fast_is_believed_soon() -> None:
    """What came with a slow message says little; those of the next rounds do."""
    fluid = Fluid(Trace("rises", (0.0, 3.0), (0.2e6, 40e6), 60.0), delay_s=0.02)
    now_s, num_rounds = fluid.exchange(64, now_s=0.0), 0
    while num_rounds < 4:
        num_rounds += now_s > 3.0
        first = fluid.key + 1
        backs_s = [fluid.send(2564, now_s=now_s) for _ in range(4)]
        for key, back_s in enumerate(backs_s, start=first):
            fluid.answer(now_s=back_s, key=key)
        now_s = backs_s[-1] + 0.01
    assert fluid.link.outlook(now_s=now_s).rate_bps > 15e6


def test_short_services_that_follow_one_another_are_one_sample() -> None:
    """Small messages at jittering moments: each by itself seems fast or slow by turns."""
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = fluid.exchange(64, now_s=0.0)
    for _ in range(60):
        first = fluid.key + 1
        backs_s = [fluid.send(1000, now_s=now_s) for _ in range(10)]
        for number, (key, back_s) in enumerate(zip(range(first, first + 10), backs_s, strict=True)):
            fluid.answer(now_s=back_s + (0.0009 if number % 2 else 0.0), key=key)
        now_s = backs_s[-1] + 0.02
    outlook = fluid.link.outlook(now_s=now_s)
    assert outlook.rate_bps == pytest.approx(8e6, rel=0.15)
    assert outlook.on_time(6000, by_s=now_s + 0.02 + 0.008) > 0.9


def test_queue_of_earlier_messages_is_not_taken_for_a_slow_link() -> None:
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = fluid.exchange(40, now_s=0.0)
    for _ in range(5):
        backs_s = [fluid.send(10_000, now_s=now_s) for _ in range(4)]
        first_key = fluid.key - 3
        for i, back_s in enumerate(backs_s):
            fluid.answer(now_s=back_s, key=first_key + i)
        now_s = backs_s[-1] + 0.05
    assert fluid.link.outlook(now_s=now_s).rate_bps == pytest.approx(8e6, rel=0.05)


def test_answers_out_of_order_free_the_queue_and_keep_the_estimate() -> None:
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = fluid.exchange(40, now_s=0.0)
    for _ in range(10):
        fluid.send(5000, now_s=now_s)
        back_s = fluid.send(5000, now_s=now_s)
        fluid.answer(now_s=back_s, key=fluid.key)
        assert fluid.link.num_outstanding == 0
        assert fluid.answer(now_s=back_s + 0.001, key=fluid.key - 1) is not None
        now_s = back_s + 0.03
    assert fluid.link.ahead_bytes == 0
    assert fluid.link.outlook(now_s=now_s).rate_bps == pytest.approx(8e6, rel=0.1)


def test_small_messages_only_bound_a_fast_link_from_below() -> None:
    fluid = Fluid(named_trace("steady:1000"), delay_s=0.02)
    now_s = fluid.exchange(40, now_s=0.0)
    for _ in range(30):
        now_s = fluid.exchange(2000, now_s=now_s + 0.03)
    outlook = fluid.link.outlook(now_s=now_s)
    assert 8e6 < outlook.rate_bps < 400e6
    assert math.isinf(outlook.age_s)
    assert outlook.on_time(2000, by_s=now_s + 0.05) > 0.9
    assert outlook.on_time(3 * 10**6, by_s=now_s + 0.05) < 0.2


def test_message_that_is_overdue_lowers_the_chances_at_once() -> None:
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = fluid.exchange(40, now_s=0.0)
    for _ in range(50):
        now_s = fluid.exchange(10_000, now_s=now_s + 0.03)
    fluid.send(10_000, now_s=now_s)  # due in 30 ms
    chances = [
        fluid.link.outlook(now_s=now_s + wait_s).on_time(10_000, by_s=now_s + wait_s + 0.1)
        for wait_s in (0.01, 0.03, 0.06, 0.12, 0.5)
    ]
    assert chances[0] > 0.98
    assert chances[1] > 0.98
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] < 0.2
    assert fluid.link.waited_s(now_s=now_s + 0.5) == pytest.approx(0.48, abs=0.002)


def test_an_edge_that_claims_to_have_had_a_message_for_an_hour_hides_no_stall() -> None:
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = fluid.exchange(40, now_s=0.0)
    back_s = fluid.send(10_000, now_s=now_s)
    fluid.link.answered(fluid.key, residence_s=3600.0, edge_s=None, now_s=back_s)
    fluid.send(10_000, now_s=back_s)
    assert fluid.link.waited_s(now_s=back_s + 0.5) > 0.4


def test_estimate_is_widened_with_age() -> None:
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = fluid.exchange(40, now_s=0.0)
    for i in range(50):
        now_s = fluid.exchange(10_000 + 1000 * (i % 3), now_s=now_s + 0.03)
    widenings = [
        fluid.link.outlook(now_s=now_s + age_s).forecast.widening for age_s in (0.0, 2.0, 1e6)
    ]
    assert widenings == [1.0, pytest.approx(2.0, abs=0.1), 4.0]


def test_noise_is_the_jitter_and_not_the_service_of_a_slow_link() -> None:
    fluid = Fluid(named_trace("steady:0.05"), delay_s=0.02)
    now_s = fluid.exchange(40, now_s=0.0)
    for _ in range(30):
        now_s = fluid.exchange(1000, now_s=now_s + 0.1)
        now_s = fluid.exchange(64, now_s=now_s + 0.1)  # 10 ms of this link
    assert fluid.link.noise_s < 0.002


def late_s(number: int) -> float:
    """Up to 2 ms, as a loop takes messages: 0.6 ms in the mean."""
    return 0.002 * abs(math.sin(12.9898 * number)) ** 3


def after_a_bad_stretch(num_bytes: int, *, until_s: float) -> list[tuple[float, float]]:
    """Frames of that size on 1.5 Mbit/s, then 12 s of 20 kbit/s, then 1.5 again, ten a second.

    Each second one message of 64 B asks for the delay. Returns time since the recovery and rate.
    """
    trace = Trace("recovers", (0.0, 20.0, 32.0), (1.5e6, 2e4, 1.5e6), 100.0)
    fluid = Fluid(trace, delay_s=0.02)
    now_s, number, found = fluid.exchange(64, now_s=0.0), 0, []
    now_s = fluid.exchange(1064, now_s=now_s)
    while now_s < until_s + 32.0:
        for size in (64, num_bytes) if number % 10 == 0 else (num_bytes,):
            back_s = fluid.send(size, now_s=now_s) + late_s(number)
            fluid.answer(now_s=back_s)
            now_s = max(now_s + 0.05, back_s)
        now_s = max(0.1 * number, now_s)
        number += 1
        found.append((now_s - 32.0, fluid.link.outlook(now_s=now_s).rate_bps))
    return found


@pytest.mark.parametrize("num_bytes", [108, 150, 230])
def test_small_frames_find_out_within_a_second_that_the_link_is_good_again(num_bytes: int) -> None:
    """Their service was taken for noise in the bad stretch, and hid that of the good one."""
    found = after_a_bad_stretch(num_bytes, until_s=2.0)
    assert max(rate for since_s, rate in found if -5.0 < since_s < 0.0) < 5e4
    assert min(rate for since_s, rate in found if since_s > 1.0) > 2e5


@pytest.mark.parametrize("num_bytes", [150, 230, 600])
def test_small_frames_do_not_make_a_good_link_look_ever_slower(num_bytes: int) -> None:
    found = after_a_bad_stretch(num_bytes, until_s=25.0)
    early = min(rate for since_s, rate in found if 1.0 < since_s < 3.0)
    assert min(rate for since_s, rate in found if since_s > 3.0) > 0.8 * early


def test_delay_that_rises_is_learnt_when_the_old_one_leaves_the_window() -> None:
    near = Fluid(named_trace("steady:8"), delay_s=0.02)
    now_s = near.exchange(40, now_s=0.0)
    near.delay_s = 0.06
    for _ in range(12):
        now_s = near.exchange(40, now_s=now_s + 1.0)
    assert near.link.delay_s == pytest.approx(0.06, abs=0.001)


def test_forgotten_connection_leaves_nothing_outstanding() -> None:
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    fluid.send(1000, now_s=0.0)
    fluid.link.forget_all()
    assert (fluid.link.num_outstanding, fluid.link.ahead_bytes) == (0, 0)
    assert fluid.answer(now_s=1.0) is None


def test_message_that_never_left_is_taken_back() -> None:
    fluid = Fluid(named_trace("steady:8"), delay_s=0.02)
    fluid.send(1000, now_s=0.0)
    fluid.send(2000, now_s=0.0)
    fluid.link.unsent(1)
    fluid.link.unsent(1)
    assert (fluid.link.num_outstanding, fluid.link.ahead_bytes) == (1, 2000)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 200_000), min_size=1, max_size=40),
    steps_s=st.lists(st.floats(0, 0.3), min_size=40, max_size=40),
    mbps=st.floats(0.01, 1000),
    losses=st.sets(st.integers(1, 40)),
)
def test_chances_stay_chances_and_fall_with_size(
    sizes: list[int], steps_s: list[float], mbps: float, losses: set[int]
) -> None:
    fluid = Fluid(Trace("t", (0.0,), (mbps * 1e6,), 1.0), delay_s=0.02, residence_s=0.003)
    now_s = 0.0
    due: list[tuple[float, int]] = []
    for num_bytes, step_s in zip(sizes, steps_s, strict=False):
        due.append((fluid.send(num_bytes, now_s=now_s), fluid.key))
        now_s += step_s
        for back_s, key in [item for item in due if item[0] <= now_s]:
            if key not in losses:
                fluid.answer(now_s=back_s, key=key)
        due = [item for item in due if item[0] > now_s]
        outlook = fluid.link.outlook(now_s=now_s)
        chances = [outlook.on_time(n, by_s=now_s + 0.1) for n in (100, 1000, 10**4, 10**5)]
        assert all(0.0 <= chance <= 1.0 for chance in chances)
        assert chances == sorted(chances, reverse=True)
        assert math.isfinite(outlook.rate_bps)
        assert fluid.link.ahead_bytes >= 0


def test_jitter_on_a_link_too_fast_to_be_measured_is_forgotten_when_it_ends() -> None:
    """What showed the least delay was said to hold unknown service for ten seconds, so that nothing
    small could tell that the link was good again.
    """
    fluid = Fluid(named_trace("steady:100"), delay_s=0.02)
    now_s = fluid.exchange(64, now_s=0.0)
    now_s = fluid.exchange(1064, now_s=now_s)
    now_s = fluid.exchange(64, now_s=now_s)
    assert fluid.link.outlook(now_s=now_s).rate_bps > 5e6
    for _ in range(20):
        back_s = fluid.send(1064, now_s=now_s) + 0.06
        fluid.answer(now_s=back_s)
        now_s = back_s + 0.01
    assert fluid.link.outlook(now_s=now_s).rate_bps < 2e5
    for _ in range(30):
        now_s = fluid.exchange(92, now_s=now_s) + 0.013
    assert now_s < 5.0
    assert fluid.link.outlook(now_s=now_s).rate_bps > 5e5
