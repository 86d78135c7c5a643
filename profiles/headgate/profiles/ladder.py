"""A ladder: operating points made up or measured elsewhere, as a TOML file, without any graph.

It stands in for a family where only costs and worth of the points matter: in the simulator and in
the benchmark of the controller. The format is shown in examples/ladder.toml.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from headgate.profiles.errors import UsageError
from headgate.profiles.manifest import (
    NO_BYTES,
    ByteStats,
    InputSpec,
    Manifest,
    Member,
    MetricSpec,
    OperatingPoint,
    PointKind,
    PointTime,
    TensorSpec,
)
from headgate.profiles.parse import parse
from headgate.profiles.storage import read_toml

SCHEMA = 1
LADDER_MACHINE = "ladder"
LADDER = "ladder"  # key of its name in the provenance; nothing else has it
_FULL_GRAPH = "full/model.onnx"
MAX_BYTES = 64 << 20  # of a frame; the simulator makes payloads of that size
MAX_MS = 1_000_000  # of a point's compute
PICTURE_FORMATS = ("jpeg", "webp")
_SIDE_PX = 8


@dataclass(frozen=True, slots=True)
class LadderPoint:
    """One point as the file has it. Accuracies are 0 to 1."""

    id: str
    kind: PointKind
    accuracy: float
    bytes: float | None = None  # mean payload; None for local points
    bytes_quantiles: tuple[float, float, float] | None = None  # 5, 50 and 95 %, in place of `bytes`
    exit_accuracy: float | None = None  # split: of the answer that the device has by itself
    member: str | None = None  # split: the progressive member that this is a prefix of
    prefix: int | None = None  # so many of its layers; bytes are those of all of them together
    picture_format: str | None = None  # offload: "jpeg", unless it says "webp"
    device_ms: float = 0.0
    edge_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """All that a ladder's file says."""

    points: tuple[LadderPoint, ...]
    name: str = "ladder"
    schema: int = SCHEMA


def read_ladder(path: Path) -> Manifest:
    """Return the manifest of a ladder's points; raises UsageError naming file and place."""
    ladder = parse(Ladder, read_toml(path, error=UsageError), where=str(path), error=UsageError)
    if ladder.schema != SCHEMA:
        raise UsageError(
            f"{path}.schema: is {ladder.schema}, this version reads {SCHEMA}; update Headgate"
        )
    _check(ladder, where=str(path))
    return ladder_manifest(ladder)


def ladder_manifest(ladder: Ladder) -> Manifest:
    """Return a manifest whose points cost and earn what the ladder says. It has no files."""
    layers = Counter(each.member for each in ladder.points if each.member is not None)
    points = tuple(_point(each, layers=layers) for each in ladder.points)
    return Manifest(
        task="classification",
        labels=("first", "second"),
        input=InputSpec(height_px=_SIDE_PX, width_px=_SIDE_PX),
        outputs=(TensorSpec("probabilities", "float32", (2,)),),
        metrics=(MetricSpec("top1", "higher"),),
        members=_members(ladder),
        points=points,
        full_graph=_FULL_GRAPH,
        files={},
        times={
            LADDER_MACHINE: {
                each.id: PointTime(each.device_ms / 1000, each.edge_ms / 1000)
                for each in ladder.points
            }
        },
        provenance={LADDER: ladder.name},
    )


def _point(each: LadderPoint, *, layers: Mapping[str, int]) -> OperatingPoint:
    split = each.kind is PointKind.SPLIT
    num_layers = layers.get(each.member or "", 1)
    return OperatingPoint(
        id=each.id,
        kind=each.kind,
        metrics={"top1": each.accuracy},
        bytes=_byte_stats(each),
        member=(each.member or each.id) if split else None,
        levels=2 if split else None,
        low=(0.0,) * num_layers if split else (),
        span=(1.0,) * num_layers if split else (),
        codec="raw" if split else None,
        picture_format=_picture_format(each),
        picture_quality=50 if each.kind is PointKind.OFFLOAD else None,
        graph=None if split else _FULL_GRAPH,
        prefix=each.prefix,
    )


def _picture_format(each: LadderPoint) -> str | None:
    return (each.picture_format or PICTURE_FORMATS[0]) if each.kind is PointKind.OFFLOAD else None


def _byte_stats(each: LadderPoint) -> ByteStats:
    if each.bytes_quantiles is not None:
        p5, p50, p95 = each.bytes_quantiles
        # The mean of a distribution that is linear between its quantiles.
        mean = 0.25 * p5 + 0.5 * p50 + 0.25 * p95
        return ByteStats(mean=mean, p5=p5, p50=p50, p95=p95, max=p95)
    if each.bytes is None:
        return NO_BYTES
    return ByteStats(each.bytes, each.bytes, each.bytes, each.bytes, each.bytes)


