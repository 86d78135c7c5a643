"""Recorded links as files: CSV or mahimahi -> Trace, or what is wrong and in which line.

CSV has the header `t_s,mbps`; mahimahi is one millisecond timestamp per 1500-byte packet, the last
one the period.
"""

from itertools import pairwise
from pathlib import Path
from statistics import median

from headgate.profiles.errors import TraceError
from headgate.profiles.trace import MAX_MBPS, ONE_RATE_DURATION_S, Trace, named_trace, number_in

CSV_HEADER = "t_s,mbps"
MAHIMAHI_PACKET_BITS = 8 * 1500
MAX_FILE_BYTES = 64 * 1024 * 1024
# A recording with one step per row has a gap where a step is this much longer than the others.
GAP_STEPS = 1.5
MIN_STEP_S, MAX_DURATION_S = 1e-6, 1e9  # beyond these a number is a slip, or a damaged one
MAX_DIGITS = 40  # of a time in milliseconds: int() takes a long time over endless ones, or refuses


def open_trace(name_or_path: str) -> Trace:
    """Return the trace in the file of that path, or the built-in one of that name."""
    path = Path(name_or_path)
    return read_trace(path) if path.exists() else named_trace(name_or_path)


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


def _read_lines(path: Path) -> list[str]:
    """Return the stripped lines; a name without anything to read is the user's error."""
    try:
        with path.open("rb") as file:  # of a pipe too: a shell may write it
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise TraceError(
                f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB, expected a recorded trace; "
                "cut it into shorter ones"
            )
        text = content.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or error
        raise TraceError(f"{path}: cannot be read ({reason}); check the path") from None
    except UnicodeDecodeError:
        raise TraceError(
            f"{path}: is not text, expected CSV or a mahimahi trace; give a recorded trace"
        ) from None
    return [line.strip() for line in text.splitlines()]


def _parse_csv(lines: list[str], path: Path) -> Trace:
    times_s: list[float] = []
    rates_bps: list[float] = []
    places: list[int] = []
    before = ""  # the last time as it is written: seconds since 1970 need more digits than %g has
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
        time_s = number_in(fields[0], where=where, expected="a time in seconds")
        rate_mbps = number_in(fields[1], where=where, expected="a rate in Mbit/s")
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
                f"{where}: time {fields[0].strip()[:40]} s does not follow {before} s, expected "
                "rising times; sort the rows and remove doubles"
            )
        before = fields[0].strip()[:40]
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
        return ONE_RATE_DURATION_S
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
