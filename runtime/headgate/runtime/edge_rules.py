"""What an edge says to one HELLO or one frame, as functions of values."""

from collections.abc import Mapping
from math import inf

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.batcher import GraphKey, Queued
from headgate.runtime.edge_events import FULL_GRAPH_KEY, BatchItem, EdgeLimits, ItemOutcome
from headgate.runtime.fragments import Assembled
from headgate.runtime.messages import (
    NO_BUDGET_US,
    Frame,
    Hello,
    Load,
    NamedTensor,
    Reject,
    RejectReason,
    Result,
    Welcome,
)
from headgate.runtime.prediction import Integers
from headgate.runtime.wire import SPOKEN_VERSIONS, negotiate

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


def why_unknown(frame: Frame, *, manifest: Manifest) -> str | None:
    """Return why the edge cannot answer the frame's point, or None if it can."""
    if frame.point_index >= len(manifest.points):
        return f"point {frame.point_index}, the family has 0 to {len(manifest.points) - 1}"
    point = manifest.points[frame.point_index]
    if point.kind is PointKind.LOCAL:
        return f"point {point.id} is answered on the device, not at the edge"
    return None


def why_busy(
    frame: Frame, *, num_in_flight: int, num_queued: int, held_bytes: int, limits: EdgeLimits
) -> str | None:
    """Return why the frame cannot wait, or None. `held_bytes` does not hold the frame's own."""
    if num_in_flight >= limits.max_in_flight:
        return f"{num_in_flight} frames of this device are in flight, which is the limit"
    if num_queued >= limits.max_queued or held_bytes + len(frame.payload) > limits.max_held_bytes:
        return FULL_TEXT
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


def queued_frame(
    peer: bytes,
    whole: Assembled,
    manifest: Manifest,
    *,
    now_s: float,
    reference: Integers | None,
) -> Queued:
    """Return a whole frame as it waits for the worker; `reference` is what it is predicted from."""
    frame = whole.frame
    point = manifest.points[frame.point_index]
    deadline_s = inf
    if frame.budget_us != NO_BUDGET_US:
        deadline_s = whole.first_arrived_s + frame.budget_us / 1e6
    return Queued(
        key=GraphKey(manifest.digest, graph_key(point, full_graph=manifest.full_graph)),
        peer=peer,
        frame_id=frame.frame_id,
        point_index=frame.point_index,
        payload=frame.payload,
        arrived_s=now_s,
        deadline_s=deadline_s,
        burst=whole.burst,
        reference=reference,
    )


def item_of(frame: Queued, families: Mapping[str, Manifest]) -> BatchItem:
    """Return what the worker is told of a waiting frame."""
    point = families[frame.key.digest].points[frame.point_index]
    return BatchItem(frame.peer, frame.frame_id, point, frame.payload, frame.reference)


def priors_s(families: Mapping[str, Manifest], machine: str | None) -> dict[GraphKey, float]:
    """Return what one frame costs per graph according to the manifests' times on `machine`."""
    priors: dict[GraphKey, float] = {}
    for digest, manifest in families.items():
        for point_id, time in manifest.times.get(machine or "", {}).items():
            point = manifest.point(point_id)
            if point.kind is not PointKind.LOCAL:
                key = graph_key(point, full_graph=manifest.full_graph)
                priors[GraphKey(digest, key)] = time.edge_s
    return priors


def result_of(
    frame: Queued,
    tensors: tuple[NamedTensor, ...],
    outcome: ItemOutcome,
    *,
    began_s: float,
    now_s: float,
    frames_queued: int,
    busy_share: float,
) -> Result:
    """Return the RESULT of a frame whose batch began at `began_s` and is being answered now."""
    return Result(
        frame_id=frame.frame_id,
        point_index=frame.point_index,
        arrived_us=clock_us(frame.arrived_s),
        residence_us=_duration_us(now_s - frame.arrived_s),
        queue_us=_duration_us(began_s - frame.arrived_s),
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
