"""What a frame that goes whole is worth: its chance to be on time, and its cost to the next."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from headgate.runtime.backlog import Backlog, Step
from headgate.runtime.backlogs import Backlogs, FrameTimes
from headgate.runtime.layer_worth import Rate, free_at, rates_of
from headgate.runtime.link import Outlook

OVERHEAD_BYTES = 64  # of one message: our header and ZeroMQ's
SIZE_WEIGHTS = (0.25, 0.5, 0.25)  # of the 5, 50 and 95 % quantiles


# Frames to come are sent at the rates that follow, which tend to the middling one: so much of what
# they lose is taken as if the rate were that. By the rates of now alone one bad prospect of seven
# keeps frames small that could be larger; by the middling one alone bad links cost too little.
REVERTS = 0.5
# No longer queue is planned on than this, or than a frame's period: later the rate is another. What
# is on the link cannot be recalled, and with deadlines of half a second it would all be late.
LONGEST_QUEUE_S = 0.07


class Queueing:
    """What the next frames lose while the uplink is busy with one that goes whole.

    One table serves all points: what the next frames will be is not known, only about when they
    can leave.
    """

    def __init__(self, rungs: Iterable[tuple[float, float]]) -> None:
        """`rungs`: bytes and quality of the points that the next frames may be sent at."""
        steps = (Step(num_bytes + OVERHEAD_BYTES, quality) for num_bytes, quality in rungs)
        self._backlogs = Backlogs(tuple(steps))

    def at(self, outlook: Outlook, times: FrameTimes, *, fallback: float) -> "Queue":
        """Return the uplink's queue as frames of about these times find it."""
        longest_s = max(LONGEST_QUEUE_S, times.period_s)
        backlog = self._backlogs.at(outlook, times, fallback=fallback, longest_s=longest_s)
        return Queue(backlog, _rates_to_come(outlook), times.captured_s + times.period_s)


class Queue:
    """The uplink's queue, at each rate that it may have, when the next frame is captured."""

    def __init__(self, backlog: Backlog, rates: Sequence[Rate], next_s: float) -> None:
        self._backlog, self._rates, self._next_s = backlog, rates, next_s
        backlog.prepare(rate.rate_bps for rate in rates)
        self._idle = [self._cost(rate, rate.free_s) for rate in rates]

    def cost(self, num_bytes: float, *, leaving_s: float) -> float:
        """Return what so many bytes that leave then cost the frames to come: 0 or less."""
        cost = 0.0
        for rate, idle in zip(self._rates, self._idle, strict=True):
            starts_s = max(leaving_s, rate.free_s)
            finish_s = starts_s + 8 * (num_bytes + OVERHEAD_BYTES) / rate.rate_bps
            cost += rate.weight * (self._cost(rate, finish_s) - idle)
        return cost

    def _cost(self, rate: Rate, free_s: float) -> float:
        return self._backlog.cost(rate_bps=rate.rate_bps, free_after_s=free_s - self._next_s)


def _rates_to_come(outlook: Outlook) -> list[Rate]:
    middling = outlook.rate_bps
    rates = [Rate(middling, REVERTS, free_at(outlook, middling))]
    for rate in rates_of(outlook):
        rates.append(replace(rate, weight=(1 - REVERTS) * rate.weight))
    return rates


def expected_on_time(
    outlook: Outlook, sizes: tuple[float, float, float], *, by_s: float, leaving_s: float
) -> float:
    """Return the chance to be on time, over the sizes that the payload may turn out to have."""
    if sizes[0] == sizes[2]:
        return outlook.on_time(sizes[1] + OVERHEAD_BYTES, by_s=by_s, leaving_s=leaving_s)
    return sum(
        weight * outlook.on_time(size + OVERHEAD_BYTES, by_s=by_s, leaving_s=leaving_s)
        for weight, size in zip(SIZE_WEIGHTS, sizes, strict=True)
    )
