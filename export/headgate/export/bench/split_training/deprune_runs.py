"""Reads runs of split training: what each cost in bytes, epoch by epoch, and what it reached.

Runs that differ in nothing but their seed are one series. A run that was not finished counts with
the epochs that it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from headgate.profiles.errors import UsageError
from headgate.train.commands.deprune_options import ADASPLIT_DEFAULTS
from headgate.train.folder.run_folder import partial_folder
from headgate.train.folder.run_record import RunRecord, read_record
from headgate.train.folder.work_folder import RUN_FILE
from headgate.train.split_training.adasplit import AdaSplitSettings
from headgate.train.split_training.epoch_record import DepruneEpoch, read_epochs
from headgate.train.split_training.settings import PLAIN_BITS, DepruneSettings

NO_COMPRESSION = "no compression"
ALL_MAPS = "all maps"
HIGH_COMPRESSION = "high compression"
DEPRUNE = "deprune"
ADASPLIT = "adasplit"
SAVING = (DEPRUNE, ADASPLIT)  # kinds that are to save bytes without losing accuracy
USUAL = DepruneSettings(phases=())  # what is not said in a label
ADASPLIT_VIEW = str(ADASPLIT_DEFAULTS["server_view"])


@dataclass(frozen=True, slots=True)
class DepruneRun:
    """One run and the lines of its epochs."""

    path: Path
    record: RunRecord
    settings: DepruneSettings
    epochs: tuple[DepruneEpoch, ...]

    @property
    def kind(self) -> str:
        """What it is to be compared as; all maps that cross smaller are not `no compression`."""
        settings, blueprint = self.settings, self.record.blueprint
        if settings.adasplit is not None:
            return ADASPLIT
        if len(settings.phases) > 1:
            return DEPRUNE
        if settings.phases[0].budget < blueprint.num_maps:
            return HIGH_COMPRESSION
        is_plain = blueprint.resolution_factor == 1 and not settings.saves_bits
        return NO_COMPRESSION if is_plain else ALL_MAPS

    @property
    def label(self) -> str:
        """What it is, with all that is not as usual."""
        settings, blueprint = self.settings, self.record.blueprint
        parts = [self.kind, ",".join(map(str, settings.phases))]
        if blueprint.resolution_factor != 1:
            parts.append(f"r = {blueprint.resolution_factor}")
        parts += adasplit_parts(settings.adasplit)
        bits = (settings.feature_bits, settings.gradient_bits)
        if bits != (PLAIN_BITS, PLAIN_BITS):
            returns_gradients = settings.adasplit is None
            parts.append(f"{bits[0]}{f'/{bits[1]}' if returns_gradients else ''} bits")
        if settings.compress:
            parts.append("zstd")
        if len(settings.phases) > 1 and settings.join != USUAL.join:
            parts.append(f"join {settings.join}")
        if len(settings.phases) > 1 and settings.anneal != USUAL.anneal:
            parts.append(f"anneal {settings.anneal}")
        if len(settings.phases) > 1 and self.record.settings.raised != 1:
            parts.append(f"gamma {self.record.settings.raised:g}")
        if settings.timetable is not None:
            parts.append("planned")
        if settings.client_sync != "none":
            parts.append(settings.client_sync)
        usual_view = USUAL.server_view if settings.adasplit is None else ADASPLIT_VIEW
        if settings.server_view != usual_view:
            parts.append(
                f"{'own ' if settings.server_view != 'shared' else ''}{settings.server_view}"
            )
        if settings.mask_weight != USUAL.mask_weight:
            parts.append(f"mask weight {settings.mask_weight:g}")
        return " ".join(parts[:2]) + "".join(f", {part}" for part in parts[2:])

    def bytes_to(self, epoch: int) -> int:
        """Return the bytes of the first `epoch` epochs, both ways."""
        return sum(each.bytes_up + each.bytes_down for each in self.epochs[:epoch])


@dataclass(frozen=True, slots=True)
class Series:
    """Runs that differ in their seed."""

    label: str
    runs: tuple[DepruneRun, ...]

    @property
    def kind(self) -> str:
        return self.runs[0].kind

    @property
    def split(self) -> str:
        return self.runs[0].record.blueprint.split

    @property
    def num_epochs(self) -> int:
        return min(len(run.epochs) for run in self.runs)

    def accuracy(self, epoch: int) -> tuple[float, float]:
        """Return mean and deviation over the runs after that epoch, from 1; 0 for one run."""
        found = [run.epochs[epoch - 1].accuracy for run in self.runs]
        return fmean(found), stdev(found) if len(found) > 1 else 0.0

    def exit_accuracy(self, epoch: int) -> float:
        """Return the mean over the runs of what the clients' early exits answer alone."""
        return fmean(run.epochs[epoch - 1].exit_accuracy for run in self.runs)

    def mean_bytes(self, epoch: int) -> float:
        return fmean(run.bytes_to(epoch) for run in self.runs)

    def bytes_to_accuracy(self, accuracy: float) -> float | None:
        """Return the mean bytes until the mean accuracy is first so good; None if it never is."""
        for epoch in range(1, self.num_epochs + 1):
            if self.accuracy(epoch)[0] >= accuracy:
                return self.mean_bytes(epoch)
        return None


