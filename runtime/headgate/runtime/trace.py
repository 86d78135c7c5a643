"""A link's rate over time, recorded or made up: reading, looking up, and exact transfer times.

A trace is piecewise constant and loops. Two file formats are read: CSV with the header
`t_s,mbps`, and mahimahi (one millisecond timestamp per 1500-byte packet, the last one the period).
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Trace:
    """Rate `rates_bps[i]` holds from `times_s[i]` to the next time; after `duration_s` it loops."""

    name: str
    times_s: tuple[float, ...]
    rates_bps: tuple[float, ...]
    duration_s: float

    def rate_bps(self, now_s: float) -> float:
        """Return the rate at `now_s` (looping), in bits per second."""
        raise NotImplementedError

    def finish_s(self, start_s: float, num_bytes: float) -> float:
        """Return when `num_bytes`, alone on the link from `start_s`, have all been served."""
        raise NotImplementedError


def read_trace(path: Path) -> Trace:
    """Read a CSV or mahimahi trace; raises TraceError naming file and line."""
    raise NotImplementedError


def named_trace(name: str) -> Trace:
    """Return a built-in trace: `demo`, or `steady:MBPS`."""
    raise NotImplementedError
