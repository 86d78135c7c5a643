"""What a source of pictures is to whoever plays it, and one picture as it comes from there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """One picture, RGB uint8 HWC, and its class where the source knows it.

    With a `fault`, which says why it cannot be read, there is no picture.
    """

    picture: Picture  # HWC
    truth: int | None = None
    fault: str | None = None


class PictureSource(Protocol):
    """Something that yields pictures; iterating again starts again, where that is possible."""

    @property
    def name(self) -> str:
        """Return what was opened, for messages and the summary."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Return the names that `truth` indexes, or None where the truth is not known."""

    @property
    def fps(self) -> float | None:
        """Return the rate the source was recorded at, or None if it has none."""

    @property
    def is_live(self) -> bool:
        """Return whether the source sets the pace itself and cannot be played again."""

    def frames(self) -> Iterator[SourceFrame]:
        """Yield every picture once; raises DataError where none of them can be read."""
