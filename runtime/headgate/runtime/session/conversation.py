"""The device's talk with one edge: handshake, what may be sent and when, probes, and refusals.

NOWHERE --connected--> GREETING --WELCOME--> READY
   ^                    |  ^  (HELLO again)    |
   |--disconnected------|  |--UNKNOWN_PEER, LEAVING
any --WRONG_FAMILY, WRONG_VERSION, UNAUTHORISED--> REFUSED (until the connection ends)
"""

from collections.abc import Callable
from dataclasses import replace

from headgate.profiles.errors import WireError
from headgate.runtime.link.outlook import Outlook, Sample
from headgate.runtime.session.back_off import BackOff
from headgate.runtime.session.events import Send
from headgate.runtime.session.greeting import Greeting, Refusal, State
from headgate.runtime.session.probing import LOCAL_PROBE_BYTES, Due, ProbeNeed, Probing
from headgate.runtime.session.traffic import Traffic
from headgate.runtime.wire.bursts import slice_bytes
from headgate.runtime.wire.fragments import fragment
from headgate.runtime.wire.headers import DEFAULT_LIMITS, SPOKEN_VERSIONS, supports_layers
from headgate.runtime.wire.messages import (
    Frame,
    Goodbye,
    Hello,
    Message,
    Reject,
    RejectReason,
    Result,
    Welcome,
    stamp_us,
)
from headgate.runtime.wire.wire import encode

MANY_MALFORMED = 3  # in a row: the edge must have taken something of ours for what it is not

_FINAL = (RejectReason.WRONG_FAMILY, RejectReason.WRONG_VERSION, RejectReason.UNAUTHORISED)
_NO_PAUSE = (RejectReason.EXPIRED, RejectReason.LOST_REFERENCE)
_GREET_AGAIN = (RejectReason.UNKNOWN_PEER, RejectReason.LEAVING)


