"""Choose each channel's quantisation range, per number of levels, from codes of real pictures.

Narrow ranges clip, wide ones waste levels, and which costs more depends on the number of levels.
Several sets of ranges are proposed: the range training used, percentiles of what the encoder
really emits, and per channel the percentile with the smallest squared error. The task decides:
each set is scored by how far the quantised answers move from the unquantised ones, and among
those that are as good as the best, the one that needs the fewest bits is taken. A member that was
trained to save bits is asked for the same bargain: a bit may cost as much as it did in training.

Shapes: N pictures, C sent feature maps, h w their size, V values of one channel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from headgate.profiles.quantise import dequantise, quantise

# Percent cut off at each end. Wider cuts have smaller squared errors at 2 and 3 levels but worse
# answers (tried: 0.42 instead of 0.46 top-1 at 2 levels): rare large values carry the class.
CLIPS_PERCENT = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
# Those that are offered for all channels alike; the others only compete per channel.
UNIFORM_CLIPS_PERCENT = (0.0, 1.0)
# A channel that never changes still needs a range that can be divided by.
MIN_SPAN = 1e-3
# Percentiles need no more values than this per channel.
MAX_VALUES_PER_CHANNEL = 1 << 16
# Answers that moved this little further than the best set's (mean KL, nats) count as equally good.
TOLERATED_DIVERGENCE = 0.002


@dataclass(frozen=True, slots=True)
class Scales:
    """Per channel: the range [low, low + span] that the integers 0 .. levels - 1 divide."""

    low: tuple[float, ...]
    span: tuple[float, ...]

    def quantise(self, code_NCHW: NDArray[np.float32], *, levels: int) -> NDArray[np.uint8]:
        low_C, span_C = self._arrays()
        return quantise(code_NCHW, low_C=low_C, span_C=span_C, levels=levels)

    def dequantise(self, q_NCHW: NDArray[np.uint8], *, levels: int) -> NDArray[np.float32]:
        low_C, span_C = self._arrays()
        return dequantise(q_NCHW, low_C=low_C, span_C=span_C, levels=levels)

    def _arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.asarray(self.low, np.float32), np.asarray(self.span, np.float32)


@dataclass(frozen=True, slots=True)
class Scored:
    """One proposal: `divergence` is the mean KL in nats, `bits` the entropy of one picture."""

    scales: Scales
    divergence: float
    bits: float


def calibrate(
    code_NCHW: NDArray[np.float32],
    *,
    levels: int,
    trained: Scales | None,
    divergence: Callable[[NDArray[np.float32]], float],
    rate_weight: float = 0.0,
) -> Scales:
    """Return the ranges to use with `levels` levels.

    `trained` is the range the member was fine-tuned with, if any. `divergence` takes the
    dequantised code [N,C,h,w] and returns how far the answers moved, in nats. `rate_weight` is
    what a bit of a picture was worth in training, in nats.
    """
    scored = []
    for scales in propose(code_NCHW, levels=levels, trained=trained):
        q_NCHW = scales.quantise(code_NCHW, levels=levels)
        moved = divergence(scales.dequantise(q_NCHW, levels=levels))
        scored.append(Scored(scales, moved, entropy_bits(q_NCHW, levels=levels)))
    return choose(scored, rate_weight=rate_weight)


def propose(code_NCHW: NDArray[np.float32], *, levels: int, trained: Scales | None) -> list[Scales]:
    """Return the sets of ranges worth scoring, without repetitions."""
    values_CV = _sample(code_NCHW)
    by_clip = [_percentile_scales(values_CV, clip) for clip in CLIPS_PERCENT]
    proposals = [] if trained is None else [trained]
    proposals += [by_clip[CLIPS_PERCENT.index(clip)] for clip in UNIFORM_CLIPS_PERCENT]
    proposals.append(_smallest_error(values_CV, by_clip, levels=levels))
    return list(dict.fromkeys(proposals))


def choose(scored: Sequence[Scored], *, rate_weight: float = 0.0) -> Scales:
    """Return the cheapest proposal among those that are as good as the best one.

    How good one is is its divergence, plus what its bits cost at `rate_weight` nats each.
    """
    costs = [item.divergence + rate_weight * item.bits for item in scored]
    best = min(costs)
    good = [
        item
        for item, cost in zip(scored, costs, strict=True)
        if cost <= best + TOLERATED_DIVERGENCE
    ]
    return min(good, key=lambda item: item.bits).scales


def entropy_bits(q_NCHW: NDArray[np.uint8], *, levels: int) -> float:
    """Return the zero-order entropy per picture, in bits, with one histogram per channel."""
    num_pictures, num_channels = q_NCHW.shape[:2]
    total = 0.0
    for channel in range(num_channels):
        counts = np.bincount(q_NCHW[:, channel].ravel(), minlength=levels)
        used = counts[counts > 0]
        total -= float(np.sum(used * np.log2(used / used.sum())))
    return total / int(num_pictures)


def _sample(code_NCHW: NDArray[np.float32]) -> NDArray[np.float32]:
    values_CV = np.moveaxis(code_NCHW, 1, 0).reshape(code_NCHW.shape[1], -1)
    stride = -(-values_CV.shape[1] // MAX_VALUES_PER_CHANNEL)
    # One that has a factor in common with the maps' size would see the same places of every map,
    # and of four columns only the first, say: the left border, never the right one.
    while stride > 1 and gcd(stride, code_NCHW.shape[2] * code_NCHW.shape[3]) > 1:
        stride += 1
    return values_CV[:, ::stride]


def _percentile_scales(values_CV: NDArray[np.float32], clip_percent: float) -> Scales:
    low_C, high_C = np.percentile(values_CV, [clip_percent, 100.0 - clip_percent], axis=1)
    span_C = np.maximum(high_C - low_C, MIN_SPAN)
    return _scales(low_C.astype(np.float32), span_C.astype(np.float32))


def _smallest_error(
    values_CV: NDArray[np.float32], by_clip: Sequence[Scales], *, levels: int
) -> Scales:
    """Take for each channel the proposal that restores its values best."""
    errors = []
    for scales in by_clip:
        # The quantiser wants maps: a channel's values are one map of height 1.
        q_C1V = scales.quantise(values_CV[:, None, :], levels=levels)
        restored_CV = scales.dequantise(q_C1V, levels=levels)[:, 0, :]
        errors.append(((restored_CV - values_CV) ** 2).mean(axis=1))
    best_C = np.argmin(np.stack(errors), axis=0)
    low = tuple(by_clip[best].low[c] for c, best in enumerate(best_C))
    span = tuple(by_clip[best].span[c] for c, best in enumerate(best_C))
    return Scales(low, span)


def _scales(low_C: NDArray[np.float32], span_C: NDArray[np.float32]) -> Scales:
    return Scales(tuple(map(float, low_C)), tuple(map(float, span_C)))
