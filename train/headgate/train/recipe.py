"""The settings of a run; `stages` says what they amount to, `recipe_checks` what cannot be."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeVar

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import ADDED
from headgate.train.progressive import ProgressiveConfig

Settings = TypeVar("Settings", "PruneConfig", ProgressiveConfig)

DEFAULT_DATA = "embedded"
EMBEDDED_WIDTH = 0.25
DISTILL = 0.5
HINT = 3.0
FILTER_GAMMA = 3.0
DEFAULT_SPLITS = {  # layers where few maps cross and the head is still cheap
    "vgg11": "features.7",  # the second pooling, the paper's layer 5
    "mobilenet_v2": "features.6",
    "resnet18": "stages.1.1",
    "lenet": "features.5",  # the second pooling
}
SCHEDULES = ("cosine", "step", "constant")
SHARES = ("nothing", "head", "ends")
SELECTIONS = ("principal", "importance", "filter", "nair", "weights")  # see `selection`
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")


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
    # loses; None: 3 where members start with some of the maps, else 0
    share: str = "ends"  # what members have in common with the plain network
    select: str = "principal"  # what the maps of a smaller member are made of
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
    # What the network's input is: `colours`. None: as the backbone learnt it, or as the data are.
    normalise: str | None = field(default=None, metadata=ADDED)
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
        starts_well = self.select == "principal"  # and then loses by it, see docs/log.md
        return 0.0 if self.from_scratch or self.plain_cut or starts_well else HINT

    @property
    def plain_cut(self) -> bool:
        """Say whether the features at the split cross as they are."""
        return self.progressive is not None and not self.progressive.bottleneck

    @property
    def shares_head(self) -> bool:
        return self.share != "nothing" and not self.from_scratch and not self.plain_cut


# These change how a run is computed, not what it computes.
FREE_TO_CHANGE = frozenset({"checkpoint_steps"})


def unknown_model(name: str) -> UsageError:
    """Return what to raise for a name without `module:` that is not one of ours."""
    return UsageError(
        f"{name!r} is not a built-in model; use one of {', '.join(DEFAULT_SPLITS)}, "
        "or package.module:callable for your own"
    )


def default_split(config: PruneConfig) -> str:
    """Return the split asked for or the model's default, or refuse to guess for a user's model."""
    if config.split is not None:
        return config.split
    if config.model not in DEFAULT_SPLITS:
        if ":" not in config.model:
            raise unknown_model(config.model)
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


def differences(now: PruneConfig, before: PruneConfig) -> list[str]:
    """Name each setting in which two runs differ, as `name: now X, before Y`.

    Of two progressive members those of their own settings.
    """
    found = _differing(now, before)
    if now.progressive is not None and before.progressive is not None:
        found.pop("progressive", None)
        own = _differing(now.progressive, before.progressive)
        found |= {f"progressive.{name}": pair for name, pair in own.items()}
    return [
        f"{name.rstrip('_')}: now {ours}, before {theirs}"
        for name, (ours, theirs) in found.items()
        if name not in FREE_TO_CHANGE
    ]


def _differing(now: Settings, before: Settings) -> dict[str, tuple[object, object]]:
    """Return the fields in which two values differ, with both."""
    pairs = {
        field.name: (getattr(now, field.name), getattr(before, field.name)) for field in fields(now)
    }
    return {name: (ours, theirs) for name, (ours, theirs) in pairs.items() if ours != theirs}
