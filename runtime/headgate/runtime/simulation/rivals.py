"""Rules that users would write instead of our controller, for benchmarks.

They sit in the same session, hear of the same answers and send over the same link; only the rule
differs. Each predicts one time per size from its own estimate of the rate, and takes the most
accurate point that it expects within the SLA, a local one where none is. What the session does for
every policy (probes while local, local during a stall) they have as well.

| rule | estimate of the rate |
| --- | --- |
| naive | moving average of size / latency |
| corrected | moving average of size / (latency - fixed delay) |
| half | half of that |
| RobustMPC (Yin et al., SIGCOMM 2015) | harmonic mean of 5 samples, less the largest recent error |
| perfect | the link's true mean over the last 100 ms, and its true queue |
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.profile import Profile
from headgate.runtime.choice.controller import FIRST_PERIOD_S, Controller
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.own_answers import best_local
from headgate.runtime.choice.policy import PolicyMaker
from headgate.runtime.choice.situation import Choice, Situation
from headgate.runtime.link.one_way import SMALL_BYTES
from headgate.runtime.link.outlook import Outlook, Sample
from headgate.runtime.records import Estimate
from headgate.runtime.simulation.simulated_link import Uplink
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES

GAIN = 0.2  # of the moving averages
FIRST_RATE_BPS = 1e6  # before anything was measured
MIN_SERVICE_S = 0.0005  # a shorter one is jitter: it would show an endless rate
MPC_SAMPLES = 5  # in the harmonic mean, and errors looked back on
MPC_HORIZON = 5  # frames
SENSED_S = 0.1  # what perfect sensing averages the true rate over


class Rival(ABC):
    """What the rules share: local points, the ladder, and the pick of what fits."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        costs: PointCosts,
        profile: Profile,
        points: tuple[OperatingPoint, ...],
        sla_s: float | None,
        source_waits: bool,
    ) -> None:
        self._costs = costs
        self._quality = {point.id: manifest.quality(point) for point in manifest.points}
        self._period_s = FIRST_PERIOD_S
        self._source_waits = source_waits
        self._captured_s: float | None = None
        self.set_profile(profile, points=points, sla_s=sla_s)

    def set_profile(
        self, profile: Profile, *, points: tuple[OperatingPoint, ...], sla_s: float | None
    ) -> None:
        """Choose among these points from now on; the profile's preferences are not looked at."""
        self._sla_s = 1.0 if sla_s is None else sla_s
        self._local = tuple(point for point in points if point.kind is PointKind.LOCAL)
        sending = [point for point in points if point.kind is not PointKind.LOCAL]
        self._sending = sorted(
            sending, key=lambda point: (-self._quality[point.id], point.bytes.mean)
        )
        self.could_gain = bool(sending)

    @property
    def period_s(self) -> float:
        """How far apart frames come, in seconds; infinite where the source waits for the device."""
        return inf if self._source_waits else self._period_s

    def captured(self, *, captured_s: float) -> None:
        """Learn the pace at which frames come."""
        if self._captured_s is not None:
            self._period_s += 0.1 * (captured_s - self._captured_s - self._period_s)
        self._captured_s = captured_s

    def finished(
        self,
        point: OperatingPoint | None,
        *,
        missed: bool,
        on_time: float | None,
        trusted: float = 1.0,
        by_edge: bool | None,
    ) -> None:
        """Take no note: none of these rules corrects itself by its misses."""
        return

    def let_down(self, point: OperatingPoint, *, rescued: bool) -> None:
        """Take no note: none of them counts on a rescue."""
        return

    def observe(self, sample: Sample) -> None:
        """Take no note, unless the rule estimates something."""
        return

    def fallback(self, *, left_s: float | None) -> OperatingPoint | None:
        """Return the best local point that takes no longer than that (None: any), or None."""
        return best_local(self._local, self._quality, self._costs, left_s=left_s)

    def upward_probe_bytes(self, outlook: Outlook) -> int:
        """Return 0: rivals do not probe upward."""
        return 0

    def choose(self, situation: Situation) -> Choice:
        """Return the most accurate point that this rule expects within the SLA."""
        left_s = situation.captured_s + self._sla_s - situation.now_s
        local = self.fallback(left_s=left_s) or self.fallback(left_s=None)
        outlook = situation.outlook
        if outlook is None or (situation.stalled and local is not None):
            return Choice(local, Estimate())
        point = self._best_sending(situation, outlook, left_s=left_s)
        if point is None or (local and self._quality[point.id] <= self._quality[local.id]):
            point = local or (self._sending[-1] if self._sending else None)
        return Choice(point, Estimate(delay_s=outlook.delay_s))

    def _best_sending(
        self, situation: Situation, outlook: Outlook, *, left_s: float
    ) -> OperatingPoint | None:
        for point in self._sending:
            leaves_s = situation.now_s + self._costs.device_s(point.id)
            answer_s = self._answer_s(self._size(point), outlook, leaves_s=leaves_s)
            if answer_s + self._costs.edge_s(point.id) <= situation.now_s + left_s:
                return point
        return None

    def _size(self, point: OperatingPoint) -> float:
        return self._costs.sizes_bytes(point)[1] + MESSAGE_OVERHEAD_BYTES

    @abstractmethod
    def _answer_s(self, num_bytes: float, outlook: Outlook, *, leaves_s: float) -> float:
        """Return when the answer to so many bytes would be back, less the edge's residence."""


