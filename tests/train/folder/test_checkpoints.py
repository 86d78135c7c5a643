"""Claims about checkpoints: what was packed comes back, and a kill leaves an old or a new one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from headgate.profiles.errors import FamilyError
from headgate.profiles.storage import read_json, seal_json
from headgate.train.folder.checkpoints import (
    CHECKPOINT_SCHEMA,
    Checkpoint,
    Position,
    pack,
    read_checkpoint,
    read_tensors,
    unpack,
    write_checkpoint,
    write_tensors,
)

STATE = Checkpoint(
    schema=CHECKPOINT_SCHEMA,
    position=Position(stage=1, epoch=2, step=3),
    num_processes=1,
    num_epoch_lines=4,
    sums=(0.1, 1 / 3),
    selected=(0, 5),
    backbone=None,
    members=(),
    finished=(),
)


def stepped_pair(seed: int) -> tuple[nn.Module, torch.optim.SGD]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def test_model_and_momentum_come_back_bit_for_bit(tmp_path: Path) -> None:
    model, optimizer = stepped_pair(seed=1)
    write_checkpoint(tmp_path / "c", STATE, tensors=pack(model, optimizer))
    state = read_checkpoint(tmp_path / "c")
    assert state is not None
    other, other_optimizer = stepped_pair(seed=2)
    unpack(read_tensors(tmp_path / "c", state), other, other_optimizer)
    ours, theirs = pack(model, optimizer), pack(other, other_optimizer)
    assert ours.keys() == theirs.keys()
    assert any(name.startswith("optimizer.") for name in ours)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_state_comes_back_with_its_sums_to_the_last_bit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", STATE, tensors={})
    assert read_checkpoint(tmp_path / "c") == STATE


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "c") is None


def test_tensors_of_an_unfinished_newer_checkpoint_leave_the_old_one_current(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "c"
    write_checkpoint(folder, STATE, tensors={"model.a": torch.ones(2)})
    write_tensors(folder / "tensors-9-9-9.safetensors", {"model.a": torch.zeros(2)})
    state = read_checkpoint(folder)
    assert state is not None
    assert torch.equal(read_tensors(folder, state)["model.a"], torch.ones(2))


def test_only_the_current_tensors_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    write_checkpoint(folder, STATE, tensors={"model.a": torch.ones(2)})
    later = replace(STATE, position=Position(stage=1, epoch=3))
    write_checkpoint(folder, later, tensors={"model.a": torch.zeros(2)})
    assert sorted(path.name for path in folder.iterdir()) == [
        "state.json",
        "tensors-1-3-0.safetensors",
    ]


def test_a_flipped_byte_in_the_tensors_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    write_checkpoint(folder, STATE, tensors={"model.a": torch.ones(2)})
    path = folder / "tensors-1-2-3.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FamilyError, match=r"tensors-1-2-3.*damaged"):
        read_checkpoint(folder)


def test_a_newer_schema_is_refused_whatever_keys_it_has(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", STATE, tensors={})
    path = tmp_path / "c" / "state.json"
    newer = read_json(path) | {"schema": 99, "unheard_of": 1}
    del newer["digest"]
    path.write_bytes(seal_json(newer))
    with pytest.raises(FamilyError, match="upgrade headgate"):
        read_checkpoint(tmp_path / "c")
