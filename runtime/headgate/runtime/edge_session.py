"""The edge's side of the protocol as a state machine: events in, effects out, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headgate.profiles.manifest import Manifest, OperatingPoint
from headgate.runtime.messages import NamedTensor, RejectReason
from headgate.runtime.wire import Limits

FULL_GRAPH_KEY = "full"


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Bounds that keep one peer from hurting the others."""

    wire: Limits = Limits()
    max_payload_bytes: int = 1 << 22  # of one frame, all fragments together
    max_in_flight: int = 8  # frames of one peer, waiting or running
    max_queued: int = 256  # frames of all peers, waiting
    max_peers: int = 1024
    max_batch: int = 16
    max_malformed: int = 8  # within `ignore_s`; then the peer is ignored for that long
    ignore_s: float = 10.0
    forget_s: float = 300.0  # a peer silent for so long is forgotten


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One frame of a batch; `point` says how to decode `payload`."""

    peer: bytes
    frame_id: int
    point: OperatingPoint
    payload: bytes


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What the worker made of one item: `tensors`, or `error` (one sentence) and whose fault.

    `decode_s` is this item's decoding, `tail_s` the batch's run.
    """

    tensors: tuple[NamedTensor, ...] | None
    error: str | None
    decode_s: float
    tail_s: float
    reason: RejectReason = RejectReason.MALFORMED  # of an error; FAILED if the graph failed


@dataclass(frozen=True, slots=True)
class SendTo:
    """Effect: send one message to a peer (ROUTER identity first)."""

    peer: bytes
    parts: list[bytes]


@dataclass(frozen=True, slots=True)
class RunBatch:
    """Effect: decode and run these items, then call `batch_finished` with one outcome each."""

    batch_id: int
    digest: str  # of the family
    graph_key: str  # a member id or FULL_GRAPH_KEY
    items: tuple[BatchItem, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """Effect: log that something of this peer was dropped without an answer, and why."""

    peer: bytes
    reason: str


EdgeEffect = SendTo | RunBatch | Ignored


class EdgeSession:
    """All peers of one edge. All times are the shell's monotonic clock, in seconds."""

    def __init__(
        self, families: Mapping[str, Manifest], limits: EdgeLimits = EdgeLimits()
    ) -> None:
        """`families` by digest. One batch runs at a time: one worker."""
        raise NotImplementedError

    @property
    def drained(self) -> bool:
        """Whether `drain` was called and no batch is running."""
        raise NotImplementedError

    def next_timer_s(self) -> float | None:
        """Return when `handle_timer` wants to be called next, or None."""
        raise NotImplementedError

    def received(
        self, peer: bytes, parts: Sequence[bytes], *, now_s: float, authorised: bool = True
    ) -> list[EdgeEffect]:
        """Take one message (without the identity part); never raises for what a peer sends."""
        raise NotImplementedError

    def batch_finished(
        self, batch_id: int, outcomes: Sequence[ItemOutcome], *, now_s: float
    ) -> list[EdgeEffect]:
        """Take what the worker made of a batch, one outcome per item in the same order."""
        raise NotImplementedError

    def handle_timer(self, *, now_s: float) -> list[EdgeEffect]:
        """Do what was due at `next_timer_s`; harmless when called early."""
        raise NotImplementedError

    def drain(self, *, now_s: float) -> list[EdgeEffect]:
        """Take no more frames: queued ones are rejected, the running batch still finishes."""
        raise NotImplementedError
