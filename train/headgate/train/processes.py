"""Starts lightning-fabric on what there is: one process, or the many that torchrun started."""

import logging
import os
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from headgate.train.devices import compute_device
from headgate.train.recipe import PruneConfig


def start_fabric(config: PruneConfig) -> Fabric:
    """Return a launched Fabric for this process; under torchrun it has met the others.

    The environment variables are those that torchrun documents.
    """
    # What Fabric would tell (a precision, advice to programmers) helps nobody who trains.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    accelerator = compute_device(config).type
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    per_machine = int(os.environ.get("LOCAL_WORLD_SIZE", str(num_processes)))
    fabric = Fabric(
        accelerator=accelerator,
        devices=per_machine,
        num_nodes=num_processes // per_machine,
        # A user's network may have parameters that its answer does not depend on.
        strategy=DDPStrategy(find_unused_parameters=True) if num_processes > 1 else "auto",
        precision=_precision(config, accelerator=accelerator),
    )
    fabric.launch()
    return fabric


def _precision(config: PruneConfig, *, accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """Return Fabric's word: bfloat16 needs no loss scaling, so nothing else is offered."""
    if config.precision == "auto":
        quick = accelerator == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if quick else "32-true"
    return "bf16-mixed" if config.precision == "bfloat16" else "32-true"


def is_first_process() -> bool:
    """Say whether this is the process that prints; torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"
