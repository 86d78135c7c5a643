"""On ladders and links made by chance the controller is not behind the best point in hindsight.

Whoever tunes on a few ladders and links finds what suits them. What hid here once: a picture that
asks for more bytes than a better split point kept that point from being considered, and split
points without an exit were simulated as if they had one that is never right.
"""

import random

from headgate.profiles.ladder import Ladder, LadderPoint, ladder_manifest
from headgate.profiles.manifest import Manifest, PointKind
from headgate.profiles.profile import Profile
from headgate.profiles.trace import Trace
from headgate.runtime.records import FrameRecord
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from runtime.simulated import most_credit

SEEDS = range(28, 40)


def random_ladder(source: random.Random) -> Manifest:
    """Up to five split points and up to two pictures beside answering here."""
    here, best = source.uniform(0.4, 0.65), source.uniform(0.7, 0.95)
    num, smallest, ratio = (
        source.randint(1, 5),
        10 ** source.uniform(2, 3.5),
        source.uniform(1.5, 3),
    )
    device_ms, edge_ms = source.choice([2, 5, 15]), source.choice([1, 4, 12])
    exit_accuracy = source.choice([None, here - 0.05])
    points = [LadderPoint("local", PointKind.LOCAL, here, device_ms=10)]
    for rung in range(num):
        quality = here + (best - here) * ((rung + 1) / num) ** 0.5
        points.append(
            LadderPoint(
                f"s{rung}",
                PointKind.SPLIT,
                quality,
                bytes=smallest * ratio**rung,
                exit_accuracy=exit_accuracy,
                device_ms=device_ms,
                edge_ms=edge_ms,
            )
        )
    for number in range(source.randint(0, 2)):
        points.append(
            LadderPoint(
                f"jpeg-q{20 * (number + 1)}",
                PointKind.OFFLOAD,
                here + (best - here) * (0.6 + 0.2 * number),
                bytes=smallest * ratio**num * (1 + number),
                picture_format="jpeg",
                device_ms=2,
                edge_ms=2 * edge_ms,
            )
        )
    return ladder_manifest(Ladder(tuple(points)))


def random_link(source: random.Random) -> Link:
    """A rate that jumps each 50 to 2,000 ms, by a factor of up to twenty."""
    middling_bps, spread = 10 ** source.uniform(5.3, 7), source.uniform(0, 1.5)
    times_s, now_s = [], 0.0
    while now_s < 10.0:
        times_s.append(now_s)
        now_s += source.uniform(0.05, 2.0)
    rates_bps = [middling_bps * 10 ** (spread * (source.random() - 0.7)) for _ in times_s]
    trace = Trace("random", tuple(times_s), tuple(rates_bps), now_s)
    return Link(trace, source.choice([0.005, 0.05]))


def credited(records: list[FrameRecord]) -> float:
    return sum(record.quality for record in records if record.deadline_met) / len(records)


def lead_over_the_best_point(seed: int) -> float:
    """Return what the controller is credited, less what the best point is that always goes."""
    source = random.Random(seed)
    manifest, link = random_ladder(source), random_link(source)
    pace = Pace(source.choice([10, 30, 30, 60]), 8.0)
    sla_s = source.choice([0.08, 0.1, 0.2, 0.5])

    def run(point: str | None) -> float:
        profile = Profile(name="random")
        return credited(
            simulate(
                manifest, Scenario(profile=profile, link=link, pace=pace, sla_s=sla_s, fixed=point)
            )
        )

    best = 0.0
    for point in sorted(manifest.points, key=lambda p: most_credit(p, manifest), reverse=True):
        if most_credit(point, manifest) > best:
            best = max(best, run(point.id))
    return run(None) - best


def test_controller_is_not_behind_the_best_point_in_hindsight() -> None:
    leads = [lead_over_the_best_point(seed) for seed in SEEDS]
    assert min(leads) > -0.01
    assert sum(leads) / len(leads) > 0.01
