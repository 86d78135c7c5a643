"""Claims about lists of numbers that options take."""

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.commands.number_lists import numbers_in, whole_numbers_in


def test_numbers_stand_between_commas() -> None:
    assert numbers_in("0, 1e-4,1e-3", option="--weights", example="0,1") == (0.0, 1e-4, 1e-3)
    assert whole_numbers_in("32, 8,2", option="--budgets", example="32,8") == (32, 8, 2)
    assert whole_numbers_in(" ", option="--budgets", example="32,8") == ()


@pytest.mark.parametrize("text", ["", "1;2", "1,,2", "1,two"])
def test_what_is_no_list_is_refused_by_its_option_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        numbers_in(text, option="--weights", example="0,1e-4")
    expected = f"--weights: {text!r} is not a list of numbers such as 0,1e-4"
    assert str(refused.value) == expected


@pytest.mark.parametrize("text", ["1.5", "1;2", "1,,2"])
def test_what_is_no_list_of_whole_numbers_is_refused_likewise(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--seeds: .* is not a list of whole numbers such as 0"):
        whole_numbers_in(text, option="--seeds", example="0,1,2")
