"""The best that can be had on a known link: an exact backward dynamic programme.

What a frame can get depends on the past only through the time at which the uplink becomes free, so

    V_i(f) = max over points k of  credit_k(i, f) + V_{i+1}(finish_k(i, f))

over the frames i from the last to the first, with f on a grid of 1 ms after the frame's capture.
Greed is not optimal: bytes left in the queue delay the next frame. Times are exact within a step
and rounded down between steps, so the result is at most a millisecond a frame too good, never too
bad. Not in it: queues at the edge, and two frames that compute at once (a point slower than the
frame's period earns only the share of frames that the device gets round to).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate.profiles.trace import Trace

GRID_S = 0.001  # of the times at which the uplink becomes free
MAX_STATES = 1 << 22  # whose finish times are computed together, for as many frames as that is
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OraclePoint:
    """A point that sends: what an answer within `sla_s` is worth, and what it takes."""

    quality: float
    device_s: float
    edge_s: float
    sla_s: float
    sizes_bytes: npt.NDArray[np.int64]  # per frame, with the overhead of the message


class LinkTimes:
    """When bytes are through, for many at once: the vectorised `Trace.finish_s`."""

    def __init__(self, trace: Trace, *, until_s: float) -> None:
        """Good for bytes that are through by `until_s`; later ones never finish."""
        period = np.array(trace.times_s)
        num_periods = int(until_s // trace.duration_s) + 1
        starts = np.arange(num_periods)[:, None] * trace.duration_s
        self._times_s = np.append((starts + period[None]).ravel(), num_periods * trace.duration_s)
        self._rates_bps = np.tile(np.array(trace.rates_bps), num_periods)
        served = np.cumsum(np.diff(self._times_s) * self._rates_bps)
        self._served_bits = np.concatenate(([0.0], served))

    def finish_s(self, starts_s: Array, num_bytes: Array) -> Array:
        """Return when `num_bytes`, alone on the link from `starts_s`, have been served."""
        target = np.interp(starts_s, self._times_s, self._served_bits) + 8 * num_bytes
        after = np.searchsorted(self._served_bits, target, side="left")
        never = after >= len(self._served_bits)
        i = np.clip(after - 1, 0, len(self._rates_bps) - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            finish_s = self._times_s[i] + (target - self._served_bits[i]) / self._rates_bps[i]
        return np.where(never, np.inf, np.maximum(finish_s, starts_s))


def oracle_credit(
    trace: Trace,
    points: Sequence[OraclePoint],
    *,
    rtt_s: float,
    fps: float,
    num_frames: int,
    fallback: float,
) -> float:
    """Return the highest possible mean credit per frame.

    `fallback` is what a frame that is not sent earns: the best local answer within the SLA.
    """
    points = [point for point in points if point.sla_s > rtt_s + point.device_s + point.edge_s]
    if not points or num_frames == 0:
        return fallback
    captured_s: Array = np.arange(num_frames, dtype=np.float64) / fps
    window_s = max(point.sla_s for point in points)
    grid_s: Array = np.arange(int(np.ceil(window_s / GRID_S)) + 1, dtype=np.float64) * GRID_S
    link = LinkTimes(trace, until_s=float(captured_s[-1]) + 2 * window_s + 1)
    kept_up = np.array([min(1.0, 1 / (fps * p.device_s)) if p.device_s else 1.0 for p in points])
    credits = kept_up * np.array([point.quality for point in points])
    idle = np.maximum(0, np.floor((grid_s - 1 / fps) / GRID_S + 1e-6).astype(np.int64))
    worth = np.zeros(len(grid_s))
    chunk = max(1, MAX_STATES // (len(points) * len(grid_s)))
    for first in reversed(range(0, num_frames, chunk)):
        frames = slice(first, min(num_frames, first + chunk))
        after = _next_states(link, points, captured_s[frames], frames, grid_s, rtt_s, 1 / fps)
        for steps in after[::-1]:
            sent = np.where(steps >= 0, credits[:, None] + worth[steps], -np.inf)
            worth = np.maximum(fallback + worth[idle], sent.max(axis=0))
    return float(worth[0]) / num_frames


def _next_states(
    link: LinkTimes,
    points: Sequence[OraclePoint],
    captured_s: Array,
    frames: slice,
    grid_s: Array,
    rtt_s: float,
    period_s: float,
) -> npt.NDArray[np.int64]:
    """Return per frame, point and state the state after sending it; -1 where it would be late."""
    states = np.full((len(captured_s), len(points), len(grid_s)), -1, dtype=np.int64)
    at_s = captured_s[:, None]
    for k, point in enumerate(points):
        starts_s = at_s + np.maximum(grid_s[None], point.device_s)
        sizes = point.sizes_bytes[frames].astype(np.float64)
        finish_s = link.finish_s(starts_s, np.broadcast_to(sizes[:, None], starts_s.shape))
        on_time = finish_s + rtt_s + point.edge_s <= at_s + point.sla_s + 1e-9
        busy_s = np.where(on_time, finish_s - at_s - period_s, 0.0)
        steps = np.maximum(0, np.floor(busy_s / GRID_S + 1e-6).astype(np.int64))
        states[:, k] = np.where(on_time, np.minimum(steps, len(grid_s) - 1), -1)
    return states
