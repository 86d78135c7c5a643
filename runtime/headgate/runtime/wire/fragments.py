"""Cut a frame's payload into slices for the transport, and put slices together again.

ZeroMQ delivers the messages of one connection in order and whole, so slices can only come in
order, one frame after the other. Anything else is a broken or hostile peer and is refused, which
bounds what a peer can make the edge hold: one unfinished frame.
"""

from dataclasses import dataclass, fields, replace
from operator import attrgetter

from headgate.profiles.errors import WireError
from headgate.runtime.wire.bursts import ArrivalMeter
from headgate.runtime.wire.messages import NO_BURST, Burst, Frame

# What all slices of a frame say alike.
_SHARED = attrgetter(*(f.name for f in fields(Frame) if f.name not in {"fragment", "payload"}))


def fragment(frame: Frame, max_fragment_bytes: int) -> list[Frame]:
    """Return the frame's slices in sending order: at least one, each at most that many bytes."""
    assert frame.fragments == 1
    assert not frame.more_layers
    assert max_fragment_bytes > 0
    starts = range(0, len(frame.payload), max_fragment_bytes)
    if len(starts) <= 1:
        return [frame]
    return [
        replace(
            frame,
            payload=frame.payload[start : start + max_fragment_bytes],
            fragment=index,
            fragments=len(starts),
        )
        for index, start in enumerate(starts)
    ]


@dataclass(frozen=True, slots=True)
class Assembled:
    """A whole frame, when its first slice came, and how the others followed.

    The budget was written when sending began, so the deadline counts from the first slice; the
    last may have been on its way for long.
    """

    frame: Frame
    first_arrived_s: float
    burst: Burst = NO_BURST


class Reassembly:
    """The unfinished frame of one peer: at most one, and at most `max_payload_bytes` of it."""

    def __init__(self, *, max_payload_bytes: int) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._first: Frame | None = None
        self._refused_id: int | None = None
        self._first_arrived_s = self._last_arrived_s = 0.0
        self._arrivals = ArrivalMeter()
        self._slices: list[bytes] = []
        self._num_bytes = 0

    @property
    def num_bytes(self) -> int:
        """What is held at the moment."""
        return self._num_bytes

    def has_waited_since(self, then_s: float) -> bool:
        """Whether there is an unfinished frame no slice of which came after then."""
        return self._first is not None and self._last_arrived_s <= then_s

    def give_up(self) -> None:
        """Forget the unfinished frame and pass over its further slices: it has stopped."""
        if self._first is not None:
            self.refuse(self._first.frame_id)

    def add(self, piece: Frame, *, now_s: float) -> Assembled | None:
        """Take one slice; return the whole frame with the last, and None before.

        The first slice of another frame abandons the unfinished one: a device may stop sending
        what has become stale. Any other disorder drops the unfinished frame and raises WireError,
        once: what is still under way of the refused frame is passed over.
        """
        if piece.fragments == 1 and len(piece.payload) <= self._max_payload_bytes:
            self.clear()
            return Assembled(piece, now_s)
        if piece.fragment == 0:
            self.clear()
            self._first, self._first_arrived_s = piece, now_s
            self._arrivals = ArrivalMeter()
        elif piece.frame_id == self._refused_id:
            return None
        elif not self._continues(piece):
            found = "nothing" if self._first is None else self._expected()
            self.refuse(piece.frame_id)
            raise WireError(
                f"FRAME {piece.frame_id}: fragment {piece.fragment} of {piece.fragments} came "
                f"where {found} could follow; send a frame's fragments in order, unmixed"
            )
        if self._num_bytes + len(piece.payload) > self._max_payload_bytes:
            self.refuse(piece.frame_id)
            raise WireError(
                f"FRAME {piece.frame_id}: more than {self._max_payload_bytes} bytes of payload; "
                "WELCOME names the limit"
            )
        self._last_arrived_s = now_s
        self._slices.append(piece.payload)
        self._num_bytes += len(piece.payload)
        self._arrivals.add(len(piece.payload), now_s=now_s)
        if piece.fragment + 1 < piece.fragments:
            return None
        return self._take()

    def refuse(self, frame_id: int) -> None:
        """Forget the unfinished frame and pass over all further slices of this one."""
        self.clear()
        self._refused_id = frame_id

    def clear(self) -> None:
        """Forget the unfinished frame."""
        self._refused_id = None
        self._first = None
        self._slices = []
        self._num_bytes = 0

    def _continues(self, piece: Frame) -> bool:
        first = self._first
        if first is None or piece.fragment != len(self._slices):
            return False
        return bool(_SHARED(piece) == _SHARED(first))

    def _expected(self) -> str:
        assert self._first is not None
        return f"fragment {len(self._slices)} of frame {self._first.frame_id}"

    def _take(self) -> Assembled:
        assert self._first is not None
        payload = self._slices[0] if len(self._slices) == 1 else b"".join(self._slices)
        whole = replace(self._first, payload=payload, fragment=0, fragments=1)
        arrived_s = self._first_arrived_s
        burst = self._arrivals.burst()
        self.clear()
        return Assembled(whole, arrived_s, burst)
