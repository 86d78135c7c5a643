"""The settings of a training run, the stages they amount to, and the learning rate at each moment.

Algorithm 3 of the prune paper (arXiv 2311.05739): train the plain network fully; put a bottleneck
with B = phi into it and train that; then for each smaller B start from the member before, reset
the filter so that maps can fall again, raise the learning rate for the first epochs, train a few
epochs, keep the member.
"""

import math
from dataclasses import dataclass, field, fields, replace
from enum import Enum

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import ADDED
from headgate.profiles.quantise import MAX_LEVELS, MIN_LEVELS
from headgate.train.progressive import ProgressiveConfig, check_progressive_run

DEFAULT_DATA = "embedded"
EMBEDDED_WIDTH = 0.25
DISTILL = 0.5
SLIM = "slim"  # id of the stage that trains a slim head
PICTURES = "pictures"  # id of the stage that tunes a network for offloaded pictures
HINT = 3.0
FILTER_GAMMA = 3.0
DEFAULT_SPLITS = {  # layers where few maps cross and the head is still cheap
    "vgg11": "features.7",  # the second pooling, the paper's layer 5
    "lenet": "features.5",  # the second pooling
    "resnet18": "stages.1",
    "mobilenet_v2": "features.6",
}
SCHEDULES = ("cosine", "step", "constant")
SHARES = ("nothing", "head", "ends")
SELECTIONS = ("filter", "importance", "nair", "weights")  # see `selection`
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")
WARM_UP = 0.05  # share of the backbone's steps; a random network diverges at full rate
MAX_THREADS = 1024
STEP_DROPS = ((0.5, 0.1), (0.75, 0.01))  # schedule "step": from this progress on, this factor


@dataclass(frozen=True, slots=True)
class PruneConfig:
    """Everything that decides what a run trains; a resumed run must have the same.

    Learning rates are per batch of `batch_size` pictures over all processes together.
    """

    data: str = DEFAULT_DATA
    model: str = "resnet18"
    width: float | None = None  # None: 1, or 0.25 for the embedded pictures, to suit a CPU
    split: str | None = None  # a layer's name or its number; None: the model's default
    input_px: int | None = None  # None: the size of the data set's pictures
    budgets: tuple[int, ...] = ()  # maps that may cross; empty: phi, phi / 4, phi / 32
    resolution_factor: int = 1
    epochs: int | None = None  # of the plain network; None: 10, or 0 with `backbone`
    base_epochs: int = 2  # of the member with B = phi
    member_epochs: int = 2  # of each smaller member
    slim_head: float | None = None  # share of the head's channels that the device's head has
    slim_epochs: int = 8  # of that head, taught by the whole one
    picture_epochs: int = 0  # of the copy of the plain network that is tuned on compressed pictures
    backbone: str | None = None  # a run folder or a safetensors file to start from
    from_scratch: bool = False  # each member from fresh weights, to compare with
    batch_size: int = 64
    lr: float = 0.05  # of the plain network
    member_lr: float = 0.01  # of every stage after it
    gamma: float | None = None  # raises a smaller member's rate in its first epochs; None: 3 where
    # the filter has yet to find the maps, or 1
    raise_epochs: int = 1  # l_k of Algorithm 3
    schedule: str = "cosine"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    epsilon: float = 0.1  # weight of the prune loss
    delta: float = 4.0  # steepness of the prune loss, on (sum f - B) / phi
    lambda_: float = 1.0  # weight of the prune loss's side that keeps maps from falling below B
    rate_weight: float = 0.0  # loss per bit and picture that crosses
    distill: float | None = None  # share of a member's task loss that the plain network's answers
    # take over; None: 0.5, or 0 from scratch
    hint: float | None = None  # weight of the share of the features' variance that a bottleneck
    # loses; None: 3, or 0 from scratch
    share: str = "ends"  # what members have in common with the plain network
    select: str = "importance"  # how the maps of a smaller member are chosen
    cache_gb: float = 4.0  # most that the outputs of a shared head may take on the disk; 0: none
    levels: tuple[int, ...] = (256, 64, 16, 8, 4)  # one is drawn for each batch
    augment: bool = True
    seed: int = 0
    limit: int | None = None  # use this many pictures of each half of the data set
    threads: int | None = None  # None: as torch sees fit
    device: str = "auto"  # auto: a GPU if there is one
    precision: str = "auto"  # auto: bfloat16 where the device is quick at it
    checkpoint_steps: int | None = None  # also keep a checkpoint every so many steps
    # While training members: the largest share of maps, or of bits, that is lost.
    link_loss: float = field(default=0.0, metadata=ADDED)
    progressive: ProgressiveConfig | None = field(default=None, metadata=ADDED)

    @property
    def backbone_epochs(self) -> int:
        if self.epochs is not None:
            return self.epochs
        return 0 if self.backbone else 10

    @property
    def distill_share(self) -> float:
        if self.distill is not None:
            return self.distill
        return 0.0 if self.from_scratch else DISTILL

    @property
    def raised(self) -> float:
        if self.gamma is not None:
            return self.gamma
        return FILTER_GAMMA if self.select == "filter" else 1.0

    @property
    def hint_weight(self) -> float:
        if self.hint is not None:
            return self.hint
        return 0.0 if self.from_scratch or self.plain_cut else HINT

    @property
    def plain_cut(self) -> bool:
        """Say whether the features at the split cross as they are."""
        return self.progressive is not None and not self.progressive.bottleneck

    @property
    def shares_head(self) -> bool:
        return self.share != "nothing" and not self.from_scratch and not self.plain_cut


