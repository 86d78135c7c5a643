"""How sure an early exit may be: its top probability turned into a chance that was checked.

A network's probabilities are too high on pictures it was not trained on, and by how much differs
from network to network. Export fits two logistic curves (Platt, 1999) over the exit's evidence
x = ln(p / (1 - p)), with p its top probability, on pictures that are measured nowhere else: one
for the chance that the exit is right, and per split point one for the chance that the edge is.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_EVIDENCE = 12.0  # beyond, float32 probabilities say 0 or 1
MAX_LOG_ODDS = 700.0  # beyond, a chance is 0 or 1 in float64, and its exponential may overflow
FINGERPRINT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Curve:
    """A chance of being right, rising with the exit's evidence: 1 / (1 + exp(-(a x + b)))."""

    slope: float
    offset: float

    def chance(self, probability: float) -> float:
        """Return the chance, 0 to 1, where the exit's top probability is `probability`."""
        log_odds = self.slope * evidence(probability) + self.offset
        return 1 / (1 + math.exp(-min(MAX_LOG_ODDS, max(-MAX_LOG_ODDS, log_odds))))


def evidence(probability: float) -> float:
    """Return the log odds of a probability, bounded."""
    lowest = 1 / (1 + math.exp(MAX_EVIDENCE))
    bounded = min(1 - lowest, max(lowest, probability))
    return math.log(bounded / (1 - bounded))


def picture_fingerprint(picture_HWC: NDArray[np.uint8]) -> str:
    """Return what tells a picture at the network's input size from all others, in 12 digits."""
    return hashlib.sha256(picture_HWC.tobytes()).hexdigest()[:FINGERPRINT_DIGITS]
