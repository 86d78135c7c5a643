"""How a network wants its pictures: each colour, 0 to 1, less a mean and over a deviation."""

import math
from dataclasses import dataclass

from headgate.profiles.errors import UsageError

Colours = tuple[float, float, float]  # red, green, blue

EXPECTED = "data, unit, imagenet, or six numbers as 0.5,0.5,0.5:0.25,0.25,0.25 (means:deviations)"


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a colour's values, 0 to 1, are reduced by, and then divided by."""

    mean: Colours
    std: Colours


UNIT = Scaling((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGENET = Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # as most published weights


def scaling_from_text(text: str, *, of_data: Scaling) -> Scaling:
    """Return what `--normalise` asks for; `of_data` is the training pictures' own."""
    named = {"data": of_data, "unit": UNIT, "imagenet": IMAGENET}
    if text in named:
        return named[text]
    mean, _, std = text.partition(":")
    return Scaling(_colours(mean, text), _colours(std, text, above_zero=True))


def _colours(part: str, text: str, *, above_zero: bool = False) -> Colours:
    try:
        red, green, blue = (float(value) for value in part.split(","))
    except ValueError:
        raise UsageError(f"--normalise: found {text!r}, expected {EXPECTED}") from None
    for value in (red, green, blue):
        if not math.isfinite(value) or (above_zero and value <= 0):
            raise UsageError(
                f"--normalise: found {text!r}, expected finite numbers, and deviations above 0; "
                "they are of colours from 0 to 1, so divide those of 0 to 255 by 255"
            )
    return red, green, blue
