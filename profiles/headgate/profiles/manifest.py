"""The manifest of a family: what `family.json` says, as values.

The digest that devices and edges compare is the sha256 of the canonical JSON of these values, so
two folders with the same digest hold the same graphs, points and measurements.
"""

import hashlib
from collections import Counter
from dataclasses import astuple, dataclass, field
from enum import Enum
from functools import cached_property
from math import prod
from pathlib import PurePosixPath
from typing import Any

from headgate.profiles.confidence import Curve
from headgate.profiles.context_table import ContextTable, table_fault
from headgate.profiles.errors import FamilyError, HeadgateError
from headgate.profiles.parse import ADDED, parse, unparse
from headgate.profiles.quantise import MAX_LEVELS, MIN_LEVELS
from headgate.profiles.quantities import check_amounts, check_shapes
from headgate.profiles.storage import canonical_json

SCHEMA = 1
MAX_POINTS = 1 << 16
CONTEXT_CODEC = "context"  # the one that needs a table
CODECS = ("zstd", "raw", CONTEXT_CODEC)
DTYPE_BYTES = {"uint8": 1, "int8": 1, "int64": 8, "float16": 2, "float32": 4}


class PointKind(Enum):
    """How a frame is answered."""

    SPLIT = "split"  # head here, integers over the wire, tail at the edge
    OFFLOAD = "offload"  # a compressed picture over the wire, whole network at the edge
    LOCAL = "local"  # nothing over the wire


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named tensor without its batch axis."""

    name: str
    dtype: str  # a key of DTYPE_BYTES
    shape: tuple[int, ...]
    meaning: str = ""

    @property
    def nbytes(self) -> int:
        return DTYPE_BYTES[self.dtype] * prod(self.shape)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What every graph's `picture` input is: RGB, uint8, NHWC, 0 to 255, of this size.

    Mean and deviation are inside the graphs. `resize` is `stretch` (aspect not kept) or `crop`
    (shorter side resized, centre cut out); `filter` is a Pillow filter's name.
    """

    height_px: int
    width_px: int
    resize: str = "stretch"
    filter: str = "bilinear"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A quality measure; the first of a manifest is the one the controller maximises."""

    name: str
    direction: str  # "higher" or "lower" is better


@dataclass(frozen=True, slots=True)
class Member:
    """One budget of the family: a head graph and a tail graph that changed together."""

    id: str
    budget: int
    resolution_factor: int
    features: TensorSpec  # [C, h, w] uint8, C = budget
    head: str  # path of the graph inside the folder
    tail: str
    head_macs: int  # multiply-adds for one picture
    tail_macs: int
    exit_metrics: dict[str, float]  # of the early exit on this member's head
    # The chance that the exit is right, by how sure it is; None: not calibrated.
    confidence: Curve | None = field(default=None, metadata=ADDED)
    # Of a progressive member: how many maps each layer has, the most important first; they add up
    # to C. Its head emits the maps in this order and its tail takes them so.
    layers: tuple[int, ...] = field(default=(), metadata=ADDED)


@dataclass(frozen=True, slots=True)
class ByteStats:
    """Sizes of the encoded payload over the validation pictures in bytes, without wire headers."""

    mean: float
    p5: float
    p50: float
    p95: float
    max: float


NO_BYTES = ByteStats(mean=0.0, p5=0.0, p50=0.0, p95=0.0, max=0.0)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One way to answer a frame, with what it was measured to cost and to be worth."""

    id: str
    kind: PointKind
    metrics: dict[str, float]
    bytes: ByteStats = NO_BYTES
    member: str | None = None  # split, and local through a member's early exit
    levels: int | None = None  # split: integers 0 .. levels - 1
    low: tuple[float, ...] = ()  # split: per channel, see headgate.profiles.quantise
    span: tuple[float, ...] = ()
    codec: str | None = None  # split: a codec of headgate.runtime.features
    # split: frequencies for the codec "context"
    table: ContextTable | None = field(default=None, metadata=ADDED)
    picture_format: str | None = None  # offload: "jpeg" or "webp"
    picture_quality: int | None = None  # offload: 1 to 100
    graph: str | None = None  # offload: edge graph; local: device graph, or none for an early exit
    # Split: the point that sends the same integers whole. This one predicts them from those of an
    # earlier frame, and its bytes were measured on a video instead of the validation pictures.
    twin: str | None = field(default=None, metadata=ADDED)
    # Split: the chance that the edge is right, by how sure the exit is; None: not calibrated.
    confidence: Curve | None = field(default=None, metadata=ADDED)
    # Split, of a progressive member: how many of its layers are sent. `low` and `span` hold all
    # channels; those of layers that are not sent are zeros at the tail. See `progressive`.
    prefix: int | None = field(default=None, metadata=ADDED)

    @property
    def series(self) -> tuple[object, ...]:
        """What points that are prefixes of one another have in common."""
        return (self.member, self.levels, self.low, self.span, self.codec, self.table)


