"""Put the layers of one peer's progressive frames together, and hold them to their order.

Layers of a frame come in order, several in one message or one by one, and the first message of
another frame ends it: no more of its layers will come. So at most one frame of a peer grows at a
time, and whatever comes out of turn is a broken or hostile peer's and is refused, frame by frame.
What comes after the frame's batch began, or after it was rejected, is late: it is nobody's fault
and spoils nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Manifest
from headgate.profiles.progressive import prefixes_of
from headgate.runtime.wire.messages import Frame

# By the number of a progressive point: those of the points that answer its first 1, 2, ... layers.
Prefixes = Mapping[int, tuple[int, ...]]


def prefixes_by_point(manifest: Manifest) -> Prefixes:
    """Return which points answer the prefixes of each progressive point; others are left out."""
    return {
        index: tuple(manifest.index_of(each.id) for each in prefixes_of(point, manifest.points))
        for index, point in enumerate(manifest.points)
        if point.prefix is not None
    }


@dataclass(slots=True, eq=False)
class LayeredFrame:
    """What has come of one progressive frame. It grows until it is complete or closed."""

    frame_id: int
    point_index: int
    num_planned: int  # layers that may come at most
    arrived_s: float  # the last layer that is used
    queued_s: float = -inf  # when it began to wait for the worker, not for layers any more
    layers: list[bytes] = field(default_factory=list)
    num_bytes: int = 0
    complete: bool = False  # no more will come
    closed: bool = False  # no more are taken: its batch began, or it was rejected


class LayerOrder:
    """The progressive frames of one peer: what may come next, and of how many bytes."""

    def __init__(self, *, max_payload_bytes: int) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._newest: LayeredFrame | None = None
        self._other_id: int | None = None  # a frame that began after it
        self._refused_id: int | None = None

    def clear(self) -> None:
        """Expect the first layer of any frame: none is continued."""
        self._newest = self._other_id = self._refused_id = None

    def num_layers(self, frame_id: int) -> int:
        """Return how many layers of the newest frame have come; 0 of any other."""
        newest = self._newest
        return len(newest.layers) if newest is not None and newest.frame_id == frame_id else 0

    def is_closed(self, frame_id: int) -> bool:
        """Whether the newest frame is this one and takes no more layers."""
        newest = self._newest
        return newest is not None and newest.frame_id == frame_id and newest.closed

    def began(self, frame_id: int) -> LayeredFrame | None:
        """Tell that a frame's first message came; return the frame that it completes, if any."""
        newest = self._newest
        if newest is None or newest.frame_id == frame_id:
            return None
        self._other_id = frame_id
        if newest.complete or newest.closed:
            return None
        newest.complete = True
        return newest

    def add(self, message: Frame, *, num_planned: int, now_s: float) -> LayeredFrame | None:
        """Take whole layers; return their frame, or None if it was refused before.

        If the frame is closed they came too late and were not taken. Raises WireError for layers
        out of turn; `refuse` the frame then, so that the rest of it is passed over.
        """
        if message.layer == 0:
            frame = self._begin(message, num_planned=num_planned, now_s=now_s)
        elif message.frame_id == self._refused_id:
            return None
        else:
            frame = self._continue(message)
        if frame.closed:
            return frame
        num_layers = message.layer + 1 + len(message.more_layers)
        if num_layers > frame.num_planned:
            raise WireError(
                f"FRAME {frame.frame_id}: layers up to {num_layers - 1}, but its point "
                f"{frame.point_index} sends {frame.num_planned}; send no more than it names"
            )
        num_bytes = len(message.payload) + sum(map(len, message.more_layers))
        if frame.num_bytes + num_bytes > self._max_payload_bytes:
            raise WireError(
                f"FRAME {frame.frame_id}: more than {self._max_payload_bytes} bytes of payload; "
                "WELCOME names the limit"
            )
        frame.layers += (message.payload, *message.more_layers)
        frame.num_bytes += num_bytes
        frame.arrived_s = now_s
        frame.complete = message.last or num_layers == frame.num_planned
        return frame

    def refuse(self, frame_id: int) -> None:
        """Pass over all further layers of this frame."""
        self._refused_id = frame_id
        if self._newest is not None and self._newest.frame_id == frame_id:
            self._newest.closed = True

    def _begin(self, message: Frame, *, num_planned: int, now_s: float) -> LayeredFrame:
        newest = self._newest
        if newest is not None and message.frame_id <= newest.frame_id:
            raise WireError(
                f"FRAME {message.frame_id}: layer 0 came after frame {newest.frame_id} began; "
                "send each layer once, and frames in the order of their ids"
            )
        self._newest = LayeredFrame(message.frame_id, message.point_index, num_planned, now_s)
        self._other_id = self._refused_id = None
        return self._newest

    def _continue(self, message: Frame) -> LayeredFrame:
        """Return the frame that these layers are of, or raise WireError if they cannot follow."""
        frame = self._newest
        where = f"FRAME {message.frame_id}: layer {message.layer}"
        if frame is None or message.frame_id != frame.frame_id:
            began = "nothing" if frame is None else f"frame {frame.frame_id}"
            raise WireError(f"{where} came after {began} began; send a frame's layers unmixed")
        if self._other_id is not None:
            raise WireError(
                f"{where} came after frame {self._other_id} began; send a frame's layers unmixed"
            )
        if frame.closed:
            return frame
        if message.point_index != frame.point_index:
            raise WireError(
                f"{where} is of point {message.point_index}, the frame began as point "
                f"{frame.point_index}; keep to one"
            )
        if frame.complete:
            raise WireError(f"{where} came after the last; mark only the last layer as such")
        if message.layer != len(frame.layers):
            raise WireError(
                f"{where} came where layer {len(frame.layers)} could follow; "
                "send a frame's layers in order, each once"
            )
        return frame
