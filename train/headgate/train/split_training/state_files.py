"""What one side of split training keeps on disk, to go on after a stop.

    NAME.json                  the state; names the tensors and their sha256
    NAME-<n>.safetensors       network, optimizer, rounding errors still owed

Replacing NAME.json is the moment at which a state becomes the current one: its tensors are on the
disk before it, and older ones go after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from headgate.profiles.errors import FamilyError
from headgate.profiles.parse import parse, unparse
from headgate.profiles.storage import read_sealed_json, seal_json, sha256_file, write_atomic
from headgate.train.folder.checkpoints import write_tensors
from headgate.train.folder.run_folder import read_weights

T = TypeVar("T")


def write_state(folder: Path, name: str, state: Any, *, tensors: Mapping[str, Tensor]) -> None:
    """Make `state`, a dataclass, and its tensors the current ones of that name."""
    folder.mkdir(exist_ok=True)  # not those above it: a run that was moved away is no new one
    taken = [int(path.stem.rpartition("-")[2]) for path in _tensor_files(folder, name)]
    file = f"{name}-{max(taken, default=0) + 1}.safetensors"
    write_tensors(folder / file, tensors)
    stored = {
        "state": unparse(state),
        "tensors": file,
        "sha256": sha256_file(folder / file),
    }
    write_atomic(folder / f"{name}.json", seal_json(stored))
    for path in _tensor_files(folder, name):
        if path.name != file:
            path.unlink()


def read_state(folder: Path, name: str, kind: type[T]) -> tuple[T, dict[str, Tensor]] | None:
    """Return what `write_state` wrote, or None if there is none; FamilyError if it is damaged."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    stored = read_sealed_json(path)
    if not isinstance(stored, dict) or not {"state", "tensors", "sha256"} <= stored.keys():
        raise FamilyError(f"{path}: is no state of split training; start over with --force")
    state = parse(kind, stored["state"], where=str(path), error=FamilyError)
    return state, read_weights(folder / Path(stored["tensors"]).name, sha256=stored["sha256"])


def forget_state(folder: Path, name: str) -> None:
    """Remove what `write_state` wrote; a kill midway leaves all of it, or tensors of no state."""
    (folder / f"{name}.json").unlink(missing_ok=True)
    for path in _tensor_files(folder, name):
        path.unlink()


def _tensor_files(folder: Path, name: str) -> list[Path]:
    return [
        path
        for path in folder.glob(f"{name}-*.safetensors")
        if path.stem.removeprefix(f"{name}-").isdecimal()
    ]
