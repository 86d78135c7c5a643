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

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headgate.export.bench.bench_table import BenchResult, Goal, median, milliseconds
from headgate.export.bench.speed.bench_bare import (
    bare_frames,
    bare_graphs,
    bare_round_trip,
    echo_server,
)
from headgate.export.bench.speed.speed_device import (
    WARM_UP_FRAMES,
    SpeedOptions,
    chosen_point,
    run_device,
)
from headgate.profiles.errors import PeerError
from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.records import FrameRecord, Source

MAX_OVERHEAD_S = 0.0003
MIN_THROUGHPUT = 0.9
MAX_MEMORY_BYTES = 150e6
PACE_S = 0.02


def bench_overhead(options: SpeedOptions) -> BenchResult:
    """Measure capture to answer at one frame in flight beside its unavoidable parts, twice over."""
    point = chosen_point(options.family, options.point)
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
    point = chosen_point(options.family, options.point)
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
    run = run_device(options, chosen_point(options.family, options.point), fps=1 / PACE_S)
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


def stage_note(played: str, records: Sequence[FrameRecord]) -> str:
    """Say where the time went by the records' own stages."""
    parts = []
    for name in ("wait", "head", "encode", "uplink", "queue", "decode", "tail"):
        values = [getattr(record.stages, f"{name}_s") for record in records]
        known = [value for value in values if value is not None]
        if known:
            parts.append(f"{name} {milliseconds(median(known))}")
    return f"medians of the stages {played}, in ms: " + ", ".join(parts)
