"""Incomplete progressive frames at the edge: how long each may wait for more layers.

A frame that waits too long misses its deadline; one that goes too early is answered from fewer
layers than it could have been. So each goes to the batcher at the last moment that is safe. These
moments are those of a schedule made backwards, from the latest deadline to the earliest: a frame
must begin early enough to end by its own deadline, and to leave the worker to the next in time.

    latest start of i  =  min (deadline of i - its batch alone, latest start of i + 1 - its share)

"Early enough" is less the margin that the edge's own lateness asks for (`edge_margin`).

A frame is ripe when all that runs and waits would only be done by its latest start. What waits
counts whatever its deadline is, since an idle worker starts it at once. Ripening early costs a
frame nothing as long as it waits: the layers that come before its batch begins are used too.
"""

from math import inf

from headgate.runtime.edge.batch_choice import ANSWER_S
from headgate.runtime.edge.batcher import Batcher
from headgate.runtime.edge.edge_margin import Margin
from headgate.runtime.edge.queued import Queued

QUIET_S = 10.0  # without a new layer for so long, nothing more is waited for
_ROUNDING_S = 1e-9  # a timer that is due by a sum must not be early by its last bit


class Ripening:
    """The frames that wait for layers, and those among them whose time has come."""

    def __init__(self, batcher: Batcher, margin: Margin) -> None:
        """`margin` says how much sooner than just in time frames are ripe."""
        self._batcher, self._margin = batcher, margin
        self._frames: dict[tuple[bytes, int], Queued] = {}
        self._starts: list[tuple[float, Queued]] | None = None  # latest starts, rising
        self._made_from = (-1, 0.0)  # version of the batcher's times, and margin

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, frame: Queued) -> bool:
        return self._frames.get((frame.peer, frame.frame_id)) is frame

    @property
    def frames(self) -> list[Queued]:
        """Return those waiting for layers."""
        return list(self._frames.values())

    def begun_before(self, then_s: float) -> list[Queued]:
        """Return those that will be begun before then, even if no more of them comes."""
        return [frame for start_s, frame in self._latest_starts() if start_s < then_s]

    def without_news(self) -> list[Queued]:
        """Return them in the order in which their last layers came."""
        return sorted(self._frames.values(), key=lambda frame: frame.came_s)

    def put(self, frame: Queued) -> None:
        """Let a frame wait for layers; again when some came, as its deadline may have changed."""
        assert frame.layers is not None
        self._frames[frame.peer, frame.frame_id] = frame
        self._starts = None

    def remove(self, frame: Queued) -> None:
        """Let a frame wait no longer."""
        del self._frames[frame.peer, frame.frame_id]
        self._starts = None

    def first_ripe(self, *, now_s: float) -> Queued | None:
        """Return the first frame if it is ripe; ask again once the batcher has it."""
        starts = self._latest_starts()
        if not starts or self._batcher.clear_s(now_s=now_s) + _ROUNDING_S < starts[0][0]:
            return None
        return starts[0][1]

    def next_timer_s(self) -> float | None:
        """Return when the first frame is ripe if nothing else happens, or None."""
        starts = self._latest_starts()
        return starts[0][0] - self._batcher.backlog_s() if starts else None

    def _latest_starts(self) -> list[tuple[float, Queued]]:
        times = self._batcher.times
        made_from = (times.version, self._margin.margin_s)
        if self._starts is not None and self._made_from == made_from:
            return self._starts
        self._made_from = made_from
        self._starts = []
        next_s = inf
        for frame in sorted(self._frames.values(), key=_needed_by_s, reverse=True):
            alone_s = times.likely_s(frame.key, size=1) + ANSWER_S + made_from[1]
            next_s = min(_needed_by_s(frame) - alone_s, next_s - times.frame_s(frame.key))
            self._starts.append((next_s, frame))
        self._starts.reverse()
        return self._starts


def _needed_by_s(frame: Queued) -> float:
    """Return when a frame must be done with, whether or not it has a deadline."""
    assert frame.layers is not None
    return min(frame.deadline_s, frame.layers.arrived_s + QUIET_S)
