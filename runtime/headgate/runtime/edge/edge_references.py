"""The edge's side of prediction: the integers of the last few frames of each device.

Kept per peer and stream, and bounded twice: so many frames of a stream, and so many bytes of all
peers together. What is over a bound goes oldest first; its device is told when it next refers to
it, and sends a whole frame. A device refers to the newest frame whose answer it has, and to none
that KEPT_FRAMES newer ones have followed onto a long path.
"""

from collections import OrderedDict
from collections.abc import Mapping

from headgate.profiles.manifest import Manifest
from headgate.runtime.codec.prediction import Integers, reference_distance, streams_of
from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.edge.queued import Queued
from headgate.runtime.wire.messages import Frame

_Key = tuple[bytes, str, int]  # peer, stream, frame id


class EdgeReferences:
    """Decoded frames that later ones may be predicted from."""

    def __init__(self, families: Mapping[str, Manifest], limits: EdgeLimits) -> None:
        self._points = {digest: manifest.points for digest, manifest in families.items()}
        self._streams = {digest: streams_of(manifest) for digest, manifest in families.items()}
        self._limits = limits
        self._frames: OrderedDict[_Key, Integers] = OrderedDict()  # of all peers, oldest first
        self._ids: dict[bytes, dict[str, list[int]]] = {}  # by peer and stream, oldest first
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def num_bytes(self) -> int:
        """What is held at the moment."""
        return self._num_bytes

    def find(
        self, peer: bytes, manifest: Manifest, frame: Frame
    ) -> tuple[Integers | None, str | None]:
        """Return what a frame is predicted from, if anything, and why it cannot be, if so."""
        stream = manifest.points[frame.point_index].twin
        if stream is None or (distance := reference_distance(frame.payload)) == 0:
            return None, None
        found = self._frames.get((peer, stream, frame.frame_id - distance))
        if found is not None:
            return found, None
        return None, (
            f"frame {frame.frame_id} refers to frame {frame.frame_id - distance}, which this edge "
            "does not have; send a whole frame"
        )

    def keep(self, frame: Queued, integers: Integers | None) -> None:
        """Keep the integers of a decoded frame, if its device may refer to them."""
        digest = frame.key.digest
        stream = self._streams[digest].get(self._points[digest][frame.point_index].id)
        if stream is None or integers is None:
            return
        key = (frame.peer, stream, frame.frame_id)
        self._drop(key)
        self._frames[key] = integers
        self._num_bytes += integers.nbytes
        ids = self._ids.setdefault(frame.peer, {}).setdefault(stream, [])
        ids.append(frame.frame_id)
        if len(ids) > self._limits.max_references:
            self._drop((frame.peer, stream, ids[0]))
        while self._num_bytes > self._limits.max_reference_bytes:
            self._drop(next(iter(self._frames)))

    def forget(self, peer: bytes) -> None:
        """Drop all that one peer has here."""
        for stream, ids in list(self._ids.get(peer, {}).items()):
            for frame_id in list(ids):
                self._drop((peer, stream, frame_id))

    def _drop(self, key: _Key) -> None:
        integers = self._frames.pop(key, None)
        if integers is None:
            return
        self._num_bytes -= integers.nbytes
        peer, stream, frame_id = key
        ids = self._ids[peer][stream]
        ids.remove(frame_id)
        if not ids:
            del self._ids[peer][stream]
            if not self._ids[peer]:
                del self._ids[peer]
