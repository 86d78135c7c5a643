"""The settings of a progressive member: how its maps are ordered, cut into slices, and weighted.

NAIR orders maps by importance and trains one tail for every prefix of the order; CLIO keeps the
natural order and weights each prefix by how likely the link is to carry just that much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import ADDED

if TYPE_CHECKING:
    from headgate.train.recipe import PruneConfig

METHODS = ("nair", "clio")
ORDERS = ("importance", "natural")
IMPORTANCES = ("folded", "plain")
WEIGHTS_FROM = ("start", "now")
SLICE_MAPS = 2
W_NON = 2.0
PENALTY = 0.3  # what `train nair` takes unless told


@dataclass(frozen=True, slots=True)
class WeightSource:
    """The recorded links that CLIO's weights were counted on, and for what task of theirs."""

    traces: tuple[str, ...]  # by name, all alike
    deadline_s: float  # for the maps to cross
    value_bits: int  # that each number costs to send


@dataclass(frozen=True, slots=True)
class ProgressiveConfig:
    """What decides a progressive member, beside the settings that all runs have."""

    method: str = "nair"
    slice_maps: int = SLICE_MAPS  # maps of a slice, the least that is sent or not sent
    order: str = "importance"  # of the maps: by importance, or as the network has them
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


def _check_numbers(config: ProgressiveConfig) -> None:
    """Refuse settings that no network could make sense of."""
    for option, word, known in (
        ("--order", config.order, ORDERS),
        ("--importance", config.importance, IMPORTANCES),
        ("--weights-from", config.weights_from, WEIGHTS_FROM),
    ):
        if word not in known:
            raise UsageError(f"{option}: {word!r} is not one of {', '.join(known)}")
    whole = {
        "--slice": (config.slice_maps, 1),
        "--nair-epochs": (config.epochs, 0),
        "--prefixes-per-step": (config.prefixes_per_step, 1),
    }
    for option, (count, least) in whole.items():
        if count is not None and count < least:
            raise UsageError(f"{option}: found {count}, expected {least} or more")
    for option, value in (("--w-non", config.w_non), ("--penalty", config.penalty)):
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{option}: found {value}, expected 0 or more")


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
    if not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise UsageError(
            "--prefix-weights: expected numbers of 0 or more, and at least one above 0"
        )


def check_progressive_run(config: PruneConfig) -> None:
    """Refuse what cannot be asked of a run with a progressive member, or of a link."""
    if not 0 <= config.link_loss <= 1:
        raise UsageError(f"--link-loss: found {config.link_loss}, expected a share of 0 to 1")
    progressive = config.progressive
    if progressive is None:
        return
    _check_numbers(progressive)
    if len(config.budgets) > 1:
        raise UsageError(
            f"--maps: found {len(config.budgets)} numbers, expected one: a progressive member's "
            "prefixes are its smaller sizes"
        )
    if config.plain_cut and config.slim_head is not None:
        raise UsageError("--slim-head: cannot be given with --no-bottleneck, which trains the head")
    if config.plain_cut and config.resolution_factor != 1:
        raise UsageError("--resolution: without a bottleneck nothing shrinks the maps; leave it 1")
    if config.plain_cut and config.hint_weight:
        raise UsageError("--hint: without a bottleneck there is nothing to restore; leave it out")
    if config.plain_cut and config.budgets:
        raise UsageError("--maps: without a bottleneck all maps of the split cross; leave it out")
    if config.rate_weight and not progressive.quantise:
        raise UsageError("--rate-weight: cannot be given with --no-quantise: floats cost no bits")
