"""Pictures in time: clips of a camera at a stated rate, and motion made from one picture.

A clip serves to measure prediction, so its frames must follow each other as a device would see
them: at its own rate or a lower one, never repeated to reach a higher.

Shapes: N frames, H W their size.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.manifest import InputSpec
from headgate.profiles.pictures import preprocess
from headgate.runtime.device.sources import open_source

Pictures = NDArray[np.uint8]

MAX_FPS = 1000  # faster than any camera that a device has
ROUNDING = 1e-6  # of a frame; far more than quotients of floats are off
CUT_EVERY = 10  # frames
NOISE_LEVEL = 6.0  # standard deviation of a sensor in dim light, of 255, before resizing
PAN_SHARE = 0.004  # of the width, each frame
PAN_WINDOW = 0.8  # of the picture's width and height


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames in order, as the network takes them."""

    name: str
    pictures: Pictures  # NHWC
    fps: float
    still: Pictures  # HWC: one of its frames, in its own size

    @property
    def digest(self) -> str:
        """The sha256 of the frames."""
        return hashlib.sha256(self.pictures.tobytes()).hexdigest()


def load_clip(
    spec: str,
    picture: InputSpec,
    *,
    fps: float | None,
    num_frames: int,
    fps_option: str = "--video-fps",
) -> Clip:
    """Read the first frames of a video (or of `dir:PATH`) at `fps`, by default its own rate.

    Raises UsageError for what is live, has no rate of its own, or is slower than `fps`, which
    `fps_option` sets.
    """
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise UsageError(
            f"{fps_option}: found {fps:g}, expected frames a second, above 0 and up to {MAX_FPS}"
        )
    source = open_source(spec, place="--video")
    rate = source.fps or fps
    if source.is_live or rate is None:
        raise UsageError(
            f"--video {spec}: {'is live' if source.is_live else 'has no rate of its own'}; give a "
            "video file, or the rate of the pictures with --video-fps"
        )
    fps = rate if fps is None else fps
    if fps > rate:
        raise UsageError(f"{fps_option}: found {fps:g}, expected at most {spec}'s own {rate:g}")
    wanted = frames_at(fps, rate=rate, num_frames=num_frames)
    taken: list[Pictures] = []
    still = None
    for index, frame in enumerate(islice(source.frames(), wanted[-1] + 1)):
        if frame.fault is not None:
            raise DataError(f"--video {spec}: {frame.fault}")
        if index == wanted[len(taken)]:
            taken.append(preprocess(frame.picture, picture))
            if still is None or 2 * len(taken) <= num_frames:
                still = frame.picture
    if still is None:
        raise DataError(f"--video {spec}: holds no frame; check the file")
    name = spec.rpartition("/")[2] or spec
    return Clip(name, np.stack(taken), fps, still)


def frames_at(fps: float, *, rate: float, num_frames: int) -> list[int]:
    """Return which frames of a video at `rate` frames a second make a clip at `fps`, at most that.

    None is named twice: 11 * 29.97 / 29.97 is a hair under 11, so quotients are not just cut off.
    """
    return [int(index * rate / fps + ROUNDING) for index in range(num_frames)]


def made_clips(clip: Clip, picture: InputSpec, *, num_frames: int) -> list[Clip]:
    """Return motion made from a clip's pictures: none, sensor noise, a slow pan, and cuts."""
    still = preprocess(clip.still, picture)
    scenes = clip.pictures[np.linspace(0, len(clip.pictures) - 1, 5).astype(int)]
    frames: dict[str, Sequence[Pictures]] = {
        "no motion": [still] * num_frames,
        "noise": [preprocess(_noisy(clip.still, seed), picture) for seed in range(num_frames)],
        "pan": [preprocess(_window(clip.still, index), picture) for index in range(num_frames)],
        "cuts": [scenes[index // CUT_EVERY % len(scenes)] for index in range(num_frames)],
    }
    return [
        Clip(name, np.stack(pictures), clip.fps, clip.still) for name, pictures in frames.items()
    ]


def _noisy(picture_HWC: Pictures, seed: int) -> Pictures:
    noise = np.random.default_rng(seed).normal(0.0, NOISE_LEVEL, picture_HWC.shape)
    return np.rint(picture_HWC + noise).clip(0, 255).astype(np.uint8)


def _window(picture_HWC: Pictures, index: int) -> Pictures:
    """Return what a camera sees that turns to and fro."""
    height, width, _ = picture_HWC.shape
    window = max(1, int(PAN_WINDOW * width))
    room = max(1, width - window)
    moved = round(index * PAN_SHARE * width) % (2 * room)
    left = min(moved, 2 * room - moved)
    top = int((1 - PAN_WINDOW) / 2 * height)
    return picture_HWC[top : top + max(1, int(PAN_WINDOW * height)), left : left + window]
