"""How many frames an edge answers in time, for 1 to 200 devices, beside what its cores could do.

Edge and generator are processes of their own, on cores of their own where the machine has two and
the system can bind (Linux): what the generator uses is then not taken from the edge. The bound is
the bare batched tail on the edge's cores, with nothing else of the benchmark running, measured
before and after every row, at its best batch size of those that the row can fill. So the share is
what the edge's own work leaves of its cores: receiving, decoding, deciding, sending. Where they
cannot be bound to cores, the generator's time is the edge's loss, and the notes say so.

A second share compares processor times instead: that of the bare tails of the answered frames over
all that the edge process used. It holds on a machine that does other things meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import IO

import numpy as np
import numpy.typing as npt

from headgate.export.bench.bench_table import BenchResult
from headgate.export.bench.bench_watch import (
    Watch,
    growth_bytes_per_s,
    watching,
)
from headgate.export.bench.edge.bench_edge_bound import BareTail, Rate, on_cores
from headgate.export.bench.edge.bench_edge_plan import (
    LoadPlan,
    LoadReport,
    report_from_json,
)
from headgate.export.bench.edge.bench_edge_table import (
    COLUMNS,
    EdgeOptions,
    Measured,
    Row,
    cells,
    edge_table,
)
from headgate.export.bench.speed.speed_device import chosen_point
from headgate.export.children import LOOPBACK, child, free_port, wait_for_port
from headgate.export.points.measure import Layers, sent_by
from headgate.profiles.errors import PeerError, UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.pictures import decode_picture, preprocess
from headgate.runtime.device.sources import open_source
from headgate.runtime.networks.device_engine import DeviceEngine

NUM_PAYLOADS = 32


def bench_edge(options: EdgeOptions, *, say: Callable[[str], None]) -> BenchResult:
    """Load one edge with ever more devices; `say` gets a line of progress per row."""
    manifest = options.family.manifest
    point = chosen_point(options.family, options.point)
    if point.kind is PointKind.LOCAL:
        raise UsageError(f"--point {point.id}: is answered on the device; name one that sends")
    ours, edges = split_cores()
    options = replace(options, threads=options.threads or (len(edges) if edges else 1))
    payloads, inputs = _payloads(options.family, point)
    bare = BareTail(
        options.family,
        point,
        inputs,
        threads=options.threads,
        max_batch=options.max_batch,
        providers=options.providers,
        cores=edges,
    )
    plan = LoadPlan(
        endpoint="",
        family_digest=manifest.digest,
        point_index=manifest.index_of(point.id),
        payloads=tuple(
            tuple(base64.b64encode(layer).decode() for layer in layers) for layers in payloads
        ),
        devices=0,
        frames_per_s=None,
        num_open=options.num_open,
        sla_s=options.sla_s,
        warm_up_s=options.warm_up_s,
        measure_s=options.measure_s,
    )
    rows: list[Row] = []
    rates = [bare.rates()]
    with on_cores(ours), _edge(options, edges) as (port, watch):
        plan = replace(plan, endpoint=f"tcp://{LOOPBACK}:{port}")
        say(" | ".join(COLUMNS))
        for devices, fps, measure_s in _loads(options):
            step = replace(plan, devices=devices, frames_per_s=fps, measure_s=measure_s)
            report = _load(step, options.generators)
            rates.append(bare.rates())
            bound = bound_of(*rates[-2:], largest=largest_batch(devices, fps, options))
            rows.append(_row(devices, fps, report, bound, watch))
            say(" | ".join(cells(rows[-1])))
    soak = rows.pop() if options.soak_s > 0 else None
    return edge_table(options, Measured(point, rows, soak, rates[-1], bare.provider, edges))


def split_cores() -> tuple[frozenset[int] | None, frozenset[int] | None]:
    """Return the cores of the generator and those of the edge; None where none can be had."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None, None
    half = len(cores) // 2
    return frozenset(cores[half:]), frozenset(cores[:half])


def merge(reports: Sequence[LoadReport]) -> LoadReport:
    """Put the reports of several generators together."""
    rejected: Counter[str] = Counter()
    for report in reports:
        rejected.update(report.rejected)
    return LoadReport(
        began_s=max(report.began_s for report in reports),
        ended_s=max(report.ended_s for report in reports),
        offered=sum(report.offered for report in reports),
        held_back=sum(report.held_back for report in reports),
        in_time=tuple(count for report in reports for count in report.in_time),
        late=sum(report.late for report in reports),
        unanswered=sum(report.unanswered for report in reports),
        rejected=dict(rejected),
        latencies_s=tuple(value for report in reports for value in report.latencies_s),
        batches=sum(report.batches for report in reports),
        batched=sum(report.batched for report in reports),
        cpu_s=sum(report.cpu_s for report in reports),
    )


