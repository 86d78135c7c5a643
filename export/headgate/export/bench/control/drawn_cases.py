"""Ladders of points, and links to run them over, made by chance from a seed.

Whoever tunes a controller on a few ladders and links finds what suits them. These have sizes over
three decades, accuracies that rise fast or slowly, points too slow for the deadline, links that
carry ten times too much or never enough, and nothing of what the recorded links are like. In turns
the same links carry nothing between two moments and then all at once, as radio does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from headgate.profiles.ladder import Ladder, LadderPoint, ladder_manifest
from headgate.profiles.manifest import Manifest, PointKind
from headgate.profiles.trace import Trace

MAX_SPLITS, MAX_PICTURES = 8, 5
HAS_EXIT, HAS_LOCAL = 0.5, 0.85  # the share of ladders that do
SLAS_S, RTTS_S, FPS = (0.05, 0.1, 0.2, 0.5), (0.005, 0.02, 0.05), (5.0, 10.0, 15.0, 30.0)
RTT_OF_SLA = 0.6  # at most, else nothing could be sent
STEPS_S = (0.02, 0.05, 0.1, 0.2)  # how long a link's rate holds
LINK_S = 20.0
PACKET_BITS, LEAST_PACKETS_PER_S = 8 * 1500, 20  # of links in turns
TURN_S = 0.001  # in which all packets of one are carried


@dataclass(frozen=True, slots=True)
class DrawnCase:
    """One ladder over one link."""

    seed: int
    manifest: Manifest
    trace: Trace  # named after its kind
    sla_s: float
    rtt_s: float
    fps: float


def draw_case(seed: int, *, layers: bool, turns: bool = False) -> DrawnCase:
    """Return the case of a seed; its split points are prefixes of one member, if in `layers`.

    `turns`: its link carries packets, each in its turn, LEAST_PACKETS_PER_S about or more.
    """
    source = Random(seed)
    points = _splits(source, layers=layers) + _pictures(source)
    if points[0].exit_accuracy is not None:  # as every export has it
        exit_accuracy, device_ms = points[0].exit_accuracy, points[0].device_ms
        exit_point = LadderPoint("local-exit", PointKind.LOCAL, exit_accuracy, device_ms=device_ms)
        points.append(exit_point)
    if source.random() < HAS_LOCAL:
        accuracy, device_ms = source.uniform(0.25, 0.75), 10 ** source.uniform(0.3, 2)
        points.append(LadderPoint("local", PointKind.LOCAL, accuracy, device_ms=device_ms))
    sla_s, fps = source.choice(SLAS_S), source.choice(FPS)
    rtt_s = source.choice([rtt_s for rtt_s in RTTS_S if rtt_s <= RTT_OF_SLA * sla_s])
    sizes = [point.bytes for point in points if point.bytes]
    # A rate at which some of the points just fit, or for six times as much.
    num_bytes = 10 ** source.uniform(math.log10(min(sizes)), math.log10(2 * max(sizes)))
    rate_bps = 8 * num_bytes * fps * 10 ** source.uniform(-0.2, 0.8)
    if turns:
        rate_bps = max(rate_bps, LEAST_PACKETS_PER_S * PACKET_BITS)
    trace = draw_link(source, rate_bps)
    if turns:
        trace = in_turns(trace, Random(f"turns of {seed}"))
    manifest = ladder_manifest(Ladder(tuple(points), name="drawn"))
    return DrawnCase(seed, manifest, trace, sla_s, rtt_s, fps)


def _splits(source: Random, *, layers: bool) -> list[LadderPoint]:
    count = source.randint(1, MAX_SPLITS)
    least_bytes = 10 ** source.uniform(1.5, 3.7)
    most_bytes = least_bytes * 10 ** source.uniform(0.2, 1.5)
    worst = source.uniform(0.3, 0.7)
    best = worst + source.uniform(0.01, 0.25)
    device_ms, edge_ms = 10 ** source.uniform(-0.3, 1.4), 10 ** source.uniform(0, 1)
    exit_accuracy = source.uniform(0.2, best) if source.random() < HAS_EXIT else None
    points = []
    for index, share in enumerate(_shares(count)):
        points.append(
            LadderPoint(
                f"s-p{index + 1}",
                PointKind.SPLIT,
                worst + (best - worst) * (1 - (1 - share) ** 2),
                bytes=least_bytes * (most_bytes / least_bytes) ** share,
                exit_accuracy=exit_accuracy,
                member="s" if layers else None,
                prefix=index + 1 if layers else None,
                device_ms=device_ms,
                edge_ms=edge_ms,
            )
        )
    return points


def _pictures(source: Random) -> list[LadderPoint]:
    count = source.randint(0, MAX_PICTURES)
    least_bytes = 10 ** source.uniform(2.4, 3.8)
    most_bytes = least_bytes * 10 ** source.uniform(0.3, 1.3)
    worst = source.uniform(0.3, 0.8)
    best = worst + source.uniform(0.02, 0.2)
    device_ms, edge_ms = 10 ** source.uniform(-0.5, 1), 10 ** source.uniform(0, 1.2)
    points = []
    for index, share in enumerate(_shares(count)):
        points.append(
            LadderPoint(
                f"jpeg-{index}",
                PointKind.OFFLOAD,
                worst + (best - worst) * share**0.5,
                bytes=least_bytes * (most_bytes / least_bytes) ** share,
                picture_format="jpeg",
                device_ms=device_ms,
                edge_ms=edge_ms,
            )
        )
    return points


def _shares(count: int) -> list[float]:
    """Return how far up each of so many points is: 0 to 1, or 1 if there is one."""
    return [index / (count - 1) for index in range(count)] if count > 1 else [1.0]


def draw_link(source: Random, rate_bps: float) -> Trace:
    """Return a link of about that rate, of a kind that is drawn as well."""
    kind = source.choice(tuple(_LINKS))
    step_s = source.choice(STEPS_S)
    factors = _LINKS[kind](source, round(LINK_S / step_s), step_s)
    times_s = tuple(index * step_s for index in range(len(factors)))
    rates_bps = tuple(rate_bps * max(0.0, factor) for factor in factors)
    return Trace(kind, times_s, rates_bps, step_s * len(factors))


def in_turns(trace: Trace, source: Random) -> Trace:
    """Return a link that carries the same, in whole packets whose turns are drawn.

    The turns come evenly or by chance, 5 to 60 ms apart in the mean. What they cannot carry in
    whole packets waits for the next.
    """
    mean_s, evenly = 10 ** source.uniform(-2.3, -1.2), source.random() < 0.5
    times_s, rates_bps, now_s, carried = [0.0], [0.0], 0.0, 0
    while True:
        gap_s = mean_s if evenly else source.expovariate(1 / mean_s)
        now_s += max(2 * TURN_S, gap_s)
        if now_s + TURN_S >= trace.duration_s:
            return Trace(f"{trace.name}, in turns", tuple(times_s), tuple(rates_bps), now_s)
        packets = int(trace.served_bits(now_s) / PACKET_BITS) - carried
        if packets > 0:
            carried += packets
            times_s += [now_s, now_s + TURN_S]
            rates_bps += [packets * PACKET_BITS / TURN_S, 0.0]


def _steady(source: Random, count: int, step_s: float) -> list[float]:
    return [1.0] * count


def _walk(source: Random, count: int, step_s: float) -> list[float]:
    """The rate's logarithm wanders, and comes back."""
    kept = math.exp(-step_s / 10 ** source.uniform(-0.3, 1))
    spread = source.uniform(0.15, 0.9)
    place, factors = source.gauss(0, spread), []
    for _ in range(count):
        factors.append(math.exp(place))
        place = kept * place + spread * math.sqrt(1 - kept * kept) * source.gauss(0, 1)
    return factors


