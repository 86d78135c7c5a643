"""What a frame that goes whole is worth: its chance to be on time, and its cost to the next."""

from collections.abc import Callable, Iterable, Sequence

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.choice.backlogs import Backlogs, FrameTimes
from headgate.runtime.choice.layer_worth import Rate, free_at, rates_of
from headgate.runtime.choice.pareto import worth_their_cost
from headgate.runtime.link.outlook import Outlook
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES

SIZE_WEIGHTS = (0.25, 0.5, 0.25)  # of the 5, 50 and 95 % quantiles
MAX_STEPS = 16  # of a table: more take time and memory, and move a cost by .004 at most

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
        steps = tuple(
            Step(num_bytes + MESSAGE_OVERHEAD_BYTES, quality) for num_bytes, quality in rungs
        )
        self._backlogs = Backlogs(few_of(steps))

    def at(self, outlook: Outlook, times: FrameTimes, *, fallback: float) -> "Queue":
        """Return the uplink's queue as frames of about these times find it."""
        longest_s = max(LONGEST_QUEUE_S, times.period_s)
        backlog = self._backlogs.at(outlook, times, fallback=fallback, longest_s=longest_s)
        # Where a frame in time is through before the next is captured, only a late one leaves a
        # queue. There doubt is no reason to send less: by sending a better link is found out.
        alone = times.window_s(outlook) <= times.period_s
        rates = _rates_to_come(outlook, reverts=1.0 if alone else REVERTS)
        return Queue(
            backlog, rates, times.captured_s + times.period_s, counted=outlook.counted_bytes
        )


class Queue:
    """The uplink's queue, at each rate that it may have, when the next frame is captured."""

    def __init__(
        self,
        backlog: Backlog,
        rates: Sequence[Rate],
        next_s: float,
        *,
        counted: Callable[[float], float],
    ) -> None:
        """`counted` says how many bytes a message of so many takes as long as."""
        self._next_s, self._counted = next_s, counted
        busies = backlog.at_each([rate.rate_bps for rate in rates])
        self._rates = list(zip(rates, busies, strict=True))
        self._idle = sum(
            rate.weight * busy.cost(rate.free_s - next_s) for rate, busy in self._rates
        )

    def cost(self, num_bytes: float, *, leaving_s: float) -> float:
        """Return what so many bytes that leave then cost the frames to come: 0 or less."""
        num_bits = 8 * self._counted(num_bytes + MESSAGE_OVERHEAD_BYTES)
        cost = -self._idle
        for rate, busy in self._rates:
            finish_s = max(leaving_s, rate.free_s) + num_bits / rate.rate_bps
            cost += rate.weight * busy.cost(finish_s - self._next_s)
        return cost


def few_of(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that no smaller one equals; of many, MAX_STEPS spread over them."""
    better = worth_their_cost(
        steps, cost=lambda step: step.num_bytes, worth=lambda step: step.quality
    )
    if len(better) <= MAX_STEPS:
        return tuple(better)
    last = len(better) - 1
    return tuple(better[round(i * last / (MAX_STEPS - 1))] for i in range(MAX_STEPS))


def _rates_to_come(outlook: Outlook, *, reverts: float) -> list[Rate]:
    middling = outlook.rate_bps
    rates = [Rate(middling, reverts, free_at(outlook, middling))]
    if reverts < 1:
        for rate in rates_of(outlook):
            rates.append(Rate(rate.rate_bps, (1 - reverts) * rate.weight, rate.free_s))
    return rates


def expected_on_time(
    outlook: Outlook, sizes: tuple[float, float, float], *, by_s: float, leaving_s: float
) -> float:
    """Return the chance to be on time, over the sizes that the payload may turn out to have."""
    if sizes[0] == sizes[2]:
        return outlook.on_time(sizes[1] + MESSAGE_OVERHEAD_BYTES, by_s=by_s, leaving_s=leaving_s)
    return sum(
        weight * outlook.on_time(size + MESSAGE_OVERHEAD_BYTES, by_s=by_s, leaving_s=leaving_s)
        for weight, size in zip(SIZE_WEIGHTS, sizes, strict=True)
    )
