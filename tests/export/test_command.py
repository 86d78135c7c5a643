"""Claims about `headgate export` as a user meets it."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from export.tiny_run import LENET, write_run
from headgate.profiles.family import open_family
from headgate.runtime.cli import main
from runtime.running import PATIENCE_S
from runtime.test_told_to_stop import TOLD_ON_IMPORT


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, args)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("lenet"), LENET)


def test_progress_goes_to_stderr_and_the_result_to_stdout(run: Path, tmp_path: Path) -> None:
    options = ["--levels", "16", "--jpeg-qualities", "50", "--webp-qualities", "", "--json"]
    result = invoke(run, tmp_path / "family", *options, "--limit", "9", "--calibration", "8")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    manifest = open_family(tmp_path / "family").manifest
    assert found["digest"] == manifest.digest
    assert [point["id"] for point in found["points"]] == [
        "b2r1-l16",
        "jpeg-q50",
        "local-full",
        "local-exit",
    ]
    assert manifest.provenance["validation_pictures"] == "9"
    lines = result.stderr.splitlines()
    assert all(line.startswith("export: ") for line in lines)
    assert any("beside the trained network" in line for line in lines)


def test_an_export_says_how_its_family_is_run(run: Path, tmp_path: Path) -> None:
    options = ["--levels", "16", "--jpeg-qualities", "", "--webp-qualities", "", "--limit", "9"]
    result = invoke(run, tmp_path / "family", *options, "--calibration", "8")
    family = tmp_path / "family"
    assert result.stderr.splitlines()[-1] == (
        f"next: headgate edge {family}, and beside it headgate device {family} INPUT"
    )
    assert "next" not in result.stdout


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        (["--levels", "1"], 2, "--levels: 1 is impossible"),
        (["--levels", "many"], 2, "not a list of whole numbers"),
        (["--jpeg-qualities", "0"], 2, "--jpeg-qualities: 0 is impossible"),
        (["--data", "imagenet:/x"], 2, "imagenet"),
        (["--unknown"], 2, "No such option"),
    ],
)
def test_wrong_options_end_with_exit_code_2(
    run: Path, tmp_path: Path, options: list[str], exit_code: int, said: str
) -> None:
    result = invoke(run, tmp_path / "family", *options)
    assert (result.exit_code, said in result.stderr) == (exit_code, True), result.stderr
    assert not (tmp_path / "family").exists()


def test_a_file_in_the_way_of_the_family_is_named_before_any_work(
    run: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = invoke(run, tmp_path / "file" / "family")
    assert result.exit_code == 2
    assert result.stderr == (
        f"headgate: error: {tmp_path}/file/family: {tmp_path}/file is a file, expected a folder; "
        "choose another place\n"
    )


def test_a_disk_that_fills_up_names_the_family_and_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    result = invoke(run, tmp_path / "family", "--limit", "9", "--calibration", "8")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"headgate: error: {tmp_path}/family/heads/b2r1/model.onnx: cannot be written, its disk is "
        "full; free space there, or choose another place"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_run_ends_with_exit_code_4_and_one_line(tmp_path: Path) -> None:
    result = invoke(tmp_path / "nothing", tmp_path / "family")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("headgate: error: ")


@pytest.mark.parametrize(
    ("loaded", "arguments"),
    [
        ("headgate.export.pipeline", ["export", "run", "family"]),
        ("headgate.export.demo.demo", ["demo", "--out", "out"]),
    ],
)
def test_sigterm_interrupts_also_while_the_command_loads(
    tmp_path: Path, loaded: str, arguments: list[str]
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", TOLD_ON_IMPORT, loaded, str(int(signal.SIGTERM)), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert told.returncode == 130, told.stderr
    assert told.stderr.splitlines()[-1] == "headgate: interrupted"
    assert list(tmp_path.iterdir()) == []
