"""Refusal of what cannot be asked of a run with a progressive member, or of a link."""

import math

from headgate.profiles.errors import UsageError
from headgate.train.progressive import IMPORTANCES, ORDERS, WEIGHTS_FROM, ProgressiveConfig
from headgate.train.recipe import PruneConfig


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
    if config.plain_cut and progressive.order == "principal":
        raise UsageError(
            "--order principal: cannot be given with --no-bottleneck, whose filters make the "
            "mixtures; give importance or natural"
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


def _check_numbers(config: ProgressiveConfig) -> None:
    """Refuse settings that no network could make sense of."""
    for option, word, known in (
        ("--order", config.order, ORDERS),
        ("--importance", config.importance, IMPORTANCES),
        ("--weights-from", config.weights_from, WEIGHTS_FROM),
    ):
        if word not in known:
            raise UsageError(f"{option}: {word!r} is not one of {', '.join(known)}")
    if config.order == "principal" and config.weights_from == "now":
        raise UsageError(
            "--weights-from now: with --order principal prefixes count by what their mixtures were "
            "worth at the start; leave it out, or give --order importance"
        )
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
