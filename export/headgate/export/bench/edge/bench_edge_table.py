"""The table of `headgate bench edge`: its rows, goals and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headgate.export.bench.bench_table import BenchResult, Goal, median
from headgate.export.bench.bench_watch import SMALLEST_OBJECT_BYTES
from headgate.export.bench.edge.bench_edge_bound import Rate
from headgate.export.bench.edge.bench_edge_plan import LoadReport
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint

MIN_SHARE = 0.85
SERVED = 0.99  # of the offered frames: in time, so that devices count as served
BUSY_GENERATOR = 0.8  # of one core: above, the generator may be what limits
COLUMNS = (
    "devices",
    "load",
    "offered/s",
    "in time/s",
    "share of bound",
    "rejected",
    "held back",
    "late",
    "batch",
    "p50, ms",
    "p95, ms",
    "fairness",
    "edge cpu, ms/frame",
    "bare cpu / edge cpu",
)


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """What to load and how."""

    family: Family
    folder: Path  # logs go here
    devices: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200)
    fps: tuple[float, ...] = (10.0,)  # open loops; none: only closed ones
    closed: bool = True
    num_open: int = 2
    sla_s: float = 0.1
    warm_up_s: float = 2.0
    measure_s: float = 3.0
    soak_s: float = 20.0  # one more row at the end, to see memory grow; 0: none
    point: str | None = None
    threads: int = 0  # of one tail run; 0: as many as the edge has cores
    max_batch: int = 16
    generators: int = 1
    providers: str = "auto"  # what runs the tails, see `graphs`


@dataclass(frozen=True, slots=True)
class Row:
    """One load and what came of it, all generators together."""

    devices: int
    fps: float | None
    report: LoadReport
    bound: Rate
    edge_cpu_s: float
    growth_bytes_per_s: float

    @property
    def seconds(self) -> float:
        return self.report.ended_s - self.report.began_s

    @property
    def in_time_per_s(self) -> float:
        return sum(self.report.in_time) / self.seconds

    @property
    def possible_per_s(self) -> float:
        """What could have been answered: no more than was offered, nor than the bound."""
        if self.fps is None:
            return self.bound.frames_per_s
        return min(self.bound.frames_per_s, self.report.offered / self.seconds)

    @property
    def share(self) -> float:
        return self.in_time_per_s / max(1e-9, self.possible_per_s)

    @property
    def cpu_share(self) -> float:
        """Processor time of the bare tails of the answered frames, over what the edge used."""
        answered = len(self.report.latencies_s)
        return answered * self.bound.cpu_s / self.edge_cpu_s if self.edge_cpu_s else float("nan")


def jain(values: Sequence[float]) -> float:
    """Return Jain's index of fairness, 1 / n to 1: (sum x)^2 / (n sum x^2); 1 if all are 0."""
    squares = sum(value * value for value in values)
    return 1.0 if squares == 0 else sum(values) ** 2 / (len(values) * squares)


