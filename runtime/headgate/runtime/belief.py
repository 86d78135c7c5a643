"""What is believed of a link's rate: a filter over a grid of log rates, mixed from experts.

Model of the link: its rate holds for a while and then jumps, by a Laplace-distributed amount in log
(now and then a three times larger one), or to where the link has been before. How large jumps are
differs between links and hours, so several experts, each with a scale of its own, follow the same
samples, and each counts by how well it foretold them lately (Bayesian mixing with forgetting).

A sample is a service: so many bits from `start_s` to `end_s`. Its likelihood is that of the service
time, whose error is the path's noise and the rate's change meanwhile. Two things need no rule of
their own then: service that hides in the noise says only that the link is at least so fast, and a
message still waited for says that the link is slower than what would have brought it.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

LOWEST, STEP, NUM_RATES = math.log(3e3), 0.15, 86  # log of bits per second: 3 kbit/s to 1 Gbit/s
JUMP_SCALES = (0.06, 0.2, 0.6)  # of the experts, nats
JUMP_SHARE = 0.1  # of all 10 ms
TICK_S = 0.01
DRIFT = 0.02  # standard deviation in a tick without a jump, nats
LARGE_SHARE, LARGE_FACTOR = 0.1, 3.0  # of jumps, and of their scale
RETURN_PER_S = 0.3  # how often the rate returns to where the link has been
BLUR = 0.12  # relative change of the rate during one service
SURPRISE = 1e-4  # likelihood of a sample that the model has no place for
FORGETTING = 0.98  # of the experts' merits with every sample
LEAST_WEIGHT = 1e-4
PAST_S = 10.0  # of service: how far back the link's usual rates reach
FIRST_PAST_S = 0.2  # what the first guess counts for
LONGEST_SAMPLE_S = 0.5
FIRST_RATE_BPS, FIRST_SPREAD = 1e6, 1.5
MOST_TICKS = 16  # that one step takes; longer ones go on from there
MAX_STEPS = 16  # after so many the past decides

Array = npt.NDArray[np.float64]

LOG_RATES: Array = LOWEST + STEP * np.arange(NUM_RATES, dtype=np.float64)
_S_PER_BIT: Array = np.exp(-LOG_RATES)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Bits in service since `since_s` that had not come through by `until_s`."""

    num_bits: float
    since_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """How fast the link will be: `chances[i]` of at least the log rate LOWEST + i STEP."""

    chances: list[float]

    def at_least(self, log_rate: float) -> float:
        """Return the probability of at least that log rate."""
        at = (log_rate - LOWEST) / STEP
        if at <= 0:
            return self.chances[0]
        i = int(at)
        if i >= NUM_RATES - 1:
            return 0.0
        part = at - i
        return (1 - part) * self.chances[i] + part * self.chances[i + 1]

    @property
    def rate_bps(self) -> float:
        """The middling rate."""
        low, high = 0, NUM_RATES - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.chances[middle] >= 0.5 else (low, middle)
        fall = self.chances[low] - self.chances[high]
        part = (self.chances[low] - 0.5) / fall if fall > 0 else 0.0
        return math.exp(LOWEST + STEP * (low + min(1.0, max(0.0, part))))


