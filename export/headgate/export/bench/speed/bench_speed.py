"""Speed of the runtime over loopback: what Headgate adds to the networks it runs.

Overhead: one frame in flight; median capture to answer, minus the medians of a bare head run, a
bare tail run and a bare ZeroMQ round trip of the same bytes. Back to back: the next frame is
captured when the one before has its answer; the goal is about this. And at a steady pace, which
adds what every process pays for sleeping in between. The bare parts are taken in the same manner,
because a processor that has slept answers later than a busy one.

Throughput: frames as fast as the device takes them, against the slower of a bare head loop and a
bare tail loop (one picture a run).

Memory: the device process while it answers, with every graph of the family loaded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench.bench_options import point_named
from headgate.export.bench.bench_table import BenchResult, Goal, median, milliseconds
from headgate.export.bench.bench_watch import Watch, watching
from headgate.export.bench.compare import read_frames
from headgate.export.bench.speed.bench_bare import (
    bare_frames,
    bare_graphs,
    bare_round_trip,
    echo_server,
)
from headgate.export.children import LOOPBACK, child, free_port, last_words, wait_for_port
from headgate.profiles.errors import PeerError, UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.storage import write_atomic
from headgate.runtime.device.playback import MAX_OPEN
from headgate.runtime.records import FrameRecord, Source

MAX_OVERHEAD_S = 0.0003
MIN_THROUGHPUT = 0.9
MAX_MEMORY_BYTES = 150e6
PACE_S = 0.02
WARM_UP_FRAMES = 50
LOOSE_SLA_MS = 2000.0


@dataclass(frozen=True, slots=True)
class SpeedOptions:
    """What to run and how long."""

    family: Family
    folder: Path  # logs, profile and frames go here
    frames: int = 400
    point: str | None = None  # None: the middle member's


def bench_overhead(options: SpeedOptions) -> BenchResult:
    """Measure capture to answer at one frame in flight beside its unavoidable parts, twice over."""
    point = chosen_point(options)
    back_to_back = _one_in_flight(options, point, pace_s=0.0)
    at_a_pace = _one_in_flight(options, point, pace_s=PACE_S)
    payload_bytes = round(median([record.num_bytes for record in back_to_back.records]))
    with echo_server() as port:
        bare = bare_frames(
            options.family, point, port, num_bytes=payload_bytes, times=options.frames
        )
    head_s, tail_s, trip_s = map(median, bare)
    in_turn = replace(back_to_back, head_s=head_s, tail_s=tail_s, trip_s=trip_s)
    overhead_s = back_to_back.overhead_s
    columns = (back_to_back, in_turn, at_a_pace)
    trip = f"bare ZeroMQ round trip, {payload_bytes} B"
    rows = (
        ("capture to answer", [each.total_s for each in columns]),
        ("bare head run", [each.head_s for each in columns]),
        ("bare tail run", [each.tail_s for each in columns]),
        (trip, [each.trip_s for each in columns]),
        ("overhead", [each.overhead_s for each in columns]),
    )
    return BenchResult(
        name="Overhead",
        columns=(
            "part",
            "back to back: median, ms",
            "the same, bare parts in turn",
            f"{1 / PACE_S:.0f} per second: median, ms",
        ),
        rows=tuple((name, *map(milliseconds, values_s)) for name, values_s in rows),
        goals=(
            Goal(
                "overhead back to back at most 0.3 ms",
                1000 * overhead_s,
                overhead_s <= MAX_OVERHEAD_S,
            ),
        ),
        notes=(
            f"{point.id}, one frame in flight: {len(back_to_back.records)} frames each captured "
            f"when the one before had its answer, then {len(at_a_pace.records)} at a pace; "
            "the bare parts likewise, each looped by itself",
            "in turn: the bare parts as one frame after the other has them, head, round trip and "
            "tail, so that each finds the caches as the others left them; not what the goal is of",
            "the overhead holds preprocessing, codec, wire, decisions and hand-overs; "
            + stage_note("back to back", back_to_back.records),
            stage_note("at a pace", at_a_pace.records),
        ),
    )


@dataclass(frozen=True, slots=True)
class _OneInFlight:
    """Medians of one way to play, in seconds, and the records that they are of."""

    records: list[FrameRecord]
    total_s: float
    head_s: float
    tail_s: float
    trip_s: float

    @property
    def overhead_s(self) -> float:
        return self.total_s - self.head_s - self.tail_s - self.trip_s


def _one_in_flight(options: SpeedOptions, point: OperatingPoint, *, pace_s: float) -> _OneInFlight:
    half = options.frames // 2
    # Half before and half after: a machine that warms up or gets busy then hits both alike.
    before = bare_graphs(options.family, point, times=half, pace_s=pace_s)
    records = run_device(options, point, fps=1 / pace_s if pace_s else None, max_open=1).records
    after = bare_graphs(options.family, point, times=half, pace_s=pace_s)
    kept = [r for r in records[WARM_UP_FRAMES:] if r.source is Source.EDGE]
    if 2 * len(kept) < options.frames:
        raise PeerError(
            f"headgate device: the edge answered {len(kept)} of {options.frames} frames, expected "
            f"nearly all; see the logs in {options.folder}"
        )
    payload_bytes = round(median([record.num_bytes for record in kept]))
    with echo_server() as port:
        trip_s = bare_round_trip(port, num_bytes=payload_bytes, times=options.frames, pace_s=pace_s)
    totals_s = [record.stages.total_s for record in kept if record.stages.total_s is not None]
    return _OneInFlight(
        records=kept,
        total_s=median(totals_s),
        head_s=median(before[0] + after[0]),
        tail_s=median(before[1] + after[1]),
        trip_s=median(trip_s),
    )


def bench_throughput(options: SpeedOptions) -> BenchResult:
    """Measure frames per second through both processes beside the bare loops."""
    point = chosen_point(options)
    half = options.frames // 2
    before = bare_graphs(options.family, point, times=half, pace_s=0.0)
    records = run_device(options, point, fps=None).records[WARM_UP_FRAMES:]
    after = bare_graphs(options.family, point, times=half, pace_s=0.0)
    loops = (before[0] + after[0], before[1] + after[1])
    head_rate, tail_rate = (len(times_s) / sum(times_s) for times_s in loops)
    answered = [record for record in records if record.source is Source.EDGE]
    ends_s = sorted(r.captured_s + (r.stages.total_s or 0.0) for r in answered)
    rate = (len(ends_s) - 1) / max(1e-9, ends_s[-1] - ends_s[0]) if len(ends_s) > 1 else 0.0
    share = rate / min(head_rate, tail_rate)
    rows = (
        ("bare head loop", f"{head_rate:.0f}"),
        ("bare tail loop", f"{tail_rate:.0f}"),
        ("device to edge and back", f"{rate:.0f}"),
        ("share of the slower loop", f"{share:.3f}"),
    )
    return BenchResult(
        name="Throughput",
        columns=("what", "frames per second"),
        rows=rows,
        goals=(Goal(f"share at least {MIN_THROUGHPUT}", share, share >= MIN_THROUGHPUT),),
        notes=(
            f"{point.id}; {len(answered)} of {len(records)} frames answered by the edge; "
            "one thread for each side's graphs",
        ),
    )


def bench_memory(options: SpeedOptions) -> BenchResult:
    """Read the device process's resident memory while it answers frames."""
    run = run_device(options, chosen_point(options), fps=1 / PACE_S)
    members = len(options.family.manifest.members)
    return BenchResult(
        name="Memory",
        columns=("process", "resident now, MB", "peak, MB"),
        rows=(("device", f"{run.resident_bytes / 1e6:.1f}", f"{run.peak_bytes / 1e6:.1f}"),),
        goals=(
            Goal(
                "resident under 150 MB",
                run.resident_bytes / 1e6,
                0 < run.resident_bytes < MAX_MEMORY_BYTES,
            ),
        ),
        notes=(f"{members} members, every head and the whole network loaded",),
    )


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


