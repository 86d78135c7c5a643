"""What every benchmark prints: one table, and the command, machine, versions and commit behind it.

A number without these is not a claim. The same result goes out as Markdown for people and as JSON
for machines.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from headgate.profiles.ladder import LADDER
from headgate.profiles.manifest import Manifest
from headgate.profiles.storage import write_atomic

BENCH_SCHEMA = 1
SHOWN_PACKAGES = ("headgate", "torch", "onnxruntime", "pyzmq", "numpy")


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound that a benchmark is held to, and whether it was met."""

    text: str
    value: float
    met: bool


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One table. Cells are text already, with the precision that the measurement deserves."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    # For machines only: what the table rounds or leaves out, as JSON values.
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_markdown(self) -> str:
        """Return a section of docs/benchmarks.md."""
        lines = [f"### {self.name}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line(row) for row in self.rows]
        lines += ["", *(f"- {_verdict(goal)}" for goal in self.goals)]
        lines += [f"- {note}" for note in self.notes]
        lines += [f"- {key}: {value}" for key, value in provenance().items()]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """Return one JSON object, on one line."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        goals = [{"goal": g.text, "value": _finite(g.value), "met": g.met} for g in self.goals]
        return json.dumps(
            {
                "schema": BENCH_SCHEMA,
                "bench": self.name,
                "rows": rows,
                "goals": goals,
                "notes": list(self.notes),
                **({"details": dict(self.details)} if self.details else {}),
                **provenance(),
            }
        )


def write_result(result: BenchResult, folder: Path) -> Path:
    """Leave the result in `folder` as NAME.md and NAME.json; return the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = result.name.lower().replace(" ", "-")
    table = folder / f"{stem}.md"
    write_atomic(table, result.to_markdown())
    write_atomic(folder / f"{stem}.json", result.to_json() + "\n")
    return table


def provenance() -> dict[str, str]:
    """Return what a reader needs to repeat a measurement here."""
    return {
        "command": command_line(),
        "machine": f"{cpu_model()}, {os.cpu_count() or 1} cores, {platform.system()}",
        "versions": ", ".join(_versions()),
        "commit": commit(),
    }


def command_line() -> str:
    """Return the command as it was typed, with absolute paths cut to their last part."""
    whole = r"(?<![^:=,])/(?:[^/:=,]+/)+"  # not the slashes of a path that is relative, or of a URL
    arguments = [re.sub(whole, ".../", argument) for argument in sys.argv[1:]]
    return shlex.join([Path(sys.argv[0]).name, *arguments])


def family_title(manifest: Manifest) -> str:
    """Return what a page on this family is called: its network as the training was told it."""
    model, split = manifest.provenance.get("model"), manifest.provenance.get("split")
    size = f"{manifest.input.width_px} x {manifest.input.height_px} px"
    if LADDER in manifest.provenance:
        return f"Ladder {manifest.provenance[LADDER]}"
    if not model:
        return f"Family {manifest.digest[:12]}"
    return f"{model} at {size}" + (f", cut after {split}" if split else "")


def cpu_model() -> str:
    """Return the processor's name, or its architecture where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    for key, value in fields.items():
        if key.strip() in ("model name", "Model"):  # x86; single-board computers
            return value.strip()
    return platform.processor() or platform.machine() or "unknown processor"


def commit() -> str:
    """Return the commit that the code is from, marked when files differ from it."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"
    return found.stdout.strip()


def median(values: Sequence[float]) -> float:
    """Return the middle value; the lower of the two middle ones of an even number."""
    assert values
    return sorted(values)[(len(values) - 1) // 2]


def milliseconds(seconds: float) -> str:
    """Write a duration with the digits that a table can stand."""
    return f"{1000 * seconds:.3f}"


def _versions() -> list[str]:
    found = [f"Python {platform.python_version()}"]
    for package in SHOWN_PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _finite(value: float) -> float | None:
    """JSON has no infinity: null where there is nothing to compare."""
    return round(value, 4) if math.isfinite(value) else None


def _verdict(goal: Goal) -> str:
    found = f"{goal.value:.3g}" if math.isfinite(goal.value) else "nothing to compare"
    return f"goal {goal.text}: {found}, {'met' if goal.met else 'NOT met'}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
