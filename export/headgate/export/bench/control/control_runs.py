"""Runs of the control benchmark: every policy over one trace at one SLA and round-trip time.

Two modes, never mixed. `bare`: a late frame earns nothing, and nothing answers in the edge's
place, so that the policies' bets are told apart. `insured`: as the product runs, the early exit's
or a rescue's answer is delivered at the deadline, for rivals and oracle alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from headgate.export.bench.compare import RunScore, score_run
from headgate.export.bench.control.control_points import EVERYTHING, within
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind, PointTime
from headgate.profiles.profile import Profile, allowed_points
from headgate.profiles.trace import Trace
from headgate.runtime.choice.own_answers import exit_quality, has_exit
from headgate.runtime.session.frame_fate import DEFAULT_SETTINGS
from headgate.runtime.simulation.oracle import OraclePoint, OwnAnswer, oracle_credit
from headgate.runtime.simulation.rivals import RIVALS, Whole
from headgate.runtime.simulation.simulate import (
    Lateness,
    Link,
    Machines,
    Pace,
    PolicyFor,
    Scenario,
    simulate,
)
from headgate.runtime.simulation.simulated_answers import payload_bytes
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES

OURS, ORACLE, LOCAL, FIXED = "headgate", "oracle", "local only", "best fixed in hindsight"
JPEG = "JPEG, adaptive quality"
WHOLE, PICTURES = f"{OURS}, prefixes sent whole", f"{OURS}, pictures only"
NUM_FIXED = 2  # so many fixed points are simulated after all were ranked by a quick count
BACKLOG_S = 1.0  # in the quick count: a queue longer than this takes no more frames


class Mode(Enum):
    """What a late frame earns."""

    BARE = "bare"
    INSURED = "insured"


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the table over one trace."""

    mode: Mode
    sla_s: float
    rtt_s: float
    fps: float
    duration_s: float
    jitter_s: float = 0.0
    late_s: float = 0.0  # the mean, of the loops of device and edge
    profile: Profile = EVERYTHING  # all policies and the oracle keep to its points

    @property
    def num_frames(self) -> int:
        """Frames that the simulator captures."""
        return sum(1 for _ in capture_times_s(self))


@dataclass(frozen=True, slots=True)
class Run:
    """What one policy came to. Misses are frames without any answer within the SLA."""

    policy: str
    credited: float
    miss_share: float
    mean_bytes: float
    switches_per_s: float


@dataclass(frozen=True, slots=True)
class CaseRuns:
    """All policies on one trace in one case."""

    trace: str
    case: Case
    runs: tuple[Run, ...]

    def credited(self, policy: str) -> float | None:
        """Return the policy's mean credit per frame, or None if it did not run here."""
        return next((run.credited for run in self.runs if run.policy == policy), None)


def run_case(manifest: Manifest, trace: Trace, case: Case) -> CaseRuns:
    """Run every policy over `trace`: the references, ours, and its rivals."""
    ours = run_ours(manifest, trace, case)
    return replace(ours, runs=(*ours.runs, *_rivals(_in_mode(manifest, case.mode), trace, case)))


def run_ours(manifest: Manifest, trace: Trace, case: Case) -> CaseRuns:
    """Run ours and the references only."""
    manifest = _in_mode(manifest, case.mode)
    ours = _simulated(OURS, manifest, trace, case)
    return CaseRuns(trace.name, case, (*_references(manifest, trace, case), ours))


def is_progressive(manifest: Manifest) -> bool:
    """Whether some points are prefixes that may be sent layer by layer."""
    return any(point.prefix is not None for point in manifest.points)


def without_exits(manifest: Manifest) -> Manifest:
    """Return the manifest with split points as plain ones, whose late frames earn nothing.

    Progressive points stay what they are, on heads without an exit.
    """
    points = tuple(
        replace(point, kind=PointKind.OFFLOAD, graph=manifest.full_graph, twin=None)
        if point.kind is PointKind.SPLIT and point.prefix is None
        else point
        for point in manifest.points
    )
    members = tuple(replace(member, exit_metrics={}) for member in manifest.members)
    return replace(manifest, points=points, members=members)


def capture_times_s(case: Case) -> Iterator[float]:
    """Yield when frames are captured, as the simulator does."""
    frame_id = 0
    while frame_id == 0 or frame_id / case.fps < case.duration_s:
        yield frame_id / case.fps
        frame_id += 1


def local_run(manifest: Manifest, case: Case, *, policy: str = LOCAL) -> Run:
    """Return what the best local point earns by itself; all frames miss if none meets the SLA.

    A point that takes longer than a period answers only so many frames.
    """
    best = Run(policy, 0.0, 1.0, 0.0, 0.0)
    for point in _local_in_time(manifest, case):
        device_s = point_times(manifest)[point.id].device_s
        answered = min(1.0, 1 / (case.fps * max(1e-9, device_s)))
        if manifest.quality(point) * answered > best.credited:
            best = Run(policy, manifest.quality(point) * answered, 1 - answered, 0.0, 0.0)
    return best


def _local_in_time(manifest: Manifest, case: Case) -> list[OperatingPoint]:
    times = point_times(manifest)
    return [
        point
        for point in allowed_points(case.profile, manifest)
        if point.kind is PointKind.LOCAL and times[point.id].device_s <= case.sla_s
    ]


def point_times(manifest: Manifest) -> dict[str, PointTime]:
    """Return the compute times that the simulator takes: those of the first machine."""
    return dict(next(iter(manifest.times.values()), {}))


