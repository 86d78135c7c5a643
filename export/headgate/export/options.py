"""What an export may be asked for, and what is refused before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.export.points.choose_codec import AUTO
from headgate.profiles.errors import UsageError
from headgate.profiles.family import FAMILY_NAMES, MANIFEST_NAME, is_left_by_desktop
from headgate.profiles.manifest import CODECS
from headgate.profiles.quantise import MAX_LEVELS, MIN_LEVELS
from headgate.profiles.storage import check_place, recover_folder, refuse_existing
from headgate.runtime.wire.headers import MAX_LAYERS

if TYPE_CHECKING:
    from headgate.train.folder.run_folder import Run

MIN_CONFIDENCE = 50


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export and how much to measure."""

    data: str | None = None  # None: the data set of the run
    levels: tuple[int, ...] = (256, 64, 16, 8, 5, 4)
    codec: str = AUTO  # or one of headgate.profiles.manifest.CODECS, for every split point
    jpeg_qualities: tuple[int, ...] = (10, 20, 40, 60, 80)
    webp_qualities: tuple[int, ...] = (1, 5, 20, 50, 80)
    limit: int | None = None  # validation pictures to measure on; None: all
    num_calibration: int = 256  # training pictures to choose ranges with
    num_confidence: int = 0  # validation pictures to calibrate early exits on; 0: they are not
    num_parity: int = 64  # pictures on which exported and trained must agree
    threads: int = 1  # of the measured engines
    video: str | None = None  # a clip to measure predicted points on; None: none are made
    video_fps: float | None = None  # frames of it to take a second; None: its own rate
    video_lag: int | None = None  # frames until an answer is there; None: those of 100 ms
    video_frames: int = 300
    local_full: bool = True  # False: the whole network is the edge's alone
    force: bool = False  # replace an existing family
    with_times: bool = True  # False: two exports of one run have the same family digest


def check_options(options: ExportOptions) -> None:
    """Refuse what makes no point."""
    if options.codec not in (AUTO, *CODECS):
        raise UsageError(f"--codec: {options.codec!r} is not one of {', '.join((AUTO, *CODECS))}")
    for levels in options.levels:
        if not MIN_LEVELS <= levels <= MAX_LEVELS:
            raise UsageError(
                f"--levels: {levels} is impossible; give numbers from {MIN_LEVELS} to {MAX_LEVELS}"
            )
    for option, qualities in (
        ("--jpeg-qualities", options.jpeg_qualities),
        ("--webp-qualities", options.webp_qualities),
    ):
        for quality in qualities:
            if not 1 <= quality <= 100:
                raise UsageError(f"{option}: {quality} is impossible; give numbers from 1 to 100")
        _refuse_twice(option, qualities)
    _refuse_twice("--levels", options.levels)
    if options.num_confidence < 0 or 0 < options.num_confidence < MIN_CONFIDENCE:
        raise UsageError(
            f"--confidence-pictures: found {options.num_confidence}, expected 0 or at least "
            f"{MIN_CONFIDENCE}: with fewer no chance is known well"
        )
    for option, least, value in (
        ("--levels", 1, len(options.levels)),
        ("--calibration", 1, options.num_calibration),
        ("--parity", 1, options.num_parity),
        ("--limit", 1, 1 if options.limit is None else options.limit),
        ("--threads", 0, options.threads),
        ("--video-frames", 2, options.video_frames),
        ("--video-lag", 1, 1 if options.video_lag is None else options.video_lag),
    ):
        if value < least:
            raise UsageError(f"{option}: found {value}, expected {least} or more")
    _refuse_without_video(options)


def _refuse_without_video(options: ExportOptions) -> None:
    """Refuse what says how a video is taken where none is given: nothing would come of it."""
    if options.video is not None:
        return
    defaults = ExportOptions()
    for option, given, default in (
        ("--video-fps", options.video_fps, defaults.video_fps),
        ("--video-lag", options.video_lag, defaults.video_lag),
        ("--video-frames", options.video_frames, defaults.video_frames),
    ):
        if given != default:
            raise UsageError(
                f"{option}: found {given:g} without a video, for predicted points; give one with "
                "--video, or leave it out"
            )


def check_members(run: Run, options: ExportOptions) -> None:
    """Refuse progressive members that no family can hold, and what they cannot be asked for."""
    for entry in run.record.members:
        if entry.progressive is not None and entry.progressive.num_tails > 1:
            raise UsageError(
                f"{run.path}: member {entry.id} has {entry.progressive.num_tails} tails, one for "
                "each prefix, and a family has one for each member; train it without --many-tails"
            )
        if len(entry.layers) > MAX_LAYERS:
            raise UsageError(
                f"{run.path}: member {entry.id} has {len(entry.layers)} layers, a frame at most "
                f"{MAX_LAYERS}; train it with a larger --slice"
            )
        if entry.layers and options.video is not None:
            raise UsageError(
                f"--video: member {entry.id} of {run.path} is sent in layers, which are not "
                "predicted from earlier frames; leave --video out"
            )


def check_target(family_path: Path, *, run_path: Path, force: bool) -> None:
    """Refuse to replace what nobody asked to replace, and anything that is not a family."""
    check_place(family_path)
    recover_folder(family_path)
    run, family = run_path.resolve(), family_path.resolve()
    if run.is_relative_to(family) or family.is_relative_to(run):
        raise UsageError(
            f"{family_path}: a run and a family cannot lie in one another ({run_path} is the run); "
            "choose another folder"
        )
    if not family_path.exists():
        return
    if not force:
        refuse_existing(family_path)
    check_is_family(family_path)


def check_is_family(family_path: Path) -> None:
    """Refuse to replace what is there if it is more than a family."""
    if not family_path.is_dir():
        raise UsageError(f"{family_path}: is a file, expected a folder; choose another one")
    found = {path.name for path in family_path.iterdir() if not is_left_by_desktop(path.name)}
    # Also where the manifest is damaged: --force is then the remedy, unless others' files would go.
    foreign = sorted(found - FAMILY_NAMES)
    if foreign or (found and MANIFEST_NAME not in found):
        reason = f"holds {foreign[0]!r}" if foreign else f"{MANIFEST_NAME} is missing"
        raise UsageError(
            f"{family_path}: is not a family folder and nothing else ({reason}), so --force does "
            "not replace it; choose another folder"
        )


def _refuse_twice(option: str, values: Sequence[int]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise UsageError(f"{option}: {twice[0]} is given more than once; name each once")