def _two_states(source: Random, count: int, step_s: float) -> list[float]:
    """Good and bad times, of lengths that do not foretell their end."""
    low = 10 ** source.uniform(-2, -0.3)
    good_s, bad_s = 10 ** source.uniform(-0.5, 0.9), 10 ** source.uniform(-0.9, 0.6)
    good, factors = True, []
    for _ in range(count):
        factors.append(1.0 if good else low)
        if source.random() < step_s / (good_s if good else bad_s):
            good = not good
    return factors


def _square(source: Random, count: int, step_s: float) -> list[float]:
    half_s, low = 10 ** source.uniform(-0.6, 0.8), 10 ** source.uniform(-1, -0.1)
    return [1.0 if (index * step_s) % (2 * half_s) < half_s else low for index in range(count)]


def _outages(source: Random, count: int, step_s: float) -> list[float]:
    factors = [1.0] * count
    for _ in range(source.randint(1, 5)):
        begin = source.randrange(count)
        for index in range(
            begin, min(count, begin + int(10 ** source.uniform(-0.7, 0.5) / step_s))
        ):
            factors[index] = 0.0
    return factors


def _noisy(source: Random, count: int, step_s: float) -> list[float]:
    spread = source.uniform(0.3, 1.2)
    return [math.exp(source.gauss(0, spread) - spread * spread / 2) for _ in range(count)]


def _ramp(source: Random, count: int, step_s: float) -> list[float]:
    end = 10 ** source.uniform(-1.5, 1)
    return [end ** (index / count) for index in range(count)]


def _mixed(source: Random, count: int, step_s: float) -> list[float]:
    """What mobile links have at once: levels that change, a wandering rate, and noise."""
    place, level, factors = 0.0, 1.0, []
    for _ in range(count):
        place = 0.98 * place + 0.15 * source.gauss(0, 1)
        if source.random() < step_s / 4:
            level = source.choice((0.2, 0.5, 1.0, 1.0, 2.0))
        factors.append(level * math.exp(place) * max(0.05, 1 + 0.4 * source.gauss(0, 1)))
    return factors


_LINKS: dict[str, Callable[[Random, int, float], list[float]]] = {
    "steady": _steady,
    "walk": _walk,
    "two states": _two_states,
    "square": _square,
    "outages": _outages,
    "noisy": _noisy,
    "ramp": _ramp,
    "mixed": _mixed,
}
