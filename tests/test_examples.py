"""Claims about the scripts in `examples/`: they run as they stand, with the modules of today."""

import ast
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.tiny_family import LABELS, SIDE_PX, write_tiny_family

SCRIPT = Path(__file__).parents[1] / "examples" / "from_python.py"


def test_every_point_answers_from_python_and_the_controller_chooses_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    family = write_tiny_family(tmp_path / "family", progressive=True)
    green_HWC = np.zeros((SIDE_PX, 2 * SIDE_PX, 3), np.uint8)
    green_HWC[:, :, 1] = 255
    Image.fromarray(green_HWC).save(tmp_path / "green.png")
    arguments = [str(SCRIPT), str(family.path), str(tmp_path / "green.png"), "steady:8"]
    monkeypatch.setattr("sys.argv", arguments)
    runpy.run_path(str(SCRIPT), run_name="__main__")
    *answers, chosen = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in answers] == [p.id for p in family.manifest.points]
    assert {line.split()[-1] for line in answers} == {LABELS[1]}
    assert sum(ast.literal_eval(chosen).values()) == 300


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "error: found 0 arguments, expected 3; usage: python examples/from_python.py"),
        (["nosuch", "x.jpg", "steady:8"], 4, "error: nosuch: no such folder; "),
        (["FAMILY", "nosuch.jpg", "steady:8"], 2, "error: picture nosuch.jpg: "),
        (["FAMILY", "PICTURE", "nosuch"], 2, "error: "),
    ],
)
def test_what_a_script_cannot_be_run_with_is_one_line_with_its_usage(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("RGB", (SIDE_PX, SIDE_PX)).save(tmp_path / "black.png")
    there = {"FAMILY": tmp_path / "family", "PICTURE": tmp_path / "black.png"}
    if "FAMILY" in arguments:
        write_tiny_family(tmp_path / "family")
    given = [str(there.get(each, each)) for each in arguments]
    monkeypatch.setattr("sys.argv", [str(SCRIPT), *given])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == code
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
    assert "usage: python examples/from_python.py FAMILY PICTURE TRACE" in error
