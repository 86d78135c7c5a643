"""What prediction saves: bytes whole and predicted, on clips and on motion made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from headgate.export.bench.bench_table import BenchResult
from headgate.export.clips import CUT_EVERY, NOISE_LEVEL, PAN_SHARE, Clip, load_clip, made_clips
from headgate.export.points.measure import open_engines
from headgate.export.points.predicted_points import (
    Played,
    check_lag,
    compute_clip,
    play,
    predicted_point,
)
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.session.references import REFRESH_S


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """Which points of which family to play over which videos."""

    family: Family
    videos: tuple[str, ...]
    lags: tuple[int, ...] = (1, 3, 6)  # frames
    fps: float | None = None  # None: each video's own
    frames: int = 300
    points: tuple[str, ...] = ()  # patterns; none: all split points


def bench_predict(options: PredictOptions, *, say: Callable[[str], None]) -> BenchResult:
    """Play every point over every clip at every lag; what is decoded is compared each time."""
    manifest = options.family.manifest
    points = chosen_points(manifest, options.points)
    _refuse_layers(points)
    clips = [
        load_clip(
            video,
            manifest.input,
            fps=options.fps,
            num_frames=options.frames,
            fps_option="--fps",
        )
        for video in options.videos
    ]
    clips += made_clips(clips[0], manifest.input, num_frames=min(options.frames, 100))
    for clip in clips:
        for lag in options.lags:
            check_lag(lag, clip, option="--lags")
    engines = open_engines(options.family, threads=1)
    rows = []
    for point in points:
        say(f"{point.id}: {len(clips)} clips at lags of {_listed(options.lags)} frames")
        for clip in clips:
            computed = compute_clip(point, engines, clip)
            played = [
                play(predicted_point(point), computed, lag=lag, fps=clip.fps)
                for lag in options.lags
            ]
            rows.append(_row(point, clip, played))
    return BenchResult(
        name="Prediction",
        columns=(
            "point",
            "pictures",
            "whole, B",
            *(f"lag {lag}, B" for lag in options.lags),
            *(f"lag {lag}, share" for lag in options.lags),
            "changed, %",
            "sent whole, %",
            "encode, x whole",
            "decode, x whole",
        ),
        rows=tuple(rows),
        notes=_notes(clips, options),
    )


def chosen_points(manifest: Manifest, patterns: Sequence[str]) -> list[OperatingPoint]:
    """Return the split points that patterns name (none: all), without predicted ones."""
    points = [p for p in manifest.points if p.kind is PointKind.SPLIT and p.twin is None]
    if not points:
        raise UsageError(
            f"family {manifest.digest[:12]}: has no split point to predict; export one with members"
        )
    for pattern in patterns:
        if not any(fnmatchcase(point.id, pattern) for point in points):
            raise UsageError(
                f"--points: {pattern!r} matches none of {', '.join(point.id for point in points)}"
            )
    return [p for p in points if not patterns or any(fnmatchcase(p.id, x) for x in patterns)]


def _refuse_layers(points: Sequence[OperatingPoint]) -> None:
    layered = next((point.id for point in points if point.prefix is not None), None)
    if layered is not None:
        raise UsageError(
            f"{layered}: is sent in layers, which are not predicted from earlier frames; name "
            "points of other members with --points, or take a family of train prune"
        )


def _row(point: OperatingPoint, clip: Clip, played: Sequence[Played]) -> tuple[str, ...]:
    """Return one line of the table; what is given once is that of the middle lag."""
    middle = played[len(played) // 2]
    whole = _mean(middle.twin_sizes)
    return (
        point.id,
        clip.name,
        f"{whole:.0f}",
        *(f"{_mean(each.sizes):.1f}" for each in played),
        *(f"{_mean(each.sizes) / _mean(each.twin_sizes):.3f}" for each in played),
        f"{100 * middle.changed_share:.1f}",
        f"{100 * middle.num_whole / len(middle.sizes):.1f}",
        f"{middle.encode_s / max(middle.twin_encode_s, 1e-9):.2f}",
        f"{middle.decode_s / max(middle.twin_decode_s, 1e-9):.2f}",
    )


def _notes(clips: Sequence[Clip], options: PredictOptions) -> tuple[str, ...]:
    given = "; ".join(
        f"{clip.name}: {len(clip.pictures)} frames at {clip.fps:g} frames/s"
        for clip in clips[: len(options.videos)]
    )
    middle = options.lags[len(options.lags) // 2]
    return (
        given,
        f"made from {clips[0].name}: the same picture again; with noise of {NOISE_LEVEL:g} of 255; "
        f"a window that moves {100 * PAN_SHARE:g} % of the width a frame; a cut every {CUT_EVERY} "
        "frames",
        "a lag is how many frames back the newest answered frame is; accuracy is that of the "
        "point itself: every frame was decoded to what was encoded",
        f"changed, sent whole and times are those of lag {middle}; a frame goes whole at least "
        f"every {REFRESH_S:g} s; times are medians of one thread's processor time, in turns",
    )


def _mean(sizes: Sequence[int]) -> float:
    return sum(sizes) / len(sizes)


def _listed(lags: Sequence[int]) -> str:
    return ", ".join(map(str, lags))
