"""What split training is told: its schedule of budgets, what crosses, and what must agree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import ADDED
from headgate.train.networks.blueprint import Blueprint
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.adasplit import PARTITIONS, AdaSplitSettings
from headgate.train.split_training.client_views import VIEWS
from headgate.train.split_training.greeting import MAX_SHOWN
from headgate.train.split_training.timetable import Timetable
from headgate.train.stages import Stage, StageKind, learning_rate, member_id

CLIENT_SYNCS = ("none", "relay", "fedavg")
JOINS = ("silent", "drawn")
ANNEALS = ("whole", "budget")
ON_NAN = ("stop", "skip")
GRID_BITS = (8, 7, 6, 5, 4, 3, 2)  # integers on a grid for each map
PLAIN_BITS = 32
BITS = (PLAIN_BITS, 16, *GRID_BITS)
MAX_PHASES = 64
MIN_BATCH = 2  # pictures: of one alone batch norm can make nothing where maps have a single pixel


@dataclass(frozen=True, slots=True)
class Phase:
    """So many epochs with so many maps."""

    budget: int
    epochs: int

    def __str__(self) -> str:
        return f"{self.budget}:{self.epochs}"

    @property
    def words(self) -> str:
        """What `str` says, for readers who have not given it as an option."""
        maps, epochs = _s(self.budget), _s(self.epochs)
        return f"{self.budget} map{maps} for {self.epochs} epoch{epochs}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


@dataclass(frozen=True, slots=True)
class DepruneSettings:
    """What split training adds to a recipe; both sides must have the same."""

    phases: tuple[Phase, ...]
    client_sync: str = "none"  # what client halves have in common, see `server_session`
    feature_bits: int = PLAIN_BITS
    gradient_bits: int = PLAIN_BITS
    compress: bool = False  # entropy-code what crosses, where that pays
    join: str = "drawn"  # how a map begins that crosses for the first time, see `growth`
    on_nan: str = "stop"
    anneal: str = "whole"  # the learning rate falls once over all epochs, or over each budget's
    # How pictures are dealt to clients: drawn, or each has classes of its own.
    partition: str = field(default="drawn", metadata=ADDED)
    server_view: str = field(default="shared", metadata=ADDED)  # that a client has, `client_views`
    mask_weight: float = field(default=0.0, metadata=ADDED)  # of the gains' mean magnitude
    # Clients train by a loss of their own; None: by the server's gradients.
    adasplit: AdaSplitSettings | None = field(default=None, metadata=ADDED)
    # Who trains in which epoch, which only the server needs to know; None: all in all of them.
    timetable: Timetable | None = field(default=None, metadata=ADDED)

    @property
    def num_epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    @property
    def saves_bits(self) -> bool:
        """Whether maps or gradients cross in less than plain float32."""
        return self.compress or (self.feature_bits, self.gradient_bits) != (PLAIN_BITS, PLAIN_BITS)

    def phase_of(self, epoch: int) -> int:
        """Return the index of the phase that an epoch (from 0) belongs to."""
        for index, phase in enumerate(self.phases):
            epoch -= phase.epochs
            if epoch < 0:
                return index
        raise AssertionError("an epoch after the last")

    def first_epoch(self, phase: int) -> int:
        return sum(each.epochs for each in self.phases[:phase])

    def budget_of(self, epoch: int) -> int:
        return self.phases[self.phase_of(epoch)].budget


def parse_schedule(text: str) -> tuple[Phase, ...]:
    """Read BUDGET:EPOCHS,..., such as 4:15,128:7 or 128:7,4:15: no budget twice in a row."""
    expected = (
        f"expected BUDGET:EPOCHS,... ({MAX_PHASES} at most, no budget twice in a row), "
        "such as 4:15,128:7"
    )
    phases = []
    for part in text.split(","):
        budget, _, epochs = part.strip().partition(":")
        if not (budget.isdecimal() and epochs.isdecimal()):
            raise UsageError(f"--schedule: {part.strip()!r} is not BUDGET:EPOCHS; {expected}")
        phases.append(Phase(int(budget), int(epochs)))
        if phases[-1].budget < 1 or phases[-1].epochs < 1:
            raise UsageError(f"--schedule: {part.strip()!r} has a zero in it; {expected}")
    budgets = [phase.budget for phase in phases]
    if any(a == b for a, b in pairwise(budgets)) or len(phases) > MAX_PHASES:
        raise UsageError(f"--schedule: budgets {budgets}; {expected}")
    return tuple(phases)


def check_settings(settings: DepruneSettings) -> None:
    """Refuse what no schedule or network could make sense of."""
    for option, word, known in (
        ("--client-sync", settings.client_sync, CLIENT_SYNCS),
        ("--join", settings.join, JOINS),
        ("--on-nan", settings.on_nan, ON_NAN),
        ("--anneal", settings.anneal, ANNEALS),
        ("--partition", settings.partition, PARTITIONS),
        ("--server-view", settings.server_view, VIEWS),
    ):
        if word not in known:
            raise UsageError(f"{option}: {word!r} is not one of {', '.join(known)}")
    for option, bits in (
        ("--feature-bits", settings.feature_bits),
        ("--gradient-bits", settings.gradient_bits),
    ):
        if bits not in BITS:
            raise UsageError(
                f"{option}: found {bits}, expected one of {', '.join(map(str, sorted(BITS)))}"
            )
    if not settings.mask_weight >= 0:
        raise UsageError(f"--mask-weight: found {settings.mask_weight:g}, expected 0 or more")
    if settings.adasplit is not None:
        settings.adasplit.check(num_epochs=settings.num_epochs)
    if settings.timetable is not None:
        settings.timetable.check(num_epochs=settings.num_epochs)


def stage_of(config: PruneConfig, settings: DepruneSettings, phase: int) -> Stage:
    """Return a phase as the recipe knows it: the first warms up, those of more maps are raised."""
    budget, epochs = settings.phases[phase].budget, settings.phases[phase].epochs
    is_raised = phase > 0 and budget > settings.phases[phase - 1].budget
    return Stage(
        id=member_id(budget, config.resolution_factor),
        kind=StageKind.MEMBER if phase else StageKind.TWIN,
        epochs=epochs,
        lr=config.lr,
        budget=budget,
        gamma=config.raised,
        raise_epochs=min(config.raise_epochs, epochs) if is_raised else 0,
    )


def rate_of(
    config: PruneConfig,
    settings: DepruneSettings,
    *,
    epoch: int,
    step: int,
    num_steps: int,
    from_epoch: int = 0,
) -> float:
    """Return the learning rate of a side that learns from `from_epoch` on, for one batch.

    A rate that begins anew with each budget unlearns what the few maps have taught, and the last
    budget's epochs are too few to learn it again.
    """
    phase = settings.phase_of(epoch)
    since = epoch - settings.first_epoch(phase)
    stage = stage_of(config, settings, phase)
    if settings.anneal == "budget":
        return learning_rate(
            stage,
            step=since * num_steps + step,
            steps_per_epoch=num_steps,
            schedule=config.schedule,
        )
    whole = replace(stage_of(config, settings, 0), epochs=settings.num_epochs - from_epoch)
    done = (epoch - from_epoch) * num_steps + step
    rate = learning_rate(whole, step=done, steps_per_epoch=num_steps, schedule=config.schedule)
    return rate * stage.gamma if since < stage.raise_epochs else rate


def agreement(
    config: PruneConfig,
    settings: DepruneSettings,
    blueprint: Blueprint,
    *,
    labels: Sequence[str],
    wire_version: int,
) -> dict[str, Any]:
    """Return what both sides must have in common, by the name that a user knows it by.

    Pictures are not in it: each client has its own. What they show is: a label crosses as a number.
    """
    agreed: dict[str, Any] = {
        "wire version": wire_version,
        "model": blueprint.model,
        "width": blueprint.width,
        "split": blueprint.split,
        "maps at the split": blueprint.num_maps,
        "resolution": blueprint.resolution_factor,
        "classes": blueprint.num_classes,
        "labels": _labels_text(labels),
        "input": f"{blueprint.size_px[1]} x {blueprint.size_px[0]} px",
        "schedule": ",".join(map(str, settings.phases)),
        "seed": config.seed,
        "lr": config.lr,
        "gamma": config.raised,
        "raise epochs": config.raise_epochs,
        "rate schedule": config.schedule,
        "anneal": settings.anneal,
        "momentum": config.momentum,
        "weight decay": config.weight_decay,
        "epsilon": config.epsilon,
        "delta": config.delta,
        "lambda": config.lambda_,
        "client sync": settings.client_sync,
        "feature bits": settings.feature_bits,
        "gradient bits": settings.gradient_bits,
        "join": settings.join,
        "on nan": settings.on_nan,
    }
    for name, value, usual in (
        ("partition", settings.partition, "drawn"),
        ("server view", settings.server_view, "shared"),
        ("mask weight", settings.mask_weight, 0.0),
    ):
        if value != usual:  # an earlier version knows nothing of it
            agreed[name] = value
    if settings.adasplit is not None:
        agreed |= settings.adasplit.agreement()
    return agreed


def _labels_text(labels: Sequence[str]) -> str:
    """Return labels in their order, or the first few and a digest of all."""
    text = ", ".join(labels)
    if len(text) <= MAX_SHOWN:
        return text
    digest = hashlib.sha256("\0".join(labels).encode(errors="surrogatepass")).hexdigest()
    return f"{text[: MAX_SHOWN - 16]}... {digest[:12]}"
