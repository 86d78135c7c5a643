"""What docs/frames.md shows is as it says: its line is read, and its program counts late frames."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "frames.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_program_counts_late_frames_by_cause_and_lists_latencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = json.loads(block("json").replace("\n", ""))
    nothing: dict[str, Any] = dict.fromkeys(shown["ms"])
    late = shown | {"captured_s": 15.733, "deadline_met": False}
    never = late | {"source": "none", "reason": "no edge", "ms": nothing | {"total": 0.3}}
    lines = [json.dumps(frame) for frame in (shown, late, late, never)]
    (tmp_path / "frames.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(block("python"), "frames.md", "exec"), found)  # the page's own program
    assert found["late"] == Counter({("edge", "uplink"): 2, ("no edge", None): 1})
    assert found["latency"] == [(0.0, 33.0), (2.0, 33.0), (2.0, 33.0)]