def adasplit_parts(adasplit: AdaSplitSettings | None) -> list[str]:
    """Return what of AdaSplit's settings a label says."""
    if adasplit is None:
        return []
    usual = AdaSplitSettings(local_epochs=0)
    parts = [f"{adasplit.local_epochs} alone", f"then {100 * adasplit.cross_share:g} %"]
    if adasplit.local_loss != usual.local_loss:
        parts.append(adasplit.local_loss)
    if adasplit.orchestrator != usual.orchestrator:
        parts.append(adasplit.orchestrator)
    if adasplit.server_passes != usual.server_passes:
        parts.append(f"{adasplit.server_passes} pass{'' if adasplit.server_passes == 1 else 'es'}")
    if adasplit.temperature != usual.temperature:
        parts.append(f"temperature {adasplit.temperature:g}")
    return parts


def find_runs(paths: Sequence[Path]) -> list[DepruneRun]:
    """Read each run, or each run in a folder of runs."""
    runs = []
    for path in paths:
        inside = sorted(child.parent for child in path.glob(f"*/{RUN_FILE}"))
        places = [path] if _has_run(path) else inside
        if not places:
            raise UsageError(f"{path}: no run of split training in it; give another folder")
        runs += [_read(place) for place in places]
    found = [run for run in runs if run.epochs]
    if not found:
        raise UsageError(
            f"{', '.join(str(run.path) for run in runs)}: no epoch is done yet, there is nothing "
            "to compare; wait for the first, or give another run"
        )
    return found


def series_of(runs: Sequence[DepruneRun]) -> list[Series]:
    """Group runs by all but their seed, in the order in which they were given."""
    groups: dict[object, list[DepruneRun]] = {}
    for run in runs:
        key = (
            replace(run.record.settings, seed=0),
            run.settings,
            # With --limit each seed has pictures of its own, and their mean.
            replace(run.record.blueprint, mean=(), std=()),
            run.record.dataset.spec,
        )
        groups.setdefault(key, []).append(run)
    return [Series(group[0].label, tuple(group)) for group in groups.values()]


def _has_run(path: Path) -> bool:
    return (path / RUN_FILE).is_file() or (partial_folder(path) / RUN_FILE).is_file()


def _read(path: Path) -> DepruneRun:
    folder = path if (path / RUN_FILE).is_file() else partial_folder(path)
    record = read_record(folder / RUN_FILE)
    if record.deprune is None:
        raise UsageError(f"{folder}: is no run of split training; give one that is")
    return DepruneRun(folder, record, record.deprune, read_epochs(folder))
