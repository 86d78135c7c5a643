"""Run the real sessions of devices and edge on a virtual clock, over a link that is a trace.

The link is that of `simulated_link`; loops are late as `simulated_loop` says; what happens next is
up to `simulated_world`. Compute times come from the manifest or the caller, payload sizes and
answers from `simulated_answers`. Nothing here is random, so two runs differ only by what was asked
of them. Several devices may share the link and the edge.
"""

from collections.abc import Callable, Mapping, Sequence

from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import Manifest, PointTime
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

__all__ = ["Lateness", "Link", "Machines", "Pace", "simulate", "simulate_many"]


PolicyFor = Callable[[Uplink], PolicyMaker]


def simulate(
    manifest: Manifest,
    *,
    profile: Profile,
    link: Link,
    pace: Pace,
    sla_s: float | None = None,
    fixed: str | None = None,
    times: Mapping[str, PointTime] | None = None,
    correct: Mapping[str, Sequence[bool]] | None = None,
    policy: PolicyFor | None = None,
    insured: bool = True,
    machines: Machines | None = None,
) -> list[FrameRecord]:
    """Return the record of every frame, in order of delivery.

    `fixed` names the one point to use instead of the profile's choice. `times` are the compute
    times per point (default: the manifest's, of its first machine). `correct` tells per point and
    picture whether the answer is right (early exits under `MEMBER/exit`); without it the records
    hold no truth, and their `quality` says what each answer is worth. `policy` decides instead of
    our controller; it is handed the link's state, for rivals that know more than a device can.
    `insured` False: nothing answers in the edge's place, neither an exit nor a rescue. `machines`
    says how late the loops of both sides are (default: never).
    """
    (records,) = simulate_many(
        manifest,
        num_devices=1,
        profile=profile,
        link=link,
        pace=pace,
        sla_s=sla_s,
        fixed=fixed,
        times=times,
        correct=correct,
        policy=policy,
        insured=insured,
        machines=machines,
    )
    return records


def simulate_many(
    manifest: Manifest,
    *,
    num_devices: int,
    profile: Profile,
    link: Link,
    pace: Pace,
    sla_s: float | None = None,
    fixed: str | None = None,
    times: Mapping[str, PointTime] | None = None,
    correct: Mapping[str, Sequence[bool]] | None = None,
    policy: PolicyFor | None = None,
    insured: bool = True,
    machines: Machines | None = None,
) -> list[list[FrameRecord]]:
    """Return the records per device of several that share one uplink and one edge.

    Their frames are spread evenly over the period. The arguments are those of `simulate`.
    """
    points = allowed_points(profile, manifest) if fixed is None else (manifest.point(fixed),)
    if times is None:
        times = next(iter(manifest.times.values()), {})
    missing = [point.id for point in points if point.id not in times]
    if missing:
        raise UsageError(
            f"simulation: no compute times for {missing}; measure them at export or pass `times`"
        )
    uplink = Uplink(link)
    sessions = [
        DeviceSession(
            manifest=manifest,
            profile=profile,
            points=points,
            sla_s=sla_s,
            times=times,
            settings=SessionSettings(rescue=insured),
            policy=Controller if policy is None else policy(uplink),
        )
        for _ in range(num_devices)
    ]
    answers = Answers(manifest, correct, insured=insured)
    world = World(
        manifest,
        sessions,
        link,
        uplink,
        pace,
        times=times,
        answers=answers,
        machines=machines or Machines(),
    )
    return world.run()