class RateBelief:
    """Learns from services in the order of their ends."""

    def __init__(self) -> None:
        usual = np.exp(-0.5 * ((LOG_RATES - math.log(FIRST_RATE_BPS)) / FIRST_SPREAD) ** 2)
        self._usual: Array = usual / usual.sum()
        self._experts: Array = np.tile(self._usual, (len(JUMP_SCALES), 1))
        self._weights: Array = np.full(len(JUMP_SCALES), 1 / len(JUMP_SCALES))
        self._past_s = FIRST_PAST_S
        self._at_s: float | None = None  # what the experts believe holds for then

    def observe(self, *, num_bits: float, start_s: float, end_s: float, noise_s: float) -> None:
        """Learn from one service, whose duration is known to within `noise_s`."""
        service_s = max(0.0, end_s - start_s)
        middle_s = (start_s + end_s) / 2
        experts = self._moved(self._experts, self._at_s, middle_s)
        if self._at_s is None or middle_s > self._at_s:
            self._at_s = middle_s
        expected_s = num_bits * _S_PER_BIT
        error_s = np.hypot(noise_s, BLUR * expected_s)
        likely = np.exp(-0.5 * ((service_s - expected_s) / error_s) ** 2)
        likely *= BLUR * max(service_s, noise_s) / error_s
        experts = experts * (likely + SURPRISE)
        merits = experts.sum(axis=1)
        self._experts = experts / merits[:, None]
        weights = self._weights**FORGETTING * merits
        self._weights = np.maximum(weights / weights.sum(), LEAST_WEIGHT)
        new_s = min(service_s, LONGEST_SAMPLE_S)
        self._past_s = min(PAST_S, self._past_s + new_s)
        share = new_s / self._past_s
        self._usual = (1 - share) * self._usual + share * self._mixed(self._experts, self._weights)

    def forecast(
        self, *, at_s: float, waiting: Waiting | None = None, noise_s: float = 0.0
    ) -> Forecast:
        """Return what to expect around `at_s`, given what is waited for."""
        experts, weights, from_s = self._experts, self._weights, self._at_s
        if waiting is not None:
            experts, weights, from_s = self._censored(waiting, noise_s=noise_s)
        experts = self._moved(experts, from_s, at_s)
        chances = self._mixed(experts, weights) @ _blurred_chances()
        return Forecast(chances.tolist())

    def _censored(self, waiting: Waiting, *, noise_s: float) -> tuple[Array, Array, float]:
        """Return experts, weights and time after learning that something has not come yet."""
        waited_s = waiting.until_s - waiting.since_s
        middle_s = waiting.since_s + waited_s / 2
        experts = self._moved(self._experts, self._at_s, middle_s)
        expected_s = waiting.num_bits * _S_PER_BIT
        error_s = np.hypot(noise_s, BLUR * expected_s)
        beyond = np.clip((waited_s - expected_s) / error_s, -20.0, 20.0)
        # The logistic function is within 1 % of the normal distribution's.
        experts = experts * (1 / (1 + np.exp(1.702 * beyond)) + SURPRISE / 100)
        merits = experts.sum(axis=1)
        at_s = middle_s if self._at_s is None else max(middle_s, self._at_s)
        return experts / merits[:, None], self._weights * merits, at_s

    def _moved(self, experts: Array, from_s: float | None, to_s: float) -> Array:
        """Return what the experts expect of a later time; earlier ones are taken as now."""
        if from_s is None or to_s <= from_s:
            return experts
        passed_s = to_s - from_s
        num_ticks = min(round(passed_s / TICK_S), MAX_STEPS * MOST_TICKS)
        while num_ticks > 0:
            ticks = min(num_ticks, MOST_TICKS)
            experts = np.matmul(experts[:, None], _jumps()[ticks])[:, 0]
            num_ticks -= ticks
        back = 1 - math.exp(-RETURN_PER_S * passed_s)
        return (1 - back) * experts + back * self._usual

    @staticmethod
    def _mixed(experts: Array, weights: Array) -> Array:
        mixed: Array = (weights / weights.sum()) @ experts
        return mixed


@cache
def _jumps() -> Array:
    """Return the transitions of every expert in 0, 1, 2 .. ticks, [ticks, expert, from, to]."""
    apart = np.abs(LOG_RATES[None] - LOG_RATES[:, None])
    stay = _rows(np.exp(-0.5 * (apart / DRIFT) ** 2))
    once = []
    for scale in JUMP_SCALES:
        small = np.exp(-apart / scale) / scale
        large = np.exp(-apart / (LARGE_FACTOR * scale)) / (LARGE_FACTOR * scale)
        jump = _rows((1 - LARGE_SHARE) * small + LARGE_SHARE * large)
        once.append((1 - JUMP_SHARE) * stay + JUMP_SHARE * jump)
    tick = np.stack(once)
    after = [np.broadcast_to(np.eye(NUM_RATES), tick.shape)]
    for _ in range(MOST_TICKS):
        after.append(after[-1] @ tick)
    return np.stack(after)


@cache
def _blurred_chances() -> Array:
    """Return the chance of at least each grid rate given the believed one, [believed, asked]."""
    apart = (LOG_RATES[:, None] - LOG_RATES[None]) / BLUR
    chances: Array = np.vectorize(lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2))))(apart)
    return chances


def _rows(weights: Array) -> Array:
    scaled: Array = weights / weights.sum(axis=1, keepdims=True)
    return scaled
