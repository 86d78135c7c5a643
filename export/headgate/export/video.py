"""The video that predicted points are measured on, and how old what they are predicted from is."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.export.clips import Clip, load_clip
from headgate.export.options import ExportOptions
from headgate.export.points.predicted_points import check_lag, default_lag
from headgate.profiles.manifest import InputSpec


@dataclass(frozen=True, slots=True)
class Video:
    """A clip, and how many frames pass until an answer is there."""

    clip: Clip
    lag: int

    @property
    def provenance(self) -> dict[str, str]:
        """Say what predicted points were measured on."""
        return {
            "video_sha256": self.clip.digest,
            "video_frames": str(len(self.clip.pictures)),
            "video_fps": f"{self.clip.fps:g}",
            "video_lag": str(self.lag),
        }


def open_video(options: ExportOptions, picture: InputSpec) -> Video | None:
    """Return the video that an export is to measure on, refused before any work if unfit."""
    if options.video is None:
        return None
    clip = load_clip(options.video, picture, fps=options.video_fps, num_frames=options.video_frames)
    lag = default_lag(clip.fps) if options.video_lag is None else options.video_lag
    check_lag(lag, clip)
    return Video(clip, lag)
