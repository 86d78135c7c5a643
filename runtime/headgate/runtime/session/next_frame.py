"""What the next frame loses if the device computes something else before it: it leaves later.

A rescue (see `rescue`) gains the difference between a local point and an early exit, and no more
of it than the doubt that the edge answers after all. The frame that waits meanwhile may lose its
own answer of the edge: then it is rescued as well, and all of them are late for good.
"""

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.guard import Guard
from headgate.runtime.link.outlook import Outlook
from headgate.runtime.session.conversation import Conversation
from headgate.runtime.session.terms import Terms
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES


class NextFrame:
    """Judges a delay of the next frame by what the edge may answer it with, before and after."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        edge: Conversation,
        costs: PointCosts,
        guard: Guard,
        terms: Terms,
    ) -> None:
        self._manifest, self._edge, self._costs = manifest, edge, costs
        self._guard, self._terms = guard, terms

    def loss(
        self, delay_s: float, *, begins_s: float, deadline_s: float, local: float, now_s: float
    ) -> float:
        """Return the quality that it loses on average, if it begins later by `delay_s`.

        It would begin at `begins_s`. `local` is the quality of what answers it where the edge is
        late.
        """
        outlook = self._edge.next_outlook(now_s=now_s) if delay_s > 0 else None
        if outlook is None:
            return 0.0
        by_s = deadline_s - self._guard.guard_s
        before = self._gain(outlook, begins_s=begins_s, by_s=by_s, local=local)
        return before - self._gain(outlook, begins_s=begins_s + delay_s, by_s=by_s, local=local)

    def _gain(self, outlook: Outlook, *, begins_s: float, by_s: float, local: float) -> float:
        """Return what the best point that sends likely earns beyond `local`; 0 or more."""
        gains = [0.0]
        for point in self._terms.points:
            more = self._manifest.quality(point) - local
            if point.kind is not PointKind.LOCAL and more > 0:
                gains.append(more * self._chance(point, outlook, begins_s=begins_s, by_s=by_s))
        return max(gains)

    def _chance(
        self, point: OperatingPoint, outlook: Outlook, *, begins_s: float, by_s: float
    ) -> float:
        return outlook.on_time(
            self._costs.sizes_bytes(point)[1] + MESSAGE_OVERHEAD_BYTES,
            by_s=by_s - self._costs.edge_s(point.id),
            leaving_s=begins_s + self._costs.device_s(point.id),
        )
