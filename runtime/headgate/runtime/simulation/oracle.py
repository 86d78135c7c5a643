"""The best that can be had on a known link: a backward dynamic programme.

What a frame can get depends on the past only through the time at which the uplink becomes free, so

    V_i(f) = max over points k of  credit_k(i, f) + V_{i+1}(finish_k(i, f))

over the frames i from the last to the first, with f on a grid of 1 ms after the frame's capture.
Greed is not optimal: bytes left in the queue delay the next frame. Times are exact within a step
and rounded down between steps, so the result is at most a millisecond a frame too good, never too
bad. Not in it: queues at the edge.

A device that needs longer for a frame than the period does not get round to all of them: what its
computes take must fit the time there is. That bound is relaxed (Lagrange): device time has a price,
a credit counts less what its compute costs, and what all the time there is would cost is given
back. At any price that is too good rather than too bad, so the price is taken that gives the least;
a device that keeps up needs none. The first and last frames aside, that is: the time that there is
counts as a period for each frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate.profiles.trace import Trace

GRID_S = 0.001  # of the times at which the uplink becomes free
NUM_PRICES, NUM_ROUNDS = 9, 3  # tried together, each round about the best of the round before
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


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """What a frame that is not sent may earn, and what that takes of the device."""

    quality: float
    device_s: float


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
    own_answers: Sequence[OwnAnswer],
) -> float:
    """Return the highest possible mean credit per frame.

    `own_answers` are what the device can answer within the SLA by itself.
    """
    points = [point for point in points if point.sla_s > rtt_s + point.device_s + point.edge_s]
    work = _Work(trace, points, own_answers, rtt_s=rtt_s, fps=fps, num_frames=num_frames)
    asked = [(item.quality, item.device_s) for item in points]
    asked += [(item.quality, item.device_s) for item in own_answers]
    slow = [(quality, device_s) for quality, device_s in asked if fps * device_s > 1]
    if not slow:
        return float(work.bounds(np.zeros(1))[0])
    tried: Array = np.array([0.0, *(quality / device_s for quality, device_s in slow)])
    prices = np.unique(np.append(tried, np.linspace(0.0, tried.max(), NUM_PRICES)))
    for _ in range(NUM_ROUNDS):
        bounds = work.bounds(prices)
        best = int(bounds.argmin())
        low, high = prices[max(0, best - 1)], prices[min(len(prices) - 1, best + 1)]
        prices = np.append(np.linspace(low, high, NUM_PRICES), prices[best])
    return float(bounds.min())


class _Work:
    """All that is asked of a device and its link, at any price of the device's time."""

    def __init__(
        self,
        trace: Trace,
        points: Sequence[OraclePoint],
        own_answers: Sequence[OwnAnswer],
        *,
        rtt_s: float,
        fps: float,
        num_frames: int,
    ) -> None:
        self._trace, self._points, self._own_answers = trace, points, own_answers
        self._rtt_s, self._fps, self._num_frames = rtt_s, fps, num_frames

    def bounds(self, prices_L: Array) -> Array:
        """Return for each price of a second of the device what no frames can earn more than."""
        own_L = np.zeros(len(prices_L))
        for answer in self._own_answers:
            own_L = np.maximum(own_L, answer.quality - prices_L * answer.device_s)
        if self._points and self._num_frames:
            own_L = self._with_the_link(prices_L, own_L) / self._num_frames
        return own_L + prices_L / self._fps

    def _with_the_link(self, prices_L: Array, own_L: Array) -> Array:
        """Return the most that all frames together earn, `own_L` each where they are not sent."""
        points, period_s = self._points, 1 / self._fps
        captured_s: Array = np.arange(self._num_frames, dtype=np.float64) / self._fps
        window_s = max(point.sla_s for point in points)
        grid_s: Array = np.arange(int(np.ceil(window_s / GRID_S)) + 1, dtype=np.float64) * GRID_S
        link = LinkTimes(self._trace, until_s=float(captured_s[-1]) + 2 * window_s + 1)
        credits_LP = np.array([point.quality for point in points]) - prices_L[:, None] * np.array(
            [point.device_s for point in points]
        )
        idle_S = np.maximum(0, np.floor((grid_s - period_s) / GRID_S + 1e-6).astype(np.int64))
        worth_LS = np.zeros((len(prices_L), len(grid_s)))
        chunk = max(1, MAX_STATES // (len(points) * len(grid_s)))
        for first in reversed(range(0, self._num_frames, chunk)):
            frames = slice(first, min(self._num_frames, first + chunk))
            after = _next_states(
                link, points, captured_s[frames], frames, grid_s, self._rtt_s, period_s
            )
            for steps_PS in after[::-1]:
                sent_LPS = np.where(
                    steps_PS >= 0, credits_LP[:, :, None] + worth_LS[:, steps_PS], -np.inf
                )
                worth_LS = np.maximum(own_L[:, None] + worth_LS[:, idle_S], sent_LPS.max(axis=1))
        return worth_LS[:, 0]


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
