"""What short trainings taught of longer ones: FOLDER/pilot.json, which plans are made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import parse, unparse
from headgate.profiles.storage import read_sealed_json, seal_json, write_atomic
from headgate.train.pact.epoch_costs import NetworkCosts
from headgate.train.pact.learning_curve import LearningCurve, Trained
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.settings import DepruneSettings

SCHEMA = 1
PILOT_FILE = "pilot.json"


@dataclass(frozen=True, slots=True)
class Pilot:
    """All that a plan needs to know of a network and how it learns."""

    schema: int
    config: PruneConfig
    settings: DepruneSettings  # but the phases, which a plan has
    labels: tuple[str, ...]
    costs: NetworkCosts
    trained: tuple[Trained, ...]
    curve: LearningCurve


def write_pilot(folder: Path, pilot: Pilot) -> Path:
    """Write it at once or not at all; return where it is."""
    path = folder / PILOT_FILE
    write_atomic(path, seal_json(unparse(pilot)))
    return path


def read_pilot(folder: Path) -> Pilot:
    """Read FOLDER/pilot.json; raises UsageError where there is none, or another schema."""
    path = folder / PILOT_FILE if folder.is_dir() else folder
    if not path.is_file():
        raise UsageError(f"{path}: no such file; `headgate train pact pilot` makes one")
    found = read_sealed_json(path)
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise UsageError(
            f"{path}: schema {schema}, this version reads {SCHEMA}; run the pilot again"
        )
    return parse(Pilot, found, where=str(path), error=UsageError)
