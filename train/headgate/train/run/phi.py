"""Budgets as shares of phi, the maps that leave the split: `phi`, `phi/4`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headgate.train.recipe import PruneConfig
from headgate.train.run.plan import split_shape
from headgate.train.run.recipe_checks import check_config

_SHARE = re.compile(r"phi(?:\s*/\s*([1-9][0-9]*))?")


@dataclass(frozen=True, slots=True)
class PhiShare:
    """So much of phi; at least one map."""

    divisor: int = 1

    def of(self, num_maps: int) -> int:
        return max(1, num_maps // self.divisor)


Budget = int | PhiShare


def parse_budget(text: str) -> Budget:
    """Return a number or a share of phi; raises ValueError for what is neither."""
    share = _SHARE.fullmatch(text.strip())
    if share is None:
        return int(text)
    return PhiShare(int(share[1] or 1))


def whole_budgets(budgets: Sequence[Budget], config: PruneConfig) -> tuple[int, ...]:
    """Return budgets as numbers of maps; looks at the network of `config` only if it must.

    What the network or data set refuses is refused here as it would be later. Of few maps, shares
    may be the same number: it is named once.
    """
    numbers = tuple(budget for budget in budgets if isinstance(budget, int))
    if len(numbers) == len(budgets):
        return numbers
    check_config(config)
    num_maps, _, _ = split_shape(config)
    shares = {b.of(num_maps) for b in budgets if isinstance(b, PhiShare)}
    return *numbers, *(shares - set(numbers))
