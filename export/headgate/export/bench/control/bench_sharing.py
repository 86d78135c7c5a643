"""The sharing benchmark: what several devices on one uplink earn, and how evenly.

Each link is simulated with the device's and the edge's own sessions, beside two references in the
same run: all devices at the one fixed point that serves them best, found by trying every point, and
a single device that has its share of the rate to itself. Frames are insured, as the product runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headgate.export.bench.bench_table import BenchResult
from headgate.export.bench.compare import score_run
from headgate.export.bench.control.control_points import EVERYTHING, named_points, open_points
from headgate.export.bench.control.control_runs import OURS
from headgate.export.workers import in_order
from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import Manifest, PointKind
from headgate.profiles.profile import Profile, allowed_points
from headgate.profiles.trace import MAX_MBPS, Trace, shared_trace
from headgate.profiles.trace_files import open_trace
from headgate.runtime.records import FrameRecord, Source
from headgate.runtime.simulation.rivals import Whole
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate_many

MAX_DEVICES = 1000
COLUMNS = ("link", "policy", "credited", "worst", "edge, %", "late, %", "fairness", "Mbit/s")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SharedLink:
    """An uplink, and how many devices are on it."""

    num_devices: int
    trace: Trace

    @property
    def name(self) -> str:
        """Say both, as the table does."""
        return f"{self.num_devices} x {self.trace.name}"


@dataclass(frozen=True, slots=True)
class SharingOptions:
    """What to run. Frames captured before `settle_s` are left out of the score."""

    target: Path  # family folder or ladder file
    links: tuple[SharedLink, ...]
    sla_s: float = 0.1
    rtt_s: float = 0.02
    fps: float = 30.0
    duration_s: float = 10.0
    settle_s: float = 3.0
    workers: int = 0  # 0: one per core
    profile: Profile = EVERYTHING  # its SLA goes before `sla_s`
    device_factor: float = 1.0  # devices are so many times slower than the machine measured

    def __post_init__(self) -> None:
        if math.ceil(self.settle_s * self.fps) / self.fps >= self.duration_s:
            raise UsageError(
                f"--settle-s: no frame is captured from {self.settle_s:g} s until --duration-s, "
                f"{self.duration_s:g} s, at {self.fps:g} frames/s; let the run last longer"
            )


@dataclass(frozen=True, slots=True)
class DeviceScore:
    """What one device came to after the start. Shares are of its captured frames."""

    credited: float  # mean
    edge_share: float  # answered by the edge in time
    late_share: float  # meant for the edge, but not answered by it in time
    miss_share: float  # without any answer in time
    mean_bytes: float
    switches_per_s: float
    believed_bps: float | None  # mean estimate of the rate, where frames were sent


@dataclass(frozen=True, slots=True)
class SharedRun:
    """One policy on one link: the devices in order."""

    policy: str
    devices: tuple[DeviceScore, ...]

    @property
    def credited(self) -> float:
        """The mean over the devices."""
        return _mean([device.credited for device in self.devices])

    @property
    def worst(self) -> float:
        """What the device with the least was credited."""
        return min(device.credited for device in self.devices)

    def cells(self) -> tuple[str, ...]:
        """Return the columns after the link."""
        believed = [d.believed_bps for d in self.devices if d.believed_bps is not None]
        return (
            self.policy,
            f"{self.credited:.4f}",
            f"{self.worst:.4f}",
            f"{100 * _mean([device.edge_share for device in self.devices]):.1f}",
            f"{100 * _mean([device.late_share for device in self.devices]):.1f}",
            f"{fairness([device.credited for device in self.devices]):.4f}",
            f"{_mean(believed) / 1e6:.2f}" if believed else "n/a",
        )

    def to_json(self) -> dict[str, Any]:
        """Return what the table says in means, by device."""
        return {
            "policy": self.policy,
            "devices": [
                {
                    "credited": round(device.credited, 6),
                    "edge": round(device.edge_share, 6),
                    "late": round(device.late_share, 6),
                    "missed": round(device.miss_share, 6),
                    "bytes": round(device.mean_bytes, 1),
                    "switches_per_s": round(device.switches_per_s, 4),
                    "mbps": None if device.believed_bps is None else device.believed_bps / 1e6,
                }
                for device in self.devices
            ],
        }


@dataclass(frozen=True, slots=True)
class _Task:
    """One simulation. `fixed` names the one point that all devices take; None: ours decides."""

    manifest: Manifest
    options: SharingOptions
    link: SharedLink
    policy: str
    fixed: str | None = None


def parse_links(text: str) -> tuple[SharedLink, ...]:
    """Return the links of a list as 4x12,2xdemo: devices, and Mbit/s or what `open_trace` takes."""
    links = [_parse_link(part.strip()) for part in text.split(",") if part.strip()]
    if not links:
        raise UsageError(f"--links: found {text!r}, expected devices x Mbit/s, as 4x12,2x12")
    return tuple(links)


def fairness(shares: Sequence[float]) -> float:
    """Return Jain's index: 1 where all have the same, 1 / n where one has all."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares > 0 else 1.0


