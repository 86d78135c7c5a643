"""What `run.json` says: one training run, its settings, and a digest for every file of weights."""

from dataclasses import dataclass, field
from pathlib import Path

from headgate.profiles.errors import FamilyError
from headgate.profiles.parse import ADDED, parse
from headgate.profiles.storage import read_sealed_json
from headgate.train.networks.blueprint import Blueprint
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.settings import DepruneSettings

RUN_SCHEMA = 2
# How runs of schema 1 were trained, which had no such settings.
SETTINGS_OF_SCHEMA_1 = {"share": "nothing", "select": "weights", "hint": 0.0}
TRAINING = "training"
COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class BackboneEntry:
    """The plain network, trained whole: `accuracy` is top-1 on the validation pictures, 0..1."""

    file: str  # relative to the run folder
    sha256: str
    accuracy: float
    epochs: int


@dataclass(frozen=True, slots=True)
class QuantisedEntry:
    """What one member is worth when its maps are sent with `levels` values each."""

    levels: int
    accuracy: float
    rate_bits: float  # estimated bits per picture under the training's prior, before any codec


@dataclass(frozen=True, slots=True)
class PrefixEntry:
    """What a progressive member is worth when no more than its first layers come."""

    maps: int
    accuracy: float  # not quantised
    # Accuracy at each of the run's numbers of levels; none if it was trained without rounding.
    quantised: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ProgressiveEntry:
    """What is known of a progressive member beside its layers."""

    prefixes: tuple[PrefixEntry, ...]  # the shortest first; the last one is the whole
    # Of the maps in `selected`, before its training and after it.
    importance_before: tuple[float, ...]
    importance_after: tuple[float, ...]
    tail_parameters: int  # of one tail
    num_tails: int = 1  # more than one: a tail for each prefix, to compare with


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """One trained member: accuracies are top-1 on the validation pictures, 0..1."""

    id: str
    budget: int
    resolution_factor: int
    selected: tuple[int, ...]  # ascending indices of the maps that cross; frozen for good
    file: str  # relative to the run folder
    sha256: str
    accuracy: float  # not quantised
    exit_accuracy: float  # of the early exit on the backbone's features at the split
    quantised: tuple[QuantisedEntry, ...]
    epochs: int
    shares_backbone: bool = False  # `file` lacks what the plain network's holds, see `weights`
    # Of a progressive member: `selected` in the order of sending, the most important map first,
    # and how many maps each layer has.
    order: tuple[int, ...] = field(default=(), metadata=ADDED)
    layers: tuple[int, ...] = field(default=(), metadata=ADDED)
    progressive: ProgressiveEntry | None = field(default=None, metadata=ADDED)

    @property
    def num_extra_tails(self) -> int:
        return self.progressive.num_tails - 1 if self.progressive else 0


@dataclass(frozen=True, slots=True)
class SideEntry:
    """What a stage beside the members made; accuracies are top-1 on its own pictures, 0..1."""

    file: str  # relative to the run folder
    sha256: str
    accuracy: float
    plain_accuracy: float  # of the plain network on the same pictures
    epochs: int
    head_macs: int = 0  # multiply-adds of the head that it made, if it did, for one picture,
    whole_head_macs: int = 0  # and of the head that it stands in for
    # Of `pictures`: how `picture_stage.held_out_pictures` chose; False in earlier versions.
    draws_held_out: bool = field(default=False, metadata=ADDED)


@dataclass(frozen=True, slots=True)
class FinishedStage:
    """A stage that is done: where its weights lie, and what its member selected, if it is one."""

    stage: str
    file: str  # relative to the run folder
    budget: int | None
    selected: tuple[int, ...] | None
    sha256: str | None = None  # of the file; None in a checkpoint of an earlier version
    shares_backbone: bool = False


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """What was trained on: `digest` changes when a picture or a label does."""

    spec: str
    digest: str
    num_train: int
    num_val: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The whole of `run.json`. `status` is "training" until every stage is done."""

    schema: int
    status: str
    blueprint: Blueprint
    labels: tuple[str, ...]
    dataset: DatasetEntry
    settings: PruneConfig
    backbone: BackboneEntry | None  # None in a run from scratch, which has no plain network
    members: tuple[MemberEntry, ...]
    sides: dict[str, SideEntry] = field(default_factory=dict, metadata=ADDED)  # by stage id
    deprune: DepruneSettings | None = field(default=None, metadata=ADDED)  # of split training

    @property
    def files(self) -> list[str]:
        """Return all files of weights, relative to the run folder."""
        files = [member.file for member in self.members]
        files += [side.file for side in self.sides.values()]
        return files + ([self.backbone.file] if self.backbone else [])


def read_record(path: Path) -> RunRecord:
    """Read a `run.json`, refusing one that is damaged or of a newer schema."""
    data = read_sealed_json(path)
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int):
        raise FamilyError(f"{path}: has no schema number, so it is not a run; train it again")
    if schema > RUN_SCHEMA:
        raise FamilyError(
            f"{path}: schema {schema}, this version reads up to {RUN_SCHEMA}; upgrade headgate"
        )
    if schema < RUN_SCHEMA and isinstance(data.get("settings"), dict):
        data["settings"] = SETTINGS_OF_SCHEMA_1 | data["settings"]
    record = parse(RunRecord, data, where=str(path), error=FamilyError)
    _check_complete(record, where=path)
    for file in record.files:
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise FamilyError(f"{path}: {file!r} leaves the folder; train the run again")
    return record


def _check_complete(record: RunRecord, *, where: Path) -> None:
    """Refuse what nothing can be exported from."""
    ids = [member.id for member in record.members]
    if record.status == COMPLETE and (not ids or len(set(ids)) != len(ids)):
        raise FamilyError(
            f"{where}.members: found {ids}, expected one entry for each of one member or more; "
            "train the run again"
        )
    for place, member in enumerate(record.members):
        if (member.layers or member.order) and (
            sorted(member.order) != sorted(member.selected)
            or min(member.layers, default=0) < 1
            or sum(member.layers) != len(member.order)
        ):
            raise FamilyError(
                f"{where}.members[{place}]: order {list(member.order)} in layers of "
                f"{list(member.layers)} maps is no permutation of the maps that cross, "
                f"{list(member.selected)}; train the run again"
            )
    if min(record.blueprint.size_px) < 1:
        raise FamilyError(
            f"{where}.blueprint.input: {record.blueprint.size_px} px, expected 1 px or more a "
            "side; train the run again"
        )
