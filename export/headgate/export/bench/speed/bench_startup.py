"""How long the command and the runtime take to start, and that they start without torch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from headgate.export.bench.bench_table import BenchResult, Goal, median, milliseconds
from headgate.profiles.errors import HeadgateError

MAX_START_S = 0.4
HEAVY_MODULES = ("torch", "onnx", "lightning_fabric", "sklearn", "matplotlib")
REPORT_HEAVY = f"import sys; print(*(m for m in {HEAVY_MODULES!r} if m in sys.modules))"
IMPORT_RUNTIME = "import headgate.runtime"
IMPORT_DEVICE = "import headgate.runtime.device.device"  # with onnxruntime and ZeroMQ
RUN_HELP = "from headgate.runtime.cli import main; main(['--help'], standalone_mode=False)"


@dataclass(frozen=True, slots=True)
class Start:
    """One way to start Python: what is timed, and what to look at afterwards."""

    name: str
    arguments: tuple[str, ...]
    code: str  # the same, to look at the imported modules at its end
    held: bool = True  # to the goal


STARTS = (
    Start("python -c pass", ("-c", "pass"), "pass"),
    Start("import headgate.runtime", ("-c", IMPORT_RUNTIME), IMPORT_RUNTIME),
    Start("import all of the device", ("-c", IMPORT_DEVICE), IMPORT_DEVICE, held=False),
    Start("headgate --help", ("-m", "headgate.runtime.cli", "--help"), RUN_HELP),
)


def bench_startup(*, rounds: int) -> BenchResult:
    """Start each in turns, `rounds` times after one that warms the file cache."""
    times_s: list[list[float]] = [[] for _ in STARTS]
    for turn in range(1 + rounds):
        for start, kept in zip(STARTS, times_s, strict=True):
            took_s = _time_start(start.arguments)
            if turn > 0:
                kept.append(took_s)
    medians_s = [median(each_s) for each_s in times_s]
    heavy = {start.name: heavy_imports(start.code) for start in STARTS}
    rows = [
        (
            start.name,
            milliseconds(start_s),
            f"{start_s / medians_s[0]:.1f}",
            ", ".join(heavy[start.name]) or "none",
        )
        for start, start_s in zip(STARTS, medians_s, strict=True)
    ]
    num_heavy = sum(len(found) for found in heavy.values())
    slowest_s = max(start_s for start_s, start in zip(medians_s, STARTS, strict=True) if start.held)
    return BenchResult(
        name="Startup",
        columns=("start", "median, ms", "ratio to python", "heavy modules"),
        rows=tuple(rows),
        goals=(
            Goal(f"runtime and --help under {MAX_START_S} s", slowest_s, slowest_s < MAX_START_S),
            Goal("no torch or other heavy module", num_heavy, num_heavy == 0),
        ),
        notes=(f"{rounds} rounds in turns; the shell's own start is not in it",),
    )


def heavy_imports(code: str) -> list[str]:
    """Return which heavy modules a fresh Python has imported after running `code`."""
    out = _run(("-c", f"{code}\n{REPORT_HEAVY}"))
    return out.splitlines()[-1].split() if out.strip() else []


def _time_start(arguments: Sequence[str]) -> float:
    started_s = time.perf_counter()
    _run(arguments)
    return time.perf_counter() - started_s


def _run(arguments: Sequence[str]) -> str:
    found = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if found.returncode != 0:
        raise HeadgateError(
            f"python {' '.join(arguments)}: exit code {found.returncode}, expected 0 "
            f"({found.stderr.strip().splitlines()[-1:]}); install Headgate again"
        )
    return found.stdout
