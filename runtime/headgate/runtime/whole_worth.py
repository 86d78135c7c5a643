"""What a frame that goes whole is worth: its chance to be on time, and its cost to the next."""

from collections.abc import Iterable, Sequence

from headgate.runtime.backlog import Step
from headgate.runtime.backlogs import Backlogs, FrameTimes
from headgate.runtime.layer_worth import Rate
from headgate.runtime.link import Outlook

OVERHEAD_BYTES = 64  # of one message: our header and ZeroMQ's
SIZE_WEIGHTS = (0.25, 0.5, 0.25)  # of the 5, 50 and 95 % quantiles


class Queueing:
    """What the next frames lose while the uplink is busy with one that goes whole."""

    def __init__(self, rungs: Iterable[tuple[float, float]]) -> None:
        """`rungs`: bytes and quality of the points that the next frames may be sent at."""
        steps = (Step(num_bytes + OVERHEAD_BYTES, quality) for num_bytes, quality in rungs)
        self._backlogs = Backlogs(tuple(steps))

    def cost(
        self,
        num_bytes: float,
        outlook: Outlook,
        rates: Sequence[Rate],
        times: FrameTimes,
        *,
        fallback: float,
    ) -> float:
        """Return what sending so many bytes now costs the frames to come: 0 or less."""
        backlog = self._backlogs.at(outlook, times, fallback=fallback)
        next_s = times.captured_s + times.period_s
        cost = 0.0
        for rate in rates:
            starts_s = max(times.leaving_s, rate.free_s)
            finish_s = starts_s + 8 * (num_bytes + OVERHEAD_BYTES) / rate.rate_bps
            busy = backlog.cost(rate_bps=rate.rate_bps, free_after_s=finish_s - next_s)
            idle = backlog.cost(rate_bps=rate.rate_bps, free_after_s=rate.free_s - next_s)
            cost += rate.weight * (busy - idle)
        return cost


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
