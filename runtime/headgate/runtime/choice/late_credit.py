"""What a frame earns that the edge does not answer in time: its exit's answer, or a local point's.

A picture has no exit. A local point answers in its place if the device sees in time that the edge
will not, and is not busy with something else then (see `rescue`). How often that comes off cannot
be foreseen from compute times: it hangs on how much a late answer announces itself, and on what
else the device has to do. So the share is counted, by Bayes' rule over the frames that were let
down: a Beta prior that is worth PRIOR_WEIGHT frames, and evidence that is forgotten as newer comes,
since a device may get hot, and a link that stalls is another than one that jitters.

A split frame has its exit's answer. Where a local point is better it is computed in a case of
doubt; how often that is in time is counted in the same way, and taken for granted at first.

    share  =  (PRIOR_WEIGHT * PRIOR_SHARE + rescued) / (PRIOR_WEIGHT + let down)
"""

from collections.abc import Mapping

from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.own_answers import best_local

PRIOR_SHARE, PRIOR_WEIGHT = 0.9, 10.0
MEMORY = 50.0  # frames let down: each counts 1 / MEMORY less with every newer one


class RescuedShare:
    """The share of frames let down by the edge that a local point answers in time."""

    def __init__(self, *, prior: float = PRIOR_SHARE) -> None:
        self._prior = prior
        self._num_rescued = self._num_let_down = 0.0

    @property
    def share(self) -> float:
        """The expected share, above 0 and below 1."""
        rescued = PRIOR_WEIGHT * self._prior + self._num_rescued
        return rescued / (PRIOR_WEIGHT + self._num_let_down)

    def learn(self, *, rescued: bool) -> None:
        """Count one frame."""
        kept = 1 - 1 / MEMORY
        self._num_rescued = kept * self._num_rescued + rescued
        self._num_let_down = kept * self._num_let_down + 1


class LateCredit:
    """Judges late frames under one profile; what was learnt outlives it."""

    def __init__(
        self,
        *,
        costs: PointCosts,
        quality: Mapping[str, float],
        exit_quality: Mapping[str, float],
    ) -> None:
        """Both qualities are by point id; the exits' only of points that have one."""
        self._costs, self._quality, self._exit_quality = costs, quality, exit_quality
        self._rescued = RescuedShare()
        self._bettered = RescuedShare(prior=1.0)  # of frames that have a worse answer, an exit's
        self._local: tuple[OperatingPoint, ...] = ()
        self._sla_s: float | None = None
        self._in_layers = False

    def set_profile(
        self, *, local: tuple[OperatingPoint, ...], sla_s: float | None, in_layers: bool = False
    ) -> None:
        """Obey another profile: its local points, its SLA, and whether frames go in layers.

        Of those few are let down, and they tell nothing of the others: bettering is taken for
        granted there.
        """
        self._local, self._sla_s, self._in_layers = local, sla_s, in_layers

    def let_down(self, point: OperatingPoint, *, rescued: bool) -> None:
        """Learn from a frame at this point; nothing where no rescue was to be expected."""
        local, exit_quality = self._stand_in(point), self._exit_quality.get(point.id)
        if local is None:
            return
        if exit_quality is None:
            self._rescued.learn(rescued=rescued)
        elif self._quality[local.id] > exit_quality:
            self._bettered.learn(rescued=rescued)

    def of(
        self,
        point: OperatingPoint,
        *,
        period_s: float,
        fallback: float,
        rescues: bool,
        miss_price: float,
    ) -> float:
        """Return what a late frame at this point earns; a miss costs its price.

        `fallback` is what a frame earns that is answered here from the start, `period_s` how far
        apart frames come. `rescues`: there are any.
        """
        exit_quality = self._exit_quality.get(point.id)
        if exit_quality is None:
            return self._rescued_credit(point, miss_price) if rescues else -miss_price
        if self._sla_s is None:
            return exit_quality
        local = self._best_local(min(period_s, self._sla_s / 2) - self._costs.device_s(point.id))
        if local is None or self._quality[local.id] > fallback:
            return exit_quality
        gain = max(0.0, self._quality[local.id] - exit_quality)
        return exit_quality + (1.0 if self._in_layers else self._bettered.share) * gain

    def _rescued_credit(self, point: OperatingPoint, miss_price: float) -> float:
        local = self._stand_in(point)
        if local is None:
            return -miss_price
        share = self._rescued.share
        return share * self._quality[local.id] - (1 - share) * miss_price

    def _stand_in(self, point: OperatingPoint) -> OperatingPoint | None:
        """Return the local point that may answer in a late picture's place, or None.

        One that takes most of the SLA would have to begin before anything is known of the answer.
        """
        left_s = None if self._sla_s is None else self._sla_s / 2 - self._costs.device_s(point.id)
        return self._best_local(left_s)

    def _best_local(self, left_s: float | None) -> OperatingPoint | None:
        return best_local(self._local, self._quality, self._costs, left_s=left_s)
