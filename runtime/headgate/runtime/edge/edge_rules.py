"""What an edge says to one HELLO or one frame, as functions of values."""

from collections.abc import Mapping
from math import inf

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.codec.prediction import Integers
from headgate.runtime.edge.batch_times import GraphKey
from headgate.runtime.edge.edge_events import FULL_GRAPH_KEY, BatchItem, EdgeLimits, ItemOutcome
from headgate.runtime.edge.layers import LayeredFrame, Prefixes
from headgate.runtime.edge.queued import Queued
from headgate.runtime.wire.headers import SPOKEN_VERSIONS, supports_layers
from headgate.runtime.wire.messages import (
    NO_BUDGET_US,
    NO_BURST,
    Burst,
    Frame,
    Hello,
    Load,
    NamedTensor,
    Reject,
    RejectReason,
    Result,
    Welcome,
)
from headgate.runtime.wire.wire import negotiate

LEAVING_TEXT = "the edge is shutting down; connect to another"
NO_ROOM_TEXT = "the frames ahead take longer than its budget; send fewer or later"
CROWD = 8  # frames waiting
FULL_TEXT = "too many frames are waiting at the edge; send fewer or later"


def answer_hello(
    hello: Hello, *, families: Mapping[str, Manifest], limits: EdgeLimits
) -> Welcome | Reject:
    """Return the answer to a HELLO of an authorised device."""
    version = negotiate(hello.versions)
    if version is None:
        text = (
            f"edge speaks protocol versions {list(SPOKEN_VERSIONS)}, "
            f"device {list(hello.versions)}; update the older one"
        )
        return Reject(None, RejectReason.WRONG_VERSION, text)
    if hello.family_digest not in families:
        served = ", ".join(digest[:12] for digest in list(families)[:8])
        text = (
            f"edge serves family {served}, device has {hello.family_digest[:12]}; "
            "give both the same family folder"
        )
        return Reject(None, RejectReason.WRONG_FAMILY, text)
    return Welcome(version, hello.family_digest, limits.max_payload_bytes, limits.max_in_flight)


def why_unknown(frame: Frame, *, manifest: Manifest, version: int) -> str | None:
    """Return why the edge cannot answer the frame's point, or None if it can.

    `version` is that of the talk: older ones cannot say how much of a progressive frame there is.
    """
    if frame.point_index >= len(manifest.points):
        return f"point {frame.point_index}, the family has 0 to {len(manifest.points) - 1}"
    point = manifest.points[frame.point_index]
    if point.kind is PointKind.LOCAL:
        return f"point {point.id} is answered on the device, not at the edge"
    if point.prefix is not None and not supports_layers(version):
        return f"point {point.id} is sent in layers, which version {version} has not"
    return None


def why_busy(
    num_bytes: int,
    *,
    num_in_flight: int,
    num_waiting: int,
    num_of_key: int,
    held_bytes: int,
    limits: EdgeLimits,
) -> str | None:
    """Return why a frame of so many bytes cannot wait, or None. `held_bytes` does not hold them.

    `num_of_key` of those that wait are of peers with the same key; 0 where there are no keys.
    """
    if num_in_flight >= limits.max_in_flight:
        return f"{num_in_flight} frames of this device are in flight, which is the limit"
    if num_waiting >= limits.max_queued or held_bytes + num_bytes > limits.max_held_bytes:
        return FULL_TEXT
    if num_of_key >= limits.max_queued * limits.max_key_share:
        return f"{num_of_key} frames of devices with this key are waiting, which is the limit"
    return None


def no_room_reason(num_queued: int) -> RejectReason:
    """Return why a frame is refused that could not be finished in time behind those ahead.

    BUSY makes its device pause, which spares a crowded edge the work of refusing. With few frames
    waiting a pause would leave the edge idle: one device with a tail as long as the SLA lost 12 %
    of its answers to it (in virtual time).
    """
    return RejectReason.BUSY if num_queued >= CROWD else RejectReason.EXPIRED


def graph_key(point: OperatingPoint, *, full_graph: str) -> str:
    """Return which graph answers a point: its member's tail, or a whole network.

    `full_graph` is the manifest's. A picture may be for another whole network, one trained on
    compressed pictures: the path of its file is then the key.
    """
    if point.kind is PointKind.OFFLOAD:
        assert point.graph is not None
        return FULL_GRAPH_KEY if point.graph == full_graph else point.graph
    assert point.member is not None
    return point.member


def deadline_of(frame: Frame, *, sent_s: float) -> float:
    """Return when the edge must be done with a frame whose budget began at `sent_s`."""
    return inf if frame.budget_us == NO_BUDGET_US else sent_s + frame.budget_us / 1e6


def queued_frame(
    peer: bytes,
    frame: Frame,
    manifest: Manifest,
    *,
    arrived_s: float,
    deadline_s: float,
    burst: Burst = NO_BURST,
    reference: Integers | None = None,
    layers: LayeredFrame | None = None,
    owner: str | None = None,
) -> Queued:
    """Return a frame as it waits for the worker; `reference` is what it is predicted from.

    A progressive frame's payloads are in `layers`.
    """
    point = manifest.points[frame.point_index]
    return Queued(
        key=GraphKey(manifest.digest, graph_key(point, full_graph=manifest.full_graph)),
        peer=peer,
        frame_id=frame.frame_id,
        point_index=frame.point_index,
        payload=frame.payload if layers is None else b"",
        arrived_s=arrived_s,
        deadline_s=deadline_s,
        burst=burst,
        reference=reference,
        layers=layers,
        owner=owner,
    )


def point_used(frame: Queued, prefixes: Prefixes) -> int:
    """Return the number of the point that a frame in a batch is answered as."""
    if frame.layers is None:
        return frame.point_index
    return prefixes[frame.point_index][len(frame.layers.layers) - 1]


def item_of(frame: Queued, manifest: Manifest, prefixes: Prefixes) -> BatchItem:
    """Return what the worker is told of a frame, with the layers that it has by now."""
    point = manifest.points[point_used(frame, prefixes)]
    layers = () if frame.layers is None else tuple(frame.layers.layers)
    return BatchItem(frame.peer, frame.frame_id, point, frame.payload, frame.reference, layers)


def result_of(
    frame: Queued,
    tensors: tuple[NamedTensor, ...],
    outcome: ItemOutcome,
    *,
    point_index: int,
    began_s: float,
    now_s: float,
    frames_queued: int,
    busy_share: float,
) -> Result:
    """Return the RESULT of a frame whose batch began at `began_s` and is being answered now.

    `point_index` is that of `point_used`.
    """
    return Result(
        frame_id=frame.frame_id,
        point_index=point_index,
        arrived_us=clock_us(frame.came_s),
        residence_us=_duration_us(now_s - frame.came_s),
        queue_us=_duration_us(began_s - frame.queued_s),
        decode_us=_duration_us(outcome.decode_s),
        tail_us=_duration_us(outcome.tail_s),
        load=Load(min(frames_queued, 0xFFFF), round(1000 * busy_share)),
        tensors=tensors,
        burst=frame.burst,
    )


def clock_us(seconds: float) -> int:
    """Return the edge's clock as the wire has it."""
    return int(seconds * 1e6)


def _duration_us(seconds: float) -> int:
    return min(max(0, round(seconds * 1e6)), 0xFFFF_FFFF)
