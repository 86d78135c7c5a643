"""What each way to write a point's integers costs: bytes, and microseconds of both sides.

The integers are those of the family's own heads on anyone's pictures. Every second picture fits
what needs fitting (tables, the ideal bounds), the others are measured, so nothing is measured on
what it was fitted to. Codecs take turns, picture after picture, so that a busy machine slows them
alike: compare times within one table only.

Shapes: N pictures, C sent feature maps, h w their size, K contexts, L levels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.export.bench_table import BenchResult, median
from headgate.export.context_tables import NEIGHBOURS, contexts_of, fit_table
from headgate.export.samples import spread
from headgate.profiles.context_table import ContextTable
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.pictures import preprocess
from headgate.runtime.engine import DeviceEngine, EngineOptions
from headgate.runtime.features import decode_features, encode_features
from headgate.runtime.zstd_symbols import smallest_frame
from headgate.train.data import open_split

Integers = NDArray[np.uint8]
Say = Callable[[str], None]

ZSTD_LEVELS = (1, 3, 9, 15)
# Ideal bounds share out a little to what was never seen, as the tables do.
PRIOR_COUNT = 1.0
WARM_UP_PICTURES = 3


@dataclass(frozen=True, slots=True)
class CodecOptions:
    """What to measure."""

    family: Family
    data: str
    limit: int | None = 400  # pictures; half of them fit, half are measured
    point: str | None = None  # one split point; None: all

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 2:
            raise UsageError(f"--limit: found {self.limit}, expected 2 or more: half fit tables")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to write integers; the decoder is None where it does not depend on the way."""

    name: str
    encode: Callable[[Integers], bytes]
    decode: Callable[[bytes], Integers] | None


@dataclass(frozen=True, slots=True)
class Spent:
    """What one way took, picture by picture."""

    sizes: list[int]
    encode_s: list[float]
    decode_s: list[float]


def bench_codec(options: CodecOptions, *, say: Say) -> BenchResult:
    """Measure every codec on the integers of the family's split points."""
    manifest = options.family.manifest
    points = chosen_points(manifest, options.point)
    say("reading pictures")
    pictures_NHWC = load_unlabelled(manifest, options.data, limit=options.limit)
    device = DeviceEngine(options.family, options=EngineOptions(providers="cpu", threads=1))
    rows: list[tuple[str, ...]] = []
    for point in points:
        say(f"{point.id}: {len(pictures_NHWC)} pictures")
        q_NCHW = np.concatenate([device.features(point, p[None])[0] for p in pictures_NHWC])
        rows += point_rows(point, q_NCHW)
    return BenchResult(
        name="Codec",
        columns=("point", "values", "codec", "bytes", "p95", "encode us", "decode us"),
        rows=tuple(rows),
        notes=(
            f"{len(pictures_NHWC)} validation pictures of {options.data.partition(':')[0]}: every "
            "second one fits tables and bounds, the others are measured",
            "times are medians of one thread, codecs in turns; * marks what the point sends",
            "ideal: the entropy under fitted tables, in bytes, with no coder and no rounding",
        ),
    )


def chosen_points(manifest: Manifest, point_id: str | None) -> list[OperatingPoint]:
    """Return the split points to measure, or raise UsageError where there are none."""
    if point_id is not None:
        point = manifest.point(point_id)
        if point.kind is not PointKind.SPLIT:
            raise UsageError(f"--point: {point_id} sends no feature maps; name a split point")
        return [point]
    # Predicted points send the integers of their twins.
    found = [p for p in manifest.points if p.kind is PointKind.SPLIT and p.twin is None]
    if not found:
        raise UsageError("the family has no split points, so there is no codec to measure")
    return found


def load_unlabelled(manifest: Manifest, spec: str, *, limit: int | None) -> Integers:
    """Return validation pictures at the input's size [N,H,W,3]; classes do not matter."""
    dataset = open_split(spec, "val")
    picks = spread(len(dataset), limit)
    if len(picks) < 2:
        raise UsageError(f"data set {spec}: {len(picks)} pictures, expected 2 or more")
    return np.stack([preprocess(dataset.picture(int(i)), manifest.input) for i in picks])


