"""What a device knows at the moment of a choice, put before its policy; and the probes it wants.

The policy is handed a `Situation` and remembers what it must; the session asks here and does not
need to know what a choice is made from.
"""

from headgate.runtime.choice.guard import Guard
from headgate.runtime.choice.policy import Policy
from headgate.runtime.choice.situation import Choice, Situation
from headgate.runtime.session.conversation import Conversation
from headgate.runtime.session.frame_fate import FrameOnItsWay
from headgate.runtime.session.outbox import Outbox
from headgate.runtime.session.probe_needs import ProbeNeeds
from headgate.runtime.session.probing import ProbeNeed
from headgate.runtime.session.references import DeviceReferences
from headgate.runtime.session.terms import Terms

STALLED_S = 0.25  # without an SLA, a first message out for longer means a stall


class Chooser:
    """Chooses for the frames of one session."""

    def __init__(
        self,
        policy: Policy,
        *,
        edge: Conversation,
        outbox: Outbox,
        references: DeviceReferences,
        terms: Terms,
        guard: Guard,
        rescues: bool,
    ) -> None:
        """`rescues`: the device answers what the edge lets down, where it can."""
        self._policy, self._edge, self._outbox = policy, edge, outbox
        self._references = references
        self._terms, self._guard, self._rescues = terms, guard, rescues
        self._probes = ProbeNeeds(policy)
        self._finished = False

    def captured(self, *, captured_s: float, now_s: float) -> None:
        """Take note that a frame came."""
        self._probes.captured(now_s=now_s)
        self._policy.captured(captured_s=captured_s)

    def choose(self, frame: FrameOnItsWay, *, now_s: float) -> Choice:
        """Return the point for a frame whose compute starts now."""
        outlook = self._edge.outlook(now_s=now_s)
        limit_s = STALLED_S if self._terms.sla_s is None else self._terms.sla_s
        self._references.before_choice(frame.frame_id, now_s=now_s)
        situation = Situation(
            now_s,
            frame.captured_s,
            outlook,
            stalled=self._edge.traffic.waited_s(now_s=now_s) > limit_s,
            guard_s=self._guard.guard_s,
            planned_bytes=self._outbox.planned_bytes,
            first_bytes=self._outbox.first_bytes,
            rescues=self._rescues,
        )
        choice = self._policy.choose(situation)
        self._probes.chose(choice, outlook)
        return choice

    def finish(self) -> None:
        """Take no more frames: nothing is probed for."""
        self._finished = True

    def kept_back(self) -> None:
        """Take note that a frame was not sent after all."""
        self._probes.kept_back()
        self._references.kept_back()

    def probe_need(self) -> ProbeNeed | None:
        """Return what probes are wanted for; None while nothing would be sent anyway."""
        return None if self._finished else self._probes.now()
