"""The control benchmark over real sockets, through the relay and as packets of TCP."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.export.bench.control.bench_control import ControlOptions, bench_control
from headgate.export.bench.control.control_runs import OURS, Mode
from headgate.export.bench.control.control_sockets import OVER_SOCKETS, suitable
from headgate.profiles.trace import Trace
from headgate.runtime.cli import main
from runtime.packets import needs_packets

LADDER = Path(__file__).parents[4] / "examples" / "ladder.toml"


def test_traces_for_sockets_are_spread_over_those_that_the_relay_can_carry() -> None:
    rates = (0, 1, 2, 99, 3, 4, 5, 6)
    traces = [Trace(f"{rate}", (0.0,), (1e6 * rate,), 1.0) for rate in rates]
    chosen = suitable(traces, number=3, duration_s=2.0)
    assert [trace.name for trace in chosen] == ["1", "3", "5"]
    assert suitable(traces, number=0, duration_s=2.0) == []
    assert len(suitable(traces, number=99, duration_s=2.0)) == 6


def test_it_is_said_if_nothing_can_run_over_sockets(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "fast.csv").write_text("t_s,mbps\n0,90\n9,90\n")
    options = ControlOptions(
        target=LADDER,
        traces=tmp_path / "links",
        slas_s=(0.05,),
        rtts_s=(0.05,),
        duration_s=0.1,
        modes=(Mode.BARE,),
        workers=1,
        sockets=1,
    )
    result = bench_control(options, say=lambda _: None)
    said = "nothing ran over sockets: no trace has a mean above 0 and up to 36 Mbit/s"
    assert result.notes[-1] == said
    (tmp_path / "links" / "fast.csv").write_text("t_s,mbps\n0,9\n9,9\n")
    result = bench_control(options, say=lambda _: None)
    assert result.notes[-1] == "nothing ran over sockets: no SLA is longer than a round trip"
    result = bench_control(replace(options, sockets=0), say=lambda _: None)
    assert "sockets" not in result.notes[-1]


def test_simulated_and_real_run_are_alike(tmp_path: Path) -> None:
    (tmp_path / "steady.csv").write_text("t_s,mbps\n0,6\n1,7\n")
    options = ControlOptions(
        target=LADDER,
        traces=tmp_path,
        slas_s=(0.2,),
        rtts_s=(0.02,),
        fps=15.0,
        duration_s=2.0,
        modes=(Mode.INSURED,),
        workers=1,
        sockets=1,
    )
    result = bench_control(options, say=lambda _: None)
    rows = [row for row in result.rows if row[0] == "over sockets"]
    assert [row[4] for row in rows] == [OURS, f"{OURS}, over sockets"]
    assert all(float(row[-1]) > 0 for row in rows)  # better than local only, busy machine or not


@needs_packets
def test_runs_over_packets_are_beside_the_simulated_ones(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "steady.csv").write_text("t_s,mbps\n0,8\n9,8\n")
    options = ControlOptions(
        target=LADDER,
        traces=tmp_path / "links",
        slas_s=(0.1,),
        rtts_s=(0.02,),
        duration_s=1.0,
        modes=(Mode.INSURED,),
        workers=1,
        sockets=1,
        loss=0.005,
    )
    result = bench_control(options, say=lambda _: None)
    assert [row[4] for row in result.rows if row[0] == "over sockets"] == [OURS, OVER_SOCKETS]
    assert "as packets of TCP of which 0.5 % get lost" in result.notes[-1]


@pytest.mark.parametrize(
    "options", [["--packets"], ["--loss-percent", "1"], ["--sockets", "1", "--loss-percent", "1"]]
)
def test_packets_without_runs_over_sockets_are_refused(tmp_path: Path, options: list[str]) -> None:
    refused = CliRunner().invoke(
        main, ["bench", "control", str(LADDER), "--traces", str(tmp_path), *options]
    )
    assert refused.exit_code == 2
    assert "as in --sockets 3 --packets --loss-percent 1" in refused.output