def bench_sharing(options: SharingOptions, *, say: Say) -> BenchResult:
    """Run each link under our controller, at every fixed point, and as one device by itself."""
    manifest = open_points(options.target, device_factor=options.device_factor)
    profile = named_points(options.profile, manifest)
    options = replace(options, profile=profile, sla_s=profile.sla_s or options.sla_s)
    tasks = [task for link in options.links for task in _tasks(manifest, options, link)]
    runs = []
    for run in in_order(_run, tasks, workers=options.workers):
        runs.append(run)
        if len(runs) % max(1, len(tasks) // 10) == 0:
            say(f"{len(runs)} of {len(tasks)} simulations done")
    rows: list[tuple[str, ...]] = []
    details = []
    per_link = len(tasks) // len(options.links)
    for place, link in enumerate(options.links):
        ours, alone, *fixed = runs[place * per_link : (place + 1) * per_link]
        shown = (ours, _best(fixed), alone)
        rows += [(link.name, *run.cells()) for run in shown]
        details.append({"link": link.name, "runs": [run.to_json() for run in (*shown, *fixed)]})
    return BenchResult(
        "sharing", COLUMNS, tuple(rows), notes=_notes(options), details={"links": details}
    )


def _parse_link(part: str) -> SharedLink:
    count, cross, what = (each.strip() for each in part.partition("x"))
    if not (cross and what and count.isdecimal() and 1 <= int(count) <= MAX_DEVICES):
        raise UsageError(
            f"--links: found {part!r}, expected 1 to {MAX_DEVICES} devices x Mbit/s or a trace, as "
            "4x12 or 4xrecorded/walk.csv"
        )
    try:
        rate_mbps = float(what)
    except ValueError:
        return SharedLink(int(count), open_trace(what))
    if not 0 < rate_mbps <= MAX_MBPS:
        raise UsageError(
            f"--links: found {part!r}, expected a rate above 0 and of at most {MAX_MBPS:g} Mbit/s"
        )
    steady = Trace(f"{rate_mbps:g} Mbit/s", (0.0,), (rate_mbps * 1e6,), 1.0)
    return SharedLink(int(count), steady)


def _tasks(manifest: Manifest, options: SharingOptions, link: SharedLink) -> Iterator[_Task]:
    """Yield ours, a device alone, and each fixed point, in that order."""
    yield _Task(manifest, options, link, OURS)
    share = 1 / link.num_devices
    alone = SharedLink(1, shared_trace(link.trace, share=share))
    yield _Task(manifest, options, alone, f"alone on 1/{link.num_devices}")
    for point in allowed_points(options.profile, manifest):
        yield _Task(manifest, options, link, f"fixed, {point.id}", fixed=point.id)


def _run(task: _Task) -> SharedRun:
    options = task.options
    runs = simulate_many(
        task.manifest,
        Scenario(
            profile=options.profile,
            link=Link(task.link.trace, options.rtt_s),
            pace=Pace(options.fps, options.duration_s),
            sla_s=options.sla_s,
            fixed=task.fixed,
            # A fixed point of a progressive member is sent whole, as in `bench control`.
            policy=None if task.fixed is None else lambda _: Whole,
        ),
        num_devices=task.link.num_devices,
    )
    return SharedRun(task.policy, tuple(_score(records, options) for records in runs))


def _score(records: Sequence[FrameRecord], options: SharingOptions) -> DeviceScore:
    settled = [record for record in records if record.captured_s >= options.settle_s]
    score = score_run(settled, name="", measured=False)
    by_edge = sum(each.source is Source.EDGE and each.deadline_met for each in settled)
    # Not by bytes: layers that wait behind others may never leave.
    meant = sum(each.kind not in (None, PointKind.LOCAL.value) for each in settled)
    believed = [each.estimate.rate_bps for each in settled if each.estimate.rate_bps is not None]
    return DeviceScore(
        credited=score.credited,
        edge_share=by_edge / len(settled),
        late_share=(meant - by_edge) / len(settled),
        miss_share=1 - score.in_time,
        mean_bytes=score.mean_bytes,
        switches_per_s=score.summary.switches / (options.duration_s - options.settle_s),
        # Probes alone bound the rate, they do not tell it: nothing is said of a link left unused.
        believed_bps=_mean(believed) if believed and score.mean_bytes else None,
    )


def _best(fixed: Sequence[SharedRun]) -> SharedRun:
    """Return the fixed point that earns the most; of equals the one that sends less."""
    return max(fixed, key=lambda run: (run.credited, -_mean([d.mean_bytes for d in run.devices])))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _notes(options: SharingOptions) -> tuple[str, ...]:
    assumed = []
    if options.device_factor != 1:
        assumed.append(f"devices {options.device_factor:g} times slower than the machine measured")
    if options.profile.name != EVERYTHING.name:
        own_sla = "" if options.profile.sla_s is None else "; its SLA goes before --sla-ms"
        assumed.append(f"profile {options.profile.name}: all keep to its points{own_sla}")
    return (
        f"simulated: {options.fps:g} frames/s a device, SLA {1000 * options.sla_s:g} ms, RTT "
        f"{1000 * options.rtt_s:g} ms, {options.duration_s:g} s of which the first "
        f"{options.settle_s:g} s do not count; insured: exits and rescues answer late frames",
        *assumed,
        "credited: mean accuracy of frames answered in time, over all devices; worst: the device "
        "that has least; fairness: Jain's index of what devices are credited, 1 is even",
        "edge: frames that it answered in time; late: meant for it, but not answered in time; "
        "Mbit/s: the mean estimate of the link's rate, of devices that sent frames",
        "fixed: all devices at the one point that earns them most together; every one was tried",
        "alone: one device with its share of the rate to itself, under our controller; no strict "
        "bound, since devices that share can use what others leave",
    )
