"""One frame at the edge that waits for the worker, or for more of its layers."""

from dataclasses import dataclass

from headgate.runtime.codec.prediction import Integers
from headgate.runtime.edge.batch_times import GraphKey
from headgate.runtime.edge.layers import LayeredFrame
from headgate.runtime.wire.messages import NO_BURST, Burst


@dataclass(frozen=True, slots=True)
class Queued:
    """What is known of it. `deadline_s` is infinite where there is none.

    A progressive frame has `layers` instead of a payload, and may grow as long as it waits.
    """

    key: GraphKey
    peer: bytes
    frame_id: int
    point_index: int
    payload: bytes
    arrived_s: float
    deadline_s: float
    burst: Burst = NO_BURST
    reference: Integers | None = None  # what a predicted payload is coded against
    layers: LayeredFrame | None = None
    owner: str | None = None  # whose key the peer has; None where there are no keys

    @property
    def num_bytes(self) -> int:
        """What is held of it."""
        return len(self.payload) if self.layers is None else self.layers.num_bytes

    @property
    def came_s(self) -> float:
        """When the last of what it is answered from came."""
        return self.arrived_s if self.layers is None else self.layers.arrived_s

    @property
    def queued_s(self) -> float:
        """When it began to wait for the worker, with all that it is answered from."""
        if self.layers is None:
            return self.arrived_s
        return max(self.layers.queued_s, self.layers.arrived_s)