def point_rows(point: OperatingPoint, q_NCHW: Integers) -> list[tuple[str, ...]]:
    """Return the rows of one point: every codec, then the ideal bounds."""
    assert point.levels is not None
    fitted, measured = q_NCHW[::2], q_NCHW[1::2]
    shape = measured.shape[1:]
    ways = ways_of(point, fitted)
    spent = take_turns(ways, measured)
    values = " x ".join(map(str, shape)) + f", {point.levels} levels"
    rows = []
    for way in ways:
        found = spent[way.name]
        times = [found.encode_s, found.decode_s]
        rows.append(
            (
                point.id,
                values,
                way.name,
                f"{np.mean(found.sizes):.1f}",
                f"{np.percentile(found.sizes, 95):.0f}",
                *(f"{1e6 * median(each):.0f}" if each else "" for each in times),
            )
        )
    for name, neighbours in (("ideal, per map", None), ("ideal, neighbours", NEIGHBOURS)):
        size = ideal_bytes(fitted, measured, levels=point.levels, neighbours=neighbours)
        rows.append((point.id, values, name, f"{size:.1f}", "", "", ""))
    return rows


def ways_of(point: OperatingPoint, fitted_NCHW: Integers) -> list[Way]:
    """Return the codecs to compare; the point's own is marked."""
    assert point.levels is not None
    levels, shape = point.levels, fitted_NCHW.shape[1:]
    fresh = fit_table(fitted_NCHW, levels=levels)
    own = " *"
    ways = [
        _codec_way("raw", own if point.codec == "raw" else "", levels=levels, shape=shape),
        *(_zstd_way(zstd_level, levels=levels) for zstd_level in ZSTD_LEVELS),
        _codec_way("zstd", own if point.codec == "zstd" else "", levels=levels, shape=shape),
        _codec_way("context", ", fitted here", levels=levels, shape=shape, table=fresh),
    ]
    if point.table is not None:
        ways.append(_codec_way("context", own, levels=levels, shape=shape, table=point.table))
    return ways


def take_turns(ways: Sequence[Way], q_NCHW: Integers) -> dict[str, Spent]:
    """Write and read every picture in every way; a way that changes an integer is a bug."""
    spent = {way.name: Spent([], [], []) for way in ways}
    for q_CHW in q_NCHW[:WARM_UP_PICTURES]:
        for way in ways:
            way.encode(q_CHW)
    for q_CHW in q_NCHW:
        for way in ways:
            found = spent[way.name]
            started_s = time.perf_counter()
            data = way.encode(q_CHW)
            encoded_s = time.perf_counter()
            found.sizes.append(len(data))
            found.encode_s.append(encoded_s - started_s)
            if way.decode is not None:
                again = way.decode(data)
                found.decode_s.append(time.perf_counter() - encoded_s)
                assert np.array_equal(again, q_CHW), f"{way.name} changed the integers"
    return spent


def ideal_bytes(
    fitted_NCHW: Integers,
    measured_NCHW: Integers,
    *,
    levels: int,
    neighbours: tuple[str, ...] | None,
) -> float:
    """Return the mean code length in bytes under tables fitted to other pictures.

    One table per map, or with `neighbours` one for every combination of theirs.
    """
    contexts = []
    num_maps = fitted_NCHW.shape[1]
    for q_NCHW in (fitted_NCHW, measured_NCHW):
        if neighbours is None:
            context = np.broadcast_to(np.arange(num_maps)[None, :, None, None], q_NCHW.shape)
        else:
            bins = min(levels, 8)
            context = contexts_of(q_NCHW, levels=levels, bins=bins, neighbours=neighbours)
        contexts.append((context * levels + q_NCHW).reshape(-1))
    num = levels * (1 + max(int(each.max()) for each in contexts) // levels)
    counts_KL = np.bincount(contexts[0], minlength=num).reshape(-1, levels).astype(np.float64)
    marginal_L = counts_KL.sum(axis=0) + PRIOR_COUNT
    counts_KL += PRIOR_COUNT * levels * marginal_L / marginal_L.sum()
    bits_KL = np.log2(counts_KL.sum(axis=1, keepdims=True) / counts_KL)
    total_bits = float(bits_KL.reshape(-1)[contexts[1]].sum())
    return total_bits / 8 / len(measured_NCHW)


def _codec_way(
    codec: str,
    suffix: str,
    *,
    levels: int,
    shape: tuple[int, ...],
    table: ContextTable | None = None,
) -> Way:
    return Way(
        codec + suffix,
        lambda q_CHW: encode_features(q_CHW, levels=levels, codec=codec, table=table),
        lambda data: decode_features(data, shape=shape, levels=levels, codec=codec, table=table),
    )


def _zstd_way(zstd_level: int, *, levels: int) -> Way:
    def encode(q_CHW: Integers) -> bytes:
        mode, frame = smallest_frame(q_CHW.reshape(-1), levels, zstd_level=zstd_level)
        return bytes([mode]) + frame

    return Way(f"zstd level {zstd_level}", encode, None)
