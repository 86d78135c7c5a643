"""Claims about rates over time, and exact transfer times over them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import TraceError
from headgate.profiles.trace import Trace, named_trace, shared_trace
from headgate.profiles.trace_files import open_trace

STEPS = Trace("steps", (0.0, 1.0, 2.0), (8e6, 0.0, 16e6), 3.0)


def test_rate_is_piecewise_constant_and_loops() -> None:
    at_s = (0.0, 0.999, 1.0, 2.5, 3.0, 4.5)
    assert [STEPS.rate_bps(t) / 1e6 for t in at_s] == [8, 8, 0, 16, 8, 0]


def test_transfer_waits_out_an_outage() -> None:
    assert STEPS.finish_s(0.5, 500_000) == pytest.approx(1.0)  # the last bit leaves before it
    assert STEPS.finish_s(0.5, 500_002) == pytest.approx(2.000001)


def test_transfer_spans_many_periods() -> None:
    assert STEPS.finish_s(0.0, 300_000_000) == pytest.approx(300.0)
    assert STEPS.finish_s(300.0, 3_000_000) == pytest.approx(303.0)


def test_nothing_takes_no_time_and_a_dead_link_for_ever() -> None:
    assert STEPS.finish_s(1.5, 0) == 1.5
    assert math.isinf(named_trace("steady:0").finish_s(0.0, 1))


@given(
    rates=st.lists(st.sampled_from([0.0, 0.1e6, 1e6, 7.3e6, 50e6]), min_size=1, max_size=20),
    start_s=st.floats(0, 100),
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=5),
)
def test_finish_time_inverts_the_integral_of_the_rate(
    rates: list[float], start_s: float, sizes: list[int]
) -> None:
    rates[0] = rates[0] or 1e6
    trace = Trace("t", tuple(0.1 * i for i in range(len(rates))), tuple(rates), 0.1 * len(rates))
    at_s = start_s
    for num_bytes in sizes:
        at_s = trace.finish_s(at_s, num_bytes)
    whole_s = trace.finish_s(start_s, sum(sizes))
    served = trace.served_bits(whole_s) - trace.served_bits(start_s)
    assert served == pytest.approx(8 * sum(sizes), rel=1e-6, abs=1)
    # In pieces or at once: the same bits by the same time (an instant may lie before an outage).
    assert trace.served_bits(at_s) == pytest.approx(trace.served_bits(whole_s), rel=1e-9, abs=1)


@pytest.mark.parametrize(
    "name", ["steady:", "steady:x", "steady:-1", "steady:nan", "steady:1e308", "absent.csv"]
)
def test_unknown_built_in_trace_is_refused(name: str) -> None:
    with pytest.raises(TraceError, match="trace"):
        open_trace(name)


def test_demo_trace_has_good_mediocre_bad_stretches_and_an_outage() -> None:
    trace = named_trace("demo")
    assert 60 <= trace.duration_s <= 90
    rates_mbps = [rate / 1e6 for rate in trace.rates_bps]
    for low, high in ((8, 20), (1, 5), (0.05, 0.6)):
        assert sum(low <= rate <= high for rate in rates_mbps) > 50
    assert 10 <= sum(rate == 0 for rate in rates_mbps) <= 50


def test_a_share_of_a_link_is_the_same_link_but_slower() -> None:
    trace = named_trace("demo")
    shared = shared_trace(trace, share=0.25)
    assert shared.duration_s == trace.duration_s
    assert shared.rate_bps(3.0) == pytest.approx(0.25 * trace.rate_bps(3.0))
    assert shared.name == "demo x 0.25"
    assert shared_trace(trace, share=1).name == "demo"
