"""Reading recorded links, and exact transfer times over them."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.profiles.errors import TraceError
from headgate.profiles.trace import Trace, named_trace, open_trace, read_trace, shared_trace

STEPS = Trace("steps", (0.0, 1.0, 2.0), (8e6, 0.0, 16e6), 3.0)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "link.csv"
    path.write_text(text)
    return path


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


def test_csv_counts_time_from_its_first_row(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "t_s,mbps\n100.0,8\n100.5,0\n101.0,2.5\n"))
    assert trace.times_s == pytest.approx((0.0, 0.5, 1.0))
    assert trace.rates_bps == (8e6, 0.0, 2.5e6)
    assert trace.duration_s == pytest.approx(1.5)
    assert trace.name == "link"


def test_csv_with_a_row_per_change_has_no_gaps(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "t_s,mbps\n0,8\n10,1\n12,0\n30,8\n"))
    assert trace.rate_bps(29.9) == 0
    assert trace.duration_s == pytest.approx(40.0)


def test_mahimahi_delivers_its_packets_at_their_millisecond(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "1\n1\n5\n10\n"))
    assert trace.duration_s == pytest.approx(0.010)
    assert trace.mean_bps == pytest.approx(4 * 12_000 / 0.010)
    assert trace.finish_s(0.0, 3000) == pytest.approx(0.001)
    assert trace.finish_s(0.0, 4500) == pytest.approx(0.005)
    assert trace.finish_s(0.0, 6000) == pytest.approx(0.010)
    assert trace.finish_s(0.0, 7500) == pytest.approx(0.0105)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("t_s,mbps\n", "no rows"),
        ("time,rate\n0,1\n", "line 1: found 'time,rate', expected the header 't_s,mbps'"),
        ("t_s,mbps\n0,1\n0.1,-2\n", "line 3: rate is -2 Mbit/s, expected 0 or more"),
        ("t_s,mbps\n0,1\n0.1,nan\n", "line 3: found 'nan', expected a rate"),
        ("t_s,mbps\n0,1\n0.1,\n", "line 3: found '', expected a rate"),
        ("t_s,mbps\n0,1\ninf,2\n", "line 3: found 'inf', expected a time"),
        ("t_s,mbps\n0,1\n0.1,2,3\n", "line 3: found '0.1,2,3', expected two numbers"),
        ("t_s,mbps\n0,1\n0.2,1\n0.1,1\n", "line 4: time 0.1 s does not follow 0.2 s"),
        ("t_s,mbps\n0,1\n0,1\n", "line 3: time 0 s does not follow 0 s"),
        ("t_s,mbps\n0,1\n0.1,1\n0.2,1\n0.7,1\n", "line 5: a gap of 0.5 s, expected a row every"),
        ("t_s,mbps\n0,1\n1,20000000\n", "line 3: rate is 2e+07 Mbit/s, expected 1e+06 at most"),
        ("t_s,mbps\n0,1\n1e-320,1\n", "line 3: time 9.99989e-321 s does not follow 0 s"),
        ("t_s,mbps\n0,1\n1e17,1\n", "lasts 1e+17 s, expected 1e+09 at most"),
        ("1\n99999999999999999999\n", "lasts 1e+17 s, expected 1e+09 at most"),
        (f"{'9' * 5000}\n", f"line 1: found '{'9' * 40}', expected a whole number"),
        ("12\n13\nx\n", "line 3: found 'x', expected a whole number"),
        ("12\n11\n", "line 2: time 11 ms does not follow 12 ms"),
        ("0\n", "lasts 0 ms"),
    ],
)
def test_malformed_trace_is_refused_with_place_and_remedy(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "; " in str(caught.value)


def test_missing_file_folder_and_binary_are_trace_errors(tmp_path: Path) -> None:
    binary = tmp_path / "link.bin"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "absent.csv", tmp_path, binary):
        with pytest.raises(TraceError, match=str(path)):
            read_trace(path)


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
