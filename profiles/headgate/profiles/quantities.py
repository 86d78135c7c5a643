"""Refuses numbers of a manifest that are no sizes, bytes or times, before they are allocated."""

from collections.abc import Mapping
from math import prod

from headgate.profiles.errors import FamilyError

MAX_VALUES = 1 << 26  # of a picture or of features: more is a damaged number, not a size


def check_shapes(shapes: Mapping[str, tuple[int, ...]], *, where: str) -> None:
    """Refuse shapes, by their place in the manifest, that are empty or that nothing could hold."""
    for place, shape in shapes.items():
        if min(shape) < 1 or prod(shape) > MAX_VALUES:
            raise FamilyError(
                f"{where}.{place}: {list(shape)}, expected sizes above 0 and at most {MAX_VALUES} "
                "values; export the family again"
            )


def check_amounts(amounts: Mapping[str, float], *, where: str) -> None:
    """Refuse bytes and seconds, by their place in the manifest, that are below 0."""
    for place, amount in amounts.items():
        if amount < 0:
            raise FamilyError(
                f"{where}.{place}: found {amount:g}, expected 0 or more; export the family again"
            )
