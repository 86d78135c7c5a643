"""A link's rate over time, recorded (`trace_files`) or made up: looking up, exact transfer times.

A trace is piecewise constant and loops.
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from headgate.profiles.errors import TraceError

MAX_MBPS = 1e6  # beyond this a rate is a slip: bits where Mbit/s are meant
ONE_RATE_DURATION_S = 1.0  # of a trace that has one rate only


@dataclass(frozen=True, slots=True)
class Trace:
    """Rate `rates_bps[i]` holds from `times_s[i]` to the next time; after `duration_s` it loops.

    `times_s` starts at 0 and rises. A rate of 0 is an outage.
    """

    name: str
    times_s: tuple[float, ...]
    rates_bps: tuple[float, ...]
    duration_s: float
    _served_bits: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert len(self.times_s) == len(self.rates_bps) > 0
        assert self.times_s[0] == 0
        assert self.times_s[-1] < self.duration_s
        served_bits = [0.0]
        ends_s = (*self.times_s[1:], self.duration_s)
        for start_s, end_s, rate_bps in zip(self.times_s, ends_s, self.rates_bps, strict=True):
            served_bits.append(served_bits[-1] + (end_s - start_s) * rate_bps)
        object.__setattr__(self, "_served_bits", tuple(served_bits))

    @property
    def mean_bps(self) -> float:
        """The mean rate over one period."""
        return self._served_bits[-1] / self.duration_s

    def rate_bps(self, now_s: float) -> float:
        """Return the rate at `now_s` (looping), in bits per second."""
        return self.rates_bps[bisect_right(self.times_s, now_s % self.duration_s) - 1]

    def served_bits(self, now_s: float) -> float:
        """Return how many bits the link can carry from 0 to `now_s`: the integral of the rate."""
        periods, at_s = divmod(now_s, self.duration_s)
        i = bisect_right(self.times_s, at_s) - 1
        within = self._served_bits[i] + (at_s - self.times_s[i]) * self.rates_bps[i]
        return periods * self._served_bits[-1] + within

    def mean_rate_bps(self, start_s: float, end_s: float) -> float:
        """Return the mean rate from `start_s` to `end_s`; what a plot of a fine trace wants."""
        return (self.served_bits(end_s) - self.served_bits(start_s)) / (end_s - start_s)

    def finish_s(self, start_s: float, num_bytes: float) -> float:
        """Return when `num_bytes`, alone on the link from `start_s`, have all been served.

        Exact: the inverse of the cumulative integral, found by bisection over the steps. Infinite
        on a link that never carries anything.
        """
        if num_bytes <= 0:
            return start_s
        period_bits = self._served_bits[-1]
        if period_bits == 0:
            return math.inf
        start_period, at_s = divmod(start_s, self.duration_s)
        i = bisect_right(self.times_s, at_s) - 1
        target = self._served_bits[i] + (at_s - self.times_s[i]) * self.rates_bps[i] + 8 * num_bytes
        periods, left_bits = divmod(target, period_bits)
        if left_bits <= 0:  # the last bit of a period: not after the outage that may follow
            periods, left_bits = periods - 1, period_bits
        i = bisect_left(self._served_bits, left_bits) - 1
        within_s = self.times_s[i] + (left_bits - self._served_bits[i]) / self.rates_bps[i]
        # Rounding may put the end a hair before the start.
        return max(start_s, (start_period + periods) * self.duration_s + within_s)


def native_step_s(trace: Trace) -> float:
    """Return how finely the rate was recorded: the median time between changes of the rate.

    Recordings by the second are often handed on in rows of 100 ms, ten equal ones in a row; what
    counts is how often the rate changes. Infinite where it never does.
    """
    changed_s = [
        at_s
        for at_s, (before, after) in zip(trace.times_s[1:], pairwise(trace.rates_bps), strict=True)
        if before != after
    ]
    steps_s = [later_s - earlier_s for earlier_s, later_s in pairwise(changed_s)]
    return median(steps_s) if steps_s else math.inf


def named_trace(name: str) -> Trace:
    """Return a built-in trace: `demo`, or `steady:MBPS`."""
    if name == "demo":
        return _demo_trace()
    kind, _, value = name.partition(":")
    if kind == "steady":
        rate_mbps = number_in(value, where=f"trace {name!r}", expected="steady:MBPS, as steady:8")
        if not 0 <= rate_mbps <= MAX_MBPS:
            raise TraceError(
                f"trace {name!r}: {rate_mbps:g} Mbit/s, expected 0 to {MAX_MBPS:g}; correct it"
            )
        return Trace(name, (0.0,), (rate_mbps * 1e6,), ONE_RATE_DURATION_S)
    raise TraceError(
        f"trace {name!r}: is neither built in (demo, steady:MBPS) nor a file; check the path"
    )


def shared_trace(trace: Trace, *, share: float) -> Trace:
    """Return the trace as a device sees it that has this share of the rate to itself."""
    name = trace.name if share == 1 else f"{trace.name} x {share:g}"
    rates_bps = tuple(share * rate_bps for rate_bps in trace.rates_bps)
    return Trace(name, trace.times_s, rates_bps, trace.duration_s)


def number_in(text: str, *, where: str, expected: str) -> float:
    """Return the finite number that a text is, or raise TraceError with what was `expected`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TraceError(f"{where}: found {text.strip()[:40]!r}, expected {expected}; correct it")
    return value


# The demo's link: (seconds, mean Mbit/s). Made up: a good start, a mediocre stretch, a bad one, a
# short outage, and a recovery, so that every operating point has its minute.
_DEMO_STRETCHES = (
    (14.0, 12.0),
    (12.0, 2.5),
    (8.0, 0.35),
    (3.0, 0.0),
    (7.0, 1.0),
    (10.0, 5.0),
    (6.0, 0.15),
    (15.0, 10.0),
)
_DEMO_STEP_S = 0.1


def _demo_trace() -> Trace:
    """Draw each stretch with a slow swing and a quick one, the same on every machine."""
    times_s, rates_bps = [], []
    start_s = 0.0
    for stretch_s, mean_mbps in _DEMO_STRETCHES:
        for i in range(round(stretch_s / _DEMO_STEP_S)):
            at_s = start_s + i * _DEMO_STEP_S
            swing = 0.2 * math.sin(2 * math.pi * at_s / 4.7) + 0.15 * math.sin(
                2 * math.pi * at_s / 0.83
            )
            times_s.append(round(at_s, 6))
            rates_bps.append(mean_mbps * 1e6 * (1 + swing))
        start_s += stretch_s
    return Trace("demo", tuple(times_s), tuple(rates_bps), start_s)
