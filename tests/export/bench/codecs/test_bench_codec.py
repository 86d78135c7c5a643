"""The codec benchmark: every way measured, on integers that nothing was fitted to."""

from pathlib import Path

import numpy as np
import pytest

from headgate.export.bench.codecs.bench_codec import (
    CodecOptions,
    bench_codec,
    ideal_bytes,
    point_rows,
    take_turns,
    ways_of,
)
from headgate.export.points.context_tables import NEIGHBOURS, fit_table
from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import OperatingPoint, PointKind
from runtime.tiny_family import write_npz, write_tiny_family


def silent(text: str) -> None:
    """Hear nothing."""


def smooth(num: int, *, levels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rng = np.random.default_rng(0)
    steps = rng.integers(-1, 2, (num, 4, 8, 1)).cumsum(axis=2) + rng.integers(-1, 2, (num, 4, 1, 8))
    found: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    found = (steps + levels // 2).clip(0, levels - 1).astype(np.uint8)
    return found


def point_of(codec: str, **table: object) -> OperatingPoint:
    return OperatingPoint(
        id="p",
        kind=PointKind.SPLIT,
        metrics={},
        levels=5,
        codec=codec,
        **table,  # type: ignore[arg-type]
    )


def test_every_way_of_a_split_point_is_measured(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    data = f"npz:{write_npz(tmp_path / 'pictures.npz', 12)}"
    result = bench_codec(CodecOptions(family=family, data=data, point="b3r1-l16"), say=silent)
    assert [row[2] for row in result.rows] == [
        "raw",
        "zstd level 1",
        "zstd level 3",
        "zstd level 9",
        "zstd level 15",
        "zstd *",
        "context, fitted here",
        "ideal, per map",
        "ideal, neighbours",
    ]
    assert {row[1] for row in result.rows} == {"3 x 8 x 8, 16 levels"}
    raw = next(row for row in result.rows if row[2] == "raw")
    assert float(raw[3]) == 96  # 192 values of 4 bits
    every = bench_codec(CodecOptions(family=family, data=data, limit=2), say=silent)
    assert [row[0] for row in every.rows[::9]] == ["b3r1-l16", "b1r1-l5"]


def test_what_cannot_be_measured_is_refused_with_a_sentence(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    data = f"npz:{write_npz(tmp_path / 'pictures.npz', 12)}"
    with pytest.raises(UsageError, match="local-full sends no feature maps"):
        bench_codec(CodecOptions(family=family, data=data, point="local-full"), say=silent)
    with pytest.raises(UsageError, match=r"--point: .*no operating point 'nowhere'"):
        bench_codec(CodecOptions(family=family, data=data, point="nowhere"), say=silent)
    with pytest.raises(UsageError, match="--limit: found 1, expected 2 or more"):
        CodecOptions(family=family, data=data, limit=1)


def test_the_codec_of_the_point_is_marked_with_its_own_table() -> None:
    q_NCHW = smooth(20, levels=5)
    table = fit_table(q_NCHW, levels=5)
    rows = point_rows(point_of("context", table=table), q_NCHW)
    sizes = {row[2]: float(row[3]) for row in rows}
    assert [name for name in sizes if name.endswith("*")] == ["context *"]
    assert sizes["context *"] < sizes["zstd level 15"] < sizes["raw"]


def test_a_coder_comes_close_to_the_ideal_and_never_under_its_own() -> None:
    q_NCHW = smooth(60, levels=5)
    fitted, measured = q_NCHW[::2], q_NCHW[1::2]
    spent = take_turns(ways_of(point_of("raw"), fitted), measured)
    ideal = ideal_bytes(fitted, measured, levels=5, neighbours=NEIGHBOURS)
    per_map = ideal_bytes(fitted, measured, levels=5, neighbours=None)
    assert ideal < per_map
    mean = float(np.mean(spent["context, fitted here"].sizes))
    assert 0.9 * ideal < mean < 1.1 * ideal + 2


def test_the_ideal_of_even_integers_is_their_number_of_bits() -> None:
    q_NCHW = np.random.default_rng(0).integers(0, 4, (400, 2, 8, 8)).astype(np.uint8)
    per_map = ideal_bytes(q_NCHW[::2], q_NCHW[1::2], levels=4, neighbours=None)
    assert per_map == pytest.approx(2 * 8 * 8 * 2 / 8, rel=0.01)
