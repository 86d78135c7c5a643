"""A finished training run on disk: open it, verify it, and build its networks again.

    run.json        what was trained, on what, and the sha256 of every file of weights
    epochs.jsonl    one line per epoch
    weights/        backbone.safetensors, and one <member id>.safetensors each, which may lack
                    what the first one holds; pictures.safetensors if that stage was asked for

While a run is training it lives beside its final place, in `OUT.partial`; `OUT` itself appears
only when everything in it is complete.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.family import MANIFEST_NAME
from headgate.profiles.manifest import InputSpec
from headgate.profiles.storage import recover_folder, sha256_file
from headgate.train.folder.run_record import (
    COMPLETE,
    BackboneEntry,
    MemberEntry,
    RunRecord,
    SideEntry,
    read_record,
)
from headgate.train.folder.weights import with_shared
from headgate.train.networks.blueprint import Blueprint
from headgate.train.networks.progressive_model import LayerPlan, ProgressiveModel
from headgate.train.networks.split_model import SplitModel
from headgate.train.stages import PICTURES


@dataclass(frozen=True, slots=True)
class Run:
    """A complete run: `path` is its folder, `record` what its run.json says."""

    path: Path
    record: RunRecord

    @property
    def blueprint(self) -> Blueprint:
        return self.record.blueprint

    @property
    def labels(self) -> tuple[str, ...]:
        return self.record.labels

    @property
    def input(self) -> InputSpec:
        return self.record.blueprint.input

    @property
    def member_ids(self) -> tuple[str, ...]:
        return tuple(member.id for member in self.record.members)

    def backbone(self) -> nn.Module:
        """Return the plain network, in eval mode: float NCHW pictures in 0..1 to logits."""
        entry = self.record.backbone
        if entry is None:
            raise FamilyError(
                f"{self.path}: a run from scratch has no backbone; train without --from-scratch"
            )
        with self._told_of_the_run():
            model = self.blueprint.build_backbone()
        _load(model, self._weights(entry))
        return model.eval()

    def picture_network(self) -> nn.Module | None:
        """Return the whole network that was tuned on compressed pictures, if there is one."""
        entry = self.record.sides.get(PICTURES)
        if entry is None:
            return None
        with self._told_of_the_run():
            model = self.blueprint.build_backbone()
        _load(model, self._weights(entry))
        return model.eval()

    def member(self, member_id: str) -> SplitModel:
        """Return one member with its frozen selection, in eval mode.

        A member with layers is a ProgressiveModel, its order and layers set.
        """
        entry = self.entry(member_id)
        with self._told_of_the_run():
            model = self._fresh_member(entry)
            model.freeze_selection(entry.selected)
            if isinstance(model, ProgressiveModel):
                model.set_layers(LayerPlan(entry.order, entry.layers))
        weights = self._weights(entry)
        if entry.shares_backbone:
            weights = with_shared(weights, self._shared(), names=model.state_dict())
        _load(model, weights)
        return model.eval()

    def _fresh_member(self, entry: MemberEntry) -> SplitModel:
        if not entry.layers:
            return self.blueprint.build_split_model(budget=entry.budget)
        return self.blueprint.build_progressive_model(
            budget=entry.budget, num_extra_tails=entry.num_extra_tails
        )

    def entry(self, member_id: str) -> MemberEntry:
        """Return what run.json says about one member."""
        for member in self.record.members:
            if member.id == member_id:
                return member
        raise FamilyError(
            f"{self.path}: no member {member_id!r}; it has {', '.join(self.member_ids)}"
        )

    @contextmanager
    def _told_of_the_run(self) -> Iterator[None]:
        """Turn what is said of options into what is said of run.json, where they come from."""
        try:
            yield
        except UsageError as reason:
            raise FamilyError(
                f"{self.path / 'run.json'}: its network cannot be built again: {reason}"
            ) from None

    def _shared(self) -> dict[str, torch.Tensor]:
        if self.record.backbone is None:
            raise FamilyError(
                f"{self.path / 'run.json'}: a member shares the weights of a plain network that "
                "is not there; train the run again"
            )
        return self._weights(self.record.backbone)

    def _weights(self, entry: BackboneEntry | MemberEntry | SideEntry) -> dict[str, torch.Tensor]:
        return read_trained(self.path / entry.file, sha256=entry.sha256)


def load_run(path: Path) -> Run:
    """Open a complete run, or raise FamilyError saying what it is instead.

    Digests of weights are checked when they are loaded, not here.
    """
    recover_folder(path)
    if not (path / "run.json").is_file():
        if partial_folder(path).is_dir():
            raise FamilyError(
                f"{path}: its training is not complete; "
                "repeat the command that started it with --resume"
            )
        if (path / MANIFEST_NAME).is_file():
            raise FamilyError(f"{path}: is a family, no training run; give what it was exported of")
        raise FamilyError(f"{path}: no run.json in it; give a folder that headgate train wrote")
    record = read_record(path / "run.json")
    if record.status != COMPLETE:
        raise FamilyError(f"{path}: status is {record.status!r}, expected {COMPLETE!r}; resume it")
    return Run(path=path, record=record)


def partial_folder(out: Path) -> Path:
    """Return where the run that will be `out` lives until it is complete."""
    out = Path(os.path.realpath(out))  # "." has no name
    return out.with_name(f"{out.name}.partial")


def read_weights(path: Path, *, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """Read a safetensors file, or raise FamilyError if it is damaged or not the one meant."""
    if not path.is_file():
        raise FamilyError(f"{path}: missing; put it back, or train the run again")
    found = sha256_file(path) if sha256 is not None else None
    if found != sha256:
        raise FamilyError(
            f"{path}: sha256 is {str(found)[:12]}, expected {str(sha256)[:12]}; put it back, or "
            "train the run again"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as reason:
        raise FamilyError(
            f"{path}: not a readable safetensors file ({reason}); write it again"
        ) from None


def read_trained(path: Path, *, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """Read the weights of a trained network; FamilyError also where its training ran away."""
    weights = read_weights(path, sha256=sha256)
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise FamilyError(
                f"{path}: {name} holds a number that is not finite, so its training ran away; "
                "train it again, with a lower learning rate"
            )
    return weights


def _load(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as reason:
        first = str(reason).splitlines()[-1].strip()
        raise FamilyError(
            f"weights do not fit the network that run.json describes ({first}); "
            "use the version of headgate, and of your model's code, that trained them"
        ) from None