def _references(manifest: Manifest, trace: Trace, case: Case) -> Iterator[Run]:
    """Yield the oracle, local only, and the best fixed point."""
    yield Run(ORACLE, _oracle(manifest, trace, case), 0.0, 0.0, 0.0)
    yield local_run(manifest, case)
    allowed = allowed_points(case.profile, manifest)
    sending = [point for point in allowed if point.kind is not PointKind.LOCAL]
    ranked = sorted(sending, key=lambda p: -_quick_count(manifest, p, trace, case))
    fixed = [
        _simulated(FIXED, manifest, trace, case, policy=lambda _: Whole, fixed=point.id)
        for point in ranked[:NUM_FIXED]
    ]
    fixed.append(local_run(manifest, case, policy=FIXED))
    yield max(fixed, key=lambda run: run.credited)


def _rivals(manifest: Manifest, trace: Trace, case: Case) -> Iterator[Run]:
    """Yield ours with its hands tied, the rivals, and what adapts the quality of JPEGs."""
    allowed = allowed_points(case.profile, manifest)
    local = [point for point in manifest.points if point.kind is PointKind.LOCAL]
    if any(point.prefix is not None for point in allowed):
        yield _simulated(WHOLE, manifest, trace, case, policy=lambda _: Whole)
        offload = [point for point in allowed if point.kind is PointKind.OFFLOAD]
        if offload:
            only = replace(manifest, points=(*local, *offload))
            yield _simulated(PICTURES, only, trace, case)
    for name, policy in RIVALS.items():
        yield _simulated(name, manifest, trace, case, policy=policy)
    pictures = [point for point in allowed if point.picture_format == "jpeg"]
    if pictures:
        only = replace(manifest, points=(*local, *pictures))
        yield _simulated(JPEG, only, trace, case, policy=RIVALS["EWMA x 0.5"])


def _in_mode(manifest: Manifest, mode: Mode) -> Manifest:
    return without_exits(manifest) if mode is Mode.BARE else manifest


def _oracle(manifest: Manifest, trace: Trace, case: Case) -> float:
    times, points = point_times(manifest), []
    own_answers = [
        OwnAnswer(manifest.quality(point), times[point.id].device_s)
        for point in _local_in_time(manifest, case)
    ]
    for point in allowed_points(case.profile, manifest):
        if point.kind is PointKind.LOCAL:
            continue
        sla_s = case.sla_s
        cost = times[point.id]
        if point.kind is PointKind.SPLIT and has_exit(manifest, point):
            # Its exit is delivered a little before the deadline.
            sla_s -= DEFAULT_SETTINGS.guard_s
            own_answers.append(OwnAnswer(exit_quality(manifest, point), cost.device_s))
        sizes = [
            payload_bytes(point, frame) + MESSAGE_OVERHEAD_BYTES for frame in range(case.num_frames)
        ]
        points.append(
            OraclePoint(manifest.quality(point), cost.device_s, cost.edge_s, sla_s, np.array(sizes))
        )
    return oracle_credit(
        trace,
        _undominated(points),
        rtt_s=case.rtt_s,
        fps=case.fps,
        num_frames=case.num_frames,
        own_answers=own_answers,
    )


def _undominated(points: Sequence[OraclePoint]) -> list[OraclePoint]:
    """Leave out points that another equals or beats in everything: the oracle never needs them."""

    def beats(a: OraclePoint, b: OraclePoint) -> bool:
        return (
            a.quality >= b.quality
            and a.device_s <= b.device_s
            and a.edge_s <= b.edge_s
            and a.sla_s >= b.sla_s
            and bool((a.sizes_bytes <= b.sizes_bytes).all())
        )

    kept: list[OraclePoint] = []
    for point in sorted(points, key=lambda p: -p.quality):
        if not any(beats(other, point) for other in kept):
            kept.append(point)
    return kept


def _quick_count(manifest: Manifest, point: OperatingPoint, trace: Trace, case: Case) -> float:
    """Return about what a point earns if every frame takes it for which device and link are free.

    A frame that waits for the device is lost to the next one, as when frames are played.
    """
    cost, on_time = point_times(manifest)[point.id], 0
    device_s = link_s = edge_s = 0.0  # when each is free again
    for frame, captured_s in enumerate(capture_times_s(case)):
        if link_s > captured_s + BACKLOG_S or device_s >= captured_s + 1 / case.fps:
            continue
        num_bytes = payload_bytes(point, frame) + MESSAGE_OVERHEAD_BYTES
        device_s = max(device_s, captured_s) + cost.device_s
        link_s = trace.finish_s(max(link_s, device_s), num_bytes)
        edge_s = max(edge_s, link_s) + cost.edge_s
        on_time += edge_s + case.rtt_s <= captured_s + case.sla_s
    return on_time * manifest.quality(point)


def _simulated(
    name: str,
    manifest: Manifest,
    trace: Trace,
    case: Case,
    *,
    policy: PolicyFor | None = None,
    fixed: str | None = None,
) -> Run:
    profile = within(case.profile, manifest)
    assert profile is not None, "callers leave some allowed point"
    records = simulate(
        manifest,
        Scenario(
            profile=profile,
            link=Link(trace, case.rtt_s, jitter_s=case.jitter_s),
            pace=Pace(case.fps, case.duration_s),
            sla_s=case.sla_s,
            fixed=fixed,
            policy=policy,
            insured=case.mode is Mode.INSURED,
            machines=Machines(Lateness(mean_s=case.late_s), Lateness(mean_s=case.late_s)),
        ),
    )
    return run_of(score_run(records, name=name, measured=False), case)


def run_of(score: RunScore, case: Case) -> Run:
    """Return the figures of one run."""
    return Run(
        policy=score.name,
        credited=score.credited,
        miss_share=1 - score.in_time,
        mean_bytes=score.mean_bytes,
        switches_per_s=score.summary.switches / case.duration_s,
    )
