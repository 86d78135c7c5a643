"""Claims about CLIO's weights: chances of prefixes, from rates of a link or recorded ones."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import UsageError
from headgate.profiles.trace import Trace, named_trace
from headgate.train.progressive import ProgressiveConfig, WeightSource
from headgate.train.run.clio import (
    prefix_chances,
    prefix_chances_of_traces,
    shares_in_time,
    with_prefix_weights,
)
from train.tiny_runs import tiny_config, write_pictures

LAYERS = (1000.0, 1000.0, 2000.0)  # bytes


def test_a_prefix_is_as_likely_as_the_rates_whose_longest_it_is() -> None:
    rates_bps = (4e3, 8e3, 15e3, 16e3, 32e3, 1e9, 1e9, 1e9)
    assert prefix_chances(rates_bps, layer_bytes=LAYERS, deadline_s=1.0) == (0.25, 0.125, 0.5)


def test_a_longer_deadline_is_a_quicker_link() -> None:
    slow = prefix_chances((8e3, 16e3), layer_bytes=LAYERS, deadline_s=2.0)
    assert slow == prefix_chances((16e3, 32e3), layer_bytes=LAYERS, deadline_s=1.0)


@pytest.mark.parametrize(
    ("rates_bps", "deadline_s", "message"),
    [
        ((1.0, 2.0), 1.0, "no rate carries even the first 1000 bytes in 1000 ms"),
        ((-1.0,), 1.0, "--bandwidth-kbps: found -0.001"),
        ((float("nan"),), 1.0, "--bandwidth-kbps: found nan"),
        ((1e6,), 0.0, "--deadline-ms: found 0"),
    ],
)
def test_a_link_that_carries_nothing_is_refused(
    rates_bps: tuple[float, ...], deadline_s: float, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        prefix_chances(rates_bps, layer_bytes=LAYERS, deadline_s=deadline_s)


# Open for a second, shut for a second. In the half second after t, 4000 bits cross for t from 0 to
# 0.5 s, then ever fewer, none from 1 to 1.5 s, and from there on ever more.
GATE = Trace("gate", (0.0, 1.0), (8e3, 0.0), 2.0)


def test_sending_begins_at_any_time_of_a_trace_and_goes_on_at_its_start() -> None:
    needed_bits = (1.0, 1000.0, 2000.0, 4000.0, 4001.0)
    shares = shares_in_time(GATE, needed_bits, deadline_s=0.5)
    assert shares == pytest.approx((0.749875, 0.625, 0.5, 0.25, 0.0), abs=1e-6)


def test_a_prefix_is_as_likely_as_the_times_from_which_it_is_the_longest_in_time() -> None:
    chances = prefix_chances_of_traces((GATE,), layer_bytes=(125.0, 125.0, 250.0), deadline_s=0.5)
    assert chances == pytest.approx((0.125, 0.25, 0.25), abs=1e-6)


def test_a_deadline_longer_than_the_trace_goes_round_it() -> None:
    # Twice round it carry 16,000 bits, whenever one begins.
    shares = shares_in_time(GATE, (17_000.0, 18_000.0, 20_001.0), deadline_s=4.5)
    within_half_a_second = shares_in_time(GATE, (1000.0, 2000.0, 4001.0), deadline_s=0.5)
    assert shares == pytest.approx(within_half_a_second)


def test_a_steady_trace_is_a_rate() -> None:
    for mbps in (0.004, 0.008, 0.015, 0.016, 0.032):
        trace = named_trace(f"steady:{mbps}")
        by_trace = prefix_chances_of_traces(
            (trace, named_trace("steady:9")), layer_bytes=LAYERS, deadline_s=1.0
        )
        by_rate = prefix_chances((mbps * 1e6, 9e6), layer_bytes=LAYERS, deadline_s=1.0)
        assert by_trace == pytest.approx(by_rate)


def test_traces_count_alike_however_long_they_are() -> None:
    long, short = Trace("long", (0.0,), (8e3,), 900.0), Trace("short", (0.0,), (32e3,), 1.0)
    chances = prefix_chances_of_traces((long, short), layer_bytes=LAYERS, deadline_s=1.0)
    assert chances == (0.5, 0.0, 0.5)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(1, 400),
)
def test_shares_are_those_that_sending_from_a_grid_of_times_would_count(
    steps: list[tuple[int, int]], deadline_cs: int
) -> None:
    """`finish_s` says when a prefix that begins at a time of the grid has crossed."""
    starts_s = [sum(length for length, _ in steps[:place]) / 10 for place in range(len(steps))]
    duration_s = sum(length for length, _ in steps) / 10
    rates_bps = tuple(1000.0 * rate for _, rate in steps)
    trace = Trace("steps", tuple(starts_s), rates_bps, duration_s)
    deadline_s, needed_bits = deadline_cs / 100, (95.3, 777.7, 3141.6)
    shares = shares_in_time(trace, needed_bits, deadline_s=deadline_s)
    grid_s = [(place + 0.5) * duration_s / 1000 for place in range(1000)]
    for need_bits, share in zip(needed_bits, shares, strict=True):
        in_time = [trace.finish_s(at_s, need_bits / 8) <= at_s + deadline_s for at_s in grid_s]
        # Each of the bends may put one time of the grid on the wrong side.
        assert share == pytest.approx(sum(in_time) / 1000, abs=2e-3 * (1 + len(steps)))


def test_traces_that_never_carry_a_prefix_are_refused() -> None:
    with pytest.raises(UsageError, match="none of the 1 ever carries even the first 501"):
        prefix_chances_of_traces((GATE,), layer_bytes=(501.0, 1.0), deadline_s=0.5)
    with pytest.raises(UsageError, match="--deadline-ms: found nan"):
        prefix_chances_of_traces((GATE,), layer_bytes=LAYERS, deadline_s=float("nan"))


def test_weights_are_made_for_the_maps_of_the_split(tmp_path: Path) -> None:
    config = tiny_config(
        write_pictures(tmp_path / "t.npz"),
        budgets=(),
        progressive=ProgressiveConfig(method="clio", order="natural", bottleneck=False),
    )
    alike = with_prefix_weights(config, rates_bps=(), deadline_s=1.0, value_bits=32)
    assert alike.progressive is not None
    assert alike.progressive.prefix_weights == pytest.approx((1 / 3,) * 3)
    # Two maps of 6 x 6 at 32 bits are 288 bytes.
    rates_bps = (8 * 288.0, 8 * 575.0, 8 * 576.0, 8 * 863.0)
    by_link = with_prefix_weights(config, rates_bps=rates_bps, deadline_s=1.0, value_bits=32)
    assert by_link.progressive is not None
    assert by_link.progressive.prefix_weights == (0.5, 0.5, 0.0)
    assert by_link.progressive.weights_of_link is None
    trace = named_trace("steady:0.005")
    by_trace = with_prefix_weights(config, traces=(trace,), deadline_s=1.0, value_bits=32)
    assert by_trace.progressive is not None
    assert by_trace.progressive.prefix_weights == (0.0, 1.0, 0.0)
    assert by_trace.progressive.weights_of_link == WeightSource(("steady:0.005",), 1.0, 32)
