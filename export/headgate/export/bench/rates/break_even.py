"""From which bandwidth down splitting pays, encoding time included.

A frame takes device time, then its bytes over the uplink, then edge time; the round trip is the
same for all and matters only against an SLA or an answer that needs no link:

    time(rate) = device + 8 * bytes / rate + edge

Of two ways with unequal bytes and compute times, one is faster below the rate at which the times
are equal, and the other above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf

from headgate.export.bench.rates.rates_rows import Rates, Row, Series, undominated
from headgate.export.paired import difference

NAMED_POINTS = 4  # in a sentence


class Match(Enum):
    """How the accuracy of a pair's picture compares with its split point's."""

    AS_ACCURATE = "at least as accurate"
    WITHIN_NOISE = "not measurably less accurate"  # paired, at 5 %
    LESS_ACCURATE = "less accurate, the best picture there is"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one frame costs: payload bytes, and seconds on device and edge with coding."""

    num_bytes: float
    device_s: float
    edge_s: float

    @property
    def compute_s(self) -> float:
        return self.device_s + self.edge_s

    def time_s(self, *, rate_bps: float, rtt_s: float) -> float:
        """Return the time from capture to answer on a steady link; local answers need none."""
        if self.num_bytes <= 0:
            return self.compute_s
        return self.compute_s + 8 * self.num_bytes / rate_bps + rtt_s

    def least_rate_bps(self, *, sla_s: float, rtt_s: float) -> float:
        """Return the rate from which on the answer meets the SLA; infinite if it never does."""
        if self.num_bytes <= 0:
            return 0.0 if self.compute_s <= sla_s else inf
        left_s = sla_s - rtt_s - self.compute_s
        return inf if left_s <= 0 else 8 * self.num_bytes / left_s


@dataclass(frozen=True, slots=True)
class Pair:
    """A split point and the smallest picture that stands for the same accuracy."""

    split: Row
    picture: Row
    match: Match
    split_cost: Cost
    picture_cost: Cost

    @property
    def break_even_bps(self) -> float:
        """Splitting is faster below this rate: infinite if always, 0 if never."""
        return break_even_bps(self.split_cost, self.picture_cost)

    @property
    def weight(self) -> tuple[bool, float]:
        """How well the pair stands for all: equals first, then the more accurate."""
        return self.match is not Match.LESS_ACCURATE, self.split.accuracy


def break_even_bps(one: Cost, other: Cost) -> float:
    """Return the rate below which `one` is faster than `other`; infinite if always, 0 if never.

    Meant for a `one` with fewer bytes. With more bytes and less compute it would be faster above
    some rate instead; such a pair gives 0 here, which is right for "from which rate down".
    """
    saved_bytes = other.num_bytes - one.num_bytes
    extra_s = one.compute_s - other.compute_s
    if saved_bytes <= 0:
        return inf if saved_bytes == 0 and extra_s < 0 else 0.0
    return inf if extra_s <= 0 else 8 * saved_bytes / extra_s


def cost_of(row: Row, *, device_factor: float) -> Cost | None:
    """Return what a row costs on a device `device_factor` times slower; None without times."""
    if row.time is None:
        return None
    return Cost(row.mean_bytes, device_factor * row.time.device_s, row.time.edge_s)


def equal_pairs(rates: Rates, *, device_factor: float) -> list[Pair]:
    """Return each split point worth taking beside its picture; empty without times or pictures."""
    pairs = []
    pictures = rates.of(Series.JPEG, Series.WEBP)
    for split in undominated(rates.of(Series.SPLIT)):
        found = matching_picture(split, pictures)
        if found is None:
            continue
        picture, match = found
        split_cost = cost_of(split, device_factor=device_factor)
        picture_cost = cost_of(picture, device_factor=device_factor)
        if split_cost is not None and picture_cost is not None:
            pairs.append(Pair(split, picture, match, split_cost, picture_cost))
    return pairs


