"""Claims about `headgate bench head`: what it lists, and that INT8 heads fit the other parts."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from headgate.export.bench.speed.bench_head import HeadOptions, bench_head
from headgate.export.graphs.int8_head import with_int8_heads
from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.family import Family
from headgate.runtime.cli import main
from headgate.runtime.networks.device_engine import DeviceEngine
from runtime.tiny_family import tinted_pictures, write_tiny_family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return write_tiny_family(tmp_path_factory.mktemp("bench-head") / "family")


def write_named(path: Path, *, names: tuple[str, ...]) -> str:
    """Write pictures of three tints under these names of classes; return their data spec."""
    pictures, labels = tinted_pictures(40)
    np.savez(
        path,
        train_pictures=pictures,
        train_labels=labels,
        val_pictures=pictures,
        val_labels=labels,
        label_names=np.array(names),
    )
    return f"npz:{path}"


def silent(line: str) -> None:
    assert "\n" not in line


def test_heads_in_int8_are_listed_beside_the_float_ones_and_answer_as_well(
    family: Family, tmp_path: Path
) -> None:
    data = write_named(tmp_path / "tinted.npz", names=("red", "green", "blue"))
    options = HeadOptions(family=family, data=data, num_calibration=16, rounds=3)
    result = bench_head(options, say=silent)
    names = [row[0] for row in result.rows]
    assert names == [
        "whole network",
        "head of b3r1-l16",
        "head of b3r1-l16 in INT8",
        "head of b1r1-l5",
        "head of b1r1-l5 in INT8",
        "jpeg-q50",
    ]
    accuracy = {row[0]: row[result.columns.index("accuracy, %")] for row in result.rows}
    assert accuracy.pop("whole network") == ""
    assert set(accuracy.values()) == {"100.0"}
    (jpeg,) = [row for row in result.rows if row[0] == "jpeg-q50"]
    assert jpeg[result.columns.index("JPEGs")] == "1.00"


def test_int8_heads_compute_integers_and_send_nearly_the_same_maps(
    family: Family, tmp_path: Path
) -> None:
    pictures, _ = tinted_pictures(16, seed=5)
    int8 = with_int8_heads(family, tmp_path, calibration_NHWC=pictures)
    member = family.manifest.members[0]
    nodes = onnx.load(int8.file(member.head)).graph.node
    assert "QuantizeLinear" in {node.op_type for node in nodes}
    point = family.manifest.point("b3r1-l16")
    float_maps, _ = DeviceEngine(family).features(point, pictures)
    int8_maps, _ = DeviceEngine(int8).features(point, pictures)
    assert np.abs(float_maps.astype(int) - int8_maps.astype(int)).max() <= 1


def test_other_classes_and_impossible_numbers_are_refused(family: Family, tmp_path: Path) -> None:
    data = write_named(tmp_path / "other.npz", names=("a", "b", "c"))
    with pytest.raises(DataError, match="of its 3 classes are not"):
        bench_head(HeadOptions(family=family, data=data), say=silent)
    with pytest.raises(UsageError, match="--rounds: found 0"):
        HeadOptions(family=family, rounds=0)


def test_without_data_the_command_prints_times_and_counts_as_one_json_object(
    family: Family, tmp_path: Path
) -> None:
    arguments = ["bench", "head", str(family.path), "--rounds", "1", "--calibration", "2"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["bench"] == "Head"
    assert {row["accuracy, %"] for row in printed["rows"]} == {""}
    assert any("embedded data set" in note for note in printed["notes"])
    assert (tmp_path / "head.md").is_file()
