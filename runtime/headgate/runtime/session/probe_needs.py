"""What a device's session wants probes for: only while frames come that might better be sent."""

from headgate.profiles.manifest import PointKind
from headgate.runtime.choice.policy import Policy
from headgate.runtime.choice.situation import Choice
from headgate.runtime.link.outlook import Outlook
from headgate.runtime.session.probing import LOCAL_PROBE_BYTES, ProbeNeed

CAPTURING_S = 1.0  # without a new frame for longer, nothing is probed
UPWARD_AFTER_S = 2.0  # an estimate older than this is worth an upward probe
LEAST_PROBE_BYTES = 100  # about as small as a frame can be


class ProbeNeeds:
    """Remembers the last capture and the last choice."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._captured_s: float | None = None
        self._answered_locally = False  # the last choice was not to send
        self._local_bytes = LOCAL_PROBE_BYTES  # of a probe in a frame's place
        self._upward_bytes = 0  # of a probe that would show what the next rung needs

    def captured(self, *, now_s: float) -> None:
        """Take note that a frame came."""
        self._captured_s = now_s

    def chose(self, choice: Choice, outlook: Outlook | None) -> None:
        """Take note of a choice and what it was made from."""
        local = choice.point is None or choice.point.kind is PointKind.LOCAL
        nothing_sent = choice.layers is not None and choice.layers.num_steps == 0
        self._answered_locally = local or nothing_sent
        self._local_bytes = LOCAL_PROBE_BYTES if outlook is None else _local_bytes(outlook)
        self._upward_bytes = 0
        if outlook is not None and not self._answered_locally and outlook.age_s > UPWARD_AFTER_S:
            self._upward_bytes = self._policy.upward_probe_bytes(outlook)

    def kept_back(self) -> None:
        """Take note that a frame was not sent after all."""
        self._answered_locally = True

    def now(self) -> ProbeNeed | None:
        """Return what probes are wanted for; None while nothing would be sent anyway."""
        if self._captured_s is None or not self._policy.could_gain:
            return None
        return ProbeNeed(
            until_s=self._captured_s + CAPTURING_S,
            local_bytes=self._local_bytes if self._answered_locally else 0,
            upward_bytes=self._upward_bytes,
        )


def _local_bytes(outlook: Outlook) -> int:
    """Return how large a probe in a frame's place should be."""
    return max(LEAST_PROBE_BYTES, round(outlook.probe_bytes(LOCAL_PROBE_BYTES)))
