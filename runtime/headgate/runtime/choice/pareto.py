"""Points that no other beats in every respect."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from headgate.profiles.manifest import OperatingPoint

Item = TypeVar("Item")
Merits = tuple[float, ...]  # what a point has to offer, higher is better


def undominated(
    points: Sequence[OperatingPoint], merits: Callable[[OperatingPoint], Merits]
) -> tuple[OperatingPoint, ...]:
    """Return the points that no other equals in everything and beats in something, by bytes."""
    offers = [(point, merits(point)) for point in points]
    kept = [a for a, mine in offers if not any(_beats(other, mine) for _, other in offers)]
    return tuple(sorted(kept, key=lambda point: (point.bytes.mean, point.id)))


def worth_their_cost(
    items: Iterable[Item], *, cost: Callable[[Item], float], worth: Callable[[Item], float]
) -> list[Item]:
    """Return, by rising cost, the items that are worth more than each that costs no more."""
    kept: list[Item] = []
    for item in sorted(items, key=lambda item: (cost(item), -worth(item))):
        if not kept or worth(item) > worth(kept[-1]):
            kept.append(item)
    return kept


def _beats(a: Merits, b: Merits) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))
