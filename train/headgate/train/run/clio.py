"""CLIO's weights: how likely the link is to carry each prefix, and no more, within the deadline.

CLIO trains for the expected loss. The link is told as rates that are equally likely, or as recorded
traces, in which sending begins at any time. The weight of a prefix is the share of the rates, or of
the times, whose longest prefix in time it is. Where not even the first one fits, nothing weighs:
such a frame is lost, however the network is trained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np

from headgate.profiles.errors import UsageError
from headgate.profiles.trace import Trace
from headgate.train.progressive import WeightSource, slice_layers
from headgate.train.recipe import PruneConfig
from headgate.train.run.plan import split_shape

# Sums over a long trace are rounded: what lacks so little of a bit has crossed.
ROUNDING_BITS = 1e-3


def with_prefix_weights(
    config: PruneConfig,
    *,
    rates_bps: Sequence[float] = (),
    traces: Sequence[Trace] = (),
    deadline_s: float,
    value_bits: int,
) -> PruneConfig:
    """Return the settings of a CLIO run with the weights that the link's rates or traces give.

    Without either all prefixes are equally likely. Rates are equally likely, and so are traces;
    name one twice to make it twice as likely.
    """
    assert config.progressive is not None
    assert not (rates_bps and traces)
    map_values, num_maps = _values_and_maps(config)
    layers = slice_layers(num_maps, slice_maps=config.progressive.slice_maps)
    layer_bytes = [maps * map_values * value_bits / 8 for maps in layers]
    source = None
    if rates_bps:
        weights = prefix_chances(rates_bps, layer_bytes=layer_bytes, deadline_s=deadline_s)
    elif traces:
        weights = prefix_chances_of_traces(traces, layer_bytes=layer_bytes, deadline_s=deadline_s)
        names = tuple(trace.name for trace in traces)
        source = WeightSource(names, deadline_s=deadline_s, value_bits=value_bits)
    else:
        weights = (1.0 / len(layers),) * len(layers)
    progressive = replace(config.progressive, prefix_weights=weights, weights_of_link=source)
    return replace(config, progressive=progressive)


def prefix_chances(
    rates_bps: Sequence[float], *, layer_bytes: Sequence[float], deadline_s: float
) -> tuple[float, ...]:
    """Return for each prefix the share of the rates whose longest prefix in time it is."""
    for rate_bps in rates_bps:
        if not (math.isfinite(rate_bps) and rate_bps >= 0):
            raise UsageError(
                f"--bandwidth-kbps: found {rate_bps / 1000:g}, expected rates of 0 or more"
            )
    _check_deadline(deadline_s)
    needed_bytes = list(accumulate(layer_bytes))
    carried = Counter(
        sum(need <= rate_bps * deadline_s / 8 for need in needed_bytes) for rate_bps in rates_bps
    )
    if carried[0] == len(rates_bps):
        raise UsageError(
            f"--bandwidth-kbps: no rate carries even the first {layer_bytes[0]:.0f} bytes in "
            f"{1000 * deadline_s:g} ms; give higher rates or a longer --deadline-ms"
        )
    return tuple(carried[prefix] / len(rates_bps) for prefix in range(1, len(layer_bytes) + 1))


def prefix_chances_of_traces(
    traces: Sequence[Trace], *, layer_bytes: Sequence[float], deadline_s: float
) -> tuple[float, ...]:
    """Return for each prefix the chance that it is the longest in time, all traces alike.

    Sending begins at a uniformly random time of the trace, which goes on from its end at its start.
    """
    _check_deadline(deadline_s)
    needed_bits = [8 * need for need in accumulate(layer_bytes)]
    of_each = [shares_in_time(trace, needed_bits, deadline_s=deadline_s) for trace in traces]
    shares = [math.fsum(of_need) / len(traces) for of_need in zip(*of_each, strict=True)]
    if shares[0] == 0:
        raise UsageError(
            f"--traces: none of the {len(traces)} ever carries even the first "
            f"{layer_bytes[0]:.0f} bytes in {1000 * deadline_s:g} ms; give a better link or a "
            "longer --deadline-ms"
        )
    return tuple(share - longer for share, longer in pairwise((*shares, 0.0)))


def shares_in_time(
    trace: Trace, needed_bits: Sequence[float], *, deadline_s: float
) -> tuple[float, ...]:
    """Return for each number of bits the share of begin times after which so many cross in time.

    Exact: over the begin time, what crosses within the deadline is a chain of straight lines, which
    bends only where the rate changes at one end of that window. The same on every machine.
    """
    changes_s = np.array(trace.times_s)
    begins_s = np.unique(np.concatenate([changes_s, (changes_s - deadline_s) % trace.duration_s]))
    begins_s = np.append(begins_s, trace.duration_s)
    crossed_bits = np.array(
        [trace.served_bits(at_s + deadline_s) - trace.served_bits(at_s) for at_s in begins_s]
    )
    lengths_s = np.diff(begins_s)
    lower_bits = np.minimum(crossed_bits[:-1], crossed_bits[1:])
    rise_bits = np.maximum(crossed_bits[:-1], crossed_bits[1:]) - lower_bits
    shares = []
    for need_bits in needed_bits:
        over_bits = lower_bits + rise_bits - (need_bits - ROUNDING_BITS)
        # Of a line's length that part is in time which lies above what is needed.
        within = np.clip(over_bits / np.maximum(rise_bits, ROUNDING_BITS), 0.0, 1.0)
        shares.append(math.fsum(within * lengths_s) / trace.duration_s)
    return tuple(shares)


def _check_deadline(deadline_s: float) -> None:
    if not (math.isfinite(deadline_s) and deadline_s > 0):
        raise UsageError(f"--deadline-ms: found {1000 * deadline_s:g}, expected a time above 0")


def _values_and_maps(config: PruneConfig) -> tuple[int, int]:
    """Return the numbers of one map that crosses, and how many maps cross."""
    channels, height, width = split_shape(config)
    r = config.resolution_factor
    if not config.plain_cut:
        height, width = ((px + r - 2) // r + 1 for px in (height, width))
    return height * width, config.budgets[0] if config.budgets else channels
