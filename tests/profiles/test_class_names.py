import pytest

from headgate.profiles.class_names import match_classes
from headgate.profiles.errors import DataError

KNOWN = ("red", "green", "blue")


def test_classes_are_matched_by_name_in_any_order() -> None:
    assert match_classes(("blue", "red"), KNOWN, where="x") == [2, 0]
    assert match_classes(("0", "1"), KNOWN, where="x") == [0, 1]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (("red", "pink"), "1 of its 2 classes are not the family's ('pink'; the family has 'red'"),
        (tuple("0123"), "labels up to 3, the family has 3 classes"),
    ],
)
def test_classes_that_the_family_lacks_are_refused_by_name(
    found: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DataError) as refused:
        match_classes(found, KNOWN, where="data set x")
    assert said in str(refused.value)
