"""Trains a network for a short time in several ways, to tell how it learns for long.

For each budget a quarter, a half and all of the epochs; from each budget to the next larger one,
and back, half of the epochs each; and with the most maps all pictures, but dealt to four clients,
and a quarter of them for four times the epochs, which are as many steps: what that costs is what
pictures lose that are seen again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.storage import make_folder
from headgate.train.pact.learning_curve import Shown, Trained, fit
from headgate.train.pact.network_costs import network_costs
from headgate.train.pact.pilot_file import SCHEMA, Pilot, write_pilot
from headgate.train.recipe import PruneConfig
from headgate.train.run.plan import Plan
from headgate.train.split_training.deprune import Pictures_N, prepare
from headgate.train.split_training.epoch_record import DepruneEpoch, read_epochs
from headgate.train.split_training.once import is_trained, train_once
from headgate.train.split_training.partition import own_pictures
from headgate.train.split_training.settings import MIN_BATCH, DepruneSettings, Phase

PART = 4  # of the pictures, that are seen as many times as often
CLIENTS = 4  # of the training with several
MIN_EPOCHS = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """One of the short trainings."""

    name: str
    phases: tuple[Phase, ...]
    part: int = 1  # of so many, of the pictures
    clients: int = 1

    @property
    def note(self) -> str:
        """What is unlike the others."""
        if self.clients > 1:
            return f", {self.clients} clients"
        return f", 1/{self.part} of the pictures" if self.part > 1 else ""

    @property
    def work(self) -> float:
        """How long it takes, in epochs of all pictures."""
        return sum(phase.epochs for phase in self.phases) / self.part


class TimeLeft:
    """How long the trainings that follow take, by those that were trained here."""

    def __init__(self, works: Sequence[float]) -> None:
        self._left = sum(works)
        self._trained = self._took_s = 0.0

    def done(self, work: float, took_s: float | None) -> None:
        """Note a training that ended; None where it was there before, and took nothing."""
        self._left -= work
        if took_s is not None:
            self._trained += work
            self._took_s += took_s

    @property
    def words(self) -> str:
        """What to add to a line."""
        if not self._trained or self._left <= 0:
            return ""
        left_s = self._left * self._took_s / self._trained
        return f"; about {f'{left_s / 60:.0f} min' if left_s >= 90 else f'{left_s:.0f} s'} left"


def trials_of(budgets: Sequence[int], *, epochs: int) -> list[Trial]:
    """Return the trainings of a pilot; raises UsageError where they could not tell a curve."""
    if len(set(budgets)) != len(budgets) or not budgets or min(budgets) < 1:
        raise UsageError(
            f"--budgets: found {','.join(map(str, budgets))}, expected each number of maps once, "
            "such as 4,32"
        )
    if epochs < MIN_EPOCHS:
        raise UsageError(f"--epochs: found {epochs}, expected {MIN_EPOCHS} or more")
    ascending = sorted(budgets)
    lengths = sorted({epochs // 4, epochs // 2, epochs})
    trials = [
        Trial(f"b{budget}-e{length}", (Phase(budget, length),))
        for budget in ascending
        for length in lengths
    ]
    half = epochs // 2
    for small, large in pairwise(ascending):
        for first, then in ((small, large), (large, small)):
            trials.append(Trial(f"b{first}-b{then}", (Phase(first, half), Phase(then, half))))
    most = ascending[-1]
    trials.append(Trial(f"b{most}-clients", (Phase(most, epochs),), clients=CLIENTS))
    trials.append(Trial(f"b{most}-part", (Phase(most, PART * epochs),), part=PART))
    return trials


def run_pilot(
    config: PruneConfig,
    settings: DepruneSettings,
    out: Path,
    *,
    budgets: Sequence[int],
    epochs: int,
    say: Callable[[str], None],
    now_s: Callable[[], float] = time.monotonic,
) -> Pilot:
    """Train what is not there yet in OUT/runs, fit the curve, and write OUT/pilot.json.

    `say` hears of each training what it is, and then what it reached.
    """
    trials = trials_of(budgets, epochs=epochs)
    if settings.client_sync == "relay":
        raise UsageError(
            "--client-sync relay: nodes train one after the other then, and plans are of nodes "
            "that train side by side; give fedavg or none"
        )
    plan = prepare(config, replace(settings, phases=tuple(Phase(b, 1) for b in sorted(budgets))))
    num_train, least = len(plan.data.train_labels_N), max(PART, CLIENTS) * MIN_BATCH
    if num_train < least:
        raise DataError(
            f"{config.data}: {num_train} training pictures, expected {least} or more for a pilot"
        )
    make_folder(out / "runs")
    trained, lasts, left = [], {}, TimeLeft([trial.work for trial in trials])
    for number, trial in enumerate(trials, start=1):
        path, is_part = out / "runs" / trial.name, trial.part > 1
        said, is_new, began_s = f"{number}/{len(trials)}", not is_trained(path), now_s()
        train_once(
            config,
            replace(settings, phases=trial.phases),
            path,
            dealt=_part if is_part else None,
            num_clients=trial.clients,
            said=f"{said}{trial.note}",
            say=say,
        )
        lines = read_epochs(path)
        took_s = now_s() - began_s
        left.done(trial.work, took_s if is_new else None)
        if is_new:
            say(f"{said}: accuracy {100 * lines[-1].accuracy:.1f} %, {took_s:.0f} s{left.words}")
        trained.append(_trained(lines))
        if trial.clients == 1:
            lasts[lines[-1].budget] = lines[-1]
    pilot = Pilot(
        SCHEMA,
        config,
        replace(settings, phases=()),
        plan.data.labels,
        network_costs(plan, lasts, half_returns=settings.client_sync != "none"),
        tuple(trained),
        fit(trained),
        pictures=_of_each_label(plan),
    )
    write_pilot(out, pilot)
    return pilot


def _of_each_label(plan: Plan) -> tuple[int, ...]:
    found = plan.data.train_labels_N.bincount(minlength=plan.data.num_classes)
    return tuple(int(num) for num in found)


def _part(plan: Plan) -> dict[str, Pictures_N]:
    labels_N = plan.data.train_labels_N.numpy()
    seed, num_classes = plan.config.seed, plan.data.num_classes
    return {
        "client1": own_pictures(
            labels_N, (1, PART), partition="drawn", num_classes=num_classes, seed=seed
        )
    }


def _trained(lines: Sequence[DepruneEpoch]) -> Trained:
    return Trained(
        tuple(Shown(line.budget, line.num_pictures, len(line.clients)) for line in lines),
        accuracy=lines[-1].accuracy,
    )
