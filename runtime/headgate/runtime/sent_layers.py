"""Messages of progressive frames that are out: which of them an ACK, a RESULT or a REJECT is of.

The edge acknowledges every message of such a frame in order, but for the one that completes it:
that is answered by the frame's RESULT or REJECT. A RESULT for fewer layers than that answers no
message, for all that it used have had their ACK.
"""

from collections import deque
from dataclasses import dataclass, field


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
        frame.out.append(_Message(key, layers, completes))

    def unsent(self, frame_id: int) -> int | None:
        """Take back the last message of a frame; returns its key."""
        frame = self._frames.get(frame_id)
        return None if frame is None or not frame.out else frame.out.pop().key

    def acked(self, frame_id: int, *, layers: int) -> int | None:
        """Take an ACK; returns the key of the message that it is of, None if it is of none."""
        frame = self._frames.get(frame_id)
        if frame is None or not frame.out or frame.out[0].completes:
            return None
        frame.acked_layers = max(frame.acked_layers, layers)
        key = frame.out.popleft().key
        if frame.answered and not frame.out:
            del self._frames[frame_id]
        return key

    def answered(self, frame_id: int, *, layers: int) -> tuple[int | None, float]:
        """Take a RESULT that used so many layers, of a frame that is known.

        Returns the key of the message that it is the answer to, if any, and when the frame's first
        message was sent.
        """
        frame = self._frames[frame_id]
        if not frame.out:
            del self._frames[frame_id]
            return None, frame.sent_s
        last = frame.out[-1]
        if last.completes and last.layers <= layers:
            del self._frames[frame_id]
            return last.key, frame.sent_s
        if last.completes:  # it comes too late to complete anything, and will have an ACK
            frame.out[-1] = _Message(last.key, last.layers, False)
        frame.answered = True
        return None, frame.sent_s

    def rejected(self, frame_id: int) -> list[int]:
        """Take a REJECT; returns the keys of the messages that will have no answer."""
        frame = self._frames.pop(frame_id, None)
        return [] if frame is None else [message.key for message in frame.out]

    def forget(self, frame_id: int) -> None:
        """Forget a frame whose answers do not come any more."""
        self._frames.pop(frame_id, None)

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
