"""The main job in small: train, export, and run across two processes through the link emulator."""

from pathlib import Path

from click.testing import CliRunner

from headgate.export.demo.demo import DemoOptions, run_for_real, write_pictures
from headgate.profiles.family import open_family
from headgate.profiles.trace import named_trace
from headgate.runtime.cli import main
from headgate.runtime.records import Source

DATA = "embedded:train=64,val=32"


def headgate(*arguments: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr


def test_what_was_trained_here_answers_frames_over_an_emulated_link(tmp_path: Path) -> None:
    options = DemoOptions(out=tmp_path, seconds=2.0, fps=20.0, sla_s=0.5)
    headgate(
        "train", "prune", "--data", DATA, "--model", "lenet", "--budgets", "2", "--resolution",
        "2", "--epochs", "1", "--base-epochs", "1", "--member-epochs", "1", "--batch-size", "16",
        "--threads", "1", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    headgate(
        "export", str(tmp_path / "run"), str(tmp_path / "family"), "--levels", "8", "--limit", "32",
        "--calibration", "16", "--parity", "8", "--jpeg-qualities", "20", "--webp-qualities", "",
    )  # fmt: skip
    manifest = open_family(tmp_path / "family").manifest
    # Only points that need the edge: an untrained family may be no better for sending.
    points = [point.id for point in manifest.points if not point.id.startswith("local")]
    (tmp_path / "profile.toml").write_text(f'name = "sending"\npoints = {points}\n')
    write_pictures(DATA, tmp_path / "pictures.npz")
    real = run_for_real(options, trace=named_trace("steady:8"), seconds=2.0)
    assert sorted(r.frame_id for r in real.records) == list(range(len(real.records)))
    answered = [record for record in real.records if record.source is Source.EDGE]
    assert len(answered) >= len(real.records) // 2
    assert all(r.num_bytes > 0 and r.correct is not None for r in answered)


def test_a_progressive_member_trained_here_answers_from_its_layers_over_an_emulated_link(
    tmp_path: Path,
) -> None:
    options = DemoOptions(out=tmp_path, seconds=2.0, fps=20.0, sla_s=0.5)
    headgate(
        "train", "nair", "--data", DATA, "--model", "lenet", "--maps", "4", "--slice", "1",
        "--epochs", "1", "--base-epochs", "1", "--member-epochs", "1", "--nair-epochs", "1",
        "--batch-size", "16", "--threads", "1", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    headgate(
        "export", str(tmp_path / "run"), str(tmp_path / "family"), "--levels", "8", "--limit", "32",
        "--calibration", "16", "--parity", "8", "--jpeg-qualities", "", "--webp-qualities", "",
    )  # fmt: skip
    manifest = open_family(tmp_path / "family").manifest
    series = [point.id for point in manifest.points if point.prefix is not None]
    assert series
    (tmp_path / "profile.toml").write_text(f'name = "layers"\npoints = {series}\n')
    write_pictures(DATA, tmp_path / "pictures.npz")
    real = run_for_real(options, trace=named_trace("steady:8"), seconds=2.0)
    answered = [record for record in real.records if record.source is Source.EDGE]
    assert len(answered) >= len(real.records) // 2
    for record in answered:
        assert record.point in series
        assert record.answered_point in series[: series.index(record.point) + 1]
        assert record.num_bytes > 0
        assert record.correct is not None
