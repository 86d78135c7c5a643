"""The manifest of a family: what `family.json` says, as values.

The digest that devices and edges compare is the sha256 of the canonical JSON of these values, so
two folders with the same digest hold the same graphs, points and measurements.
"""

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from math import prod

from headgate.profiles.confidence import Curve
from headgate.profiles.context_table import ContextTable
from headgate.profiles.errors import FamilyError
from headgate.profiles.parse import ADDED, parse, unparse
from headgate.profiles.storage import canonical_json

SCHEMA = 1
MAX_POINTS = 1 << 16
MAX_OUTPUT_NAME = 64  # characters, of an answer's name on the wire
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
    codec: str | None = None  # split: a codec of headgate.runtime.codec.features
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
        value = parse(Manifest, unparse(self), where="manifest", error=FamilyError)
        return hashlib.sha256(canonical_json(unparse(value))).hexdigest()

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
