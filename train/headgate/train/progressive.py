"""The settings of a progressive member: how its maps are ordered, cut into slices, and weighted.

NAIR orders maps by importance and trains one tail for every prefix of the order; CLIO keeps the
natural order and weights each prefix by how likely the link is to carry just that much.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import ADDED

ORDERS = ("principal", "importance", "natural")
IMPORTANCES = ("folded", "plain")
WEIGHTS_FROM = ("start", "now")
SLICE_MAPS = 2
W_NON = 2.0
PENALTY = 0.3  # what `train nair` takes unless told, of maps as they are
MAX_PREFIX_WEIGHT = 1e6  # far above, a loss is no finite float32


@dataclass(frozen=True, slots=True)
class WeightSource:
    """The recorded links that CLIO's weights were counted on, and for what task of theirs."""

    traces: tuple[str, ...]  # by name, all alike
    deadline_s: float  # for the maps to cross
    value_bits: int  # that each number costs to send


@dataclass(frozen=True, slots=True)
class ProgressiveConfig:
    """What decides a progressive member, beside the settings that all runs have."""

    method: str = "nair"  # or "clio"
    slice_maps: int = SLICE_MAPS  # maps of a slice, the least that is sent or not sent
    # Of the maps: mixtures by what they are worth, maps by importance, or as the network has them.
    order: str = "importance"
    importance: str = "folded"  # of a filter, with batch norm folded into it or as it is
    bottleneck: bool = True  # False: the features at the split themselves cross
    w_non: float = W_NON  # NAIR: a prefix counts (1 - its share of the importance) ^ w_non
    weights_from: str = "start"  # NAIR: the importance before the training, or that of each step
    penalty: float = 0.0  # NAIR: weight of the importance that is not in the first slice
    prefix_weights: tuple[float, ...] = ()  # CLIO: how likely each prefix is
    many_tails: bool = False  # a tail for each prefix
    prefixes_per_step: int | None = None  # beside the whole; None: all of them
    quantise: bool = True  # while training
    epochs: int = 4
    # CLIO: where `prefix_weights` come from, if they were counted on recorded links.
    weights_of_link: WeightSource | None = field(default=None, metadata=ADDED)


def default_penalty(order: str) -> float:
    """Return the penalty that `train nair` takes unless told: mixtures were trained without."""
    return 0.0 if order == "principal" else PENALTY


def slice_layers(num_maps: int, *, slice_maps: int) -> tuple[int, ...]:
    """Return how many maps each slice has; they must come out even."""
    if num_maps % slice_maps:
        divisors = [n for n in range(1, num_maps + 1) if num_maps % n == 0]
        raise UsageError(
            f"--slice: {num_maps} maps cannot be cut into slices of {slice_maps}; give one of "
            f"{', '.join(map(str, divisors))}"
        )
    return (slice_maps,) * (num_maps // slice_maps)


def check_order(order: Sequence[int], selected: Sequence[int], *, where: str) -> None:
    """Refuse an order that is no permutation of the maps that cross."""
    if sorted(order) != sorted(selected):
        raise UsageError(
            f"{where}: order {list(order)} is no permutation of the maps that cross, "
            f"{sorted(selected)}; each must be named once"
        )


def check_prefix_weights(weights: Sequence[float], *, num_layers: int) -> None:
    """Refuse CLIO's weights unless there is one for each prefix, and one above zero."""
    if len(weights) != num_layers:
        raise UsageError(
            f"--prefix-weights: found {len(weights)} numbers, expected one for each of the "
            f"{num_layers} prefixes, the shortest first"
        )
    if not all(0 <= weight <= MAX_PREFIX_WEIGHT for weight in weights) or not any(weights):
        raise UsageError(
            f"--prefix-weights: expected numbers of 0 to {MAX_PREFIX_WEIGHT:g}, and at least one "
            "above 0"
        )
