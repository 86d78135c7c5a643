"""What a frame costs the device beyond its head: processor time, and memory over many frames.

One device process answers frames at a steady pace with the help of an edge over loopback; its
processor time, of all its threads, is read from the system. The bare head's is that of a loop over
the head alone at the same pace, half of it before and half after. So the difference holds the
source, preprocessing, codec, wire, decisions, the sockets' thread and the writing of records.
"""

from __future__ import annotations

import time

from headgate.export.bench.bench_table import BenchResult, Goal, milliseconds
from headgate.export.bench.bench_watch import SMALLEST_OBJECT_BYTES, Sample, growth_bytes_per_s
from headgate.export.bench.speed.bench_bare import BareHead, paced
from headgate.export.bench.speed.speed_device import SpeedOptions, chosen_point, run_device
from headgate.profiles.errors import PeerError
from headgate.runtime.records import Source

MAX_COST_S = 0.001
SETTLED = 1 / 3  # of the frames: before, caches and allocators fill


def bench_device_cost(options: SpeedOptions, *, fps: float) -> BenchResult:
    """Measure processor time and memory of a device process over `options.frames` frames."""
    point = chosen_point(options.family, options.point)
    head = BareHead(options.family, point)
    before_s = _head_cpu_s(head, frames=options.frames // 2, fps=fps)
    run = run_device(options, point, fps=fps)
    after_s = _head_cpu_s(head, frames=options.frames // 2, fps=fps)
    settled = run.records[round(SETTLED * len(run.records)) :]
    answered = sum(record.source is Source.EDGE for record in settled)
    if 2 * answered < len(settled):
        raise PeerError(
            f"headgate device: the edge answered {answered} of {len(settled)} frames, expected "
            f"nearly all; see the logs in {options.folder}"
        )
    began_s, ended_s = settled[0].captured_s, settled[-1].captured_s
    num_steps = max(1, len(settled) - 1)  # from the first of these frames to the last
    frame_s = run.watch.cpu_s(began_s, ended_s) / num_steps
    head_s = (before_s + after_s) / 2
    samples = run.watch.between(began_s, ended_s)
    growth = growth_bytes_per_s(samples) * (ended_s - began_s) / num_steps
    cost_s = frame_s - head_s
    return BenchResult(
        name="Device cost",
        columns=("part", "processor time a frame, ms"),
        rows=(
            ("device process, all threads", milliseconds(frame_s)),
            ("bare head", milliseconds(head_s)),
            ("cost beyond the head", milliseconds(cost_s)),
        ),
        goals=(
            Goal("cost beyond the head at most 1 ms", 1000 * cost_s, cost_s <= MAX_COST_S),
            Goal(
                f"memory grows by less than an object ({SMALLEST_OBJECT_BYTES} B) a frame",
                growth,
                growth < SMALLEST_OBJECT_BYTES,
            ),
        ),
        notes=(
            f"{point.id} at {fps:g} frames/s; of {len(run.records)} frames the first "
            f"{len(run.records) - len(settled)} let it settle, the last {len(settled)} were "
            f"measured; the edge answered {answered} of these",
            "bare head: a loop over the head alone at the same pace, half before and half after",
            _memory_note(samples, growth=growth, num_frames=len(settled)),
        ),
    )


def _head_cpu_s(head: BareHead, *, frames: int, fps: float) -> float:
    """Return the processor time of one run of the bare head at this pace."""
    started_s, num = time.process_time(), max(1, frames)
    paced(head.run, times=num, pace_s=1 / fps)
    return (time.process_time() - started_s) / num


def _memory_note(samples: list[Sample], *, growth: float, num_frames: int) -> str:
    if not samples:
        return "memory: the system does not say"
    first, most = samples[0].resident_bytes, max(sample.resident_bytes for sample in samples)
    return (
        f"memory: {first / 1e6:.1f} MB resident at the first of these frames, at most "
        f"{(most - first) / 1e3:.0f} kB more later; slope {growth:.1f} B a frame "
        f"over {num_frames} frames"
    )
