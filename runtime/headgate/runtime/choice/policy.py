"""What decides for each frame: the interface of our controller and of its rivals in benchmarks.

The session asks a policy at every frame and tells it what it saw. Rivals (`rivals.py`) take the
controller's place in the very same session, so that nothing differs but the decision.
"""

from typing import Protocol

from headgate.profiles.manifest import Manifest, OperatingPoint
from headgate.profiles.profile import Profile
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.situation import Choice, Situation
from headgate.runtime.link.outlook import Outlook, Sample


class Policy(Protocol):
    """Chooses points under one profile. `Controller` says more of each method."""

    @property
    def could_gain(self) -> bool:
        """Whether some point that sends is worth more than answering here: if so, probe."""

    @property
    def period_s(self) -> float:
        """How far apart frames come, in seconds; infinite where the source waits for the device."""

    def set_profile(
        self, profile: Profile, *, points: tuple[OperatingPoint, ...], sla_s: float | None
    ) -> None:
        """Obey another profile from the next choice on."""

    def captured(self, *, captured_s: float) -> None:
        """Take note of a frame's capture."""

    def observe(self, sample: Sample) -> None:
        """Take note of one answered message: a frame's or a probe's."""

    def finished(
        self,
        point: OperatingPoint | None,
        *,
        missed: bool,
        on_time: float | None,
        trusted: float = 1.0,
        by_edge: bool | None,
    ) -> None:
        """Take note of whether a frame missed the SLA, of its chance, and of the edge's answer."""

    def let_down(self, point: OperatingPoint, *, rescued: bool) -> None:
        """Take note of a frame that the edge did not answer in time, but perhaps a local point."""

    def fallback(self, *, left_s: float | None) -> OperatingPoint | None:
        """Return the best local point that takes no longer than that (None: any), or None."""

    def upward_probe_bytes(self, outlook: Outlook) -> int:
        """Return what a probe should carry to find out about larger points; 0 if it need not."""

    def choose(self, situation: Situation) -> Choice:
        """Return the point for a frame whose compute starts now."""


class PolicyMaker(Protocol):
    """Makes the policy of one session; takes the arguments of `Controller`."""

    def __call__(
        self,
        *,
        manifest: Manifest,
        costs: PointCosts,
        profile: Profile,
        points: tuple[OperatingPoint, ...],
        sla_s: float | None,
        source_waits: bool,
    ) -> Policy:
        """Return a policy that knows nothing of the link yet."""
