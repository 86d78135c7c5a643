"""What the edge needs from whatever runs its tails: the local engine, or a cluster's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headgate.runtime.edge.edge_events import BatchItem, ItemOutcome


@dataclass(frozen=True, slots=True)
class BackendDescription:
    """Which family a backend serves, and how."""

    family_digest: str
    graph_keys: tuple[str, ...]  # see `edge_rules.graph_key`
    max_batch: int
    provider: str


class TailBackend(Protocol):
    """Runs tails. Calls come from one worker thread at a time."""

    def describe(self) -> BackendDescription:
        """Return what is served; does not change while the backend lives."""

    def infer(self, graph_key: str, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        """Return one outcome per item, in order; an item that is bad must fail alone."""

    def health(self) -> bool:
        """Return whether the next `infer` can be expected to work."""

    def drain(self) -> None:
        """Finish what is running and take no more."""
