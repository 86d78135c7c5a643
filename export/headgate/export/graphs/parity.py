"""The parity gate: what was exported must answer as the unsplit torch member does.

The reference is the member as it was trained: batch norm, filter and selection unfolded, with the
quantiser's arithmetic in between. The candidate is the exported pair, run by the engine, its
integers having gone through the feature codec. Three things are compared: the integers (rounding
may fall either way for a value that lies on the edge between two of them), the probabilities that
both tails make of the same integers, and the labels from picture to answer.

Shapes: N pictures, C sent feature maps, h w their size, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.profiles.errors import GateError

# Tried on VGG11 and MobileNetV2: 2e-5 of all integers differ, probabilities by 5e-7.
MAX_CODE_STEP = 1
MAX_SHARE_OFF = 1e-3
# Of few pictures with small maps a single integer is a larger share; so many may always differ.
MAX_NUM_OFF = 2
MAX_PROBABILITY_GAP = 1e-3
# One step at few levels is a large step: the few pictures with a different integer may move more.
MIN_LABEL_AGREEMENT = 0.98
# Between two labels as close as this the reference has not decided; such pictures do not count.
UNDECIDED_MARGIN = 0.02


@dataclass(frozen=True, slots=True)
class Outputs:
    """What one point makes of some pictures. A plain network has no integers and no exit."""

    probabilities: NDArray[np.float32]  # [N,K]
    exit: NDArray[np.float32] | None = None  # [N,K]
    integers: NDArray[np.uint8] | None = None  # [N,C,h,w]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two ways of computing one point are apart."""

    max_code_step: int
    num_off: int  # integers that differ
    share_off: float  # of all integers
    probability_gap: float  # between the tails, on the same integers
    exit_gap: float
    label_agreement: float  # from picture to answer, where the reference has decided

    def __str__(self) -> str:
        integers = "all integers equal"
        if self.num_off:
            integers = (
                f"{self.share_off:.2g} of the integers differ, by {self.max_code_step} or less"
            )
        return (
            f"{integers}; probabilities differ by {self.probability_gap:.1e} or less, those of the "
            f"early exit by {self.exit_gap:.1e}; {self.label_agreement:.1%} of the labels agree"
        )


def compare(
    reference: Outputs, candidate: Outputs, *, reference_tail_NK: NDArray[np.float32]
) -> Parity:
    """Return how far the candidate is from the reference.

    `reference_tail_NK` is what the reference makes of the candidate's integers: its own may
    differ by a step, which at few levels moves probabilities more than any wrong weight.
    """
    max_step, num_off, share_off, exit_gap = 0, 0, 0.0, 0.0
    if reference.integers is not None:
        assert candidate.integers is not None
        steps = np.abs(reference.integers.astype(np.int16) - candidate.integers.astype(np.int16))
        max_step, num_off = int(steps.max()), int((steps > 0).sum())
        share_off = num_off / steps.size
    if reference.exit is not None:
        assert candidate.exit is not None
        exit_gap = _gap(reference.exit, candidate.exit)
    return Parity(
        max_code_step=max_step,
        num_off=num_off,
        share_off=share_off,
        probability_gap=_gap(reference_tail_NK, candidate.probabilities),
        exit_gap=exit_gap,
        label_agreement=_label_agreement(reference.probabilities, candidate.probabilities),
    )


def worst(found: Sequence[Parity]) -> Parity:
    """Return the largest difference of each kind."""
    return Parity(
        max_code_step=max(parity.max_code_step for parity in found),
        num_off=max(parity.num_off for parity in found),
        share_off=max(parity.share_off for parity in found),
        probability_gap=max(parity.probability_gap for parity in found),
        exit_gap=max(parity.exit_gap for parity in found),
        label_agreement=min(parity.label_agreement for parity in found),
    )


def check_parity(parity: Parity, *, where: str) -> None:
    """Raise GateError unless the exported graphs do what was trained."""
    share_off = parity.share_off if parity.num_off > MAX_NUM_OFF else 0.0
    limits = (
        ("integers differ by", parity.max_code_step, MAX_CODE_STEP),
        ("share of integers that differ is", share_off, MAX_SHARE_OFF),
        ("probabilities differ by", parity.probability_gap, MAX_PROBABILITY_GAP),
        ("the early exit's probabilities differ by", parity.exit_gap, MAX_PROBABILITY_GAP),
    )
    for what, found, allowed in limits:
        # Written so that NaN fails too.
        if not found <= allowed:
            raise _failed(where, f"{what} {found:.3g}, at most {allowed:.3g} is allowed")
    if not parity.label_agreement >= MIN_LABEL_AGREEMENT:
        agree, least = parity.label_agreement, MIN_LABEL_AGREEMENT
        raise _failed(where, f"labels agree on {agree:.1%} of pictures, expected {least:.0%}")


def _label_agreement(reference_NK: NDArray[np.float32], candidate_NK: NDArray[np.float32]) -> float:
    # A column of zeros is a rival that even a single label has.
    ordered_NK = np.sort(np.pad(reference_NK, ((0, 0), (0, 1))), axis=1)
    decided_N = ordered_NK[:, -1] - ordered_NK[:, -2] > UNDECIDED_MARGIN
    agree_N = reference_NK.argmax(axis=1) == candidate_NK.argmax(axis=1)
    return float(agree_N[decided_N].mean()) if decided_N.any() else 1.0


def _gap(a_NK: NDArray[np.float32], b_NK: NDArray[np.float32]) -> float:
    return float(np.abs(a_NK - b_NK).max())


def _failed(where: str, reason: str) -> GateError:
    return GateError(
        f"{where}: exported graphs and trained member are not the same: {reason}; "
        "nothing was written, report this with the model's code"
    )
