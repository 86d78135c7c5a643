"""CLIO's weights: how likely the link is to carry each prefix, and no more, within the deadline.

CLIO trains for the expected loss. A rate carries the longest prefix that fits; the weight of a
prefix is the share of the rates that carry just that one. Rates too low for the first prefix weigh
on none: such a frame is lost, however the network is trained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from headgate.profiles.errors import UsageError
from headgate.train.plan import split_shape
from headgate.train.progressive import slice_layers
from headgate.train.recipe import PruneConfig


def with_prefix_weights(
    config: PruneConfig, *, rates_bps: Sequence[float], deadline_s: float, value_bits: int
) -> PruneConfig:
    """Return the settings of a CLIO run with the weights that the link's rates give.

    Without rates all prefixes are equally likely. Rates are equally likely; name one twice to make
    it twice as likely.
    """
    assert config.progressive is not None
    map_values, num_maps = _values_and_maps(config)
    layers = slice_layers(num_maps, slice_maps=config.progressive.slice_maps)
    if not rates_bps:
        weights = (1.0 / len(layers),) * len(layers)
    else:
        weights = prefix_chances(
            rates_bps,
            layer_bytes=[maps * map_values * value_bits / 8 for maps in layers],
            deadline_s=deadline_s,
        )
    return replace(config, progressive=replace(config.progressive, prefix_weights=weights))


def prefix_chances(
    rates_bps: Sequence[float], *, layer_bytes: Sequence[float], deadline_s: float
) -> tuple[float, ...]:
    """Return for each prefix the share of the rates whose longest prefix in time it is."""
    for rate_bps in rates_bps:
        if not (math.isfinite(rate_bps) and rate_bps >= 0):
            raise UsageError(
                f"--bandwidth-kbps: found {rate_bps / 1000:g}, expected rates of 0 or more"
            )
    if not (math.isfinite(deadline_s) and deadline_s > 0):
        raise UsageError(f"--deadline-ms: found {1000 * deadline_s:g}, expected a time above 0")
    needed_bytes = [sum(layer_bytes[: end + 1]) for end in range(len(layer_bytes))]
    carried = Counter(
        sum(need <= rate_bps * deadline_s / 8 for need in needed_bytes) for rate_bps in rates_bps
    )
    if carried[0] == len(rates_bps):
        raise UsageError(
            f"--bandwidth-kbps: no rate carries even the first {layer_bytes[0]:.0f} bytes in "
            f"{1000 * deadline_s:g} ms; give higher rates or a longer --deadline-ms"
        )
    return tuple(carried[prefix] / len(rates_bps) for prefix in range(1, len(layer_bytes) + 1))


def _values_and_maps(config: PruneConfig) -> tuple[int, int]:
    """Return the numbers of one map that crosses, and how many maps cross."""
    channels, height, width = split_shape(config)
    r = config.resolution_factor
    if not config.plain_cut:
        height, width = ((px + r - 2) // r + 1 for px in (height, width))
    return height * width, config.budgets[0] if config.budgets else channels
