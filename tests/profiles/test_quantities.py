"""Which numbers of a manifest are refused."""

import pytest

from headgate.profiles.errors import FamilyError
from headgate.profiles.quantities import check_amounts, check_shapes


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, -1, 4), (1, 1 << 20, 1 << 20)])
def test_a_shape_that_nothing_can_have_is_refused_with_its_place(shape: tuple[int, ...]) -> None:
    check_shapes({"input": (224, 224, 3)}, where="family.json")
    with pytest.raises(FamilyError, match=r"family\.json\.input: \[.*export the family again"):
        check_shapes({"input": shape}, where="family.json")


@pytest.mark.parametrize(("amount", "shown"), [(-3.0, "-3"), (1e13, "1e\\+13"), (1e308, "1e")])
def test_an_amount_that_nothing_can_take_is_refused_with_its_place(
    amount: float, shown: str
) -> None:
    check_amounts({"points.b1.bytes": 0.0, "points.b2.bytes": 1e12}, where="family.json")
    with pytest.raises(FamilyError, match=rf"family\.json\.points\.b1\.bytes: found {shown}"):
        check_amounts({"points.b1.bytes": amount}, where="family.json")
