"""What each way to write a point's integers costs: bytes, and microseconds of both sides.

The integers are those of the family's own heads on anyone's pictures. Every second picture fits
what needs fitting (tables, the ideal bounds), the others are measured, so nothing is measured on
what it was fitted to. Codecs take turns, picture after picture, so that a busy machine slows them
alike: compare times within one table only.

Of a progressive member every layer is written by itself, as it is sent, and a row is all of them.

Shapes: N pictures, C sent feature maps, h w their size, K contexts, L levels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.export.bench.bench_options import point_named
from headgate.export.bench.bench_table import BenchResult, median
from headgate.export.points.context_tables import NEIGHBOURS, contexts_of, fit_table
from headgate.export.samples import spread
from headgate.profiles.context_table import ContextTable
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.pictures import preprocess
from headgate.profiles.progressive import layer_bounds, maps_of_prefix
from headgate.runtime.codec.features import decode_features, encode_features
from headgate.runtime.codec.zstd_symbols import smallest_frame
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.graphs import EngineOptions
from headgate.train.pictures.data import open_split

Integers = NDArray[np.uint8]
Say = Callable[[str], None]

ZSTD_LEVELS = (1, 3, 9, 15)
# Ideal bounds share out a little to what was never seen, as the tables do.
PRIOR_COUNT = 1.0
WARM_UP_PICTURES = 3
LAYERS_NOTE = "a progressive member's layers are written one by one; a row is all of them together"


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
    decode: Callable[[bytes, tuple[int, ...]], Integers] | None  # of integers of this shape


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
        if point.prefix is not None:
            assert point.member is not None
            q_NCHW = q_NCHW[:, : maps_of_prefix(manifest.member(point.member), point.prefix)]
        rows += point_rows(point, q_NCHW, bounds=inner_bounds(manifest, point))
    return BenchResult(
        name="Codec",
        columns=("point", "values", "codec", "bytes", "p95", "encode us", "decode us"),
        rows=tuple(rows),
        notes=(
            f"{len(pictures_NHWC)} validation pictures of {options.data.partition(':')[0]}: every "
            "second one fits tables and bounds, the others are measured",
            "times are medians of one thread, codecs in turns; * marks what the point sends",
            "ideal: the entropy under fitted tables, in bytes, with no coder and no rounding",
            *([LAYERS_NOTE] if any(point.prefix is not None for point in points) else []),
        ),
    )


def chosen_points(manifest: Manifest, point_id: str | None) -> list[OperatingPoint]:
    """Return the split points to measure, or raise UsageError where there are none."""
    if point_id is not None:
        point = point_named(manifest, point_id)
        if point.kind is not PointKind.SPLIT:
            raise UsageError(f"--point: {point_id} sends no feature maps; name a split point")
        return [point]
    # Predicted points send the integers of their twins, and prefixes some of the largest one's.
    found = [p for p in manifest.points if p.kind is PointKind.SPLIT and p.twin is None]
    if not found:
        raise UsageError("the family has no split points, so there is no codec to measure")
    return [p for p in found if not any(_goes_on(p, each) for each in found)]


def _goes_on(point: OperatingPoint, other: OperatingPoint) -> bool:
    """Tell whether `other` sends all layers of `point`, and more."""
    if point.prefix is None or other.prefix is None:
        return False
    return other.prefix > point.prefix and other.series == point.series


def inner_bounds(manifest: Manifest, point: OperatingPoint) -> tuple[int, ...]:
    """Return the maps before which another layer begins, of those that a point sends."""
    if point.prefix is None:
        return ()
    assert point.member is not None
    return layer_bounds(manifest.member(point.member))[1 : point.prefix]


def load_unlabelled(manifest: Manifest, spec: str, *, limit: int | None) -> Integers:
    """Return validation pictures at the input's size [N,H,W,3]; classes do not matter."""
    dataset = open_split(spec, "val")
    picks = spread(len(dataset), limit)
    if len(picks) < 2:
        raise UsageError(f"data set {spec}: {len(picks)} pictures, expected 2 or more")
    return np.stack([preprocess(dataset.picture(int(i)), manifest.input) for i in picks])


def point_rows(
    point: OperatingPoint, q_NCHW: Integers, *, bounds: Sequence[int] = ()
) -> list[tuple[str, ...]]:
    """Return the rows of one point: every codec, then the ideal bounds.

    `bounds` are those of `inner_bounds`; `q_NCHW` holds the maps that the point sends.
    """
    assert point.levels is not None
    fitted, measured = q_NCHW[::2], q_NCHW[1::2]
    ways = ways_of(point, fitted)
    spent = take_turns(ways, measured, bounds=bounds)
    values = " x ".join(map(str, measured.shape[1:])) + f", {point.levels} levels"
    if bounds:
        values += f", {len(bounds) + 1} layers"
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
    levels = point.levels
    fresh = fit_table(fitted_NCHW, levels=levels)
    own = " *"
    ways = [
        _codec_way("raw", own if point.codec == "raw" else "", levels=levels),
        *(_zstd_way(zstd_level, levels=levels) for zstd_level in ZSTD_LEVELS),
        _codec_way("zstd", own if point.codec == "zstd" else "", levels=levels),
        _codec_way("context", ", fitted here", levels=levels, table=fresh),
    ]
    if point.table is not None:
        ways.append(_codec_way("context", own, levels=levels, table=point.table))
    return ways


def take_turns(
    ways: Sequence[Way], q_NCHW: Integers, *, bounds: Sequence[int] = ()
) -> dict[str, Spent]:
    """Write and read every picture in every way; a way that changes an integer is a bug."""
    spent = {way.name: Spent([], [], []) for way in ways}
    for q_CHW in q_NCHW[:WARM_UP_PICTURES]:
        for way in ways:
            way.encode(q_CHW)
    for q_CHW in q_NCHW:
        layers = np.split(q_CHW, bounds)
        for way in ways:
            found = spent[way.name]
            started_s = time.perf_counter()
            data = [way.encode(layer_CHW) for layer_CHW in layers]
            encoded_s = time.perf_counter()
            found.sizes.append(sum(map(len, data)))
            found.encode_s.append(encoded_s - started_s)
            if way.decode is not None:
                again = [
                    way.decode(each, layer_CHW.shape)
                    for each, layer_CHW in zip(data, layers, strict=True)
                ]
                found.decode_s.append(time.perf_counter() - encoded_s)
                assert np.array_equal(np.concatenate(again), q_CHW), f"{way.name} changed integers"
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
    table: ContextTable | None = None,
) -> Way:
    return Way(
        codec + suffix,
        lambda q_CHW: encode_features(q_CHW, levels=levels, codec=codec, table=table),
        lambda data, shape: decode_features(
            data, shape=shape, levels=levels, codec=codec, table=table
        ),
    )


def _zstd_way(zstd_level: int, *, levels: int) -> Way:
    def encode(q_CHW: Integers) -> bytes:
        mode, frame = smallest_frame(q_CHW.reshape(-1), levels, zstd_level=zstd_level)
        return bytes([mode]) + frame

    return Way(f"zstd level {zstd_level}", encode, None)
