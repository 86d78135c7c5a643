"""What a policy decides from, and what it decides."""

from dataclasses import dataclass

from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.choice.guard import LEAST_S
from headgate.runtime.choice.layer_worth import LayerPlan
from headgate.runtime.link.outlook import Outlook
from headgate.runtime.records import Estimate


@dataclass(frozen=True, slots=True)
class Situation:
    """What a choice is made from. `outlook` is None without an edge or without room to send."""

    now_s: float
    captured_s: float
    outlook: Outlook | None
    stalled: bool = False  # the first message out waits longer than the SLA
    guard_s: float = LEAST_S  # so long before its deadline a frame is answered without the edge
    planned_bytes: int = 0  # of layers that wait for room on the link
    first_bytes: int = 0  # those of them that are of first layers
    rescues: bool = False  # a local point answers what the edge lets down, see `rescue`

    def estimate(self, on_time: float | None) -> Estimate:
        """Return what was believed when a frame with that chance was chosen a point for."""
        if self.outlook is None:
            return Estimate(on_time=on_time)
        return Estimate(self.outlook.rate_bps, self.outlook.delay_s, on_time)


@dataclass(frozen=True, slots=True)
class Choice:
    """The point for the next frame, or None if no allowed point can be used now.

    `layers` says how to send a progressive point layer by layer; without it all its layers are sent
    at once. `trusted` is how far the point's chance was believed, and is part of it (`trust`).
    """

    point: OperatingPoint | None
    estimate: Estimate
    layers: LayerPlan | None = None
    trusted: float = 1.0
