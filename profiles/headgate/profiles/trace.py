"""A link's rate over time, recorded or made up: reading, looking up, and exact transfer times.

A trace is piecewise constant and loops. Two file formats are read: CSV with the header
`t_s,mbps`, and mahimahi (one millisecond timestamp per 1500-byte packet, the last one the period).
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from headgate.profiles.errors import TraceError

CSV_HEADER = "t_s,mbps"
MAHIMAHI_PACKET_BITS = 8 * 1500
MAX_FILE_BYTES = 64 * 1024 * 1024
# A recording with one step per row has a gap where a step is this much longer than the others.
GAP_STEPS = 1.5
ONE_ROW_DURATION_S = 1.0
# Beyond these a number is a slip (bits where Mbit/s are meant) or a damaged one.
MAX_MBPS, MIN_STEP_S, MAX_DURATION_S = 1e6, 1e-6, 1e9
MAX_DIGITS = 40  # of a time in milliseconds: int() takes a long time over endless ones, or refuses


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


def read_trace(path: Path) -> Trace:
    """Read a CSV or mahimahi trace; raises TraceError naming file and line.

    Time counts from the first row of a CSV; its last row holds as long as the median step.
    """
    lines = _read_lines(path)
    first = next((text for text in lines if text), "")
    if not first:
        raise TraceError(
            f"{path}: is empty, expected the header {CSV_HEADER!r} and rows, "
            "or a mahimahi trace; give a recorded trace"
        )
    if first.isdecimal():
        return _parse_mahimahi(lines, path)
    if first.replace(" ", "").lower() != CSV_HEADER:
        raise TraceError(
            f"{path} line {lines.index(first) + 1}: found {first[:60]!r}, expected the header "
            f"{CSV_HEADER!r} (CSV) or a whole number of milliseconds (mahimahi); "
            "convert the file to one of the two"
        )
    return _parse_csv(lines, path)


def named_trace(name: str) -> Trace:
    """Return a built-in trace: `demo`, or `steady:MBPS`."""
    if name == "demo":
        return _demo_trace()
    kind, _, value = name.partition(":")
    if kind == "steady":
        rate_mbps = _number(value, where=f"trace {name!r}", expected="steady:MBPS, as steady:8")
        if not 0 <= rate_mbps <= MAX_MBPS:
            raise TraceError(
                f"trace {name!r}: {rate_mbps:g} Mbit/s, expected 0 to {MAX_MBPS:g}; correct it"
            )
        return Trace(name, (0.0,), (rate_mbps * 1e6,), ONE_ROW_DURATION_S)
    raise TraceError(
        f"trace {name!r}: is neither built in (demo, steady:MBPS) nor a file; check the path"
    )


def open_trace(name_or_path: str) -> Trace:
    """Return the trace in the file of that path, or the built-in one of that name."""
    path = Path(name_or_path)
    return read_trace(path) if path.exists() else named_trace(name_or_path)


def shared_trace(trace: Trace, *, share: float) -> Trace:
    """Return the trace as a device sees it that has this share of the rate to itself."""
    name = trace.name if share == 1 else f"{trace.name} x {share:g}"
    rates_bps = tuple(share * rate_bps for rate_bps in trace.rates_bps)
    return Trace(name, trace.times_s, rates_bps, trace.duration_s)


def _read_lines(path: Path) -> list[str]:
    """Return the stripped lines; a name without anything to read is the user's error."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise TraceError(
                f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB, expected a recorded trace; "
                "cut it into shorter ones"
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or error
        raise TraceError(f"{path}: cannot be read ({reason}); check the path") from None
    except UnicodeDecodeError:
        raise TraceError(
            f"{path}: is not text, expected CSV or a mahimahi trace; give a recorded trace"
        ) from None
    return [line.strip() for line in text.splitlines()]