class Conversation:
    """One edge as the device sees it. Learns the link from everything that is answered."""

    def __init__(
        self, *, family_digest: str, observe: Callable[[Sample], None] | None = None
    ) -> None:
        """`observe` is handed a sample of every answer."""
        self._family_digest = family_digest
        self._traffic = Traffic(observe=observe)
        self._state = State.NOWHERE
        self._refusal: Refusal | None = None
        self._welcome: Welcome | None = None
        self._greeting = Greeting()
        self._back_off = BackOff()
        self._num_malformed = 0  # frames rejected as such since one was answered
        self._probing = Probing()

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._state

    @property
    def refusal(self) -> Refusal | None:
        """Why the edge refused us; None if it did not, or has welcomed us since."""
        return self._refusal

    @property
    def traffic(self) -> Traffic:
        """What is under way, and what is known of the link."""
        return self._traffic

    @property
    def delay_s(self) -> float:
        """The fixed delay there and back; 0 while unknown."""
        return self._traffic.delay_s or 0.0

    def counted_delay_s(self, *, now_s: float) -> float:
        """Return the delay there and back by which the edge's deadlines must be early."""
        return self._traffic.counted_delay_s(now_s=now_s)

    @property
    def noise_s(self) -> float:
        """What a message may take beyond delay and service."""
        return self._traffic.noise_s

    def outlook(self, *, now_s: float) -> Outlook | None:
        """Return what to expect of a frame sent now, or None if none may be sent."""
        if self._state is not State.READY or self.holds_off(now_s=now_s):
            return None
        return None if self._traffic.is_overfull else self._traffic.outlook(now_s=now_s)

    def holds_off(self, *, now_s: float) -> bool:
        """Whether an edge that welcomed us takes no frame now, however free the link is.

        It asked for a pause, or has as many frames of ours as it admits.
        """
        welcome = self._welcome
        if welcome is None:
            return False
        if self._is_paused(now_s=now_s):
            return True
        return not self._traffic.has_room(max_in_flight=welcome.max_in_flight, now_s=now_s)

    def connected(self, *, now_s: float) -> list[Send]:
        """Greet the edge: each connection begins with HELLO.

        Also after a refusal: the edge at the other end may be another by now.
        """
        self._forget()
        return self._greet(now_s=now_s)

    def disconnected(self) -> None:
        """Forget what is on its way."""
        self._forget()
        self._state = State.NOWHERE

    def takes(self, num_bytes: int) -> bool:
        """Whether a payload of that size may be sent at all."""
        welcome = self._welcome
        if self._state is not State.READY or welcome is None:
            return False
        return 0 < num_bytes <= min(welcome.max_payload_bytes, DEFAULT_LIMITS.max_part_bytes)

    def send_frame(self, frame: Frame, *, now_s: float) -> Send:
        """Send one frame; it counts as in flight until the edge answers or rejects it."""
        slices = fragment(replace(frame, sent_us=stamp_us(now_s)), slice_bytes(len(frame.payload)))
        self._traffic.frame_sent(frame, num_messages=len(slices), now_s=now_s)
        return self._send(*slices, frame_id=frame.frame_id)

    @property
    def takes_layers(self) -> bool:
        """Whether the edge speaks a version that knows layers."""
        return self._welcome is not None and supports_layers(self._welcome.version)

    def layers_outlook(self, *, now_s: float) -> Outlook | None:
        """Return what to expect of a layer sent now, or None if none may be sent."""
        return self.next_outlook(now_s=now_s) if self.takes_layers else None

    def next_outlook(self, *, now_s: float) -> Outlook | None:
        """Return what to expect of the next frame, or None while the edge takes none.

        By the time that it is sent there may be room for it.
        """
        if self._state is not State.READY or self._is_paused(now_s=now_s):
            return None
        return self._traffic.outlook(now_s=now_s)

    def pause_ends_s(self, *, now_s: float) -> float | None:
        """Return when the pause is over that the edge has asked for; None if there is none."""
        return self._back_off.ends_s(now_s=now_s)

    def _is_paused(self, *, now_s: float) -> bool:
        return self.pause_ends_s(now_s=now_s) is not None

    def send_layers(self, frame: Frame, *, now_s: float) -> Send:
        """Send some layers of a frame, or one fragment of one."""
        self._traffic.layers_sent(frame, now_s=now_s)
        return self._send(frame, frame_id=frame.frame_id)

    def answer_chance(self, frame_id: int, *, by_s: float, now_s: float) -> float:
        """Return the probability that a sent frame's answer is back at `by_s`, residence apart."""
        return self._traffic.answer_chance(frame_id, by_s=by_s, now_s=now_s)

    def welcomed(self, welcome: Welcome, *, now_s: float) -> list[Send]:
        """Take WELCOME: from here on frames may be sent. A second one changes nothing."""
        if welcome.family_digest != self._family_digest:
            raise WireError(
                f"WELCOME: for family {welcome.family_digest[:12]}, this device runs "
                f"{self._family_digest[:12]}; give both the same family"
            )
        if self._state is not State.GREETING:
            return []
        first_s = self._greeting.first_s if self._greeting.is_repeated else None
        self._traffic.hello_answered(first_s=first_s, now_s=now_s)
        self._state, self._welcome, self._refusal = State.READY, welcome, None
        # A clean sample of the delay and a first one of the rate, before the first frame.
        return [self._probe(0, now_s=now_s), self._probe(LOCAL_PROBE_BYTES, now_s=now_s)]

    def answered(self, result: Result, *, layers: int = 0, now_s: float) -> float | None:
        """Learn from an answer; returns its time on the network, or None if it was not ours.

        `layers` says how many it was made from, of a progressive frame. Raises WireError, and
        learns nothing, if its durations cannot be.
        """
        trip_s = self._traffic.frame_answered(result, layers=layers, now_s=now_s)
        self._back_off.answered()
        self._num_malformed = 0
        return trip_s

    def rejected(self, reject: Reject, *, now_s: float) -> list[Send]:
        """Obey a REJECT: stop for good, greet again, or leave the edge alone for a while."""
        if reject.frame_id is not None:
            self._traffic.frame_rejected(reject.frame_id, now_s=now_s)
        if reject.reason in _FINAL:
            self._forget()
            self._state = State.REFUSED
            self._refusal = Refusal(reject.reason.name.lower(), reject.detail)
        elif reject.reason in _GREET_AGAIN:
            return self._lost_welcome(reject.reason, now_s=now_s)
        elif reject.reason not in _NO_PAUSE:
            self._back_off.refused(now_s=now_s)
            self._num_malformed += reject.reason is RejectReason.MALFORMED
            if self._num_malformed >= MANY_MALFORMED:  # at HELLO it forgets what it holds of us
                return self._lost_welcome(RejectReason.UNKNOWN_PEER, now_s=now_s)
        return []

    def left(self, *, now_s: float) -> None:
        """Take GOODBYE: the edge is leaving; greet again later, as another may take its place."""
        self._lost_welcome(RejectReason.LEAVING, now_s=now_s)

    def goodbye(self) -> list[Send]:
        """Take leave, if there is anyone to take leave of."""
        if self._state is not State.READY:
            return []
        self._forget()
        self._state = State.NOWHERE
        return [Send(None, (encode(Goodbye()),))]

    def next_timer_s(self, need: ProbeNeed | None) -> float | None:
        """Return when `handle_timer` has something to do, given what probes are wanted for."""
        if self._state is State.GREETING:
            return self._greeting.due_s
        if self._state is not State.READY or need is None:
            return None
        due_s = self._probe_due(need).due_s
        return due_s if due_s <= need.until_s else None

    def handle_timer(self, need: ProbeNeed | None, *, now_s: float) -> list[Send]:
        """Greet again or probe, if it is time."""
        due_s = self.next_timer_s(need)
        if due_s is None or now_s < due_s:
            return []
        if self._state is State.GREETING:
            return self._greet(now_s=now_s)
        assert need is not None
        due = self._probe_due(need)
        return [self._probe(due.num_bytes, upward=due.upward, now_s=now_s)]

    def _probe_due(self, need: ProbeNeed) -> Due:
        traffic = self._traffic
        return self._probing.due(
            need,
            sent_s=traffic.sent_s,
            answered_s=traffic.probe_answered_s,
            is_waiting=traffic.is_waiting,
        )

    def _probe(self, num_bytes: int, *, upward: bool = False, now_s: float) -> Send:
        probe = self._probing.make(num_bytes, upward=upward, now_s=now_s)
        self._traffic.probe_sent(probe.probe_id, padding_bytes=num_bytes, now_s=now_s)
        return self._send(probe)

    def _greet(self, *, now_s: float) -> list[Send]:
        self._state, self._welcome = State.GREETING, None
        self._greeting.said(now_s=now_s)
        self._traffic.hello_sent(now_s=now_s)
        hello = Hello(SPOKEN_VERSIONS, self._family_digest, DEFAULT_LIMITS.max_message_bytes)
        return [self._send(hello)]

    def _lost_welcome(self, reason: RejectReason, *, now_s: float) -> list[Send]:
        if self._state is not State.READY:
            return []
        self._forget()
        if reason is RejectReason.UNKNOWN_PEER:
            return self._greet(now_s=now_s)
        self._state = State.GREETING
        self._greeting.wait(now_s=now_s)
        return []

    def _send(self, *messages: Message, frame_id: int | None = None) -> Send:
        version = self._welcome.version if self._welcome else SPOKEN_VERSIONS[0]
        return Send(frame_id, tuple(encode(message, version=version) for message in messages))

    def _forget(self) -> None:
        self._traffic.forget_all()
        self._welcome = None
        self._greeting.begin()
        self._back_off.lift()
        self._num_malformed = 0