def _members(ladder: Ladder) -> tuple[Member, ...]:
    """Return a member for each split point that is whole, and one for each series.

    Each point may have an exit of its own. A series' member has as many layers as prefixes, each of
    one map.
    """
    members: dict[str, Member] = {}
    for each in ladder.points:
        if each.kind is not PointKind.SPLIT or each.member in members:
            continue
        num_layers = sum(
            1 for other in ladder.points if each.member and other.member == each.member
        )
        num_maps = max(1, num_layers)
        member_id = each.member or each.id
        members[member_id] = Member(
            id=member_id,
            budget=num_maps,
            resolution_factor=1,
            features=TensorSpec("features", "uint8", (num_maps, 1, 1)),
            head="",
            tail="",
            head_macs=0,
            tail_macs=0,
            exit_metrics={} if each.exit_accuracy is None else {"top1": each.exit_accuracy},
            layers=(1,) * num_layers,
        )
    return tuple(members.values())


def _check(ladder: Ladder, *, where: str) -> None:
    if not ladder.points:
        raise UsageError(f"{where}: has no points; add [[points]] with id, kind and accuracy")
    twice = [key for key, count in Counter(each.id for each in ladder.points).items() if count > 1]
    if twice:
        raise UsageError(f"{where}: {twice} appear more than once; give every point its own id")
    for index, each in enumerate(ladder.points):
        _check_point(each, where=f"{where}.points[{index}]")
    for member in dict.fromkeys(each.member for each in ladder.points if each.member is not None):
        series = [each for each in ladder.points if each.member == member]
        _check_series(member, series, ladder, where=where)


def _check_series(member: str, series: list[LadderPoint], ladder: Ladder, *, where: str) -> None:
    """Refuse prefixes that are missing or repeated, shrink, or have different exits."""
    if any(each.id == member and each.member is None for each in ladder.points):
        raise UsageError(f"{where}: {member!r} is a point and a member; rename one of them")
    found = sorted(each.prefix or 0 for each in series)
    if found != list(range(1, len(series) + 1)):
        raise UsageError(
            f"{where}: member {member!r} has prefixes {found}, expected each from 1 to "
            f"{len(series)} once"
        )
    series = sorted(series, key=lambda each: each.prefix or 0)
    sizes = [_byte_stats(each).mean for each in series]
    if any(after <= before for before, after in pairwise(sizes)):
        raise UsageError(
            f"{where}: member {member!r} has prefixes of {sizes} bytes; each must be larger than "
            "the one before, for it holds all of it"
        )
    if len({each.exit_accuracy for each in series}) > 1:
        raise UsageError(
            f"{where}: the prefixes of member {member!r} have different exit_accuracy; they share "
            "one head, so give all the same"
        )


def _check_point(each: LadderPoint, *, where: str) -> None:
    for name in ("accuracy", "exit_accuracy"):
        value = getattr(each, name)
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"{where}.{name}: {value} is not within 0 to 1; give a share")
    if not 0 <= min(each.device_ms, each.edge_ms) <= max(each.device_ms, each.edge_ms) <= MAX_MS:
        raise UsageError(
            f"{where}: device_ms {each.device_ms:g} and edge_ms {each.edge_ms:g} must be 0 to "
            f"{MAX_MS} ms; correct their unit"
        )
    if not each.id:
        raise UsageError(f"{where}.id: is empty; give every point its own")
    local = each.kind is PointKind.LOCAL
    given = [value for value in (each.bytes, each.bytes_quantiles) if value is not None]
    if len(given) != (0 if local else 1):
        expected = "neither bytes nor bytes_quantiles" if local else "bytes or bytes_quantiles"
        raise UsageError(f"{where}: a {each.kind.value} point needs {expected}; correct it")
    sizes = each.bytes_quantiles or (() if each.bytes is None else (each.bytes,))
    if any(size <= 0 for size in sizes) or list(sizes) != sorted(sizes):
        raise UsageError(f"{where}: sizes {list(sizes)} must be above 0 and rising; correct them")
    if any(size > MAX_BYTES for size in sizes):
        raise UsageError(
            f"{where}: sizes {list(sizes)} must be at most {MAX_BYTES} bytes; correct their unit"
        )
    if each.exit_accuracy is not None and each.kind is not PointKind.SPLIT:
        raise UsageError(f"{where}.exit_accuracy: only split points have an exit; remove it")
    if (each.member is None) != (each.prefix is None):
        raise UsageError(f"{where}: member and prefix go together; give both or neither")
    if each.member is not None and each.kind is not PointKind.SPLIT:
        raise UsageError(f"{where}.member: only split points may be prefixes of one; remove it")
    if each.picture_format is not None and each.kind is not PointKind.OFFLOAD:
        raise UsageError(f"{where}.picture_format: only offload points have one; remove it")
    if each.picture_format not in (None, *PICTURE_FORMATS):
        raise UsageError(
            f"{where}.picture_format: {each.picture_format!r} is not one of "
            f"{', '.join(PICTURE_FORMATS)}; correct it"
        )
