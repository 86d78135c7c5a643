"""The prefixes of one progressive member, judged together: the link decides which of them it is.

To the controller they are one candidate. It is worth what its layers earn that come in time, at
each rate that the link may have, less what sending them costs the next frames (`layer_worth`).
Layers that have not been sent can still be left out, so what is planned beyond the first is no bet.
"""

from collections.abc import Collection, Iterable

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.progressive import prefixes_of
from headgate.runtime.choice.backlog import Step
from headgate.runtime.choice.backlogs import Backlogs, FrameTimes
from headgate.runtime.choice.layer_worth import (
    LayerPlan,
    Plan,
    plan_steps,
    rates_of,
    through_by_s,
)
from headgate.runtime.choice.pareto import worth_their_cost
from headgate.runtime.link.outlook import Outlook
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES


class Series:
    """The points that are prefixes of `top`, the largest one allowed."""

    def __init__(
        self, manifest: Manifest, top: OperatingPoint, whole: Iterable[OperatingPoint] = ()
    ) -> None:
        """`whole` are the points that frames to come may be sent at instead."""
        self.top = top
        self._points = points = prefixes_of(top, manifest.points)
        self._qualities = tuple(manifest.quality(point) for point in points)
        self._steps = tuple(
            Step(point.bytes.mean + MESSAGE_OVERHEAD_BYTES, quality)
            for point, quality in zip(points, self._qualities, strict=True)
        )
        pictures = [
            Step(point.bytes.mean + MESSAGE_OVERHEAD_BYTES, manifest.quality(point))
            for point in whole
        ]
        steps = worth_their_cost(
            [*self._steps, *pictures],
            cost=lambda step: step.num_bytes,
            worth=lambda step: step.quality,
        )
        self._backlogs = Backlogs(tuple(steps))

    @property
    def quality(self) -> float:
        """What all layers together are worth."""
        return self._qualities[-1]

    def likely(self, num_layers: int) -> OperatingPoint:
        """Return the prefix of so many layers; the first, where none was worth it yet."""
        return self._points[max(1, num_layers) - 1]

    def bytes_of(self, num_layers: int) -> float:
        """Return the mean bytes of so many layers, headers included."""
        return self._steps[num_layers - 1].num_bytes

    def judge(
        self,
        outlook: Outlook,
        times: FrameTimes,
        *,
        quality: float,
        fallback: float,
        instead: Step | None = None,
    ) -> tuple[Plan, LayerPlan]:
        """Return what sending is worth, and how to send.

        `quality` is what the frame earns without the edge; `fallback` what one earns that is not
        sent at all. `instead`: judge on the same terms a point that goes whole.
        """
        backlog = self._backlogs.at(outlook, times, fallback=fallback)
        plan = plan_steps(
            self._steps if instead is None else (instead,),
            rates_of(outlook),
            quality=quality,
            leaving_s=times.leaving_s,
            by_s=through_by_s(outlook, deadline_s=times.deadline_s, edge_s=times.edge_s),
            next_s=times.captured_s + times.period_s,
            backlog=backlog,
            recallable=instead is None,
        )
        layers = LayerPlan(self._qualities, quality, times.period_s, backlog, plan.num_steps)
        return plan, layers


def series_among(manifest: Manifest, points: Collection[OperatingPoint]) -> tuple[Series, ...]:
    """Return the series of the progressive points among these, each up to its largest."""
    whole = [
        point for point in points if point.prefix is None and point.kind is not PointKind.LOCAL
    ]
    tops: dict[tuple[object, ...], OperatingPoint] = {}
    for point in points:
        if point.prefix is None:
            continue
        known = tops.get(point.series)
        if known is None or (known.prefix or 0) < point.prefix:
            tops[point.series] = point
    return tuple(Series(manifest, top, whole) for top in tops.values())