@dataclass(frozen=True, slots=True)
class PointTime:
    """Median compute time of one frame at one point, in seconds; a prior, not a promise."""

    device_s: float
    edge_s: float


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a file of the family must be."""

    sha256: str
    num_bytes: int
    roles: tuple[str, ...]  # who needs it: "device", "edge"


@dataclass(frozen=True)
class Manifest:
    """All that `family.json` says."""

    task: str
    labels: tuple[str, ...]
    input: InputSpec
    outputs: tuple[TensorSpec, ...]
    metrics: tuple[MetricSpec, ...]
    members: tuple[Member, ...]
    points: tuple[OperatingPoint, ...]
    full_graph: str
    files: dict[str, FileEntry]
    times: dict[str, dict[str, PointTime]] = field(default_factory=dict)  # machine -> point id
    provenance: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA
    # Fingerprints of the pictures that confidence was fitted on: no benchmark counts them.
    confidence_pictures: tuple[str, ...] = field(default=(), metadata=ADDED)

    @property
    def primary_metric(self) -> str:
        return self.metrics[0].name

    @cached_property
    def digest(self) -> str:
        """Identify the family: sha256 of the canonical manifest, 64 hexadecimal digits.

        Parsing first makes 60 and 60.0 the same number where a float is meant.
        """
        value = parse(Manifest, manifest_to_json(self), where="manifest", error=FamilyError)
        return hashlib.sha256(canonical_json(manifest_to_json(value))).hexdigest()

    @cached_property
    def _point_index(self) -> dict[str, int]:
        return {point.id: index for index, point in enumerate(self.points)}

    @cached_property
    def _members_by_id(self) -> dict[str, Member]:
        return {member.id: member for member in self.members}

    def point(self, point_id: str) -> OperatingPoint:
        """Return the point of that id, or raise FamilyError naming those there are."""
        return self.points[self.index_of(point_id)]

    def point_at(self, index: int) -> OperatingPoint | None:
        """Return the point of that number on the wire, or None if there is none."""
        return self.points[index] if 0 <= index < len(self.points) else None

    def index_of(self, point_id: str) -> int:
        """Return the point's place in `points`, which is its number on the wire."""
        try:
            return self._point_index[point_id]
        except KeyError:
            raise FamilyError(
                f"family {self.digest[:12]}: no operating point {point_id!r}; "
                f"it has {[point.id for point in self.points]}"
            ) from None

    def member(self, member_id: str) -> Member:
        """Return the member of that id, or raise FamilyError naming those there are."""
        try:
            return self._members_by_id[member_id]
        except KeyError:
            raise FamilyError(
                f"family {self.digest[:12]}: no member {member_id!r}; "
                f"it has {sorted(self._members_by_id)}"
            ) from None

    def quality(self, point: OperatingPoint) -> float:
        """Return the point's primary metric, turned so that higher is better."""
        value = point.metrics[self.primary_metric]
        return value if self.metrics[0].direction == "higher" else -value


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON object that `family.json` holds."""
    return unparse(manifest)  # type: ignore[no-any-return]


def manifest_from_json(value: Any, *, where: str) -> Manifest:
    """Return the manifest a JSON object describes, or raise FamilyError saying what is wrong."""
    if not isinstance(value, dict):
        raise FamilyError(f"{where}: expected an object, found {type(value).__name__}")
    found = value.get("schema")
    if not isinstance(found, int) or found > SCHEMA or found < 1:
        raise FamilyError(
            f"{where}.schema: is {found!r}, this version reads up to {SCHEMA}; update Headgate"
        )
    manifest = parse(Manifest, value, where=where, error=FamilyError)
    _check(manifest, where)
    return manifest


def _check(manifest: Manifest, where: str) -> None:
    """Refuse references that lead nowhere and points that do not say what their kind needs."""
    if not manifest.metrics or not manifest.points or not manifest.labels:
        raise FamilyError(f"{where}: a family needs metrics, points and labels; export it again")
    if len(manifest.points) > MAX_POINTS:
        raise FamilyError(f"{where}.points: {len(manifest.points)}, at most {MAX_POINTS}")
    _check_unique([member.id for member in manifest.members], f"{where}.members", FamilyError)
    _check_unique([point.id for point in manifest.points], f"{where}.points", FamilyError)
    for path in manifest.files:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or pure.as_posix() != path or "\\" in path:
            raise FamilyError(f"{where}.files: {path!r} is not a plain path inside the folder")
    for member in manifest.members:
        for graph in (member.head, member.tail):
            _check_listed(manifest, graph, f"{where}.members.{member.id}")
        if len(member.features.shape) != 3 or member.features.dtype != "uint8":
            raise FamilyError(f"{where}.members.{member.id}.features: expected uint8 [C, h, w]")
    _check_quantities(manifest, where)
    _check_listed(manifest, manifest.full_graph, f"{where}.full_graph")
    for member in manifest.members:
        _check_layers(manifest, member, f"{where}.members.{member.id}")
    for point in manifest.points:
        _check_point(manifest, point, f"{where}.points.{point.id}")
        if point.twin is not None:
            _check_twin(point, manifest.point(point.twin), f"{where}.points.{point.id}.twin")


def _check_quantities(manifest: Manifest, where: str) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "input": (manifest.input.height_px, manifest.input.width_px, 3)
    }
    shapes |= {f"members.{each.id}.features": each.features.shape for each in manifest.members}
    check_shapes(shapes, where=where)
    amounts = {f"points.{each.id}.bytes": min(astuple(each.bytes)) for each in manifest.points}
    for machine, times in manifest.times.items():
        amounts |= {f"times.{machine}.{key}": min(astuple(time)) for key, time in times.items()}
    check_amounts(amounts, where=where)


def _check_point(manifest: Manifest, point: OperatingPoint, where: str) -> None:
    if manifest.primary_metric not in point.metrics:
        raise FamilyError(f"{where}.metrics: {manifest.primary_metric!r} is missing")
    if point.graph is not None:
        _check_listed(manifest, point.graph, where)
    if point.member is not None:
        manifest.member(point.member)
    if point.kind is PointKind.SPLIT:
        if point.member is None or point.levels is None or point.codec is None:
            raise FamilyError(f"{where}: a split point needs member, levels and codec")
        if not MIN_LEVELS <= point.levels <= MAX_LEVELS:
            raise FamilyError(
                f"{where}.levels: {point.levels} is not within {MIN_LEVELS} to {MAX_LEVELS}"
            )
        num_channels = manifest.member(point.member).features.shape[0]
        if len(point.low) != num_channels or len(point.span) != num_channels:
            raise FamilyError(f"{where}: low and span need one value per channel ({num_channels})")
        if min(point.span) <= 0:
            raise FamilyError(f"{where}.span: must be above 0, found {min(point.span)}")
        _check_codec(point, where)
    if point.kind is PointKind.OFFLOAD and (
        point.graph is None or point.picture_format is None or point.picture_quality is None
    ):
        raise FamilyError(f"{where}: an offload point needs graph, picture_format and quality")
    if point.kind is PointKind.LOCAL and (point.graph is None) == (point.member is None):
        raise FamilyError(f"{where}: a local point needs either a graph or a member's early exit")


def _check_layers(manifest: Manifest, member: Member, where: str) -> None:
    """Refuse layers that do not add up, and points that send no prefix of them or lack one.

    An edge may have received any number of layers, so each number must be a point of its own.
    """
    num_channels = member.features.shape[0]
    if member.layers and (min(member.layers) < 1 or sum(member.layers) != num_channels):
        raise FamilyError(
            f"{where}.layers: {list(member.layers)}, expected numbers above 0 that add up to "
            f"its {num_channels} maps"
        )
    prefixes: dict[object, set[int]] = {}
    for point in manifest.points:
        if point.kind is not PointKind.SPLIT or point.member != member.id:
            continue
        if (point.prefix is None) != (not member.layers):
            raise FamilyError(
                f"{where}: point {point.id} has prefix {point.prefix} and the member "
                f"{len(member.layers)} layers; points of a progressive member name a prefix, "
                "others do not"
            )
        if point.prefix is None:
            continue
        if not 1 <= point.prefix <= len(member.layers):
            raise FamilyError(
                f"{where}: point {point.id} sends {point.prefix} layers, expected 1 to "
                f"{len(member.layers)}"
            )
        found = prefixes.setdefault(point.series, set())
        if point.prefix in found:
            raise FamilyError(f"{where}: point {point.id} repeats prefix {point.prefix}")
        found.add(point.prefix)
    for found in prefixes.values():
        missing = set(range(1, max(found) + 1)) - found
        if missing:
            raise FamilyError(
                f"{where}: no point sends {sorted(missing)} layers where others send more; "
                "every prefix needs a point"
            )


def _check_twin(point: OperatingPoint, twin: OperatingPoint, where: str) -> None:
    """Refuse a twin whose integers mean something else: they are the references."""
    mine = (point.kind, point.member, point.levels, point.low, point.span)
    if point.kind is not PointKind.SPLIT or twin.twin is not None:
        raise FamilyError(f"{where}: a split point may name another that has no twin itself")
    if mine != (twin.kind, twin.member, twin.levels, twin.low, twin.span):
        raise FamilyError(f"{where}: {twin.id} has another member, levels, low or span")


def _check_codec(point: OperatingPoint, where: str) -> None:
    assert point.levels is not None
    if point.codec not in CODECS:
        raise FamilyError(
            f"{where}.codec: {point.codec!r} is not one of {', '.join(CODECS)}; update Headgate"
        )
    if (point.codec == CONTEXT_CODEC) != (point.table is not None):
        raise FamilyError(
            f"{where}: codec {CONTEXT_CODEC!r} and a table of frequencies go together, found "
            f"{point.codec!r} {'without' if point.table is None else 'with'} a table"
        )
    if point.table is None:
        return
    fault = table_fault(point.table, levels=point.levels)
    if fault is not None:
        raise FamilyError(f"{where}.table.{fault}")


def _check_listed(manifest: Manifest, path: str, where: str) -> None:
    if path not in manifest.files:
        raise FamilyError(f"{where}: names {path!r}, which is not among the family's files")


def _check_unique(ids: list[str], where: str, error: type[HeadgateError]) -> None:
    twice = [key for key, count in Counter(ids).items() if count > 1]
    if twice:
        raise error(f"{where}: {twice} appear more than once")
