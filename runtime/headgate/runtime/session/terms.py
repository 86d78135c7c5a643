"""What a device decides under: its profile, and which of the profile's points its edge can serve.

An edge that speaks an older version takes no frames in layers. Chosen all the same, each would only
come to its exit, while pictures and whole features are taken as ever.
"""

from headgate.profiles.manifest import OperatingPoint
from headgate.profiles.profile import Profile
from headgate.runtime.choice.policy import Policy
from headgate.runtime.session.frame_fate import FrameOnItsWay


class Terms:
    """The terms of one session, for frames and for the policy that chooses."""

    def __init__(
        self, profile: Profile, *, points: tuple[OperatingPoint, ...], sla_s: float | None
    ) -> None:
        """`points` are those that the profile allows; its own SLA goes before `sla_s`."""
        self._default_sla_s = sla_s
        self._profile, self._points = profile, points
        self._takes_layers = True

    @property
    def sla_s(self) -> float | None:
        """The time that a frame may take; None: any."""
        own_s = self._profile.sla_s
        return self._default_sla_s if own_s is None else own_s

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """The points that can be answered; where that is none, all: their exits are better."""
        if self._takes_layers:
            return self._points
        return tuple(point for point in self._points if point.prefix is None) or self._points

    def hold_for(self, frame: FrameOnItsWay) -> None:
        """Let a frame that is being decided on be under these terms."""
        frame.profile, frame.sla_s = self._profile.name, self.sla_s

    def switch(
        self, profile: Profile, points: tuple[OperatingPoint, ...], *, policy: Policy
    ) -> None:
        """Follow another profile."""
        self._profile, self._points = profile, points
        self._tell(policy)

    def welcomed(self, *, takes_layers: bool, policy: Policy) -> None:
        """Note what the edge takes. A policy is told of changes only: it begins anew with each."""
        before = self.points
        self._takes_layers = takes_layers
        if self.points != before:
            self._tell(policy)

    def _tell(self, policy: Policy) -> None:
        policy.set_profile(self._profile, points=self.points, sla_s=self.sla_s)
