"""What the edge needs from whatever runs its tails: the local engine, or a stand-in."""

from collections.abc import Sequence
from typing import Protocol

from headgate.runtime.edge.edge_events import BatchItem, ItemOutcome


class TailBackend(Protocol):
    """Runs the tails of one family. Calls come from one thread at a time."""

    @property
    def max_batch(self) -> int:
        """How many frames one `infer` may have; does not change."""

    def infer(self, graph_key: str, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        """Return one outcome per item, in order; an item that is bad must fail alone.

        See `edge_rules.graph_key` for what the keys are.
        """
