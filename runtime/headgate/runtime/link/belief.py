"""What is believed of a link's rate: a level that follows the samples, and how far these strayed.

A sample is a service: so many bits in so much time. Levels of several paces follow the samples, and
the one that lately foretold them best is believed (`level`, `paces`). The forecast is a
distribution: that level plus its recent residuals, each of a sample against the level that was
known when its message was sent. Service within the noise says only that the link is at least so
fast: it may raise a level and never lowers it. Service that is little longer says little of a
slower link: the message may have waited for those of another device. Without that a device that
sends next to nothing takes every wait for a slow link, and leaves the link to the others for good.

An estimate without news is widened: the link may have changed. While bounds come in it is only
widened upwards, as they show that it has not become much slower.

There are two forecasts. How much the link carries is foretold without a floor. When a message will
be through, and how long it holds up the link, is foretold by the floor that is believed (`floors`,
`paces`). Paces with a floor follow the time of every message that waited for no other of ours, that
within the noise too: on a link of turns the noise is the wait for them, which they are to tell.

A filter over a grid of rates, which does all this by Bayes' rule, was tried: see docs/log.md.
"""

import math

from headgate.runtime.link.floors import Floors
from headgate.runtime.link.forecast import Forecast, Waiting
from headgate.runtime.link.paces import Paces

FLOORS_BYTES = (0, 1500, 6000, 24_000)
MIN_TIME_S = 0.0005  # of a message: clocks and loops tell no less
ALONE_SHARE, ALONE_GAIN = 0.2, 0.05  # of services: where fewer wait for no other, none has a floor
RISE = 0.5  # nats above what was foreseen, by what came together with another message
STALE_S = 0.5  # older estimates are widened
MAX_WIDENING = 4.0


class RateBelief:
    """Learns from services in the order of their ends."""

    def __init__(self) -> None:
        self._all = tuple(Paces(floor_bytes) for floor_bytes in FLOORS_BYTES)
        self._plain, *self._floored = self._all
        self._floors = Floors(FLOORS_BYTES)
        self._alone_s: float | None = None  # when a message last came that waited for no other
        self._alone_share = 1.0
        self._sampled_s: float | None = None
        self._bounded_s = -math.inf  # when the last bound came, above the level or below
        self._has_bound = False  # the level is one, if it was never measured

    @property
    def level(self) -> float:
        """The log rate that the samples lie around, lately."""
        return self._plain.best.value

    @property
    def levels(self) -> tuple[tuple[float, ...], ...]:
        """What each pace foresees now; to be handed to `observe` with what is sent now."""
        return tuple([paces.values for paces in self._all])

    @property
    def measured(self) -> bool:
        """Whether the level is more than a guess: that of a sample, or that of a bound."""
        return self._sampled_s is not None or self._has_bound

    def observe(
        self,
        *,
        num_bits: float,
        service_s: float,
        foreseen: tuple[tuple[float, ...], ...],
        noise_s: float,
        behind: bool = False,
        now_s: float,
    ) -> None:
        """Learn from one service; `foreseen` are the `levels` when its message was sent.

        Service shorter than `noise_s` may as well have been shorter still: only a bound. `behind`:
        it began when another message of ours had been served. A bound of such raises a level by
        `RISE` at most: what comes together with the message before may have waited for that, behind
        a lost packet (TCP hands over in order), or for an edge that was busy.
        """
        if behind:
            self._alone_share -= ALONE_GAIN * self._alone_share
        if service_s < noise_s:
            self._bounded(
                num_bits, noise_s, foreseen, most=RISE if behind else math.inf, now_s=now_s
            )
            return
        sampled_s, self._sampled_s = self._sampled_s, now_s
        log_rate, hidden = math.log(num_bits / service_s), noise_s / service_s
        if sampled_s is None:
            self._plain.begin(log_rate)
            return
        since_s = now_s - sampled_s
        for paces, values in zip(self._all if behind else self._all[:1], foreseen, strict=False):
            paces.follow(log_rate, foreseen=values, since_s=since_s, hidden=hidden)

    def alone(
        self,
        *,
        num_bytes: int,
        time_s: float,
        foreseen: tuple[tuple[float, ...], ...],
        now_s: float,
    ) -> None:
        """Learn how long the uplink had a message that waited for no other of ours.

        What is a turn's wait and what service is not told apart, which is what a floor is for.
        """
        self._alone_share += ALONE_GAIN * (1 - self._alone_share)
        time_s = max(MIN_TIME_S, time_s)
        self._floors.learn(num_bytes, time_s)
        alone_s, self._alone_s = self._alone_s, now_s
        for paces, values in zip(self._floored, foreseen[1:], strict=True):
            log_rate = math.log(paces.counted_bits(8.0 * num_bytes) / time_s)
            if alone_s is None:
                paces.begin(log_rate)
            else:
                paces.follow(log_rate, foreseen=values, since_s=now_s - alone_s, hidden=0.0)

    def bounded(
        self,
        *,
        num_bits: float,
        within_s: float,
        foreseen: tuple[tuple[float, ...], ...],
        now_s: float,
    ) -> None:
        """Learn that so many bits took no longer than `within_s`, and maybe much less.

        A bound above what was foreseen raises a level. One below it is no news: taken for a sample
        it would draw the forecast down to what the noise hides, for as long as messages are small.
        Either shows that the link has not become much slower: only upwards do doubts grow on. No
        floor counts: a message may have come just when its turn was.
        """
        self._bounded(num_bits, within_s, foreseen, most=math.inf, now_s=now_s)

    def _bounded(
        self,
        num_bits: float,
        within_s: float,
        foreseen: tuple[tuple[float, ...], ...],
        *,
        most: float,
        now_s: float,
    ) -> None:
        self._bounded_s = now_s
        at_least = math.log(num_bits / within_s)
        self._has_bound = self._has_bound or at_least >= self._plain.best.value
        self._plain.rise_to(at_least, foreseen=foreseen[0], most=most)

    def forecast(self, *, now_s: float, waiting: Waiting | None = None) -> Forecast:
        """Return how fast the link will be from `now_s` on, given what is waited for."""
        return self._foretell(self._plain, now_s=now_s, waiting=waiting)

    def timing(self, *, now_s: float, waiting: Waiting | None = None) -> Forecast | None:
        """Return by what to foretell when a message is through; None: by `forecast` as well.

        It is a forecast with the floor that is believed, if one is, and messages still show it.
        """
        timed = self._all[self._floors.best]
        if timed is self._plain or self._alone_share < ALONE_SHARE:
            return None
        return self._foretell(timed, now_s=now_s, waiting=waiting)

    def _foretell(self, paces: Paces, *, now_s: float, waiting: Waiting | None) -> Forecast:
        age_s = 0.0 if self._sampled_s is None else now_s - self._sampled_s
        level = paces.best
        bound = math.inf
        if waiting is not None and waiting.waited_s > 0:
            counted_bits = paces.counted_bits(waiting.num_bits)
            bound = math.log(counted_bits / waiting.waited_s)
        return Forecast(
            level.value,
            level.residuals,
            widening=_widening(age_s),
            widening_down=_widening(min(age_s, now_s - self._bounded_s)),
            bound=bound,
            floor_bytes=paces.floor_bytes,
        )


def _widening(age_s: float) -> float:
    return 1.0 if age_s <= STALE_S else min(MAX_WIDENING, math.sqrt(age_s / STALE_S))
