"""The most that an edge could do: the bare tail in onnxruntime, batched, on the edge's own cores.

Nothing is decoded, received or sent; the features lie ready as one array. The best of the batch
sizes that the edge may use is the bound.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.runtime.edge.edge_rules import graph_key
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.networks.graphs import EngineOptions

SIZES = (1, 2, 4, 8, 16, 32, 64)
ROUND_S = 0.15  # of one batch size, at least one run


@dataclass(frozen=True, slots=True)
class Rate:
    """Frames per second of wall-clock time, and processor seconds per frame."""

    batch: int
    frames_per_s: float
    cpu_s: float


class BareTail:
    """One tail (or the whole network, for a point that offloads) and inputs of every size."""

    def __init__(
        self,
        family: Family,
        point: OperatingPoint,
        features_NCHW: npt.NDArray[np.uint8],
        *,
        threads: int,
        max_batch: int,
        providers: str,
        cores: frozenset[int] | None,
    ) -> None:
        """`features_NCHW`: what the edge decodes; pictures [N,H,W,3] for a point that offloads."""
        self._cores = cores
        with on_cores(cores):  # threads of onnxruntime stay where they are made
            options = EngineOptions(providers=providers, threads=threads)
            engine = EdgeEngine(family, options=options, max_batch=max_batch)
            self.provider = engine.provider
            self._runs = {
                size: _run(engine, point, _repeated(features_NCHW, size))
                for size in SIZES
                if size <= max_batch
            }
            for run in self._runs.values():
                run()

    def rates(self) -> list[Rate]:
        """Measure the rate of every batch size once, on the edge's cores."""
        with on_cores(self._cores):
            return [_rate(size, run) for size, run in self._runs.items()]


@contextlib.contextmanager
def on_cores(cores: frozenset[int] | None) -> Iterator[None]:
    """Run this thread, and those it makes, on these cores only; None changes nothing."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _run(
    engine: EdgeEngine, point: OperatingPoint, batch: npt.NDArray[np.uint8]
) -> Callable[[], object]:
    if point.kind is PointKind.OFFLOAD:
        key = graph_key(point, full_graph=engine.manifest.full_graph)
        return lambda: engine.full(batch, key=key)
    return lambda: engine.tails(point, batch)


def _repeated(samples: npt.NDArray[np.uint8], num: int) -> npt.NDArray[np.uint8]:
    return samples[np.arange(num) % len(samples)]


def _rate(size: int, run: Callable[[], object]) -> Rate:
    started_s, cpu_s, num_runs = time.perf_counter(), time.process_time(), 0
    while num_runs == 0 or time.perf_counter() - started_s < ROUND_S:
        run()
        num_runs += 1
    frames = size * num_runs
    elapsed_s = time.perf_counter() - started_s
    return Rate(size, frames / elapsed_s, (time.process_time() - cpu_s) / frames)
