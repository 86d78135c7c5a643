"""Run the real sessions of devices and edge on a virtual clock, over a link that is a trace.

The link is that of `simulated_link`; loops are late as `simulated_loop` says; what happens next is
up to `simulated_world`. Compute times come from the manifest or the caller, payload sizes and
answers from `simulated_answers`. Nothing here is random, so two runs differ only by what was asked
of them. Several devices may share the link and the edge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import Manifest, OperatingPoint, PointTime
from headgate.profiles.profile import Profile, allowed_points
from headgate.runtime.choice.controller import Controller
from headgate.runtime.choice.policy import PolicyMaker
from headgate.runtime.records import FrameRecord
from headgate.runtime.session.device_session import DeviceSession
from headgate.runtime.session.frame_fate import SessionSettings
from headgate.runtime.simulation.simulated_answers import Answers
from headgate.runtime.simulation.simulated_link import Link, Uplink
from headgate.runtime.simulation.simulated_loop import Lateness, Machines
from headgate.runtime.simulation.simulated_world import Pace, World

__all__ = ["Lateness", "Link", "Machines", "Pace", "Scenario", "simulate", "simulate_many"]

PolicyFor = Callable[[Uplink], PolicyMaker]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated with a family: how frames come, over which link, and what decides.

    `sla_s` holds where the profile names none. `times` are the compute times per point (default:
    the manifest's, of its first machine). `correct` tells per point and picture whether the answer
    is right (early exits under `MEMBER/exit`); without it the records hold no truth, and their
    `quality` says what each answer is worth. `policy` decides instead of our controller; it is
    handed the link's state, for rivals that know more than a device can.
    """

    profile: Profile
    link: Link
    pace: Pace
    sla_s: float | None = None
    fixed: str | None = None  # the one point to use instead of the profile's choice
    times: Mapping[str, PointTime] | None = None
    correct: Mapping[str, Sequence[bool]] | None = None
    policy: PolicyFor | None = None
    insured: bool = True  # False: nothing answers in the edge's place, neither exit nor rescue
    machines: Machines = field(default_factory=Machines)  # how late loops are; here never


def simulate(manifest: Manifest, scenario: Scenario) -> list[FrameRecord]:
    """Return the record of every frame of one device, in order of delivery."""
    (records,) = simulate_many(manifest, scenario, num_devices=1)
    return records


def simulate_many(
    manifest: Manifest, scenario: Scenario, *, num_devices: int
) -> list[list[FrameRecord]]:
    """Return the records per device of several that share one uplink and one edge.

    Their frames are spread evenly over the period.
    """
    points, times = _points_and_times(manifest, scenario)
    uplink = Uplink(scenario.link)
    sessions = [
        DeviceSession(
            manifest=manifest,
            profile=scenario.profile,
            points=points,
            sla_s=scenario.sla_s,
            times=times,
            settings=SessionSettings(rescue=scenario.insured),
            make_policy=Controller if scenario.policy is None else scenario.policy(uplink),
        )
        for _ in range(num_devices)
    ]
    world = World(
        manifest,
        sessions,
        scenario.link,
        uplink,
        scenario.pace,
        times=times,
        answers=Answers(manifest, scenario.correct, insured=scenario.insured),
        machines=scenario.machines,
    )
    return world.run()


def _points_and_times(
    manifest: Manifest, scenario: Scenario
) -> tuple[tuple[OperatingPoint, ...], Mapping[str, PointTime]]:
    """Return what may be chosen, and what each takes to compute."""
    if scenario.fixed is None:
        points = allowed_points(scenario.profile, manifest)
    else:
        points = (manifest.point(scenario.fixed),)
    times = scenario.times
    if times is None:
        times = next(iter(manifest.times.values()), {})
    missing = [point.id for point in points if point.id not in times]
    if missing:
        raise UsageError(
            f"simulation: no compute times for {missing}; measure them at export or pass `times`"
        )
    return points, times
