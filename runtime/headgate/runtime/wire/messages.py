"""What device and edge say to each other, as values; their bytes are `wire`'s."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

NO_BUDGET_US = 0xFFFF_FFFF  # the frame has no deadline
MAX_BUDGET_US = NO_BUDGET_US - 1  # 71 minutes; encode larger ones as this
STAMP_MODULUS_US = 1 << 32  # the device's stamps begin anew after 71 minutes


class RejectReason(IntEnum):
    """Why the edge did not answer; the numbers are those of the wire."""

    EXPIRED = 1  # the budget was over before the tail began
    BUSY = 2  # too many frames of this peer, or of all, are waiting
    MALFORMED = 3  # the bytes are not what the point says
    UNKNOWN_POINT = 4  # no such operating point in the family, or one the edge cannot answer
    UNAUTHORISED = 5  # this peer may not use this edge; ours refuses keys before any message
    WRONG_FAMILY = 6  # none of the edge's families has the digest of HELLO; final
    WRONG_VERSION = 7  # no version of the protocol in common; final
    UNKNOWN_PEER = 8  # the edge knows no HELLO of this peer (it restarted): say HELLO again
    LEAVING = 9  # the edge is shutting down
    FAILED = 10  # the edge's own fault: its graph failed
    LOST_REFERENCE = 11  # predicted from a frame that the edge does not have (any more)


@dataclass(frozen=True, slots=True)
class Hello:
    """Device: first message of every connection. `family_digest` is the manifest's, in hex.

    `versions` are the protocol versions the device speaks, newest first. `max_message_bytes`
    bounds what the edge may send back: all parts of one message together.
    """

    versions: tuple[int, ...]
    family_digest: str
    max_message_bytes: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """Edge: the HELLO is accepted. All later messages of both sides carry `version`.

    `max_payload_bytes` bounds a frame (all fragments together), `max_in_flight` the frames of
    this peer that may be unanswered at a time: more are rejected as BUSY.
    """

    version: int
    family_digest: str
    max_payload_bytes: int
    max_in_flight: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Device: one frame, some layers of one, or one slice of it.

    `budget_us` is what was left until the deadline when it was sent: a duration, because the two
    clocks have nothing in common. `payload` is layer `layer`, or all of a frame without layers,
    and `more_layers` are those after it. Each layer can be decoded by itself. `point_index` names
    the largest prefix that may come; `last` says that no more layers will. Fragments are slices of
    one layer for the transport, sent in order. `sent_us` is `stamp_us` of the sender. Version 2
    has none of the last three.
    """

    frame_id: int
    point_index: int
    budget_us: int
    payload: bytes
    layer: int = 0
    fragment: int = 0
    fragments: int = 1
    more_layers: tuple[bytes, ...] = ()
    last: bool = False
    sent_us: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """Edge: a message of a progressive frame came that did not complete it, or came too late.

    `layers` is how many of the frame's layers the edge now has, from the first on; `arrived_us`
    is its clock, as in `Result`.
    """

    frame_id: int
    layers: int
    arrived_us: int


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the edge is: frames waiting at all, and the busy share of its worker (0 to 1000)."""

    frames_queued: int
    busy_permille: int


@dataclass(frozen=True, slots=True)
class Burst:
    """How a frame's slices came in at the edge, on its own clock; all zero for a frame in one.

    Slices that were read together are one arrival: the bytes after the first arrival crossed in
    `spread_us`, whatever waiting went before. A rate seen like that is free of the device's
    pauses, of the way back and of errors of the fixed delay.
    """

    arrivals: int = 0  # slices read together count once
    spread_us: int = 0  # from the first arrival to the last
    num_bytes: int = 0  # after the first arrival: payload, and 64 a slice for its headers
    largest_gap_us: int = 0  # between one arrival and the next


NO_BURST = Burst()


@dataclass(frozen=True, slots=True, eq=False)
class NamedTensor:
    """One named output. Equal when name, dtype, shape and every bit are."""

    name: str
    array: npt.NDArray[Any]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NamedTensor):
            return NotImplemented
        mine, theirs = self.array, other.array
        return (
            self.name == other.name
            and mine.dtype == theirs.dtype
            and mine.shape == theirs.shape
            and np.ascontiguousarray(mine).tobytes() == np.ascontiguousarray(theirs).tobytes()
        )

    def __hash__(self) -> int:
        return hash((self.name, self.array.shape))


@dataclass(frozen=True, slots=True)
class Result:
    """Edge: the answer to one frame, with where its time went.

    `point_index` is the frame's; of a progressive frame, that of the prefix that was used.
    `arrived_us` is the edge's monotonic clock when the last fragment, or the last layer that was
    used, came: only differences between frames mean anything. `residence_us` runs from then to
    sending; queue, decode and tail lie inside it. `queue_us` is the wait for the worker: a frame
    that waited for more layers in vain has a residence beyond the three. A batch's decode and tail
    times count for each of its frames.
    """

    frame_id: int
    point_index: int
    arrived_us: int
    residence_us: int
    queue_us: int
    decode_us: int
    tail_us: int
    load: Load
    tensors: tuple[NamedTensor, ...]
    burst: Burst = NO_BURST


@dataclass(frozen=True, slots=True)
class Reject:
    """Edge: no answer to a frame, or (`frame_id` None) to the connection as a whole, and why."""

    frame_id: int | None
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Device: measure the path; `padding` is discarded. Version 2 has no `sent_us`."""

    probe_id: int
    padding: bytes = b""
    sent_us: int = 0


@dataclass(frozen=True, slots=True)
class ProbeReply:
    """Edge: answer to a probe, with the same clock and meaning as in `Result`."""

    probe_id: int
    arrived_us: int
    residence_us: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Either side: I am leaving; nothing more will come."""


Message = Hello | Welcome | Frame | Ack | Result | Reject | Probe | ProbeReply | Goodbye


def stamp_us(now_s: float) -> int:
    """Return the device's monotonic clock as FRAME and PROBE have it: for differences only."""
    return int(now_s * 1e6) % STAMP_MODULUS_US