def matching_picture(split: Row, pictures: Sequence[Row]) -> tuple[Row, Match] | None:
    """Return the smallest picture that is as accurate, or what comes closest to that."""
    ordered = sorted(pictures, key=lambda row: row.mean_bytes)
    for picture in ordered:
        if picture.accuracy >= split.accuracy:
            return picture, Match.AS_ACCURATE
    for picture in ordered:
        if split.sample is not None and picture.sample is not None:
            gap = difference(split.sample.right_N, picture.sample.right_N)
            if not gap.significant:
                return picture, Match.WITHIN_NOISE
    if not ordered:
        return None
    return max(ordered, key=lambda row: row.accuracy), Match.LESS_ACCURATE


def break_even_lines(rates: Rates, pairs: Sequence[Pair], *, device_factor: float) -> list[str]:
    """Say from which bandwidth down splitting is faster; nothing where nothing is split."""
    if not rates.of(Series.SPLIT):
        return []
    if pairs:
        return [break_even_sentence(pairs, device_factor=device_factor)]
    missing = "Times are" if rates.of(Series.JPEG, Series.WEBP) else "Pictures to compare with are"
    return [
        f"{missing} missing, so no bandwidth can be named at which splitting starts to be faster."
    ]


def break_even_sentence(pairs: Sequence[Pair], *, device_factor: float) -> str:
    """Say in one sentence from which bandwidth down splitting is the faster way to an answer."""
    device = "" if device_factor == 1 else f" (device {device_factor:g} times slower than here)"
    opening = f"Counting encoding and compute{device}, splitting answers sooner"
    always = [pair for pair in pairs if pair.break_even_bps == inf]
    never = [pair for pair in pairs if pair.break_even_bps == 0]
    crossing = [pair for pair in pairs if 0 < pair.break_even_bps < inf]
    if crossing:
        said = f"{opening} {_span(crossing)}: {_example(crossing)}"
        if always:
            said += f"; with {_ids(always)} at any bandwidth"
        if never:
            said += f"; with {_ids(never)} at none"
        return said + "."
    if always:
        rest = f", but not with {_ids(never)}" if never else ""
        return (
            f"{opening} at any bandwidth with {_ids(always)}{rest}: fewer bytes and no more "
            "compute than the picture of that accuracy."
        )
    return f"{opening} at no bandwidth: pictures of the same accuracy are no larger."


def rate_text(rate_bps: float) -> str:
    """Write a rate with two digits and the unit that suits it."""
    if rate_bps == inf:
        return "any rate"
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate_bps >= size:
            return f"{_two_digits(rate_bps / size)} {unit}"
    return f"{_two_digits(rate_bps)} bit/s"


def _span(pairs: Sequence[Pair]) -> str:
    lowest = rate_text(min(pair.break_even_bps for pair in pairs))
    highest = rate_text(max(pair.break_even_bps for pair in pairs))
    if lowest == highest:
        return f"below {lowest}"
    return f"below {lowest} to {highest}, depending on the point"


def _example(pairs: Sequence[Pair]) -> str:
    """Spell out the pair that stands for all best."""
    pair = max(pairs, key=lambda pair: pair.weight)
    extra_ms = 1000 * (pair.split_cost.compute_s - pair.picture_cost.compute_s)
    same = {
        Match.AS_ACCURATE: "for at least that accuracy",
        Match.WITHIN_NOISE: "for an accuracy not measurably less",
        Match.LESS_ACCURATE: "and is less accurate",
    }[pair.match]
    return (
        f"{pair.split.id} sends {pair.split.mean_bytes:.0f} bytes where {pair.picture.id} needs "
        f"{pair.picture.mean_bytes:.0f} {same}, and computes {extra_ms:.1f} ms longer, so they "
        f"are equal at {rate_text(pair.break_even_bps)}"
    )


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _ids(pairs: Sequence[Pair]) -> str:
    ids = [pair.split.id for pair in pairs]
    more = len(ids) - NAMED_POINTS
    named = ", ".join(ids if more < 2 else ids[:NAMED_POINTS])
    return named if more < 2 else f"{named} and {more} more points"
