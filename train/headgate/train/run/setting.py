"""Where a stage takes place: the run's plan and folder, and what earlier stages made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from headgate.train.folder.run_record import FinishedStage
from headgate.train.run.plan import Plan


@dataclass(frozen=True, slots=True)
class Setting:
    """What a stage finds as it begins."""

    fabric: Fabric
    plan: Plan  # with its data on the fabric's device
    folder: Path  # of the run
    finished: dict[str, FinishedStage]  # by id
    noted: Callable[[str], None]  # takes what a person should know now
