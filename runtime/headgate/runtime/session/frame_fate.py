"""One frame on its way through the device: what is known of it until `endings` ends it."""

from dataclasses import dataclass, field

from headgate.profiles.manifest import OperatingPoint
from headgate.runtime.choice.guard import LEAST_S
from headgate.runtime.choice.layer_worth import LayerPlan
from headgate.runtime.records import Estimate
from headgate.runtime.session.events import Answer
from headgate.runtime.session.skipping import Chances, SkipRule
from headgate.runtime.wire.messages import MAX_BUDGET_US, NO_BUDGET_US

NOT_SENT = "not sent"  # the reason in the frame's record
UNREADABLE = "picture unreadable"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Times of the session that are not the profile's."""

    guard_s: float = LEAST_S  # the exit's answer is delivered at least so long before the deadline
    give_up_s: float = 2.0  # a frame without insurance is given up so long after its deadline
    give_up_without_sla_s: float = 10.0  # after capture
    rescue: bool = True  # answer locally what the edge lets down
    skip: SkipRule | None = None  # split frames that need not be sent; None: all are


DEFAULT_SETTINGS = SessionSettings()


@dataclass(slots=True)
class FrameOnItsWay:
    """What is known of a frame that has no record yet. SLA and point are set when it starts."""

    frame_id: int
    captured_s: float
    truth: int | None
    profile: str = ""
    sla_s: float | None = None
    point: OperatingPoint | None = None
    estimate: Estimate = field(default_factory=Estimate)
    started_s: float | None = None
    head_s: float | None = None
    encode_s: float | None = None
    sent_bytes: list[int] = field(default_factory=list)  # payload of each message that left
    sent_layers: list[int] = field(default_factory=list)  # that each of them made whole
    insurance: Answer | None = None  # the device's answer, while the edge's is awaited
    last_call_s: float | None = None  # when to look whether the device has to step in
    rescue_reason: str | None = None  # why it does
    rescue: OperatingPoint | None = None  # and at which point; `point` stays what was chosen
    rescued: bool = False  # `insurance` is the answer of `rescue`
    chances: Chances | None = None  # of being right, where sure frames are skipped
    layers: LayerPlan | None = None  # how to send it layer by layer
    trusted: float = 1.0  # how far the chance in `estimate` was believed
    answered: OperatingPoint | None = None  # the point of the edge's answer: a prefix of `point`
    ended: bool = False  # it has its record

    @property
    def num_bytes(self) -> int:
        """Payload that left the device."""
        return sum(self.sent_bytes)

    @property
    def num_layers_sent(self) -> int:
        """Layers that left whole."""
        return sum(self.sent_layers)

    @property
    def deadline_s(self) -> float | None:
        return None if self.sla_s is None else self.captured_s + self.sla_s

    def left_whole_s(self, now_s: float) -> float | None:
        """Return the time left of a frame that goes whole; None of others, and without an SLA.

        What becomes of one in layers hangs on which of them have come, too.
        """
        if self.deadline_s is None or self.layers is not None:
            return None
        return self.deadline_s - now_s

    @property
    def late_reason(self) -> str:
        """Say why the edge has not answered when its time is over: perhaps it never was asked."""
        return "edge too late" if self.num_bytes else NOT_SENT

    def is_called_by(self, by_s: float) -> bool:
        """Whether the look at this frame is due by then."""
        return self.last_call_s is not None and self.last_call_s <= by_s


def budget_us(frame: FrameOnItsWay, *, less_s: float, now_s: float) -> int:
    """Return what the edge may use of a frame sent now: what is left of its time, but for `less_s`.

    That is the path's delay; of layers also what an answer must be early by, and it is less where a
    late answer has its use. The time of transfer is not known before: the edge counts from the
    frame's arrival, or from when that would have been had nothing held it up.
    """
    if frame.deadline_s is None:
        return NO_BUDGET_US
    left_s = frame.deadline_s - now_s - less_s
    return min(MAX_BUDGET_US, max(0, round(left_s * 1e6)))