class Naive(Rival):
    """Divides size by latency, as so many do."""

    _rate_bps = FIRST_RATE_BPS

    def observe(self, sample: Sample) -> None:
        """Average size over latency; messages too small to mean anything do not count."""
        if sample.num_bytes > SMALL_BYTES:
            latency_s = max(MIN_SERVICE_S, sample.answered_s - sample.sent_s)
            self._rate_bps += GAIN * (8 * sample.num_bytes / latency_s - self._rate_bps)

    def _answer_s(self, num_bytes: float, outlook: Outlook, *, leaves_s: float) -> float:
        return leaves_s + 8 * num_bytes / self._rate_bps


class Corrected(Rival):
    """Takes the delay off the latency before it divides; adds delay and queue when it predicts."""

    _share = 1.0  # of the estimate that it counts on
    _average_bps = FIRST_RATE_BPS

    def observe(self, sample: Sample) -> None:
        """Turn one answer into a sample of the rate.

        The wait behind earlier messages stays in it. That is cautious where a queue builds up, and
        scores better than without it.
        """
        trip_s = sample.answered_s - sample.sent_s - sample.residence_s
        if sample.num_bytes > SMALL_BYTES:
            self._learn(8 * sample.num_bytes / max(MIN_SERVICE_S, trip_s - sample.delay_s))

    def _learn(self, rate_bps: float) -> None:
        self._average_bps += GAIN * (rate_bps - self._average_bps)

    def _rate_bps(self) -> float:
        return self._share * self._average_bps

    def _answer_s(self, num_bytes: float, outlook: Outlook, *, leaves_s: float) -> float:
        rate_bps = self._rate_bps()
        drained_s = outlook.busy_since_s + 8 * outlook.ahead_bytes / rate_bps
        return max(leaves_s, drained_s) + 8 * num_bytes / rate_bps + outlook.delay_s


class Half(Corrected):
    """Counts on half of what it estimates."""

    _share = 0.5


@dataclass(frozen=True, slots=True)
class _Cost:
    """One point in a plan; times are counted from a frame's choice."""

    point: OperatingPoint
    quality: float
    device_s: float
    service_s: float
    by_s: float  # when its last byte must be through


