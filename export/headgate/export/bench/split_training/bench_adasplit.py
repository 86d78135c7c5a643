"""What clients that learn from their own loss save on the network, and what it costs in accuracy.

AdaSplit as asked is compared with plain split learning: all maps of every batch in float32, and
their gradients back. Where clients differ, that is mostly undone by batch norm's averages, which
are of all clients together; so it is trained a second time with each client's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from headgate.export.bench.split_training.bench_deprune import DepruneOptions, train_each
from headgate.train.split_training.deprune import prepare
from headgate.train.split_training.settings import PLAIN_BITS, Phase


def train_adasplit_ways(options: DepruneOptions, *, say: Callable[[str], None]) -> list[Path]:
    """Train all ways for each seed; a run that is there already is taken as it is.

    With an orchestrator, and less than all batches crossing, also the one without.
    """
    config, settings = options.config, options.settings
    adasplit = settings.adasplit
    assert adasplit is not None
    num_maps = prepare(config, settings).blueprint.num_maps
    plain = replace(
        settings,
        phases=(Phase(num_maps, settings.num_epochs),),
        feature_bits=PLAIN_BITS,
        gradient_bits=PLAIN_BITS,
        compress=False,
        server_view="shared",
        mask_weight=0.0,
        adasplit=None,
    )
    whole = replace(config, resolution_factor=1)
    ways = {
        "split": (whole, plain),
        "split-own": (whole, replace(plain, server_view="statistics")),
        "adasplit": (config, settings),
    }
    if adasplit.orchestrator != "even" and adasplit.cross_share < 1:
        even = replace(settings, adasplit=replace(adasplit, orchestrator="even"))
        ways["even"] = (config, even)
    return train_each(options, ways, say=say)