def _loads(options: EdgeOptions) -> Iterator[tuple[int, float | None, float]]:
    """Yield devices, frames a second (None: closed loop) and seconds of every row."""
    rates: list[float | None] = [None] if options.closed else []
    rates += options.fps
    for devices in options.devices:
        for rate in rates:
            yield devices, rate, options.measure_s
    if options.soak_s > 0:
        middle = sorted(options.devices)[len(options.devices) // 2]
        yield middle, rates[0], options.soak_s


def _payloads(family: Family, point: OperatingPoint) -> tuple[list[Layers], npt.NDArray[np.uint8]]:
    """Return frames as the device sends them, and the tail's input that they stand for."""
    engine, size = DeviceEngine(family), family.manifest.input
    payloads: list[Layers] = []
    inputs = []
    frames = open_source(f"fake://{size.width_px}x{size.height_px}").frames()
    for _, frame in zip(range(NUM_PAYLOADS), frames, strict=False):
        payloads.append(sent_by(engine.compute(point, frame.picture)))
        if point.kind is PointKind.OFFLOAD:
            inputs.append(
                decode_picture(payloads[-1][0], max_pixels=size.height_px * size.width_px)
            )
        else:
            picture_1HWC = preprocess(frame.picture, size)[None]
            inputs.append(engine.features(point, picture_1HWC)[0][0])
    return payloads, np.stack(inputs)


@contextlib.contextmanager
def _edge(options: EdgeOptions, cores: frozenset[int] | None) -> Iterator[tuple[int, Watch]]:
    """Run the edge on its cores; yield its port and what watches it."""
    port, log = free_port(), options.folder / "edge.log"
    options.folder.mkdir(parents=True, exist_ok=True)
    arguments = [
        "edge",
        str(options.family.path),
        f"--bind=tcp://{LOOPBACK}:{port}",
        f"--threads={options.threads}",
        f"--max-batch={options.max_batch}",
        f"--providers={options.providers}",
    ]
    with contextlib.ExitStack() as stack:
        with on_cores(cores):  # which the process inherits
            process = stack.enter_context(child(arguments, log=log))
        wait_for_port(port, process=process, log=log)
        yield port, stack.enter_context(watching(process.pid))


def _load(plan: LoadPlan, generators: int) -> LoadReport:
    """Let the generators run side by side and put their reports together."""
    num = min(generators, plan.devices)
    shares = [plan.devices // num + (index < plan.devices % num) for index in range(num)]
    reports = []
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(_generator(replace(plan, devices=share, first_phase=index / num)))
            for index, share in enumerate(shares)
        ]
        for process in running:
            assert process.stdout is not None
            said, code = process.stdout.read(), process.wait()
            if code != 0:
                raise PeerError(
                    f"load generator: ended with {code}, expected 0; see above and the edge's log"
                )
            reports.append(report_from_json(json.loads(said)))
    return merge(reports)


@contextlib.contextmanager
def _generator(plan: LoadPlan) -> Iterator[subprocess.Popen[str]]:
    """Start one for this block. It has nothing to clean up, so it is killed if it is not done."""
    with _start(plan) as process:
        try:
            yield process
        finally:
            process.kill()


def _start(plan: LoadPlan) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "headgate.export.bench.edge.bench_edge_load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        process_group=0,  # Ctrl-C is for us to handle
    )
    stdin: IO[str] | None = process.stdin
    assert stdin is not None
    print(json.dumps(asdict(plan)), file=stdin, flush=True)  # and stays open: we are there
    return process


def largest_batch(devices: int, fps: float | None, options: EdgeOptions) -> int:
    """Return the largest batch that a row can fill again and again.

    In a closed loop one half of the frames waits at the edge while the other half runs.
    """
    if fps is not None:
        return options.max_batch
    return min(options.max_batch, max(1, devices * options.num_open // 2))


def bound_of(before: Sequence[Rate], after: Sequence[Rate], *, largest: int) -> Rate:
    """Return the mean of two measurements at the batch size with the most frames a second."""
    means = [
        Rate(
            first.batch,
            (first.frames_per_s + last.frames_per_s) / 2,
            (first.cpu_s + last.cpu_s) / 2,
        )
        for first, last in zip(before, after, strict=True)
        if first.batch <= largest
    ]
    return max(means, key=lambda rate: rate.frames_per_s)


def _row(devices: int, fps: float | None, report: LoadReport, bound: Rate, watch: Watch) -> Row:
    return Row(
        devices=devices,
        fps=fps,
        report=report,
        bound=bound,
        edge_cpu_s=watch.cpu_s(report.began_s, report.ended_s),
        # The first third is left to caches that fill.
        growth_bytes_per_s=growth_bytes_per_s(
            watch.between(report.began_s + (report.ended_s - report.began_s) / 3, report.ended_s)
        ),
    )
