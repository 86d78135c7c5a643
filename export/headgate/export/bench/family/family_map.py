"""What the controller does with a family at each bandwidth and SLA, and over recorded links.

The real sessions run on the simulator's clock, over steady links for the map and over the user's
traces. Each run is repeated without split points: what they add is the difference, not what a
formula says. Nothing here writes or draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from headgate.profiles.errors import ProfileError
from headgate.profiles.manifest import Manifest, PointKind, PointTime
from headgate.profiles.profile import Profile, allowed_points
from headgate.profiles.trace import Trace
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate

PAYS = 0.005  # of accuracy: what splitting must add to be said to pay


class Way(Enum):
    """What answers most frames."""

    SPLIT = "split"
    PICTURE = "picture"
    LOCAL = "local"
    NONE = "none"  # most frames end without an answer in time


@dataclass(frozen=True, slots=True)
class Conditions:
    """Device, link and demands that all runs share. `times` are per point, in seconds."""

    profile: Profile
    times: Mapping[str, PointTime]
    rtt_s: float
    fps: float
    warm_up_s: float = 5.0  # of each steady run: the controller learns the link, unjudged
    steady_s: float = 10.0  # judged after that


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. Shares are of its frames."""

    way: Way
    point: str | None  # the commonest among the frames answered that way
    credited: float  # mean accuracy, late frames counting 0
    in_time: float
    mean_bytes: float
    shares: Mapping[Way, float]
    without_split: float | None  # credited with the same but no split points; None: nothing left

    @property
    def gain(self) -> float | None:
        """What split points add in accuracy."""
        return None if self.without_split is None else self.credited - self.without_split

    def to_json(self) -> dict[str, Any]:
        return {
            "way": self.way.value,
            "point": self.point,
            "credited": round(self.credited, 5),
            "credited_without_split": None
            if self.without_split is None
            else round(self.without_split, 5),
            "in_time": round(self.in_time, 5),
            "mean_bytes": round(self.mean_bytes, 1),
            "shares": {way.value: round(share, 4) for way, share in self.shares.items()},
        }


@dataclass(frozen=True, slots=True)
class Cell:
    """One steady link and one SLA."""

    rate_bps: float
    sla_s: float
    outcome: Outcome

    @property
    def pays(self) -> bool:
        """Whether splitting adds something here; always where nothing else is allowed."""
        gain = self.outcome.gain
        return self.outcome.shares.get(Way.SPLIT, 0.0) > 0 if gain is None else gain >= PAYS


@dataclass(frozen=True, slots=True)
class OverTrace:
    """One recorded link and one SLA."""

    trace: str
    mean_bps: float
    sla_s: float
    outcome: Outcome


def steady_map(
    manifest: Manifest,
    conditions: Conditions,
    *,
    rates_bps: Sequence[float],
    slas_s: Sequence[float],
) -> list[Cell]:
    """Run every steady link at every SLA."""
    pace = Pace(conditions.fps, conditions.warm_up_s + conditions.steady_s)
    from_s = conditions.warm_up_s
    cells = []
    for rate_bps in rates_bps:
        trace = Trace(f"steady {rate_bps:g}", (0.0,), (rate_bps,), 1.0)
        for sla_s in slas_s:
            scenario = _scenario(conditions, trace, pace, sla_s=sla_s)
            cells.append(Cell(rate_bps, sla_s, _outcome(manifest, scenario, from_s=from_s)))
    return cells


def over_trace(
    manifest: Manifest, conditions: Conditions, trace: Trace, *, sla_s: float, longest_s: float
) -> OverTrace:
    """Run one trace from its start, for as long as it is but at most `longest_s`."""
    # A trace of less than a frame would show nothing: it loops.
    pace = Pace(conditions.fps, max(min(trace.duration_s, longest_s), 10 / conditions.fps))
    scenario = _scenario(conditions, trace, pace, sla_s=sla_s)
    return OverTrace(trace.name, trace.mean_bps, sla_s, _outcome(manifest, scenario, from_s=0.0))


def slower(times: Mapping[str, PointTime], *, factor: float) -> dict[str, PointTime]:
    """Return the times of a device that is `factor` times slower, at the same edge."""
    return {key: PointTime(factor * time.device_s, time.edge_s) for key, time in times.items()}


def _scenario(conditions: Conditions, trace: Trace, pace: Pace, *, sla_s: float) -> Scenario:
    return Scenario(
        profile=conditions.profile,
        link=Link(trace, conditions.rtt_s),
        pace=pace,
        sla_s=sla_s,
        times=conditions.times,
    )


def _outcome(manifest: Manifest, scenario: Scenario, *, from_s: float) -> Outcome:
    """Return what became of the frames captured at `from_s` or later, with and without splits."""

    def run(profile: Profile) -> list[FrameRecord]:
        records = simulate(manifest, replace(scenario, profile=profile))
        return [record for record in records if record.captured_s >= from_s] or records

    records = run(scenario.profile)
    other = without_splits(scenario.profile, manifest)
    return _summed(records, without_split=None if other is None else _credited(run(other)))


def without_splits(profile: Profile, manifest: Manifest) -> Profile | None:
    """Return the profile without split points, or None if it then allows nothing."""
    kinds = tuple(kind for kind in profile.kinds if kind is not PointKind.SPLIT)
    if not kinds:
        return None
    found = replace(profile, kinds=kinds)
    try:
        allowed_points(found, manifest)
    except ProfileError:
        return None
    return found


def _summed(records: Sequence[FrameRecord], *, without_split: float | None) -> Outcome:
    ways = Counter(_way(record) for record in records)
    way = max(ways, key=lambda each: (ways[each], each is not Way.NONE))
    points = Counter(record.point for record in records if _way(record) is way)
    num = len(records)
    return Outcome(
        way=way,
        point=points.most_common(1)[0][0],
        credited=_credited(records),
        in_time=sum(record.deadline_met for record in records) / num,
        mean_bytes=sum(record.num_bytes for record in records) / num,
        shares={each: ways[each] / num for each in Way},
        without_split=without_split,
    )


def _way(record: FrameRecord) -> Way:
    """Tell by what answered, not by what was chosen: a late split frame is the exit's."""
    if not record.deadline_met or record.source is Source.NONE:
        return Way.NONE
    if record.source is Source.LOCAL:
        return Way.LOCAL
    return Way.SPLIT if record.kind == PointKind.SPLIT.value else Way.PICTURE


def _credited(records: Sequence[FrameRecord]) -> float:
    return sum(record.quality for record in records if record.deadline_met) / len(records)
