"""Claims about the comparison of clients in processes of their own, over shaped links."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from export.forked import forked_child
from headgate.runtime.cli import main
from train.tiny_runs import write_pictures


@pytest.fixture(autouse=True)
def children_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "headgate.export.bench.split_training.bench_deprune_network.child", forked_child
    )


def bench(pictures: Path, out: Path, *changes: str) -> Result:
    """Run the command on a LeNet of 6 maps and one client with four batches."""
    arguments = ["bench", "deprune-network", "--clients=1", "--cpu-share=1", "--rate-mbps=50"]
    arguments += ["--delay-ms=0", f"--data=npz:{pictures}", "--model=lenet", "--split=features.2"]
    arguments += ["--schedule=1:1", "--batch-size=8", "--threads=1", "--device=cpu", "--json"]
    return CliRunner().invoke(main, [*arguments, f"--out={out}", *changes])


def test_with_the_module_fewer_bytes_cross_on_every_link(tmp_path: Path) -> None:
    result = bench(write_pictures(tmp_path / "tiny.npz"), tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    ways = [(row["link"], row["module"], row["maps"]) for row in found["rows"]]
    assert ways == [
        ("loopback", "without", "6"),
        ("loopback", "with", "1"),
        ("50 Mbit/s", "without", "6"),
        ("50 Mbit/s", "with", "1"),
    ]
    parts_bytes = 40 + 20 * 3 + 40 + 20 * 2 + 8  # headers both ways, a batch's labels
    for row, maps in zip(found["rows"], (6, 1, 6, 1), strict=True):
        moved_bytes = 2 * maps * (8 * 6 * 6 * 4 + 4)  # maps and filter, and their gradients
        assert row["bytes / picture"] == f"{(moved_bytes + parts_bytes) / 8:.0f}"
        assert float(row["pictures / s"]) > 0
    assert found["details"]["loopback with"]["num_pictures"] == 32
    for name in ("deprune-network.html", "deprune-network.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000


def test_a_client_that_fails_ends_it_and_is_named(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "tiny.npz", num_train=2)
    result = bench(pictures, tmp_path / "out", "--clients=3")
    assert result.exit_code == 5
    assert re.search(r"without-loopback\): client \d ended with 2", result.stderr)
    assert "use fewer clients or more pictures" in result.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--clients=0", "--clients 0"),
        ("--cpu-share=1.5", "--cpu-share 1.5"),
        ("--cpu-share=nan", "--cpu-share nan"),
        ("--rate-mbps=0", "'--rate-mbps': 0.0 is not in the range"),
        ("--timeout-s=nan", "'--timeout-s': nan is no finite number"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, option: str, said: str) -> None:
    result = bench(tmp_path / "none.npz", tmp_path, option)
    assert result.exit_code == 2
    assert said in result.stderr
