"""Runs a device process beside an edge over loopback, at one point, and reads what it left.

Both are real processes, started by their commands; pictures are made, so that no source is waited
for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from headgate.export.bench.bench_options import point_named
from headgate.export.bench.bench_watch import Watch, watching
from headgate.export.bench.compare import read_frames
from headgate.export.children import LOOPBACK, child, free_port, last_words, wait_for_port
from headgate.profiles.errors import PeerError, UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.storage import write_atomic
from headgate.runtime.device.playback import MAX_OPEN
from headgate.runtime.records import FrameRecord

WARM_UP_FRAMES = 50
LOOSE_SLA_MS = 2000.0


@dataclass(frozen=True, slots=True)
class SpeedOptions:
    """What to run and how long."""

    family: Family
    folder: Path  # logs, profile and frames go here
    frames: int = 400
    point: str | None = None  # None: the middle member's


@dataclass(frozen=True, slots=True)
class DeviceRun:
    """What one device process left."""

    records: list[FrameRecord]
    resident_bytes: int  # the last reading before it ended; 0 where the system does not say
    peak_bytes: int
    watch: Watch  # of the device process


def run_device(
    options: SpeedOptions,
    point: OperatingPoint,
    *,
    fps: float | None,
    max_open: int = MAX_OPEN,
) -> DeviceRun:
    """Run an edge and a device over loopback at one operating point and read the records.

    Without `fps` the next frame is captured as soon as fewer than `max_open` wait for an answer.
    """
    folder, port = options.folder, free_port()
    folder.mkdir(parents=True, exist_ok=True)
    profile, frames = folder / "fixed.toml", folder / "frames.jsonl"
    write_atomic(profile, f'schema = 1\nname = "fixed"\npoints = ["{point.id}"]\n')
    frames.unlink(missing_ok=True)
    edge_log, device_log = folder / "edge.log", folder / "device.log"
    size = options.family.manifest.input
    family = str(options.family.path)
    device = [
        "device",
        family,
        f"fake://{size.width_px}x{size.height_px}",
        str(frames),
        f"--edge=tcp://{LOOPBACK}:{port}",
        f"--sla-ms={LOOSE_SLA_MS:g}",
        f"--profile={profile}",
        f"--frames={options.frames + WARM_UP_FRAMES}",
        f"--open={max_open}",
        *([] if fps is None else [f"--fps={fps:g}"]),
    ]
    with child(["edge", family, f"--bind=tcp://{LOOPBACK}:{port}"], log=edge_log) as edge:
        wait_for_port(port, process=edge, log=edge_log)
        with child(device, log=device_log) as process, watching(process.pid) as watch:
            memory = (0, 0)
            while process.poll() is None:
                memory = read_memory(process.pid) or memory
                time.sleep(0.05)
    if process.returncode != 0 or not frames.exists():
        raise PeerError(
            f"headgate device: ended with {process.returncode}, expected 0 "
            f"({last_words(device_log)}); see {device_log} and {edge_log}"
        )
    return DeviceRun(read_frames(frames), *memory, watch)


def chosen_point(family: Family, point_id: str | None) -> OperatingPoint:
    """Return the point asked for, or a split point of the middle member; else one that offloads.

    Raises UsageError for a family of which the edge answers nothing.
    """
    manifest = family.manifest
    if point_id is not None:
        return point_named(manifest, point_id)
    splits = [p for p in manifest.points if p.kind is PointKind.SPLIT and p.twin is None]
    if splits:
        with_splits = {point.member for point in splits}
        used = [member.id for member in manifest.members if member.id in with_splits]
        wanted = used[len(used) // 2]
        return next(point for point in splits if point.member == wanted)
    for point in manifest.points:
        if point.kind is PointKind.OFFLOAD:
            return point
    raise UsageError(f"{family.path}: no point of this family uses an edge; give another")


def read_memory(pid: int) -> tuple[int, int] | None:
    """Return resident and peak bytes of a process, or None where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "VmRSS" not in fields:  # it is ending
        return None
    return _kilobytes(fields["VmRSS"]), _kilobytes(fields["VmHWM"])


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024
