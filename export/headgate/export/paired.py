"""Compare two ways of answering on the same pictures: only pictures on which they differ count.

A difference of one point on 1,000 pictures is noise when accuracies are measured apart; measured on
the same pictures it may not be, because most pictures are easy or hard for both.

Shapes: N pictures, R resamples, P rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, erfc, sqrt

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 1000  # differing pictures; above, the normal approximation is as good


@dataclass(frozen=True, slots=True)
class Difference:
    """Accuracy of one minus accuracy of the other, with its standard error and McNemar's test."""

    value: float
    error: float
    p_value: float  # two-sided: how likely at least this difference is if there is none

    @property
    def significant(self) -> bool:
        """Whether one is better beyond chance, at 5 %."""
        return self.p_value < 0.05

    def to_json(self) -> dict[str, float]:
        return {
            "difference": round(self.value, 5),
            "error": round(self.error, 5),
            "p": round(self.p_value, 5),
        }


def difference(a_N: NDArray[np.bool_], b_N: NDArray[np.bool_]) -> Difference:
    """Return how much better `a` is than `b`."""
    only_a = int(np.count_nonzero(a_N & ~b_N))
    only_b = int(np.count_nonzero(b_N & ~a_N))
    num = len(a_N)
    gap = only_a - only_b
    error = sqrt(max(0.0, only_a + only_b - gap * gap / num)) / num
    return Difference(gap / num, error, mcnemar_p(only_a, only_b))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return McNemar's two-sided p-value, exact or from the continuity-corrected normal.

    Q. McNemar, Psychometrika 12 (1947): without a difference, each is better on half of the
    pictures on which the two differ.
    """
    num = only_a + only_b
    if num == 0:
        return 1.0
    if num <= EXACT_UP_TO:
        tail = sum(comb(num, k) for k in range(min(only_a, only_b) + 1))
        return min(1.0, float(2 * tail / 2**num))
    z = max(0.0, abs(only_a - only_b) - 1) / sqrt(num)
    return erfc(z / sqrt(2))


def resample_counts(num: int, *, resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """Return how often each picture is drawn in each bootstrap resample, [R,N]."""
    stream = np.random.default_rng(seed)
    return stream.multinomial(num, np.full(num, 1 / num), size=resamples).astype(np.float64)


def resampled_means(
    counts_RN: NDArray[np.float64], values_PN: NDArray[np.generic]
) -> NDArray[np.float64]:
    """Return each row's mean in each resample, [R,P]."""
    means_RP: NDArray[np.float64] = counts_RN @ values_PN.astype(np.float64).T / counts_RN.shape[1]
    return means_RP
