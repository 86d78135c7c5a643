"""Claims about what is refused before an export does any work."""

from dataclasses import replace
from pathlib import Path

import pytest

from export.tiny_run import LENET, write_run
from headgate.export.options import ExportOptions, check_options
from headgate.export.pipeline import export_family
from headgate.profiles.errors import FamilyError, UsageError

OPTIONS = ExportOptions(num_calibration=16)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("lenet"), LENET)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (replace(OPTIONS, levels=(1,)), "--levels: 1 is impossible"),
        (replace(OPTIONS, levels=(512,)), "--levels: 512 is impossible"),
        (replace(OPTIONS, levels=()), "--levels: found 0"),
        (replace(OPTIONS, levels=(4, 4)), "--levels: 4 is given more than once"),
        (replace(OPTIONS, jpeg_qualities=(0,)), "--jpeg-qualities: 0 is impossible"),
        (replace(OPTIONS, webp_qualities=(101,)), "--webp-qualities: 101 is impossible"),
        (replace(OPTIONS, limit=0), "--limit: found 0"),
        (replace(OPTIONS, num_confidence=49), "--confidence-pictures: found 49"),
        (replace(OPTIONS, num_confidence=-1), "--confidence-pictures: found -1"),
        (replace(OPTIONS, num_calibration=0), "--calibration: found 0"),
        (replace(OPTIONS, num_parity=0), "--parity: found 0"),
        (replace(OPTIONS, threads=-1), "--threads: found -1"),
        (replace(OPTIONS, video_frames=1), "--video-frames: found 1"),
        (replace(OPTIONS, video_lag=0), "--video-lag: found 0"),
        (replace(OPTIONS, video_lag=3), "--video-lag: found 3 without a video"),
        (replace(OPTIONS, video_fps=12.5), "--video-fps: found 12.5 without a"),
        (replace(OPTIONS, video_frames=20), "--video-frames: found 20 without a video"),
    ],
)
def test_impossible_options_are_refused_by_name(
    wrong: ExportOptions, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        export_family(tmp_path / "run", tmp_path / "family", wrong, print)


def test_the_least_and_the_most_that_can_be_done_is_not_refused() -> None:
    check_options(
        ExportOptions(
            levels=(2, 256),
            jpeg_qualities=(1, 100),
            webp_qualities=(),
            limit=1,
            num_calibration=1,
            num_confidence=50,
            num_parity=1,
            threads=0,
            video="clip.mp4",
            video_lag=1,
            video_frames=2,
        )
    )


def test_an_existing_family_is_refused_unless_forced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "family").mkdir()
    (tmp_path / "family" / "family.json").write_text("{}")
    with pytest.raises(UsageError, match=r"exists already.*--force"):
        export_family(run, tmp_path / "family", OPTIONS, print)
    assert (tmp_path / "family" / "family.json").read_text() == "{}"


def test_force_replaces_families_only(run: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("mine")
    forced = replace(OPTIONS, force=True)
    with pytest.raises(UsageError, match=r"is not a family folder .*holds 'thesis.tex'"):
        export_family(run, tmp_path / "precious", forced, print)
    (tmp_path / "precious" / "family.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is not a family folder .*holds 'thesis.tex'"):
        export_family(run, tmp_path / "precious", forced, print)
    for target in (run.parent, run, run / "family"):
        with pytest.raises(UsageError, match="cannot lie in one another"):
            export_family(run, target, forced, print)
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_what_comes_to_lie_at_the_target_during_an_export_stays(
    force: bool, run: Path, tmp_path: Path
) -> None:
    target = tmp_path / "family"

    def put(line: str) -> None:
        if line.startswith("full:"):
            target.mkdir(exist_ok=True)
            (target / "thesis.tex").write_text("mine")

    said = "is not a family folder .*holds 'thesis.tex'" if force else "exists already"
    with pytest.raises(UsageError, match=said):
        export_family(run, target, replace(OPTIONS, force=force), put)
    assert [path.name for path in tmp_path.iterdir()] == ["family"]
    assert (target / "thesis.tex").read_text() == "mine"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FamilyError, match=r"no run\.json"):
        export_family(tmp_path, tmp_path / "family", OPTIONS, print)


def test_weights_with_a_flipped_byte_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, LENET)
    weights = run / "weights" / "b2r1.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(FamilyError, match=r"b2r1\.safetensors: sha256"):
        export_family(run, tmp_path / "family", OPTIONS, print)
    assert not (tmp_path / "family").exists()
