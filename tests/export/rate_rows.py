"""Rows of rates by hand: what tests of verdicts and of break-even rates are asked about."""

from __future__ import annotations

import numpy as np

from headgate.export.bench.rates.rates_rows import Full, Rates, Row, Sample, Series
from headgate.export.points.points import byte_stats
from headgate.profiles.manifest import PointTime

NUM = 200


def right(num_right: int, *, first_wrong: int = 0) -> np.ndarray:
    """Return answers of which so many are right; the wrong ones start at `first_wrong`."""
    answers_N = np.ones(NUM, bool)
    wrong = (first_wrong + np.arange(NUM - num_right)) % NUM
    answers_N[wrong] = False
    return answers_N


def row(
    name: str,
    series: Series,
    num_right: int,
    num_bytes: int,
    *,
    own: bool = True,
    device_ms: float = 1.0,
    group: str | None = None,
) -> Row:
    answers_N = right(num_right)
    sizes_N = np.full(NUM, num_bytes, np.int64)
    return Row(
        id=name,
        series=series,
        group=group or series.value,
        accuracy=float(answers_N.mean()),
        error=0.01,
        bytes=byte_stats(sizes_N.tolist()),
        own=own,
        time=PointTime(device_ms / 1000, 0.002),
        sample=Sample(answers_N, sizes_N),
    )


ROWS = (
    row("b4-l4", Series.SPLIT, 178, 150, device_ms=6.0),
    row("b8-l4", Series.SPLIT, 182, 400, device_ms=6.0),
    row("webp-q1", Series.WEBP, 160, 1000),
    row("webp-q5", Series.WEBP, 176, 1500, own=False),
    row("webp-q20", Series.WEBP, 180, 3000),
    row("jpeg-q10", Series.JPEG, 170, 1400),
    row("jpeg-q90", Series.JPEG, 180, 9000),
    row("local-exit", Series.LOCAL, 140, 0),
)
RATES = Rates(ROWS, Full(0.9, 0.02, right(180)), NUM)
