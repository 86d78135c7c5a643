"""Which operating point the next frame gets: the one with the highest expected credit.

A frame earns the accuracy of what answers it within the SLA, and nothing if nothing does. So a
point that sends is worth

    accuracy * P(on time) + exit accuracy * P(late)

(the second term for split points: the exit's answer is at hand when the edge is late), less what
the frames after it lose while the uplink is busy with it (`whole_worth`). Frames that come while
the device still computes are lost, so all of that counts for the share that it gets round to.
Without an SLA nothing is late; then a point counts for the share of frames that the uplink keeps up
with, by the middling rate, and only the lowest rung may skip frames: nothing smaller can be sent.

The prefixes of a progressive member are one candidate, judged by `series`: how many layers go is
left to the link. A profile that prefers less than the most accuracy judges them one by one.
"""

import math

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.profile import Preference, Profile
from headgate.runtime.choice.backlog import Step
from headgate.runtime.choice.backlogs import FrameTimes
from headgate.runtime.choice.candidates import STICKINESS, Candidate, pick
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.guard import LEAST_S
from headgate.runtime.choice.late_credit import PRIOR_SHARE, LateCredit
from headgate.runtime.choice.own_answers import best_local, exit_quality, has_exit
from headgate.runtime.choice.restraint import Restraint
from headgate.runtime.choice.rungs import Rungs
from headgate.runtime.choice.series import Series, series_among
from headgate.runtime.choice.situation import Choice, Situation
from headgate.runtime.choice.trust import Trust
from headgate.runtime.choice.whole_worth import Queue, Queueing, expected_on_time
from headgate.runtime.link.outlook import Outlook, Sample
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES

UTILISATION = 0.95  # of the uplink; nearer to 1 the queue grows with every hiccup
MISS_GAIN = 0.02
MAX_MISS_PRICE = 2.0
FIRST_PERIOD_S = 1 / 30
MAX_PERIOD_S = 1.0
PROBE_MESSAGES = 3.0  # an upward probe is at least as large as so many of the smallest messages
PROBE_BELOW = 0.98  # a rung less certain than this is worth exploring
# A link that has only shown that it is good leaves so much doubt of any rung (0.04 if steady).
DOUBT = 0.05


