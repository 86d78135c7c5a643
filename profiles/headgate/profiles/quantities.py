"""Refuses numbers of a manifest that are no sizes, bytes or times, before they are allocated."""

from collections.abc import Mapping
from math import prod

from headgate.profiles.errors import FamilyError

MAX_VALUES = 1 << 26  # of a picture or of features: more is a damaged number, not a size
MAX_AMOUNT = 1e12  # of bytes, seconds or a curve's numbers: more cannot be reckoned with


def check_shapes(shapes: Mapping[str, tuple[int, ...]], *, where: str) -> None:
    """Refuse shapes, by their place in the manifest, that are empty or that nothing could hold."""
    for place, shape in shapes.items():
        if min(shape) < 1 or prod(shape) > MAX_VALUES:
            raise FamilyError(
                f"{where}.{place}: {list(shape)}, expected sizes above 0 and at most {MAX_VALUES} "
                "values; export the family again"
            )


def check_amounts(amounts: Mapping[str, float], *, where: str) -> None:
    """Refuse bytes and seconds, by their place in the manifest, that nothing can take."""
    for place, amount in amounts.items():
        if not 0 <= amount <= MAX_AMOUNT:
            raise FamilyError(
                f"{where}.{place}: found {amount:g}, expected 0 to {MAX_AMOUNT:g}; "
                "export the family again"
            )