def _number(text: str, *, where: str, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TraceError(f"{where}: found {text.strip()[:40]!r}, expected {expected}; correct it")
    return value


def _parse_csv(lines: list[str], path: Path) -> Trace:
    times_s: list[float] = []
    rates_bps: list[float] = []
    places: list[int] = []
    header_seen = False
    for place, line in enumerate(lines, start=1):
        if not line:
            continue
        if not header_seen:
            header_seen = True
            continue
        where = f"{path} line {place}"
        fields = line.split(",")
        if len(fields) != 2:
            raise TraceError(
                f"{where}: found {line[:60]!r}, expected two numbers t_s,mbps; correct the row"
            )
        time_s = _number(fields[0], where=where, expected="a time in seconds")
        rate_mbps = _number(fields[1], where=where, expected="a rate in Mbit/s")
        if rate_mbps < 0:
            raise TraceError(
                f"{where}: rate is {rate_mbps:g} Mbit/s, expected 0 or more; "
                "write 0 where the link was down"
            )
        if rate_mbps > MAX_MBPS:
            raise TraceError(
                f"{where}: rate is {rate_mbps:g} Mbit/s, expected {MAX_MBPS:g} at most; "
                "give millions of bits per second"
            )
        if times_s and time_s < times_s[-1] + MIN_STEP_S:
            raise TraceError(
                f"{where}: time {time_s:g} s does not follow {times_s[-1]:g} s, expected rising "
                "times; sort the rows and remove doubles"
            )
        times_s.append(time_s)
        rates_bps.append(rate_mbps * 1e6)
        places.append(place)
    if not times_s:
        raise TraceError(f"{path}: has a header but no rows, expected t_s,mbps; record it again")
    step_s = _check_gaps(times_s, places, path)
    start_s = times_s[0]
    times_s = [time_s - start_s for time_s in times_s]
    _check_duration(times_s[-1], path)
    return Trace(path.stem, tuple(times_s), tuple(rates_bps), times_s[-1] + step_s)


def _check_duration(duration_s: float, path: Path) -> None:
    if duration_s > MAX_DURATION_S:
        raise TraceError(
            f"{path}: lasts {duration_s:g} s, expected {MAX_DURATION_S:g} at most; "
            "correct the unit of its times"
        )


def _check_gaps(times_s: list[float], places: list[int], path: Path) -> float:
    """Return the median step in seconds; raise where a regular recording misses rows.

    Files whose steps differ as a matter of course (a row only where the rate changes) have no gaps.
    """
    steps_s = [later_s - earlier_s for earlier_s, later_s in pairwise(times_s)]
    if not steps_s:
        return ONE_ROW_DURATION_S
    step_s = median(steps_s)
    num_regular = sum(abs(each_s - step_s) <= 0.05 * step_s for each_s in steps_s)
    if 2 * num_regular > len(steps_s):
        for each_s, place in zip(steps_s, places[1:], strict=True):
            if each_s > GAP_STEPS * step_s:
                raise TraceError(
                    f"{path} line {place}: a gap of {each_s:g} s, expected a row every "
                    f"{step_s:g} s; add the missing rows, with a rate of 0 where the link was down"
                )
    return step_s


def _parse_mahimahi(lines: list[str], path: Path) -> Trace:
    """Turn delivery opportunities into rates of 1 ms steps, so that nothing is smoothed away."""
    packets: dict[int, int] = {}  # millisecond in which packets leave -> how many
    last_ms = 0
    for place, line in enumerate(lines, start=1):
        if not line:
            continue
        where = f"{path} line {place}"
        if not line.isdecimal() or len(line) > MAX_DIGITS:
            raise TraceError(
                f"{where}: found {line[:40]!r}, expected a whole number of milliseconds; "
                "correct the line"
            )
        at_ms = int(line)
        if at_ms < last_ms:
            raise TraceError(
                f"{where}: time {at_ms} ms does not follow {last_ms} ms, expected rising times; "
                "sort the lines"
            )
        last_ms = at_ms
        left_ms = max(0, at_ms - 1)  # a packet of time t has left by t
        packets[left_ms] = packets.get(left_ms, 0) + 1
    if last_ms == 0:
        raise TraceError(f"{path}: lasts 0 ms, expected a period above 0; record it again")
    _check_duration(last_ms / 1000, path)
    times_s, rates_bps = [], []
    for at_ms in sorted({0, *packets, *(ms + 1 for ms in packets)} - {last_ms}):
        times_s.append(at_ms / 1000)
        rates_bps.append(packets.get(at_ms, 0) * MAHIMAHI_PACKET_BITS * 1000.0)
    return Trace(path.stem, tuple(times_s), tuple(rates_bps), last_ms / 1000)


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