class Controller:
    """Chooses points under one profile; learns the pace of captures and the misses."""

    sends_layers = True  # else progressive points are judged one by one, and sent whole

    def __init__(
        self,
        *,
        manifest: Manifest,
        costs: PointCosts,
        profile: Profile,
        points: tuple[OperatingPoint, ...],
        sla_s: float | None,
        source_waits: bool = False,
    ) -> None:
        """`source_waits`: frames come when the device is ready for them, so none are lost."""
        self._manifest, self._costs, self._source_waits = manifest, costs, source_waits
        self._period_s = FIRST_PERIOD_S
        self._captured_s: float | None = None
        self._miss_price = 0.0
        self._restraint = Restraint()
        self._trust = Trust()
        self._quality = {point.id: manifest.quality(point) for point in manifest.points}
        self._exit_quality = {
            point.id: exit_quality(manifest, point)
            for point in manifest.points
            if point.kind is PointKind.SPLIT and has_exit(manifest, point)
        }
        self._late = LateCredit(costs=costs, quality=self._quality, exit_quality=self._exit_quality)
        self.set_profile(profile, points=points, sla_s=sla_s)

    def set_profile(
        self, profile: Profile, *, points: tuple[OperatingPoint, ...], sla_s: float | None
    ) -> None:
        """Obey another profile from the next choice on; what was learnt stays."""
        self._profile, self._sla_s = profile, sla_s
        self._local = tuple(p for p in points if p.kind is PointKind.LOCAL)
        sending = [p for p in points if p.kind is not PointKind.LOCAL]
        self._least_bytes = min((p.bytes.mean for p in sending), default=0.0)
        accurate = profile.prefer is Preference.ACCURACY
        together = self.sends_layers and sla_s is not None and accurate
        self._series = series_among(self._manifest, sending) if together else ()
        self._late.set_profile(local=self._local, sla_s=sla_s, in_layers=bool(self._series))
        whole = [p for p in sending if not together or p.prefix is None]
        self._rungs = Rungs(whole, merits=self._merits)
        self._queueing = Queueing([(p.bytes.mean, self._quality[p.id]) for p in self._rungs.points])
        self._alone: dict[str, Series] = {}  # up to a point that was chosen by itself
        self._last: OperatingPoint | None = None
        self._fallback = 0.0  # what answering here was worth at the last choice
        self._guard_s = LEAST_S  # of it
        self._could_gain = bool(self._rungs or self._series)

    @property
    def ladder(self) -> tuple[OperatingPoint, ...]:
        """The points that send and that nothing beats in every respect, by rising bytes."""
        return self._rungs.points

    @property
    def could_gain(self) -> bool:
        """Whether, at the last choice, some point that sends was worth more than answering here."""
        return self._could_gain

    @property
    def period_s(self) -> float:
        """How far apart frames come, in seconds; infinite where the source waits for the device."""
        return math.inf if self._source_waits else self._period_s

    def upward_probe_bytes(self, outlook: Outlook) -> int:
        """Return what a probe should carry to find out about rungs above; 0 if it need not.

        Frames so small that the link's noise hides their service never show how fast it is. The
        probe is as large as the largest frame that may be sent next, if the link carries that soon,
        but clear of the noise, and several times the smallest: what is hardly larger than what
        showed the path's delay teaches no rate.
        """
        if self._profile.prefer is not Preference.ACCURACY or not self._rungs.has_above:
            return 0
        least_bytes = PROBE_MESSAGES * (self._least_bytes + MESSAGE_OVERHEAD_BYTES)
        least_bytes = max(least_bytes, min(outlook.clear_bytes(), self.ladder[-1].bytes.mean))
        rung_bytes = max(self._reachable(outlook)[-1].bytes.mean, least_bytes)
        by_s = outlook.now_s + (self._sla_s or 1.0)
        if outlook.on_time(rung_bytes, by_s=by_s) >= PROBE_BELOW:
            return 0
        return round(max(outlook.probe_bytes(rung_bytes), least_bytes))

    def captured(self, *, captured_s: float) -> None:
        """Learn the pace at which frames come."""
        if self._captured_s is not None:
            period_s = min(MAX_PERIOD_S, max(0.0, captured_s - self._captured_s))
            self._period_s += 0.1 * (period_s - self._period_s)
        self._captured_s = captured_s

    def observe(self, sample: Sample) -> None:
        """Take note of an answered message; the outlook says all that is needed of it."""

    def finished(
        self,
        point: OperatingPoint | None,
        *,
        missed: bool,
        on_time: float | None,
        trusted: float = 1.0,
        by_edge: bool | None,
    ) -> None:
        """Learn whether a frame missed the SLA, and what chance it had, `trusted` so far.

        `by_edge` says whether the edge answered it in time; None if the edge was not to: it was
        for a local point, or the early exit was sure enough. The price of a miss rises with every
        miss and falls without, so that in the long run the share of misses comes down to the
        profile's `miss_rate` where the points allow it.
        """
        price = self._miss_price + MISS_GAIN * (missed - self._profile.miss_rate)
        self._miss_price = min(MAX_MISS_PRICE, max(0.0, price))
        if point is None or by_edge is None or on_time is None:
            self._trust.unsent()
        else:
            self._trust.learn(point, on_time=min(1.0, on_time / trusted), by_edge=by_edge)
            self._restraint.learn(on_time=on_time, by_edge=by_edge)

    def let_down(self, point: OperatingPoint, *, rescued: bool) -> None:
        """Learn whether a frame that the edge did not answer in time was answered here instead."""
        self._late.let_down(point, rescued=rescued)

    def fallback(self, *, left_s: float | None) -> OperatingPoint | None:
        """Return the best local point that takes no longer than that (None: any), or None."""
        return best_local(self._local, self._quality, self._costs, left_s=left_s)

    def choose(self, situation: Situation) -> Choice:
        """Return the point for a frame whose compute starts now."""
        if situation.stalled:
            self._rungs.begin_anew()
        local = [self._judge_local(point, situation) for point in self._local]
        if situation.outlook is not None and (self._rungs or self._series):
            local = [each for each in local if each.on_time]  # late, it only keeps the device busy
        unanswered = 0.0 if self._sla_s is None else -self._miss_price
        fallback = max((candidate.credit for candidate in local), default=unanswered)
        self._fallback, self._guard_s = fallback, situation.guard_s
        reached = [self._quality[point.id] for point in self.ladder]
        reached += [series.quality for series in self._series]
        self._could_gain = max(reached, default=-math.inf) > fallback
        sending: list[Candidate] = []
        outlook = situation.outlook
        if outlook is not None and not (situation.stalled and local):
            sending = self._judge_sending(situation, outlook, fallback=fallback)
            behind = outlook.behind(situation.first_bytes)
            for series in self._series:
                judged = self._judge_series(series, situation, behind, fallback=fallback)
                # Without a layer it is the exit's answer, which on a busy device may be the better.
                begins = judged.layers is not None and judged.layers.num_steps > 0
                if begins or not local or judged.credit > fallback:
                    sending.append(judged)
        chosen = pick(sending, local, profile=self._profile, quality=self._quality, last=self._last)
        if chosen is None or (not local and self._holds_back(chosen, outlook, fallback)):
            return Choice(None, situation.estimate(None))
        self._last = chosen.point
        if chosen.point.kind is not PointKind.LOCAL:
            self._rungs.sent(self._likely(chosen))
        layers = chosen.layers
        by_layer = self.sends_layers and self._sla_s is not None and chosen.point.prefix is not None
        if layers is None and by_layer and outlook is not None:
            alone = self._alone.get(chosen.point.id)
            if alone is None:
                alone = self._alone[chosen.point.id] = Series(self._manifest, chosen.point)
            layers = self._judge_series(alone, situation, outlook, fallback=fallback).layers
        estimate, trusted = situation.estimate(chosen.on_time), self._trusted(chosen.point)
        return Choice(chosen.point, estimate, layers, trusted)

    def _likely(self, chosen: Candidate) -> OperatingPoint:
        """Return the point that a frame likely ends as: of layers, those that look worth it."""
        if chosen.layers is None:
            return chosen.point
        series = next(series for series in self._series if series.top is chosen.point)
        return series.likely(chosen.layers.num_steps)

    def _holds_back(self, chosen: Candidate, outlook: Outlook | None, fallback: float) -> bool:
        """Return whether the next frames need the uplink more; layers are left out by their sender.

        A frame is in nobody's way on an uplink that is free, or where the source waits for its end.
        """
        if self._source_waits or outlook is None or not outlook.ahead_bytes or chosen.layers:
            return False
        late = max(fallback, self._exit_quality.get(chosen.point.id, fallback))
        gain, at_stake = chosen.credit - fallback, self._quality[chosen.point.id] - late
        return self._restraint.holds_back(on_time=chosen.on_time, gain=gain, at_stake=at_stake)

    def _reachable(self, outlook: Outlook) -> tuple[OperatingPoint, ...]:
        """Return the rungs that the next frame may be sent at."""
        here = max(0.0, self._fallback)  # below 0: late, and misses have a price
        delay_s = outlook.delay_s
        return self._rungs.reachable(
            here=here, promise=lambda point: self._promise(point, here, delay_s=delay_s)
        )

    def _promise(self, point: OperatingPoint, here: float, *, delay_s: float) -> float:
        """Return what a point earns on a link that carries it at once, and has that delay.

        `here` is what answering here earns.
        """
        device_s, edge_s = self._costs.device_s(point.id), self._costs.edge_s(point.id)
        quality = self._quality[point.id]
        guard_s = self._guard_s if point.id in self._exit_quality else 0.0
        if self._sla_s is not None and device_s + edge_s + delay_s >= self._sla_s - guard_s:
            quality = self._exit_quality.get(point.id, 0.0) if device_s < self._sla_s else 0.0
        late = self._exit_quality.get(point.id, PRIOR_SHARE * here)
        return self._kept_up(device_s) * ((1 - DOUBT) * quality + DOUBT * min(late, quality))

    def _judge_local(self, point: OperatingPoint, situation: Situation) -> Candidate:
        device_s = self._costs.device_s(point.id)
        latency_s = situation.now_s + device_s - situation.captured_s
        on_time = 1.0 if self._sla_s is None or latency_s <= self._sla_s else 0.0
        credit = self._kept_up(device_s) * on_time * self._quality[point.id]
        return Candidate(point, credit - self._miss_price * (1 - on_time), on_time, latency_s)

    def _judge_sending(
        self, situation: Situation, outlook: Outlook, *, fallback: float
    ) -> list[Candidate]:
        """Judge the reachable rungs from the top, but for those that cannot win any more."""
        judged: list[Candidate] = []
        best, queue = -math.inf, None
        if self._rungs and self._sla_s is not None and not self._series:
            times = self._times(self._rungs.last, situation)
            queue = self._queueing.at(outlook, times, fallback=fallback)
        sticky_matters = self._profile.prefer is Preference.ACCURACY
        for point in reversed(self._reachable(outlook)):
            if sticky_matters and self._quality[point.id] + STICKINESS < best:
                continue  # a rung below may do: a picture asks for more bytes, and less compute
            judged.append(self._judge(point, situation, outlook, queue, fallback=fallback))
            best = max(best, judged[-1].credit)
        return judged

    def _judge(
        self,
        point: OperatingPoint,
        situation: Situation,
        outlook: Outlook,
        queue: Queue | None,
        *,
        fallback: float,
    ) -> Candidate:
        if self._series:
            # What waits for room is on the link before a point that goes whole: it cannot be begun
            # with less. A series can: of the frames before it only the first layers go before its.
            behind = outlook.behind(situation.planned_bytes)
            return self._judge_series(
                self._series[0], situation, behind, fallback=fallback, instead=point
            )
        device_s, quality = self._costs.device_s(point.id), self._quality[point.id]
        times, sizes = self._times(point, situation), self._costs.sizes_bytes(point)
        kept_up, hope = self._kept_up(device_s), 0.0
        service_s = 8 * (sizes[1] + MESSAGE_OVERHEAD_BYTES) / outlook.rate_bps
        if self._sla_s is None:
            on_time = 1.0
            sent_share = min(1.0, UTILISATION * self._period_s / service_s)
            credit = sent_share * quality
            if point is self.ladder[0]:
                credit += (1 - sent_share) * fallback
        else:
            by_s = times.deadline_s - times.edge_s
            if point.id not in self._exit_quality:
                by_s += situation.guard_s
            on_time = expected_on_time(outlook, sizes, by_s=by_s, leaving_s=times.leaving_s)
            on_time *= self._trusted(point)
            late_credit = self._late_credit(point, situation, fallback)
            credit = on_time * quality + (1 - on_time) * late_credit
            hope = kept_up * self._hope(point, quality, on_time, late_credit=late_credit)
            assert queue is not None
            credit += queue.cost(sizes[1], leaving_s=times.leaving_s)
        latency_s = times.leaving_s - times.captured_s + service_s + outlook.delay_s + times.edge_s
        return Candidate(point, kept_up * credit, on_time, latency_s, hope=hope)

    def _times(
        self, point: OperatingPoint, situation: Situation, *, insured: bool = True
    ) -> FrameTimes:
        """Return what is known of a frame's times at this point."""
        guard_s = situation.guard_s if insured else LEAST_S  # nothing is handed out before the end
        device_s = self._costs.device_s(point.id)
        return FrameTimes(
            captured_s=situation.captured_s,
            leaving_s=situation.now_s + device_s,
            deadline_s=situation.captured_s + (self._sla_s or math.inf) - guard_s,
            edge_s=self._costs.edge_s(point.id),
            period_s=max(self._period_s, device_s),  # those that come while it computes are lost
        )

    def _judge_series(
        self,
        series: Series,
        situation: Situation,
        outlook: Outlook,
        *,
        fallback: float,
        instead: OperatingPoint | None = None,
    ) -> Candidate:
        """Judge a series, or a point that goes whole as it is: the two credits must compare."""
        point = series.top if instead is None else instead
        insured = point.id in self._exit_quality or (instead is None and bool(self._local))
        times = self._times(point, situation, insured=insured)
        late_credit = self._late_credit(point, situation, fallback)
        whole = None
        if instead is not None:
            num_bytes = self._costs.sizes_bytes(point)[1] + MESSAGE_OVERHEAD_BYTES
            whole = Step(num_bytes, self._quality[point.id])
        terms = {"quality": late_credit, "fallback": fallback}
        plan, layers = series.judge(outlook, times, instead=whole, **terms)
        if whole is None:
            num_bytes = series.bytes_of(max(1, plan.num_steps))
        service_s = 8 * num_bytes / outlook.rate_bps
        latency_s = times.leaving_s - times.captured_s + service_s + outlook.delay_s + times.edge_s
        kept_up, share = self._kept_up(self._costs.device_s(point.id)), self._trusted(point)
        credit = kept_up * (late_credit + min(plan.credit, plan.credit * share))
        likely = series.likely(plan.num_steps) if instead is None else point
        quality = self._quality[likely.id]
        hope = kept_up * self._hope(point, quality, plan.on_time * share, late_credit=late_credit)
        carried = layers if instead is None else None
        return Candidate(point, credit, plan.on_time * share, latency_s, carried, hope=hope)

    def _trusted(self, point: OperatingPoint) -> float:
        """Return how far chances of a point are believed; of layers, of which fewer may do, all."""
        layered = self._series and point.prefix is not None
        return 1.0 if layered else self._trust.share(point)

    def _hope(
        self, point: OperatingPoint, quality: float, on_time: float, *, late_credit: float
    ) -> float:
        """Return what a doubtful chance is worth beyond its credit, where no answer insures it."""
        more = self._trust.benefit(point, on_time) - on_time
        return 0.0 if late_credit > 0 else quality * more

    def _late_credit(self, point: OperatingPoint, situation: Situation, fallback: float) -> float:
        return self._late.of(
            point,
            period_s=self._period_s,
            fallback=fallback,
            rescues=situation.rescues,
            miss_price=self._miss_price,
        )

    def _kept_up(self, device_s: float) -> float:
        """Return the share of captured frames that a device this busy gets round to."""
        if self._source_waits or device_s <= self._period_s:
            return 1.0
        return self._period_s / device_s

    def _merits(self, point: OperatingPoint) -> tuple[float, ...]:
        """Return what a point has to offer, higher is better; times to the millisecond."""
        return (
            -point.bytes.mean,
            self._quality[point.id],
            self._exit_quality.get(point.id, -math.inf),
            -round(self._costs.device_s(point.id), 3),
            -round(self._costs.edge_s(point.id), 3),
        )