# These change how a run is computed, not what it computes.
FREE_TO_CHANGE = frozenset({"checkpoint_steps"})


class StageKind(Enum):
    """What a stage trains."""

    BACKBONE = "backbone"
    BASE = "base"  # B = phi, from the backbone
    MEMBER = "member"  # B < phi, from the member before
    TWIN = "twin"  # any B, from fresh weights
    SLIM = "slim"  # a narrower head in the place of the backbone's own
    PROGRESSIVE = "progressive"  # a member in layers, from a member or from the backbone
    PICTURES = "pictures"  # a copy of the backbone, for offloaded pictures


FRESH = (StageKind.BACKBONE, StageKind.TWIN, StageKind.SLIM)  # their weights, or most of them


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a run: train something for some epochs, from the weights of another stage."""

    id: str  # "backbone", "slim", "pictures", or the member's id
    kind: StageKind
    epochs: int
    lr: float
    budget: int | None = None
    start_from: str | None = None  # id of the stage whose weights it begins with
    kept: bool = True  # False: only a step on the way to smaller members
    gamma: float = 1.0
    raise_epochs: int = 0


def member_id(budget: int, resolution_factor: int) -> str:
    """Return the id that a member has everywhere: in the run, the family and the points."""
    return f"b{budget}r{resolution_factor}"


def default_split(config: PruneConfig) -> str:
    """Return the split asked for or the model's default, or refuse to guess for a user's model."""
    if config.split is not None:
        return config.split
    if config.model not in DEFAULT_SPLITS:
        raise UsageError(
            f"--split: {config.model} has no default split; name a layer, "
            f"`headgate train splits {config.model}` lists them"
        )
    return DEFAULT_SPLITS[config.model]


def default_width(config: PruneConfig) -> float:
    """Return the width asked for, or one that suits the data set."""
    if config.width is not None:
        return config.width
    is_embedded = config.data.partition(":")[0] == DEFAULT_DATA
    is_built_in = ":" not in config.model
    return EMBEDDED_WIDTH if is_embedded and is_built_in else 1.0


def resolve_budgets(config: PruneConfig, *, num_maps: int) -> tuple[int, ...]:
    """Return the budgets in falling order, or say which one is impossible."""
    budgets = config.budgets
    if not budgets:
        return tuple(
            sorted({num_maps, max(1, num_maps // 4), max(1, num_maps // 32)}, reverse=True)
        )
    for budget in budgets:
        if not 1 <= budget <= num_maps:
            raise UsageError(
                f"--budgets: {budget} is impossible, {num_maps} maps leave the split; "
                f"give numbers from 1 to {num_maps}"
            )
    if len(set(budgets)) != len(budgets):
        twice = sorted({b for b in budgets if budgets.count(b) > 1})
        raise UsageError(f"--budgets: {twice[0]} is given more than once; name each budget once")
    return tuple(sorted(budgets, reverse=True))


def plan_stages(config: PruneConfig, *, num_maps: int) -> tuple[Stage, ...]:
    """Lay out the stages of a run in the order they are trained."""
    if config.progressive is not None and not config.budgets:
        config = replace(config, budgets=(num_maps,))
    budgets = resolve_budgets(config, num_maps=num_maps)
    r = config.resolution_factor
    if config.from_scratch:
        return tuple(
            Stage(
                id=member_id(budget, r),
                kind=StageKind.TWIN,
                epochs=config.backbone_epochs,
                lr=config.lr,
                budget=budget,
            )
            for budget in budgets
        )
    base = Stage(
        id=member_id(num_maps, r),
        kind=StageKind.BASE,
        epochs=config.base_epochs,
        lr=config.member_lr,
        budget=num_maps,
        start_from="backbone",
        kept=num_maps in budgets,
    )
    backbone = Stage("backbone", StageKind.BACKBONE, config.backbone_epochs, config.lr)
    stages = [backbone]
    if config.slim_head is not None:
        slim = Stage(SLIM, StageKind.SLIM, config.slim_epochs, config.lr, start_from="backbone")
        stages.append(slim)
    if not config.plain_cut:
        stages.append(base)
    for budget in budgets:
        if budget == num_maps or config.plain_cut:
            continue
        stages.append(
            Stage(
                id=member_id(budget, r),
                kind=StageKind.MEMBER,
                epochs=config.member_epochs,
                lr=config.member_lr,
                budget=budget,
                start_from=stages[-1].id,
                gamma=config.raised,
                raise_epochs=min(config.raise_epochs, config.member_epochs),
            )
        )
    if config.progressive is not None:
        stages = [replace(stage, kept=False) for stage in stages]
        stages.append(
            Stage(
                id=f"{config.progressive.method[0]}{budgets[-1]}r{r}",  # n8r1 for NAIR, c for CLIO
                kind=StageKind.PROGRESSIVE,
                epochs=config.progressive.epochs,
                lr=config.member_lr,
                budget=budgets[-1],
                start_from=stages[-1].id,
            )
        )
    if config.picture_epochs:
        stages.append(
            Stage(
                PICTURES,
                StageKind.PICTURES,
                config.picture_epochs,
                config.member_lr,
                start_from="backbone",
            )
        )
    return tuple(stages)


def learning_rate(stage: Stage, *, step: int, steps_per_epoch: int, schedule: str) -> float:
    """Return the rate of one step, which depends on nothing but its place in the stage.

    The first epochs of a smaller member are raised by gamma and not annealed; then the schedule
    runs over what is left. Stages from fresh weights warm up.
    """
    raised_steps = stage.raise_epochs * steps_per_epoch
    if step < raised_steps:
        return stage.lr * stage.gamma
    num_steps = stage.epochs * steps_per_epoch - raised_steps
    progress = (step - raised_steps) / num_steps
    if stage.kind in FRESH and progress < WARM_UP:
        return stage.lr * max(progress / WARM_UP, 1 / num_steps)
    if schedule == "cosine":
        return stage.lr * 0.5 * (1 + math.cos(math.pi * progress))
    factor = 1.0
    for begin, drop in STEP_DROPS if schedule == "step" else ():
        if progress >= begin:
            factor = drop
    return stage.lr * factor


def check_config(config: PruneConfig) -> None:
    """Refuse settings that no data set or network could make sense of."""
    _require_whole(config)
    positive = {"--lr": config.lr, "--member-lr": config.member_lr, "--gamma": config.raised}
    not_negative = {
        "--epsilon": config.epsilon,
        "--delta": config.delta,
        "--rate-weight": config.rate_weight,
        "--momentum": config.momentum,
        "--weight-decay": config.weight_decay,
        "--hint": config.hint_weight,
        "--cache-gb": config.cache_gb,
    }
    for option, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{option}: found {value}, expected a number above 0")
    for option, value in not_negative.items():
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{option}: found {value}, expected 0 or more")
    for option, share in (("--lambda", config.lambda_), ("--distill", config.distill_share)):
        if not 0 <= share <= 1:
            raise UsageError(f"{option}: found {share}, expected 0 to 1")
    if config.momentum >= 1:
        raise UsageError(f"--momentum: found {config.momentum}, expected less than 1")
    for levels in config.levels:
        if not MIN_LEVELS <= levels <= MAX_LEVELS:
            raise UsageError(
                f"--levels: {levels} is impossible; give numbers from {MIN_LEVELS} to {MAX_LEVELS}"
            )
    for levels in config.levels:
        if config.levels.count(levels) > 1:
            raise UsageError(f"--levels: {levels} is given more than once; name each number once")
    if not config.levels:
        raise UsageError("--levels: the list is empty; give at least one number, 256 is 8 bits")
    for option, word, known in (
        ("--schedule", config.schedule, SCHEDULES),
        ("--precision", config.precision, PRECISIONS),
        ("--device", config.device, DEVICES),
        ("--share", config.share, SHARES),
        ("--select", config.select, SELECTIONS),
    ):
        if word not in known:
            raise UsageError(f"{option}: {word!r} is not one of {', '.join(known)}")
    check_progressive_run(config)
    if config.from_scratch and config.backbone:
        raise UsageError("--backbone: cannot be given with --from-scratch; leave one of them out")
    if config.slim_head is not None and not 0 < config.slim_head < 1:
        raise UsageError(f"--slim-head: found {config.slim_head}, expected above 0 and below 1")
    if config.from_scratch and config.slim_head is not None:
        raise UsageError("--slim-head: a run from scratch has no trained head to learn from")
    if config.from_scratch and config.picture_epochs:
        raise UsageError("--picture-epochs: a run from scratch has no plain network to tune")
    if config.from_scratch and config.distill_share:
        raise UsageError("--distill: a run from scratch has no plain network to learn from")
    if config.from_scratch and config.hint_weight:
        raise UsageError("--hint: a run from scratch has no trained features to restore")


def differences(now: PruneConfig, before: PruneConfig) -> list[str]:
    """Name each setting in which two runs differ, as `name: now X, before Y`."""
    return [
        f"{field.name.rstrip('_')}: now {getattr(now, field.name)}, "
        f"before {getattr(before, field.name)}"
        for field in fields(PruneConfig)
        if field.name not in FREE_TO_CHANGE
        and getattr(now, field.name) != getattr(before, field.name)
    ]


def _require_whole(config: PruneConfig) -> None:
    smallest = 0 if config.backbone else 1
    rules: dict[str, tuple[int | None, int]] = {
        "--epochs": (config.epochs, smallest),
        "--base-epochs": (config.base_epochs, 1),
        "--member-epochs": (config.member_epochs, 1),
        "--raise-epochs": (config.raise_epochs, 0),
        "--slim-epochs": (config.slim_epochs, 1),
        "--picture-epochs": (config.picture_epochs, 0),
        "--batch-size": (config.batch_size, 2),
        "--resolution": (config.resolution_factor, 1),
        "--input-px": (config.input_px, 8),
        "--limit": (config.limit, 2),
        "--threads": (config.threads, 1),
        "--seed": (config.seed, 0),
        "--checkpoint-steps": (config.checkpoint_steps, 1),
    }
    for option, (value, least) in rules.items():
        if value is not None and value < least:
            raise UsageError(f"{option}: found {value}, expected {least} or more")
    if config.threads is not None and config.threads > MAX_THREADS:  # OpenMP would crash
        raise UsageError(f"--threads: found {config.threads}, expected at most {MAX_THREADS}")
