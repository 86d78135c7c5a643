"""What an edge admits: the decisions about one HELLO and one frame, as functions of values."""

from collections.abc import Mapping

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.edge_events import FULL_GRAPH_KEY, EdgeLimits
from headgate.runtime.messages import Frame, Hello, Reject, RejectReason, Welcome
from headgate.runtime.wire import SPOKEN_VERSIONS, negotiate

LEAVING_TEXT = "the edge is shutting down; connect to another"
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


def graph_key(point: OperatingPoint) -> str:
    """Return which graph answers a point: its member's tail, or the whole network."""
    if point.kind is PointKind.OFFLOAD:
        return FULL_GRAPH_KEY
    assert point.member is not None
    return point.member
