"""Frames that the edge lets down and that carry no exit's answer: who can still be helped here.

An offloaded picture has no insurance. If its edge is lost, says no, or is likely too late, a local
point may still make the deadline, and then it is computed as if it had been chosen. A split frame
is insured by its exit; where a local point is better than that and there is time, it is computed in
a case of doubt as well, but nothing waits for it:

    waiting for the edge --last call, answer unlikely--> queued -> computing -> insured, still waits
    edge lost, rejected, not sent ---------------------> queued -> computing -> answered locally

The last call is the latest moment from which a local answer is sure to be in time. Only a frame
whose answer has then become doubtful is computed twice: on a link that keeps its promises nothing
is.
"""

from collections import deque
from collections.abc import Iterator

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.costs import PointCosts
from headgate.runtime.events import Computed, ComputeFailed
from headgate.runtime.frame_fate import FrameOnItsWay, SessionSettings
from headgate.runtime.own_answers import exit_quality
from headgate.runtime.policy import Policy

# Chance of an answer in time. A rescue costs compute only, for the edge's answer still counts.
RESCUE_BELOW = 0.8


class Rescues:
    """The queue of frames to compute in the edge's place, oldest first."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        controller: Policy,
        costs: PointCosts,
        settings: SessionSettings,
    ) -> None:
        self._manifest = manifest
        self._controller, self._costs, self._settings = controller, costs, settings
        self._queue: deque[FrameOnItsWay] = deque()

    def __iter__(self) -> Iterator[FrameOnItsWay]:
        return iter(self._queue)

    def clear(self) -> None:
        """Give all of them up."""
        self._queue.clear()

    def pop(self) -> FrameOnItsWay | None:
        """Remove and return the oldest frame that has no record yet, or None."""
        while self._queue:
            frame = self._queue.popleft()
            if not frame.ended:
                return frame
        return None

    def add(self, frame: FrameOnItsWay, reason: str, *, now_s: float) -> bool:
        """Queue the frame, or return False if it cannot be answered here in time.

        `reason` says in its record why the edge did not answer; the first one stays.
        """
        if frame.rescue_reason is not None:
            return True
        if self.point_for(frame, now_s=now_s) is None:
            return False
        frame.rescue_reason = reason
        self._queue.append(frame)
        return True

    def point_for(self, frame: FrameOnItsWay, *, now_s: float) -> OperatingPoint | None:
        """Return the best allowed point that answers the frame here in time, or None."""
        if not self._settings.rescue:
            return None
        deadline_s = frame.deadline_s
        left_s = None if deadline_s is None else deadline_s - self._settings.guard_s - now_s
        return self._controller.fallback(left_s=left_s)

    def last_call_s(self, frame: FrameOnItsWay, *, now_s: float) -> float | None:
        """Return when to look whether a frame sent now needs rescue; None: never.

        A later frame may just have begun to compute then, so there is time for its start too.
        """
        point = self.point_for(frame, now_s=now_s)
        if point is None or frame.deadline_s is None:
            return None
        assert frame.point is not None
        if frame.insurance is not None and not self._is_better(point, than_exit_of=frame.point):
            return None
        needed_s = self._costs.device_s(point.id) + self._costs.device_s(frame.point.id)
        return max(now_s, frame.deadline_s - self._settings.guard_s - needed_s)

    def _is_better(self, point: OperatingPoint, *, than_exit_of: OperatingPoint) -> bool:
        if than_exit_of.kind is not PointKind.SPLIT:
            return False
        return self._manifest.quality(point) > exit_quality(self._manifest, than_exit_of)

    def computed(self, frame: FrameOnItsWay, outcome: Computed | ComputeFailed) -> None:
        """Take what came of a rescue: the frame is insured now, unless it failed."""
        if isinstance(outcome, ComputeFailed):
            frame.rescue = frame.rescue_reason = None
            return
        frame.rescued = True
        assert frame.rescue is not None
        self._costs.device_took(frame.rescue.id, device_s=outcome.head_s + outcome.encode_s)
        frame.head_s = (frame.head_s or 0.0) + outcome.head_s
        frame.insurance = outcome.answer

    def answer_by_s(self, frame: FrameOnItsWay) -> float:
        """Return when a frame's answer would have to be here if the edge took no time."""
        assert frame.point is not None
        assert frame.deadline_s is not None
        return frame.deadline_s - self._costs.edge_s(frame.point.id)
