"""Messages of progressive frames that are out: which of them an ACK, a RESULT or a REJECT is of.

The edge acknowledges every message of such a frame in order, but for the one that completes it:
that is answered by the frame's RESULT or REJECT. A RESULT for fewer layers than that answers no
message, for all that it used have had their ACK. A REJECT may also be the answer to the message
that brings the first layer, or the last fragment of it: that of a frame that is not let in. What
comes after either has its ACK, and so has whatever comes while the batch runs: it may be here
before the RESULT does.
"""

from collections import deque
from dataclasses import dataclass, field

MAX_FRAMES = 256  # those that an edge never answered are forgotten


@dataclass(frozen=True, slots=True)
class _Message:
    key: int  # in the link's estimator
    layers: int  # of the frame that the edge has when it has this message
    completes: bool


@dataclass(slots=True)
class _FrameOut:
    sent_s: float  # the first message
    out: deque[_Message] = field(default_factory=deque)
    acked_layers: int = 0
    answered: bool = False  # by a RESULT that did not use all that is out


class SentLayers:
    """Progressive frames of which something is out, or that have not been answered yet."""

    def __init__(self) -> None:
        self._frames: dict[int, _FrameOut] = {}

    def __contains__(self, frame_id: int) -> bool:
        return frame_id in self._frames

    def clear(self) -> None:
        """Forget all: the connection is gone."""
        self._frames.clear()

    def sent(self, frame_id: int, key: int, *, layers: int, completes: bool, now_s: float) -> None:
        """Note a message; with it the edge has so many layers."""
        frame = self._frames.setdefault(frame_id, _FrameOut(now_s))
        if len(self._frames) > MAX_FRAMES:
            del self._frames[next(iter(self._frames))]
        frame.out.append(_Message(key, layers, completes))

    def unsent(self, frame_id: int) -> int | None:
        """Take back the last message of a frame; returns its key."""
        frame = self._frames.get(frame_id)
        return None if frame is None or not frame.out else frame.out.pop().key

    def acked(self, frame_id: int, *, layers: int) -> int | None:
        """Take an ACK; returns the key of the message that it is of, None if it is of none."""
        frame = self._frames.get(frame_id)
        if frame is None or not frame.out:
            return None
        frame.acked_layers = max(frame.acked_layers, layers)
        key = frame.out.popleft().key
        if frame.answered and not frame.out:
            del self._frames[frame_id]
        return key

    def sent_s(self, frame_id: int) -> float:
        """Return when the first message of a frame that is known was sent."""
        return self._frames[frame_id].sent_s

    def answered(self, frame_id: int, *, layers: int) -> int | None:
        """Take a RESULT that used so many layers, of a frame that is known.

        Returns the key of the message that it is the answer to, if any.
        """
        frame = self._frames[frame_id]
        last = frame.out[-1] if frame.out else None
        if last is not None and last.completes and last.layers <= layers:
            del self._frames[frame_id]
            return last.key
        self._over(frame_id, frame)
        return None

    def rejected(self, frame_id: int) -> int | None:
        """Take a REJECT; returns the key of the message that it is the answer to, if any."""
        frame = self._frames.get(frame_id)
        if frame is None:
            return None
        key = None
        if frame.out and (frame.out[0].completes or frame.acked_layers == 0):
            key = frame.out.popleft().key
        self._over(frame_id, frame)
        return key

    def _over(self, frame_id: int, frame: _FrameOut) -> None:
        """Go on waiting only for the ACKs of what is still out: it will complete nothing."""
        if not frame.out:
            del self._frames[frame_id]
            return
        frame.answered = True
        last = frame.out[-1]
        if last.completes:
            frame.out[-1] = _Message(last.key, last.layers, False)

    def has_arrived(self, frame_id: int) -> bool:
        """Whether the edge is known to have at least one layer of this frame."""
        frame = self._frames.get(frame_id)
        return frame is not None and frame.acked_layers > 0

    def first_layer_key(self, frame_id: int) -> int | None:
        """Return the key of the message that completes a frame's first layer, if it is out."""
        frame = self._frames.get(frame_id)
        if frame is None:
            return None
        return next((message.key for message in frame.out if message.layers > 0), None)
