"""The device's side of the protocol as a state machine: events in, effects out, no clock of its own."""

from dataclasses import dataclass

from headgate.profiles.manifest import Manifest, OperatingPoint
from headgate.profiles.profile import Profile
from headgate.runtime.events import (
    Answer,
    Compute,
    Computed,
    ComputeFailed,
    Deliver,
    Effect,
    Send,
)

__all__ = [
    "Answer",
    "Compute",
    "ComputeFailed",
    "Computed",
    "Deliver",
    "DeviceSession",
    "Effect",
    "Refusal",
    "Send",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The edge will not have us, ever: which reason it gave, and its words."""

    reason: str
    detail: str


class DeviceSession:
    """One device's frames, from capture to record. All times are the shell's monotonic clock."""

    def __init__(
        self,
        *,
        manifest: Manifest,
        profile: Profile,
        points: tuple[OperatingPoint, ...],
        machine: str | None = None,
    ) -> None:
        """`points` are the profile's allowed points; `machine` picks the manifest's priors."""
        raise NotImplementedError

    @property
    def refusal(self) -> Refusal | None:
        """Why the edge refused this device for good, or None."""
        raise NotImplementedError

    @property
    def has_edge(self) -> bool:
        """Whether the edge has welcomed us on the present connection."""
        raise NotImplementedError

    @property
    def wants_frame(self) -> bool:
        """Whether a frame captured now would be computed at once (for sources that can wait)."""
        raise NotImplementedError

    @property
    def drained(self) -> bool:
        """Whether `finish` was called and every frame has its record."""
        raise NotImplementedError

    def next_timer_s(self) -> float | None:
        """Return when `handle_timer` wants to be called next, or None."""
        raise NotImplementedError

    def connected(self, *, now_s: float) -> list[Effect]:
        """Tell that the transport reached the edge (each time it does)."""
        raise NotImplementedError

    def disconnected(self, *, now_s: float) -> list[Effect]:
        """Tell that the transport lost the edge."""
        raise NotImplementedError

    def frame_captured(
        self, frame_id: int, *, captured_s: float, now_s: float, truth: int | None = None
    ) -> list[Effect]:
        """Take a new frame; an older one that has not been started yet is superseded."""
        raise NotImplementedError

    def computed(
        self, frame_id: int, outcome: Computed | ComputeFailed, *, now_s: float
    ) -> list[Effect]:
        """Take what the shell made of a `Compute` effect."""
        raise NotImplementedError

    def received(self, parts: list[bytes], *, now_s: float) -> list[Effect]:
        """Take one message from the edge; raises WireError if it is not one of ours."""
        raise NotImplementedError

    def send_failed(self, frame_id: int | None, *, now_s: float) -> list[Effect]:
        """Tell that the socket did not take the messages of a `Send`."""
        raise NotImplementedError

    def handle_timer(self, *, now_s: float) -> list[Effect]:
        """Do what was due at `next_timer_s`; harmless when called early."""
        raise NotImplementedError

    def set_profile(
        self, profile: Profile, points: tuple[OperatingPoint, ...], *, now_s: float
    ) -> int:
        """Switch the profile; returns the id of the first frame that will be chosen under it."""
        raise NotImplementedError

    def finish(self, *, now_s: float, at_once: bool = False) -> list[Effect]:
        """Take no more frames. `at_once` ends the outstanding ones now; else run until `drained`."""
        raise NotImplementedError
