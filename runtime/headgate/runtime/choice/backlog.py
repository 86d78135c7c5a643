"""What it costs the frames to come that the uplink is still busy, at a rate that stays as it is.

A byte sent for this frame may delay the next ones. By how much that matters depends on how far the
link is from being full, and on how steep the gain is of what would be left out. So the worth of the
frames to come is computed once per rate and looked up afterwards:

    V_n(f) = max over steps k of  credit_k(f) + V_{n-1}(max(0, finish_k(f) - period))

with f the time from a frame's capture until the uplink is free, as in `oracle`, but for a rate that
does not change. Only differences of V are used: V(0) is put at 0.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRID_S = 0.001
HORIZON = 16  # frames
NUM_ENDS = 8  # horizons to take the mean of: the steps are coarse, one end would fall between them
RATE_STEP = 0.1  # nats between the rates that are computed
MAX_STATES = 1000  # of the grid: coarser than GRID_S where windows are long
NEVER = -1e9


@dataclass(frozen=True, slots=True)
class Step:
    """One prefix of a frame: all its bytes, those of headers too, and the quality it is worth."""

    num_bytes: float
    quality: float


class Busy:
    """What frames from the next on lose, at one rate, by when the uplink will be free."""

    __slots__ = ("_grid_s", "_last", "_lost_per_s", "_worth")

    def __init__(self, worth: np.ndarray, *, grid_s: float, lost_per_s: float) -> None:
        """`worth` is 0 or less, for an uplink that is free at 0, `grid_s`, ... after a capture.

        Beyond, frames that would have come to something are lost while it lasts: `lost_per_s`.
        """
        self._worth = array("d", worth.tobytes())  # 8 bytes each, and looked up quickly
        self._grid_s, self._last, self._lost_per_s = grid_s, len(worth) - 1, lost_per_s

    def cost(self, free_after_s: float) -> float:
        """Return what is lost if the uplink is free so long after the next capture: 0 or less."""
        if free_after_s <= 0:
            return 0.0
        place = free_after_s / self._grid_s
        below = int(place)
        if below >= self._last:
            return self._worth[-1] - self._lost_per_s * (free_after_s - self._last * self._grid_s)
        here, there = self._worth[below], self._worth[below + 1]
        return here + (place - below) * (there - here)


class Backlog:
    """The worth of frames to come, by rate and by when the uplink will be free."""

    def __init__(
        self,
        steps: tuple[Step, ...],
        *,
        starts_s: float,
        window_s: float,
        period_s: float,
        fallback: float,
    ) -> None:
        """Bytes may leave from `starts_s` after capture, and must be through after `window_s`.

        `fallback` is what a frame is worth that is not sent.
        """
        self._steps, self._fallback = steps, fallback
        self._starts_s, self._window_s, self._period_s = starts_s, window_s, period_s
        longest_s = 2 * window_s + period_s
        self._grid_s = max(GRID_S, longest_s / MAX_STATES)
        self._free_s = np.arange(math.ceil(longest_s / self._grid_s) + 1) * self._grid_s
        self._by_rate: dict[int, Busy] = {}  # a few hundred, if the rate ranges as far as it can

    @property
    def window_s(self) -> float:
        """How long after its capture the last byte of a frame may be through."""
        return self._window_s

    def at_each(self, rates_bps: Sequence[float]) -> list[Busy]:
        """Return what a busy uplink costs at about each of these rates.

        Those missing are computed at once: in numbers, rates cost little more.
        """
        keys = [round(math.log(max(1.0, rate_bps)) / RATE_STEP) for rate_bps in rates_bps]
        missing = sorted(set(keys) - self._by_rate.keys())
        if missing:
            rates = np.exp(np.array(missing) * RATE_STEP)
            for key, worth, gain in zip(missing, *self._compute(rates), strict=True):
                lost_per_s = float(gain) / max(GRID_S, self._period_s)
                self._by_rate[key] = Busy(worth, grid_s=self._grid_s, lost_per_s=lost_per_s)
        return [self._by_rate[key] for key in keys]

    def _compute(self, rates_bps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Go back from the last frame of the horizon to the first; rows are rates.

        Return the worth by state, and what a frame gains in the mean if the uplink is free first.
        """
        num_bits = np.array([8 * step.num_bytes for step in self._steps])
        quality = np.array([step.quality for step in self._steps])[:, None]
        starts_s = np.maximum(self._free_s, self._starts_s)
        finish_s = starts_s + (num_bits / rates_bps[:, None])[:, :, None]
        sent = np.where(finish_s <= self._window_s, quality, NEVER)  # (rates, steps, states)
        skipped = np.full((len(rates_bps), 1, len(self._free_s)), self._fallback)
        credit = np.concatenate([skipped, sent], axis=1)
        left = np.broadcast_to(self._state(self._free_s), skipped.shape)
        after = np.concatenate([left, self._state(finish_s)], axis=1)
        after += np.arange(len(rates_bps))[:, None, None] * len(self._free_s)  # in its own row
        worth = np.zeros((len(rates_bps), len(self._free_s)))
        mean = np.zeros_like(worth)
        for frame in range(HORIZON):
            worth = (credit + worth.take(after)).max(axis=1)
            if frame >= HORIZON - NUM_ENDS:
                mean += (worth - worth[:, :1]) / NUM_ENDS
        gain = worth[:, 0] / HORIZON - self._fallback
        return mean, np.maximum(gain, 0.0)  # not by a rounding error less: waiting earns nothing

    def _state(self, finish_s: np.ndarray) -> np.ndarray:
        """Return the next frame's state; rounded down, as in `oracle`."""
        left_s = np.clip(finish_s - self._period_s, 0.0, None)
        states = np.floor(left_s / self._grid_s + 1e-6).astype(np.int64)
        return np.minimum(states, len(self._free_s) - 1)