def chosen_point(options: SpeedOptions) -> OperatingPoint:
    """Return the point asked for, or a split point of the middle member; else one that offloads.

    Raises UsageError for a family of which the edge answers nothing.
    """
    manifest = options.family.manifest
    if options.point is not None:
        return point_named(manifest, options.point)
    splits = [p for p in manifest.points if p.kind is PointKind.SPLIT and p.twin is None]
    if splits:
        used = [member.id for member in manifest.members if _has_split(splits, member.id)]
        wanted = used[len(used) // 2]
        return next(point for point in splits if point.member == wanted)
    for point in manifest.points:
        if point.kind is PointKind.OFFLOAD:
            return point
    raise UsageError(f"{options.family.path}: no point of this family uses an edge; give another")


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


def stage_note(played: str, records: Sequence[FrameRecord]) -> str:
    """Say where the time went by the records' own stages."""
    parts = []
    for name in ("wait", "head", "encode", "uplink", "queue", "decode", "tail"):
        values = [getattr(record.stages, f"{name}_s") for record in records]
        known = [value for value in values if value is not None]
        if known:
            parts.append(f"{name} {milliseconds(median(known))}")
    return f"medians of the stages {played}, in ms: " + ", ".join(parts)


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024


def _has_split(splits: Sequence[OperatingPoint], member_id: str) -> bool:
    return any(point.member == member_id for point in splits)
