"""Importance-ordered features beside their rivals: accuracy by the time that a slow link gives.

Rows are runs that are trained already, here or on a machine with a GPU: the papers' float32 slices,
a run's own quantised and coded ones, and the picture as WebP. Times are those of the maps on the
link alone, as in the papers: no network's time, no round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

from headgate.export.bench.bench_table import BenchResult
from headgate.export.bench.progressive.nair_codec import codec_layer_bytes, webp_line
from headgate.export.bench.progressive.nair_lines import (
    WITHIN,
    Line,
    answers_of_device,
    float_line,
    importance_shares,
    line_name,
    progressive_entry,
    quantised_line,
)
from headgate.export.bench.progressive.plot_nair import draw_importance, draw_nair
from headgate.export.samples import load_samples
from headgate.profiles.errors import UsageError
from headgate.profiles.storage import write_atomic
from headgate.train.folder.run_folder import Run, load_run

PAPER_RATE_BPS = 250_000.0
PAPER_TIMES_S = (0.262144, 0.524288, 0.786432, 1.048576, 1.572864, 2.097152)
# Accuracies that the paper prints for its own method, at those times and overall.
PAPER = ("91.49", "93.46", "93.75", "93.76", "93.89", "93.90", "93.95")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class NairOptions:
    """What to compare."""

    runs: tuple[Path, ...]
    rate_bps: float = PAPER_RATE_BPS
    times_s: tuple[float, ...] | None = None  # None: eighths of what the slowest run takes
    data: str | None = None  # None: that of the first run
    pictures: int = 1000  # validation pictures for WebP
    codec_pictures: int = 200  # half of them fit tables, half are measured

    def __post_init__(self) -> None:
        if not self.runs:
            raise UsageError("RUN: no run is given, so there is nothing to compare")
        if self.rate_bps <= 0:
            raise UsageError(f"--kbps: found {self.rate_bps / 1000:g}, expected a rate above 0")
        if self.times_s is not None and (not self.times_s or min(self.times_s) <= 0):
            raise UsageError("--times-ms: expected times above 0")
        for option, count in (
            ("--pictures", self.pictures),
            ("--codec-pictures", self.codec_pictures),
        ):
            if count < 2:
                raise UsageError(f"{option}: found {count}, expected 2 or more")


@dataclass(frozen=True, slots=True)
class NairBench:
    """The table, and the pictures that belong to it by file name."""

    result: BenchResult
    pictures: dict[str, bytes]


def bench_nair(options: NairOptions, *, say: Say) -> NairBench:
    """Compare the runs: those trained to be quantised as integers, where their weights are here."""
    runs = [load_run(path) for path in options.runs]
    for run in runs:
        progressive_entry(run)
    lines: list[Line] = []
    notes = [
        "below times: accuracy, %, of the best that has come through by then (of integers, at "
        "whichever number of levels); overall: of the best of all",
        f"times are those of the maps alone on {options.rate_bps / 1000:g} kbit/s; rows without "
        "codec send float32",
    ]
    for run in runs:
        lines += _coded(run, options, notes, say) or [float_line(run)]
    times_s = options.times_s or telling_times_s(lines, rate_bps=options.rate_bps)
    pictures = _webp(runs, options, notes, say)
    rows = [_row(line, options.rate_bps, times_s) for line in (*lines, *pictures)]
    if times_s == PAPER_TIMES_S and options.rate_bps == PAPER_RATE_BPS:
        rows.append(("NAIR as printed in the paper", *PAPER, "", ""))
    notes += _tail_notes(lines)
    notes += early_notes([*lines, *pictures], times_s, rate_bps=options.rate_bps)
    result = BenchResult(
        name="NAIR",
        columns=(
            "sent",
            *(f"{_milliseconds(time_s)} ms" for time_s in times_s),
            "overall",
            "bytes of all",
            f"ms to within {100 * WITHIN:g} point",
        ),
        rows=tuple(rows),
        notes=tuple(notes),
        details={
            "lines": [_line_json(line, options) for line in (*lines, *pictures)],
            "importance": [_importance_json(run) for run in runs],
        },
    )
    drawn = {
        "nair.png": draw_nair(
            lines,
            pictures=pictures,
            rate_bps=options.rate_bps,
            at_once=answers_of_device(runs),
        )
    }
    for number, run in enumerate(runs, start=1):
        before, after = importance_shares(run)
        if before != after:
            name = f"nair-importance-{number}.png"
            drawn[name] = draw_importance(before, after)
            say(f"{name}: {line_name(run)}")
    return NairBench(result, drawn)


def write_pictures(bench: NairBench, folder: Path) -> None:
    """Leave the pictures in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in bench.pictures.items():
        write_atomic(folder / name, data)


