"""Frames that wait for the edge, and when that ends: with the deadline, if nothing better comes.

A frame whose answer is at hand waits until the guard before its deadline, as what is handed out
late is lost (`guard`). One without an answer waits on, for a late one tells what the link does.
"""

from headgate.runtime.choice.guard import Guard
from headgate.runtime.session.frame_fate import FrameOnItsWay, SessionSettings


class WaitingFrames(dict[int, FrameOnItsWay]):
    """They are kept by frame id, oldest first."""

    def __init__(self, settings: SessionSettings, guard: Guard) -> None:
        super().__init__()
        self._settings, self._guard = settings, guard

    def next_due_s(self) -> float | None:
        """Return when to look after the first of them: its wait is over, or it may need rescue."""
        return min(map(self._due_s, self.values()), default=None)

    def take_over(self, *, now_s: float) -> list[FrameOnItsWay]:
        """Remove and return those whose wait is over."""
        over = [frame for frame in self.values() if self._over_s(frame) <= now_s]
        for frame in over:
            del self[frame.frame_id]
        return over

    def take_all(self) -> list[FrameOnItsWay]:
        """Remove and return all: no edge will answer them."""
        frames = list(self.values())
        self.clear()
        return frames

    def pop_sent(self, frame_id: int | None) -> FrameOnItsWay | None:
        """Remove and return a frame of which something was sent, if it waits.

        Nobody can have an opinion of another: whoever seems to is broken or hostile.
        """
        frame = None if frame_id is None else self.get(frame_id)
        if frame is None or frame.num_bytes == 0:
            return None
        del self[frame.frame_id]
        return frame

    def _due_s(self, frame: FrameOnItsWay) -> float:
        over_s = self._over_s(frame)
        return over_s if frame.last_call_s is None else min(over_s, frame.last_call_s)

    def _over_s(self, frame: FrameOnItsWay) -> float:
        if frame.deadline_s is None:
            return frame.captured_s + self._settings.give_up_without_sla_s
        if frame.insurance is not None:
            return frame.deadline_s - self._guard.guard_s
        if frame.num_bytes == 0:  # nothing has left: no answer will come that tells of the link
            return frame.deadline_s
        return frame.deadline_s + self._settings.give_up_s
