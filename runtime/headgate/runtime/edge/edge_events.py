"""What the edge session is told beyond bytes and time, and what it asks its shell to do."""

from dataclasses import dataclass, field

from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.codec.prediction import KEPT_FRAMES, Integers
from headgate.runtime.wire.headers import Limits
from headgate.runtime.wire.messages import NamedTensor, RejectReason

FULL_GRAPH_KEY = "full"  # the plain network; other keys are member ids, or paths of graphs


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Bounds that keep one peer from hurting the others."""

    wire: Limits = field(default_factory=Limits)
    max_payload_bytes: int = 1 << 22  # of one frame, all fragments and layers together
    max_in_flight: int = 8  # frames of one peer, waiting or running
    max_queued: int = 256  # frames of all peers, waiting for the worker or for layers
    max_held_bytes: int = 1 << 28  # of waiting and unfinished frames of all peers
    max_peers: int = 1024
    max_key_share: float = 0.75  # of places and of waiting frames, that one key's peers may take
    max_references: int = KEPT_FRAMES  # decoded frames to predict from, of a point of a peer
    max_reference_bytes: int = 1 << 28  # of those of all peers
    max_batch: int = 16
    max_malformed: int = 8  # within about `ignore_s`; then the peer is ignored for that long
    ignore_s: float = 10.0
    yield_s: float = 10.0  # a peer silent for so long makes room where the table is full
    unfinished_s: float = 20.0  # a frame no slice of which came for so long is dropped
    forget_s: float = 300.0  # a peer silent for so long is forgotten; it may say HELLO again


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One frame of a batch; `point` says how to decode `payload`, and against which `reference`.

    A progressive frame has `layers` in the place of a payload, and the point of this prefix.
    """

    peer: bytes
    frame_id: int
    point: OperatingPoint
    payload: bytes
    reference: Integers | None = None
    layers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What the worker made of one item: `tensors`, or `error` (one sentence) and whose fault.

    `decode_s` is this item's decoding, `tail_s` the run of the whole batch. `decoded` is what
    the payload stands for: a split point's integers may serve as reference, so nobody may write
    to them.
    """

    tensors: tuple[NamedTensor, ...] | None
    error: str | None
    decode_s: float
    tail_s: float
    reason: RejectReason = RejectReason.MALFORMED  # of an error; FAILED if the graph failed
    decoded: Integers | None = None


@dataclass(frozen=True, slots=True)
class SendTo:
    """Effect: send one message to a peer (its ROUTER identity goes first)."""

    peer: bytes
    parts: list[bytes]


@dataclass(frozen=True, slots=True)
class RunBatch:
    """Effect: decode and run these items, then call `batch_finished` with one outcome each."""

    batch_id: int
    digest: str  # of the family
    graph_key: str  # of `edge_rules.graph_key`
    items: tuple[BatchItem, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """Effect: log that something of this peer was refused or dropped, and why."""

    peer: bytes
    reason: str


EdgeEffect = SendTo | RunBatch | Ignored