def _coded(run: Run, options: NairOptions, notes: list[str], say: Say) -> list[Line]:
    """Return the run's quantised line, if it was trained for that and its weights are here."""
    member, progressive = progressive_entry(run)
    if not progressive.prefixes[0].quantised:
        return []
    if not (run.path / member.file).is_file():
        notes.append(f"{line_name(run)}: its weights are not here, so its coded bytes are unknown")
        return []
    samples = load_samples(run, data=options.data, num_calibration=0, limit=options.codec_pictures)
    say(f"{line_name(run)}: coding {len(samples.labels)} pictures")
    return [quantised_line(run, codec_layer_bytes(run, samples.pictures))]


def _webp(runs: Sequence[Run], options: NairOptions, notes: list[str], say: Say) -> list[Line]:
    """Return the picture line of the first run whose plain network is here."""
    for run in runs:
        entry = run.record.backbone
        if entry is not None and (run.path / entry.file).is_file():
            samples = load_samples(
                run, data=options.data, num_calibration=0, limit=options.pictures
            )
            say(f"WebP: {len(samples.labels)} pictures through the plain network")
            if len(samples.labels) < run.record.dataset.num_val:
                notes.append(
                    f"picture, WebP: of {len(samples.labels)} validation pictures, all else of "
                    f"{run.record.dataset.num_val}; --pictures measures it on more"
                )
            return [webp_line(run, samples.pictures, samples.labels)]
    notes.append("no run has its plain network's weights here, so there is no WebP line")
    return []


def telling_times_s(lines: Sequence[Line], *, rate_bps: float) -> tuple[float, ...]:
    """Return the papers' times for these runs: 1 to 4, 6 and 8 eighths of what the slowest takes.

    Rounded up to two digits, so that at the last time all of every run is through.
    """
    all_s = max(line.sent[-1].seconds(rate_bps) for line in lines)
    digit_s = 10.0 ** (floor(log10(all_s / 8)) - 1)  # the second digit of the first time
    return tuple(ceil(all_s * eighths / 8 / digit_s) * digit_s for eighths in (1, 2, 3, 4, 6, 8))


def _milliseconds(seconds: float) -> str:
    """Write a time with three digits or more."""
    return f"{1000 * seconds:.0f}" if seconds >= 0.1 else f"{1000 * seconds:.3g}"


def _row(line: Line, rate_bps: float, times_s: Sequence[float]) -> tuple[str, ...]:
    cells = []
    for time_s in times_s:
        best = line.best(seconds=time_s, rate_bps=rate_bps)
        cells.append("" if best is None else f"{100 * best.accuracy:.2f}")
    overall = line.overall
    quickest = line.quickest(accuracy=overall.accuracy - WITHIN)
    assert quickest is not None
    return (
        line.name,
        *cells,
        f"{100 * overall.accuracy:.2f}",
        f"{line.sent[-1].num_bytes:.0f}",
        _milliseconds(quickest.seconds(rate_bps)),
    )


def early_notes(lines: Sequence[Line], times_s: Sequence[float], *, rate_bps: float) -> list[str]:
    """Say so where all columns are the same, since everything is through before the first."""
    last_s = max(each.seconds(rate_bps) for line in lines for each in line.sent)
    if last_s > min(times_s):
        return []
    times_ms = ",".join(f"{1000 * last_s * share:.2g}" for share in (0.1, 0.25, 0.5))
    return [
        f"all of it is through after {1000 * last_s:.3g} ms; see earlier: --times-ms {times_ms}"
    ]


def _tail_notes(lines: Sequence[Line]) -> list[str]:
    """Say what many tails cost beside one."""
    ones = [line.tail_parameters for line in lines if line.num_tails == 1 and line.tail_parameters]
    notes = []
    for line in lines:
        if line.num_tails > 1 and line.tail_parameters and ones:
            share = 100 * ones[0] / line.tail_parameters
            notes.append(
                f"{line.name}: {line.num_tails} tails of {line.tail_parameters:,} parameters "
                f"together; one tail has {ones[0]:,}, {share:.1f} % of that"
            )
    return notes


def _line_json(line: Line, options: NairOptions) -> dict[str, Any]:
    return {
        "name": line.name,
        "tails": line.num_tails,
        "tail_parameters": line.tail_parameters,
        "sent": [
            {
                "what": each.what,
                "bytes": round(each.num_bytes, 2),
                "ms": round(1000 * each.seconds(options.rate_bps), 3),
                "accuracy": round(each.accuracy, 6),
            }
            for each in line.sent
        ],
    }


def _importance_json(run: Run) -> dict[str, Any]:
    before, after = importance_shares(run)
    return {
        "name": line_name(run),
        "before": [round(share, 5) for share in before],
        "after": [round(share, 5) for share in after],
        "first_layers_after": [round(share, 5) for share in accumulate(after)],
    }
