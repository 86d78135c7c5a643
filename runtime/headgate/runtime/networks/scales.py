"""The quantiser's inputs of head and tail graphs, per picture, so that points can share a batch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate.profiles.manifest import Member, OperatingPoint
from headgate.profiles.progressive import maps_of_prefix

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]

SCALE_INPUTS = {"low", "span", "levels"}


@dataclass(frozen=True, slots=True)
class Scales:
    """The quantiser's inputs of one point, for one picture, as the graphs take them."""

    low: Floats
    span: Floats
    levels: Floats

    def feeds(self, num: int) -> dict[str, Array]:
        """Return the graph inputs for `num` pictures of this point."""
        if num == 1:
            return {"low": self.low, "span": self.span, "levels": self.levels}
        return {
            "low": np.repeat(self.low, num, axis=0),
            "span": np.repeat(self.span, num, axis=0),
            "levels": np.repeat(self.levels, num, axis=0),
        }


def tail_scales_of(point: OperatingPoint, member: Member) -> Scales:
    """Return the scales of a split point for its tail: those of maps that are not sent are zeros.

    The head needs them all (`scales_of`): it computes all maps, whatever is sent of them.
    """
    scales = scales_of(point, member)
    if point.prefix is None:
        return scales
    sent_C = np.arange(member.features.shape[0]) < maps_of_prefix(member, point.prefix)
    return Scales(
        low=np.where(sent_C, scales.low, np.float32(0)),
        span=np.where(sent_C, scales.span, np.float32(0)),
        levels=scales.levels,
    )


def scales_of(point: OperatingPoint, member: Member) -> Scales:
    """Return the scales of a split point; for an early exit, where none matter, neutral ones."""
    num_channels = member.features.shape[0]
    low = point.low or (0.0,) * num_channels
    span = point.span or (1.0,) * num_channels
    return Scales(
        low=np.array([low], dtype=np.float32),
        span=np.array([span], dtype=np.float32),
        levels=np.array([[point.levels or 2]], dtype=np.float32),
    )