class RobustMpc(Corrected):
    """Plans a few frames ahead at a rate that is discounted by the recent errors.

    A plan is a first point and then one point for the rest of the horizon. The original plans
    over a playback buffer; here the queue on the link takes its place.
    """

    _samples_bps: tuple[float, ...] = ()  # the last few
    _errors: tuple[float, ...] = ()  # of what was predicted before each, as shares of it

    def _learn(self, rate_bps: float) -> None:
        if self._samples_bps:
            error = abs(self._harmonic_bps() - rate_bps) / rate_bps
            self._errors = (*self._errors, error)[-MPC_SAMPLES:]
        self._samples_bps = (*self._samples_bps, rate_bps)[-MPC_SAMPLES:]
        self._average_bps = self._harmonic_bps() / (1 + max(self._errors, default=0.0))

    def _harmonic_bps(self) -> float:
        return len(self._samples_bps) / sum(1 / rate_bps for rate_bps in self._samples_bps)

    def _best_sending(
        self, situation: Situation, outlook: Outlook, *, left_s: float
    ) -> OperatingPoint | None:
        local = self.fallback(left_s=left_s)
        idle = 0.0 if local is None else self._quality[local.id]
        rate_bps = self._rate_bps()
        busy_s = outlook.busy_since_s + 8 * outlook.ahead_bytes / rate_bps - situation.now_s
        costs = [
            _Cost(
                point,
                self._quality[point.id],
                self._costs.device_s(point.id),
                8 * self._size(point) / rate_bps,
                left_s - outlook.delay_s - self._costs.edge_s(point.id),
            )
            for point in self._sending
        ]
        best, best_worth = None, idle + self._rest(costs, busy_s, idle)
        for cost in costs:
            free_s = max(busy_s, cost.device_s) + cost.service_s
            worth = cost.quality * (free_s <= cost.by_s) + self._rest(costs, free_s, idle)
            if worth > best_worth:
                best, best_worth = cost.point, worth
        return best

    def _rest(self, costs: list[_Cost], busy_s: float, idle: float) -> float:
        """Return the worth of the frames after the first, all at the best one point."""
        best = (MPC_HORIZON - 1) * idle
        for cost in costs:
            if (MPC_HORIZON - 1) * cost.quality <= best:
                break  # they come by falling quality
            on_time, free_s = 0, busy_s
            for step in range(1, MPC_HORIZON):
                later_s = step * self._period_s
                free_s = max(free_s, later_s + cost.device_s) + cost.service_s
                on_time += free_s <= later_s + cost.by_s
            best = max(best, on_time * cost.quality)
        return best


def perfect(uplink: Uplink) -> PolicyMaker:
    """Return a rule that sees the link's last 100 ms and its queue, and expects the same rate."""

    class Perfect(Rival):
        def _answer_s(self, num_bytes: float, outlook: Outlook, *, leaves_s: float) -> float:
            trace, now_s = uplink.trace, outlook.now_s
            assert trace is not None
            seen_from_s = max(0.0, now_s - SENSED_S)
            seen_bits = trace.served_bits(now_s) - trace.served_bits(seen_from_s)
            rate_bps = max(1.0, seen_bits / max(1e-3, now_s - seen_from_s))
            left_bits = trace.served_bits(uplink.free_s) - trace.served_bits(now_s)
            free_s = now_s + max(0.0, left_bits) / rate_bps
            return max(leaves_s, free_s) + 8 * num_bytes / rate_bps + uplink.rtt_s

    return Perfect


class Whole(Controller):
    """Our controller for a family whose layers cannot be sent one by one: its prefixes are bets."""

    sends_layers = False


PERFECT = "last 100 ms, perfect sensing"  # senses more than a device can

RIVALS: dict[str, Callable[[Uplink], PolicyMaker]] = {
    "naive EWMA": lambda _: Naive,
    "corrected EWMA": lambda _: Corrected,
    "EWMA x 0.5": lambda _: Half,
    "RobustMPC": lambda _: RobustMpc,
    PERFECT: perfect,
}
