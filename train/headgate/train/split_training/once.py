"""Trains what is not trained yet: runs that are compared, or learnt from, are made but once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.folder.run_record import RunRecord
from headgate.train.folder.work_folder import RUN_FILE
from headgate.train.recipe import PruneConfig, differences
from headgate.train.split_training.deprune import Dealt, deprune_locally, prepare
from headgate.train.split_training.settings import DepruneSettings


def train_once(
    config: PruneConfig,
    settings: DepruneSettings,
    out: Path,
    *,
    num_clients: int = 1,
    dealt: Dealt | None = None,
    said: str,
    say: Callable[[str], None],
) -> Run:
    """Train with all sides here, unless the run `out` is there already.

    `say` is told what is trained, which `said` names. Raises UsageError where the run was trained
    otherwise.
    """
    if is_trained(out):
        run = load_run(out)
        _check_as_asked(run.record, config, settings, where=out)
        return run
    say(f"{said}: {', then '.join(phase.words for phase in settings.phases)}")
    return deprune_locally(config, settings, out, num_clients=num_clients, dealt=dealt, force=True)


def is_trained(out: Path) -> bool:
    """Say whether there is a run, which `train_once` would not make again."""
    return (out / RUN_FILE).is_file()


def _check_as_asked(
    record: RunRecord, config: PruneConfig, settings: DepruneSettings, *, where: Path
) -> None:
    """Refuse what an earlier call trained with other settings: it would be taken as asked."""
    changed = differences(prepare(config, settings).config, record.settings)
    if record.deprune != settings:
        changed.append(f"split training: now {settings}, before {record.deprune}")
    if changed:
        raise UsageError(
            f"{where}: was trained with other settings ({'; '.join(changed)}); remove it, or give "
            "another --out"
        )
