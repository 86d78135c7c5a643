"""Refusal of settings that no data set or network could make sense of."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headgate.profiles.errors import UsageError
from headgate.profiles.quantise import MAX_LEVELS, MIN_LEVELS
from headgate.train.networks.colours import UNIT, scaling_from_text
from headgate.train.recipe import (
    DEVICES,
    PRECISIONS,
    SCHEDULES,
    SELECTIONS,
    SHARES,
    PruneConfig,
)
from headgate.train.run.progressive_checks import check_progressive_run

MAX_THREADS = 1024
MAX_DELTA = 10.0  # e^10 is 22026; steeper, the first steps of a small budget throw the filter away


def check_config(config: PruneConfig) -> None:
    """Refuse settings that no data set or network could make sense of."""
    _check_text(config)
    _check_whole_numbers(config)
    _check_numbers(config)
    _check_levels(config.levels)
    _check_words(config)
    check_progressive_run(config)
    _check_together(config)


def _check_text(config: PruneConfig) -> None:
    """Refuse what the record of a run could not hold, as a path of other bytes."""
    named = {"--data": config.data, "--model": config.model, "--backbone": config.backbone}
    for option, value in named.items():
        try:
            (value or "").encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{option}: {value!r} is not UTF-8, expected text, for it is written down with the "
                "run; rename its folders, or give a link to it"
            ) from None


def _check_numbers(config: PruneConfig) -> None:
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
    if config.delta > MAX_DELTA:
        raise UsageError(f"--delta: found {config.delta:g}, expected at most {MAX_DELTA:g}")
    if config.momentum >= 1:
        raise UsageError(f"--momentum: found {config.momentum}, expected less than 1")
    if config.slim_head is not None and not 0 < config.slim_head < 1:
        raise UsageError(f"--slim-head: found {config.slim_head}, expected above 0 and below 1")


def _check_levels(all_levels: Sequence[int]) -> None:
    for levels in all_levels:
        if not MIN_LEVELS <= levels <= MAX_LEVELS:
            raise UsageError(
                f"--levels: {levels} is impossible; give numbers from {MIN_LEVELS} to {MAX_LEVELS}"
            )
    for levels in all_levels:
        if all_levels.count(levels) > 1:
            raise UsageError(f"--levels: {levels} is given more than once; name each number once")
    if not all_levels:
        raise UsageError("--levels: the list is empty; give at least one number, 256 is 8 bits")


def _check_words(config: PruneConfig) -> None:
    for option, word, known in (
        ("--schedule", config.schedule, SCHEDULES),
        ("--precision", config.precision, PRECISIONS),
        ("--device", config.device, DEVICES),
        ("--share", config.share, SHARES),
        ("--select", config.select, SELECTIONS),
    ):
        if word not in known:
            raise UsageError(f"{option}: {word!r} is not one of {', '.join(known)}")
    if config.normalise is not None:
        scaling_from_text(config.normalise, of_data=UNIT)  # is refused here if it is wrong


def _check_together(config: PruneConfig) -> None:
    """Refuse options that contradict each other: a run from scratch has nothing to start from."""
    if config.from_scratch and config.backbone:
        raise UsageError("--backbone: cannot be given with --from-scratch; leave one of them out")
    if config.from_scratch and config.slim_head is not None:
        raise UsageError("--slim-head: a run from scratch has no trained head to learn from")
    if config.from_scratch and config.picture_epochs:
        raise UsageError("--picture-epochs: a run from scratch has no plain network to tune")
    if config.from_scratch and config.distill_share:
        raise UsageError("--distill: a run from scratch has no plain network to learn from")
    if config.from_scratch and config.hint_weight:
        raise UsageError("--hint: a run from scratch has no trained features to restore")


def _check_whole_numbers(config: PruneConfig) -> None:
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
