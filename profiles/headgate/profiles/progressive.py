"""Progressive members: one head and one tail, whose maps are sent in layers, best first.

A prefix of the layers is an operating point like any other, with its own measured accuracy and
bytes. Points that are prefixes of one another form a series: a frame is sent as the largest of
them that is planned, and answered as whichever of them had arrived.
"""

from collections.abc import Iterable

from headgate.profiles.manifest import Member, OperatingPoint


def layer_bounds(member: Member) -> tuple[int, ...]:
    """Return where each layer begins among the member's maps, and where the last one ends."""
    bounds = [0]
    for num_maps in member.layers:
        bounds.append(bounds[-1] + num_maps)
    return tuple(bounds)


def maps_of_prefix(member: Member, prefix: int) -> int:
    """Return how many maps the first `prefix` layers have."""
    return sum(member.layers[:prefix])


def prefixes_of(
    point: OperatingPoint, points: Iterable[OperatingPoint]
) -> tuple[OperatingPoint, ...]:
    """Return the points among `points` that are the prefixes of this one, and it, by rising size.

    Empty for a point that is not progressive.
    """
    if point.prefix is None:
        return ()
    series = [
        each
        for each in points
        if each.prefix is not None and each.prefix <= point.prefix and each.series == point.series
    ]
    return tuple(sorted(series, key=lambda each: each.prefix or 0))