@dataclass(frozen=True, slots=True)
class Measured:
    """All that one benchmark of an edge found."""

    point: OperatingPoint
    rows: Sequence[Row]
    soak: Row | None  # the row that watches memory
    bare: Sequence[Rate]  # of the bound, by batch size
    provider: str  # that ran the tails
    edge_cores: frozenset[int] | None  # the bound's as well; None: shared with the generators


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of them lies; nan of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as the table shows it, in the order of COLUMNS."""
    report = row.report
    answered = max(1, len(report.latencies_s))
    return (
        str(row.devices),
        "closed" if row.fps is None else f"{row.fps:g}/s each",
        f"{report.offered / row.seconds:.0f}",
        f"{row.in_time_per_s:.0f}",
        f"{row.share:.3f}",
        str(sum(report.rejected.values())),
        str(report.held_back),
        str(report.late + report.unanswered),
        f"{report.batched / max(1, report.batches):.1f}",
        f"{1000 * quantile(report.latencies_s, 0.5):.1f}",
        f"{1000 * quantile(report.latencies_s, 0.95):.1f}",
        f"{jain(report.in_time):.3f}",
        f"{1000 * row.edge_cpu_s / answered:.3f}",
        f"{row.cpu_share:.3f}",
    )


def edge_table(options: EdgeOptions, measured: Measured) -> BenchResult:
    """Return the rows beside what the edge was to reach."""
    rows, soak = measured.rows, measured.soak
    worst = min(rows, key=lambda row: row.share)
    goals = [
        Goal(
            f"share of the bound at least {MIN_SHARE} in every row",
            worst.share,
            worst.share >= MIN_SHARE,
        )
    ]
    if soak is not None:
        growth = soak.growth_bytes_per_s / max(1e-9, soak.in_time_per_s)
        goals.append(
            Goal(
                f"memory grows by less than an object ({SMALLEST_OBJECT_BYTES} B) a frame",
                growth,
                growth < SMALLEST_OBJECT_BYTES,
            )
        )
    return BenchResult(
        name="Edge",
        columns=COLUMNS,
        rows=tuple(cells(row) for row in rows),
        goals=tuple(goals),
        notes=(*served_lines(rows), *_notes(options, measured)),
    )


def served_lines(rows: Sequence[Row]) -> tuple[str, ...]:
    """Say how many devices were served at each pace, and how many frames at most."""
    lines = []
    for fps in dict.fromkeys(row.fps for row in rows if row.fps is not None):
        tried = sorted((row for row in rows if row.fps == fps), key=lambda row: row.devices)
        short = next((row for row in tried if _in_time(row) < SERVED), None)
        fine = [row.devices for row in tried if short is None or row.devices < short.devices]
        said = []
        if fine:
            said.append(f"{fine[-1]} devices had {100 * SERVED:.0f} % of their frames in time")
        if short is None:
            said.append("the most that were tried")
        else:
            said.append(f"{short.devices} devices had {100 * _in_time(short):.0f} % in time")
        lines.append(f"at {fps:g} frames/s each {', '.join(said)}")
    closed = [row.in_time_per_s for row in rows if row.fps is None]
    if closed:
        lines.append(f"asked for as many as it can do, it had {max(closed):.0f} frames/s in time")
    return tuple(lines)


def _in_time(row: Row) -> float:
    return sum(row.report.in_time) / max(1, row.report.offered)


def _notes(options: EdgeOptions, measured: Measured) -> Iterator[str]:
    rows, soak = measured.rows, measured.soak
    bound = median([row.bound.frames_per_s for row in rows])
    yield (
        f"{measured.point.id}, SLA {1000 * options.sla_s:g} ms from when a frame is due at the "
        f"generator; {options.measure_s:g} s a row; closed: {options.num_open} unanswered frames a "
        "device"
    )
    yield (
        f"bound: bare batched tail, {measured.provider}, {options.threads} thread(s), at the best "
        f"batch size that a row can fill; median over the rows {bound:.0f} frames/s; by batch "
        "size, ms of processor time a frame: "
        + ", ".join(f"{rate.batch}: {1000 * rate.cpu_s:.3f}" for rate in measured.bare)
    )
    yield "share of bound: in time/s over the lesser of the bound and, in an open loop, offered/s"
    yield (
        "rejected: the edge said no at once; held back: not sent, since too many were out or the "
        "edge had said no; late: answered too late or never; batch: frames in one tail run, mean; "
        "fairness: Jain's index of what devices got, 1 is even; bare cpu / edge cpu: what the "
        "tails alone take of the edge's processor time"
    )
    if measured.edge_cores is None:
        yield "edge and generator shared all cores: the generator's time was the edge's loss"
    else:
        yield (
            f"the edge had {len(measured.edge_cores)} core(s), the bound the same ones with "
            "nothing else running, the generator others"
        )
    busiest = max(row.report.cpu_s / row.seconds / options.generators for row in rows)
    limits = "; more --generators may show a higher rate" if busiest > BUSY_GENERATOR else ""
    yield f"a generator was busy for up to {busiest:.0%} of a core{limits}"
    reasons = Counter[str]()
    for row in rows:
        reasons.update(row.report.rejected)
    yield "rejected, all rows: " + (
        ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "none"
    )
    if soak is not None:
        yield (
            f"memory: {soak.devices} devices for {soak.seconds:g} s, "
            f"{soak.in_time_per_s:.0f} frames/s, resident memory grew by "
            f"{soak.growth_bytes_per_s / 1e3:.1f} kB/s over the last two thirds"
        )
