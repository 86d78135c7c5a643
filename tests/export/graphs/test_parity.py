"""Claims about headgate.export.graphs.parity."""

from dataclasses import replace

import numpy as np
import pytest

from headgate.export.graphs.parity import Outputs, Parity, check_parity, compare, worst
from headgate.profiles.errors import GateError

EQUAL = Parity(
    max_code_step=0,
    num_off=0,
    share_off=0.0,
    probability_gap=0.0,
    exit_gap=0.0,
    label_agreement=1.0,
)


def outputs(*, probability: float = 0.75, integer: int = 3) -> Outputs:
    probabilities_NK = np.array([[probability, 1 - probability]], dtype=np.float32)
    integers = np.full((1, 1, 2, 2), 3, dtype=np.uint8)
    integers[0, 0, 0, 0] = integer
    return Outputs(probabilities_NK, probabilities_NK, integers)


def test_equal_outputs_pass() -> None:
    parity = compare(outputs(), outputs(), reference_tail_NK=outputs().probabilities)
    assert parity == EQUAL
    check_parity(parity, where="point p")


def test_integers_are_compared_without_wrapping_around() -> None:
    parity = compare(
        outputs(integer=0), outputs(integer=255), reference_tail_NK=outputs().probabilities
    )
    assert (parity.max_code_step, parity.share_off) == (255, 0.25)


def test_one_integer_of_few_may_fall_the_other_way() -> None:
    moved = outputs(integer=2)
    parity = compare(outputs(), moved, reference_tail_NK=moved.probabilities)
    assert (parity.num_off, parity.share_off) == (1, 0.25)
    check_parity(parity, where="point p")


def test_two_integers_may_always_differ_and_three_of_few_may_not() -> None:
    check_parity(replace(EQUAL, num_off=2, share_off=0.5, max_code_step=1), where="point p")
    with pytest.raises(GateError, match="share of integers"):
        check_parity(replace(EQUAL, num_off=3, share_off=0.5, max_code_step=1), where="point p")


def test_a_single_probability_that_differs_is_the_gap() -> None:
    reference = Outputs(np.array([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1]], np.float32))
    moved = Outputs(np.array([[0.5, 0.3, 0.2], [0.8, 0.1, 0.05]], np.float32))
    parity = compare(reference, moved, reference_tail_NK=reference.probabilities)
    assert parity.probability_gap == pytest.approx(0.05)


def test_a_tail_is_judged_on_the_integers_it_got() -> None:
    moved = outputs(probability=0.5, integer=2)
    parity = compare(outputs(), moved, reference_tail_NK=moved.probabilities)
    assert parity.probability_gap == 0.0


def test_a_label_between_which_the_reference_has_not_decided_does_not_count() -> None:
    for probability, agreement in ((0.505, 1.0), (0.6, 0.0)):
        reference = outputs(probability=probability)
        moved = outputs(probability=0.495)
        parity = compare(reference, moved, reference_tail_NK=moved.probabilities)
        assert parity.label_agreement == agreement


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (replace(EQUAL, max_code_step=2), "integers differ by 2"),
        (replace(EQUAL, num_off=3, share_off=0.002), "share of integers"),
        (replace(EQUAL, probability_gap=0.02), "probabilities differ by 0.02"),
        (replace(EQUAL, probability_gap=float("nan")), "probabilities differ by nan"),
        (replace(EQUAL, exit_gap=0.02), "early exit"),
        (replace(EQUAL, label_agreement=0.9), "labels agree on 90.0%"),
    ],
)
def test_each_difference_fails_the_gate_and_is_named(broken: Parity, said: str) -> None:
    with pytest.raises(GateError, match=f"point p: .*{said}.*nothing was written"):
        check_parity(broken, where="point p")


def test_the_worst_of_several_points_is_reported() -> None:
    found = worst([replace(EQUAL, share_off=0.1), replace(EQUAL, label_agreement=0.5)])
    assert found == replace(EQUAL, share_off=0.1, label_agreement=0.5)
    most = Parity(1, 3, 0.2, 0.3, 0.4, 0.9)
    assert worst([most, EQUAL]) == worst([EQUAL, most]) == most


def test_what_differs_is_said_in_words() -> None:
    assert str(EQUAL).startswith("all integers equal; probabilities differ by 0.0e+00 or less")
    off = replace(EQUAL, num_off=3, share_off=0.00012, max_code_step=1)
    assert str(off).startswith("0.00012 of the integers differ, by 1 or less; ")
