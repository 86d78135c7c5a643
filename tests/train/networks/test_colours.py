"""Claims about what `--normalise` may say."""

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.networks.colours import Scaling, scaling_from_text

OF_DATA = Scaling((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("data", (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)),
        ("unit", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("0.5,0.5,0.5:0.25,1,2", (0.5, 0.5, 0.5), (0.25, 1.0, 2.0)),
    ],
)
def test_a_scaling_has_a_name_or_six_numbers(
    text: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    scaling = scaling_from_text(text, of_data=OF_DATA)
    assert (scaling.mean, scaling.std) == (mean, std)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected data, unit, imagenet"),
        ("cifar", "expected data, unit, imagenet"),
        ("0.5", "expected data, unit, imagenet"),
        ("0.5,0.5,0.5", "expected data, unit, imagenet"),
        ("0.5,0.5,0.5:1,1", "expected data, unit, imagenet"),
        ("0.5,0.5,0.5:1,1,1:2", "expected data, unit, imagenet"),
        ("0.5,0.5,0.5:1,0,1", "deviations above 0"),
        ("0.5,nan,0.5:1,1,1", "expected finite numbers"),
        ("0.5,0.5,0.5:1,inf,1", "expected finite numbers"),
    ],
)
def test_what_is_no_scaling_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^--normalise: found .*{message}"):
        scaling_from_text(text, of_data=OF_DATA)
