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
LEAST, MOST = 1e-3, 1e15  # of its numbers
MOST_PICTURES = 10**8  # of a label


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
    pictures: tuple[int, ...] = ()  # of each label, to train on; none: a pilot of before


def write_pilot(folder: Path, pilot: Pilot) -> Path:
    """Write it at once or not at all; return where it is."""
    path = folder / PILOT_FILE
    write_atomic(path, seal_json(unparse(pilot)))
    return path


def read_pilot(folder: Path) -> Pilot:
    """Read FOLDER/pilot.json; raises UsageError where there is none, or another schema."""
    if not folder.exists():
        raise UsageError(
            f"{folder}: no such folder, expected one of a pilot; check the path, or make one with "
            "`headgate train pact pilot`"
        )
    path = folder / PILOT_FILE if folder.is_dir() else folder
    if not path.is_file():
        raise UsageError(f"{path}: no such file; `headgate train pact pilot` makes one")
    found = read_sealed_json(path)
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise UsageError(
            f"{path}: schema {schema}, this version reads {SCHEMA}; run the pilot again"
        )
    pilot = parse(Pilot, found, where=str(path), error=UsageError)
    if not _can_be_planned_with(pilot):
        raise UsageError(
            f"{path}: numbers of the curve or costs that no pilot finds; run the pilot again"
        )
    return pilot


def _can_be_planned_with(pilot: Pilot) -> bool:
    curve, costs = pilot.curve, pilot.costs
    num = len(curve.budgets)
    positive = [curve.scale, curve.exponent, curve.repeats, float(costs.batch_size)]
    positive += [float(budget) for budget in curve.budgets]
    positive += [*curve.shares, *curve.later_shares]
    others = [*curve.floors, curve.crowding, curve.rms_error]
    others += [float(costs.half_bytes_up), float(costs.half_bytes_down)]
    for each in costs.budgets:
        positive += [each.bytes_up, each.bytes_down]
        others += [min(each.client_macs, MOST), min(each.server_macs, MOST)]
    lengths = {len(curve.floors), len(curve.shares), len(curve.later_shares)}
    return (
        num > 0
        and len(pilot.pictures) in (0, len(pilot.labels))
        and all(0 <= each <= MOST_PICTURES for each in pilot.pictures)
        and lengths == {num}
        and list(curve.budgets) == sorted(set(curve.budgets))
        and [each.budget for each in costs.budgets] == list(curve.budgets)
        and all(LEAST <= value <= MOST for value in positive)
        and all(0 <= value < MOST for value in others)
        and any(run.epochs for run in pilot.trained)
    )
