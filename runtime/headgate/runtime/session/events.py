"""What the device session is told beyond bytes and time, and what it asks its shell to do."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.codec.prediction import Integers, Reference
from headgate.runtime.records import FrameRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: the task's named outputs, and the label and score they amount to."""

    outputs: Mapping[str, npt.NDArray[np.generic]]
    label: int
    score: float


@dataclass(frozen=True, slots=True)
class Computed:
    """The device finished its part of a frame.

    `payload` is what to send (None for local points); of a progressive point all its `layers`, one
    after the other, which are what is sent of it. `answer` is the local answer: of the whole
    network or the exit for local points, of the exit for split frames (the insurance), None for
    offload. `head_s` is the time in the network, `encode_s` in the codec or picture encoder.
    `integers` are what the payload of a split point stands for; nobody may write to them.
    """

    payload: bytes | None
    answer: Answer | None
    head_s: float
    encode_s: float
    integers: Integers | None = None
    layers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ComputeFailed:
    """The device could not compute its part of a frame; `reason` goes into the record."""

    reason: str


@dataclass(frozen=True, slots=True)
class Compute:
    """Effect: run `point`'s device part on this frame, then call `computed` with the same id.

    `reference`: what a predicted point may code the frame against.
    """

    frame_id: int
    point: OperatingPoint
    reference: Reference | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send these messages in order; each is the list of parts of one ZeroMQ message.

    `frame_id` is None for everything that is not a frame. If the socket does not take it, call
    `send_failed(frame_id)`, and treat what follows of that frame among the same effects alike: the
    edge would take the rest for disorder.
    """

    frame_id: int | None
    messages: tuple[list[bytes], ...]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Effect: this frame is over; write the record. `answer` holds the full outputs, if any."""

    record: FrameRecord
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Complain:
    """Effect: log what is wrong with an answer of the edge's, one sentence."""

    reason: str


Effect = Compute | Send | Deliver | Complain
