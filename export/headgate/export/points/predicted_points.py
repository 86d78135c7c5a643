"""Make predicted points: measure on a clip what a split point's frames take as changes.

The frames go through the runtime's own engine, codec and prediction, each against the frame whose
answer a device would have by then: `lag` frames back. What the edge makes of each payload must be
what was encoded. A predicted point is kept where it takes fewer bytes than its twin on the same
frames; its accuracy is the twin's, as nothing is lost.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from headgate.export.clips import Clip
from headgate.export.points.measure import Engines
from headgate.export.points.points import Measured, byte_stats
from headgate.profiles.errors import GateError, UsageError
from headgate.profiles.manifest import OperatingPoint, PointKind, PointTime
from headgate.runtime.codec.prediction import (
    MAX_DISTANCE,
    Reference,
    decode_split,
    encode_split,
    reference_distance,
)
from headgate.runtime.session.events import Computed
from headgate.runtime.session.references import REFRESH_S

ANSWER_S = 0.1  # the default lag: what an answer takes on a middling link


@dataclass(frozen=True, slots=True)
class Played:
    """What one predicted point sent for the frames of a clip that had a reference.

    Times are of one thread's processor, in seconds; `twin_*` are those of the twin on the same
    frames, measured in turns.
    """

    sizes: tuple[int, ...]
    twin_sizes: tuple[int, ...]
    num_whole: int  # refreshes included
    changed_share: float  # of all integers, against the reference
    encode_s: float  # medians
    twin_encode_s: float
    decode_s: float
    twin_decode_s: float


def default_lag(fps: float) -> int:
    """Return how many frames back the newest answered frame is on a middling link."""
    return max(1, ceil(ANSWER_S * fps))


def predicted_point(twin: OperatingPoint) -> OperatingPoint:
    """Return the point that predicts a split point's integers, not measured yet."""
    assert twin.kind is PointKind.SPLIT
    assert twin.twin is None
    return replace(twin, id=f"{twin.id}-p", twin=twin.id)


def check_lag(lag: int, clip: Clip, *, option: str = "--video-lag") -> None:
    """Refuse a lag, which `option` sets, that the wire cannot express or the clip cannot show."""
    if not 1 <= lag <= MAX_DISTANCE:
        raise UsageError(f"{option}: found {lag} frames, expected 1 to {MAX_DISTANCE}")
    if lag >= len(clip.pictures):
        raise UsageError(
            f"--video {clip.name}: has {len(clip.pictures)} frames, a lag of {lag} needs more; "
            f"give a longer video or a shorter {option}"
        )


def compute_clip(twin: OperatingPoint, engines: Engines, clip: Clip) -> list[Computed]:
    """Return what the device makes of every frame by itself."""
    return [engines.device.compute(twin, picture) for picture in clip.pictures]


def play(point: OperatingPoint, computed: Sequence[Computed], *, lag: int, fps: float) -> Played:
    """Code every frame of a clip against the one `lag` frames back, and decode it again.

    Raises GateError if what is decoded is not what was encoded.
    """
    twin = replace(point, twin=None)
    refresh_every = max(1, round(REFRESH_S * fps))
    sizes, twin_sizes, shares, times = [], [], [], []
    num_whole = 0
    for index in range(lag, len(computed)):
        q_CHW, before_CHW = computed[index].integers, computed[index - lag].integers
        assert q_CHW is not None
        assert before_CHW is not None
        reference = Reference(lag, before_CHW) if index % refresh_every else None
        marks = [time.thread_time()]
        payload = encode_split(point, q_CHW, reference)
        marks.append(time.thread_time())
        decoded_CHW = decode_split(point, payload, before_CHW, shape=q_CHW.shape)
        marks.append(time.thread_time())
        whole = encode_split(twin, q_CHW, None)
        marks.append(time.thread_time())
        decode_split(twin, whole, None, shape=q_CHW.shape)
        marks.append(time.thread_time())
        if not np.array_equal(decoded_CHW, q_CHW):
            raise GateError(
                f"point {point.id}: frame {index} was not decoded to what was encoded; "
                "nothing was written, report this with the clip"
            )
        sizes.append(len(payload))
        twin_sizes.append(len(whole))
        num_whole += reference_distance(payload) == 0
        shares.append(float(np.mean(q_CHW != before_CHW)))
        times.append(np.diff(marks))
    encode_s, decode_s, twin_encode_s, twin_decode_s = np.median(times, axis=0).tolist()
    return Played(
        sizes=tuple(sizes),
        twin_sizes=tuple(twin_sizes),
        num_whole=num_whole,
        changed_share=float(np.mean(shares)),
        encode_s=encode_s,
        twin_encode_s=twin_encode_s,
        decode_s=decode_s,
        twin_decode_s=twin_decode_s,
    )


def with_predicted(
    measured: Sequence[Measured],
    engines: Engines,
    clip: Clip,
    *,
    lag: int,
    progress: Callable[[str], None],
) -> list[Measured]:
    """Return the measured points, each split point followed by its predicted one if it pays."""
    check_lag(lag, clip)
    points: list[Measured] = []
    for item in measured:
        points.append(item)
        if item.point.kind is not PointKind.SPLIT or item.point.twin is not None:
            continue
        found = _measure(item, engines, clip, lag=lag)
        twin_mean = float(np.mean(found.sizes)) if found.sizes.size else 0.0
        mean = found.point.bytes.mean
        kept = mean < twin_mean
        progress(
            f"{found.point.id}: {mean:.0f} bytes, whole {twin_mean:.0f} on {clip.name} at "
            f"{clip.fps:g} frames/s and a lag of {lag}{'' if kept else '; dropped'}"
        )
        if kept:
            points.append(replace(found, sizes=np.asarray([], np.int64)))
    return points


def _measure(item: Measured, engines: Engines, clip: Clip, *, lag: int) -> Measured:
    """Return the predicted point of a twin; `sizes` are the twin's on the same frames."""
    point = predicted_point(item.point)
    computed = compute_clip(item.point, engines, clip)
    played = play(point, computed, lag=lag, fps=clip.fps)
    filled = replace(point, bytes=byte_stats(played.sizes))
    # Coding is all that differs; it is measured in turns, so that other work disturbs both alike.
    times = PointTime(
        device_s=max(0.0, item.time.device_s + played.encode_s - played.twin_encode_s),
        edge_s=max(0.0, item.time.edge_s + played.decode_s - played.twin_decode_s),
    )
    twin_sizes: NDArray[np.int64] = np.asarray(played.twin_sizes, np.int64)
    return Measured(filled, item.right, times, item.exit_accuracy, twin_sizes)
