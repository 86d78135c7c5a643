"""Where a run stands, on disk: enough to go on as if it had never stopped.

    checkpoint/state.json               stage, epoch, step, what is finished; names the tensors
    checkpoint/tensors-<n>.safetensors  the model and its optimizer, absent between stages

Replacing state.json is the moment at which a checkpoint becomes the current one: the tensors it
names are on the disk before it, and older ones go after it. There is no random state to store,
because every random choice of a run is a function of its seed and its place (see `loop`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from headgate.profiles.errors import FamilyError
from headgate.profiles.parse import parse, unparse
from headgate.profiles.storage import read_sealed_json, seal_json, sha256_file, write_atomic
from headgate.train.folder.run_folder import read_weights
from headgate.train.folder.run_record import BackboneEntry, FinishedStage, MemberEntry, SideEntry

CHECKPOINT_SCHEMA = 1
STATE_FILE = "state.json"
MODEL_PREFIX = "model."
_OPTIMIZER = "optimizer."


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a run: `step` steps of epoch `epoch` (both from 0) of a stage are done."""

    stage: int = 0
    epoch: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All of state.json."""

    schema: int
    position: Position
    num_processes: int
    num_epoch_lines: int  # of epochs.jsonl; a kill may leave one more than that
    sums: tuple[float, ...]  # of the epoch under way, see loop.EpochMeans
    selected: tuple[int, ...] | None  # of the member in training, once frozen
    backbone: BackboneEntry | None
    members: tuple[MemberEntry, ...]
    finished: tuple[FinishedStage, ...]
    sides: dict[str, SideEntry] = field(default_factory=dict)
    tensors: str | None = None  # file; None between stages
    sha256: str | None = None  # of that file


def write_checkpoint(folder: Path, state: Checkpoint, *, tensors: Mapping[str, Tensor]) -> None:
    """Make `state` the current checkpoint of `folder`; `tensors` may be empty between stages."""
    folder.mkdir(exist_ok=True)
    name = None
    digest = None
    if tensors:
        place = state.position
        name = f"tensors-{place.stage}-{place.epoch}-{place.step}.safetensors"
        write_tensors(folder / name, tensors)
        digest = sha256_file(folder / name)
    stored: dict[str, Any] = unparse(state) | {"tensors": name, "sha256": digest}
    write_atomic(folder / STATE_FILE, seal_json(stored))
    for path in folder.iterdir():
        if path.name not in (STATE_FILE, name):
            path.unlink()


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the current checkpoint, or None if the run was stopped before its first."""
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    data = read_sealed_json(path)
    schema = data.get("schema") if isinstance(data, dict) else None
    # First: a newer one may have keys that would be called a mistake here.
    if isinstance(schema, int) and schema > CHECKPOINT_SCHEMA:
        raise FamilyError(
            f"{path}: schema {schema}, this version reads up to {CHECKPOINT_SCHEMA}; "
            "upgrade headgate"
        )
    state = parse(Checkpoint, data, where=str(path), error=FamilyError)
    if state.tensors is not None:
        tensors_path = folder / state.tensors
        found = sha256_file(tensors_path) if tensors_path.is_file() else "missing"
        if found != state.sha256:
            raise FamilyError(
                f"{tensors_path}: sha256 is {found[:12]}, state.json says "
                f"{(state.sha256 or '')[:12]}; the checkpoint is damaged, start over with --force"
            )
    return state


def read_tensors(folder: Path, state: Checkpoint) -> dict[str, Tensor]:
    """Read the tensors that `state` names; `read_checkpoint` has checked their digest."""
    assert state.tensors is not None
    return read_weights(folder / state.tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    write_atomic(
        path,
        save({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}),
    )


def pack(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return all tensors of a model and of its optimizer, by name.

    Only tensors are kept of the optimizer: its rates are a function of the position.
    """
    packed = {MODEL_PREFIX + name: tensor for name, tensor in model.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                packed[f"{_OPTIMIZER}{index}.{key}"] = value
    return packed


def unpack(tensors: Mapping[str, Tensor], model: nn.Module, optimizer: Optimizer) -> None:
    """Put back what `pack` took; the model must have the same architecture."""
    model.load_state_dict(
        {
            name.removeprefix(MODEL_PREFIX): t
            for name, t in tensors.items()
            if name.startswith(MODEL_PREFIX)
        }
    )
    values: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, _, key = name.removeprefix(_OPTIMIZER).partition(".")
            values.setdefault(int(index), {})[key] = tensor
    state = optimizer.state_dict()
    optimizer.load_state_dict(state | {"state": values})
