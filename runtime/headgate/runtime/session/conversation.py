"""The device's talk with one edge: handshake, what is in flight, probes, and refusals.

NOWHERE --connected--> GREETING --WELCOME--> READY
   ^                    |  ^  (HELLO again)    |
   |--disconnected------|  |--UNKNOWN_PEER, LEAVING
any --WRONG_FAMILY, WRONG_VERSION, UNAUTHORISED--> REFUSED (until the connection ends)
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from headgate.profiles.errors import WireError
from headgate.runtime.link.link import LinkEstimator, Outlook, Sample
from headgate.runtime.session.events import Send
from headgate.runtime.session.greeting import Greeting, Refusal, State
from headgate.runtime.session.probing import LOCAL_PROBE_BYTES, ProbeNeed, Probing
from headgate.runtime.session.sent_layers import SentLayers
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES, slice_bytes
from headgate.runtime.wire.fragments import fragment
from headgate.runtime.wire.wire import (
    DEFAULT_LIMITS,
    SPOKEN_VERSIONS,
    Ack,
    Frame,
    Goodbye,
    Hello,
    Message,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
    encode,
    stamp_us,
    supports_layers,
)

MAX_AHEAD_BYTES = 512 * 1024  # not known to have arrived: stale bytes cannot be recalled
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.05, 1.0
MANY_MALFORMED = 3  # in a row: the edge must have taken something of ours for what it is not
CLOCKS_APART, CLOCKS_APART_S = 0.001, 0.01  # device and edge on one duration: what damage exceeds
LOST_S = 10.0  # an answer so late is not counted as in flight any more
_HELLO_KEY = -(1 << 40)  # in the estimator; probes have the other negative keys
_FIRST_LAYER_KEY = 1 << 40  # whole frames have their ids, messages with layers the keys from here

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
        self._link = LinkEstimator(observe=observe)
        self._state = State.NOWHERE
        self._refusal: Refusal | None = None
        self._welcome: Welcome | None = None
        self._greeting = Greeting()
        self._in_flight: dict[int, float] = {}  # frame id -> when sent; not answered by the edge
        self._answered_s: deque[float] = deque()  # when frames were, in the last round trip
        self._layers = SentLayers()
        self._num_layer_messages = 0
        self._back_off_s = FIRST_BACKOFF_S
        self._closed_until_s = 0.0
        self._num_malformed = 0  # frames rejected as such since one was answered
        self._sent_s = 0.0  # anything at all
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
    def delay_s(self) -> float:
        """The fixed delay there and back; 0 while unknown."""
        return self._link.delay_s or 0.0

    @property
    def noise_s(self) -> float:
        """What a message may take beyond delay and service."""
        return self._link.noise_s

    def waited_s(self, *, now_s: float) -> float:
        """Return for how long the first message out has been in service by now."""
        return self._link.waited_s(now_s=now_s)

    def overdue_s(self, *, now_s: float) -> float:
        """Return how much longer the first message out waits than it should; 0 if it need not."""
        return self._link.overdue_s(now_s=now_s)

    def outlook(self, *, now_s: float) -> Outlook | None:
        """Return what to expect of a frame sent now, or None if none may be sent."""
        welcome = self._welcome
        if self._state is not State.READY or welcome is None or now_s < self._closed_until_s:
            return None
        for frame_id in [f for f, sent_s in self._in_flight.items() if now_s > sent_s + LOST_S]:
            del self._in_flight[frame_id]
        full = self._link.ahead_bytes >= MAX_AHEAD_BYTES
        if full or len(self._in_flight) >= welcome.max_in_flight + self._travelling(now_s=now_s):
            return None
        return self._link.outlook(now_s=now_s)

    def _travelling(self, *, now_s: float) -> int:
        """Return how many frames are on their way there or back, and not with the edge.

        By Little's law the pace at which it answers, times the path's delay: on a path by satellite
        the frames that it admits would else be less than what is under way.
        """
        while self._answered_s and self._answered_s[0] < now_s - self.delay_s:
            self._answered_s.popleft()
        return len(self._answered_s)

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
        self._in_flight[frame.frame_id] = now_s
        num_bytes = len(frame.payload)
        slices = fragment(replace(frame, sent_us=stamp_us(now_s)), slice_bytes(num_bytes))
        return self._send(*slices, key=frame.frame_id, payload_bytes=num_bytes, now_s=now_s)

    @property
    def takes_layers(self) -> bool:
        """Whether the edge speaks a version that knows layers."""
        return self._welcome is not None and supports_layers(self._welcome.version)

    def layers_outlook(self, *, now_s: float) -> Outlook | None:
        """Return what to expect of a layer sent now, or None if none may be sent."""
        if self._state is not State.READY or not self.takes_layers or now_s < self._closed_until_s:
            return None
        return self._link.outlook(now_s=now_s)

    def send_layers(self, frame: Frame, *, now_s: float) -> Send:
        """Send some layers of a frame, or one fragment of one.

        The frame counts as in flight once it has a layer, until the edge answers or rejects it.
        """
        frame_id = frame.frame_id
        key = _FIRST_LAYER_KEY + self._num_layer_messages
        self._num_layer_messages += 1
        whole = frame.fragment + 1 == frame.fragments
        num_layers = frame.layer + (1 + len(frame.more_layers) if whole else 0)
        if num_layers:
            self._in_flight.setdefault(frame_id, now_s)
        self._layers.sent(
            frame_id, key, layers=num_layers, completes=frame.last and whole, now_s=now_s
        )
        num_bytes = len(frame.payload) + sum(map(len, frame.more_layers))
        send = self._send(frame, key=key, payload_bytes=num_bytes, now_s=now_s)
        return replace(send, frame_id=frame_id)

    def acked(self, ack: Ack, *, now_s: float) -> None:
        """Learn that some layers have come to the edge; nothing, if they are not known here."""
        key = self._layers.acked(ack.frame_id, layers=ack.layers)
        if key is not None:
            edge_s = ack.arrived_us / 1e6
            self._link.answered(key, residence_s=0.0, edge_s=edge_s, now_s=now_s)

    def answer_chance(self, frame_id: int, *, by_s: float, now_s: float) -> float:
        """Return the probability that a sent frame's answer is back at `by_s`.

        The edge's residence is not part of it: take it from `by_s`.
        """
        key: int | None = frame_id
        if frame_id in self._layers:
            if self._layers.has_arrived(frame_id):
                return 1.0
            key = self._layers.first_layer_key(frame_id)
        if key is None:
            return 0.0
        num_bytes = self._link.bytes_up_to(key)
        if num_bytes == 0:  # the edge has it: a later one was answered
            return 1.0
        return self._link.outlook(now_s=now_s).drained(num_bytes, by_s=by_s)

    def unsent(self, frame_id: int) -> None:
        """Take back a frame that the socket did not take."""
        self._in_flight.pop(frame_id, None)
        key = self._layers.unsent(frame_id) if frame_id in self._layers else frame_id
        if key is not None:
            self._link.unsent(key)

    def welcomed(self, welcome: Welcome, *, now_s: float) -> list[Send]:
        """Take WELCOME: from here on frames may be sent. A second one changes nothing."""
        if welcome.family_digest != self._family_digest:
            raise WireError(
                f"WELCOME: for family {welcome.family_digest[:12]}, this device runs "
                f"{self._family_digest[:12]}; give both the same family"
            )
        if self._state is not State.GREETING:
            return []
        self._learn_from_welcome(now_s=now_s)
        self._state, self._welcome, self._refusal = State.READY, welcome, None
        # A clean sample of the delay and a first one of the rate, before the first frame.
        return [self._probe(0, now_s=now_s), self._probe(LOCAL_PROBE_BYTES, now_s=now_s)]

    def answered(self, result: Result, *, layers: int = 0, now_s: float) -> float | None:
        """Learn from an answer; returns its time on the network, or None if it was not ours.

        `layers` says how many it was made from, of a progressive frame. Raises WireError, and
        learns nothing, if its durations cannot be.
        """
        frame_id, residence_s = result.frame_id, result.residence_us / 1e6
        if frame_id in self._in_flight:
            _check_durations(result, since_s=now_s - self._in_flight.pop(frame_id))
            self._answered_s.append(now_s)
        self._back_off_s, self._num_malformed = FIRST_BACKOFF_S, 0
        key: int | None = frame_id
        sent_s: float | None = None
        if frame_id in self._layers:
            key, sent_s = self._layers.answered(frame_id, layers=layers)
        trip_s = None
        if key is not None:
            trip_s = self._link.answered(
                key,
                residence_s=residence_s,
                edge_s=result.arrived_us / 1e6,
                now_s=now_s,
                burst=result.burst,
            )
        return trip_s if sent_s is None else max(0.0, now_s - sent_s - residence_s)

    def probe_answered(self, reply: ProbeReply, *, now_s: float) -> None:
        """Learn from a probe."""
        self._link.answered(
            -1 - reply.probe_id,
            residence_s=reply.residence_us / 1e6,
            edge_s=reply.arrived_us / 1e6,
            now_s=now_s,
        )

    def rejected(self, reject: Reject, *, now_s: float) -> list[Send]:
        """Obey a REJECT: stop for good, greet again, or leave the edge alone for a while."""
        if reject.frame_id is not None:
            self._in_flight.pop(reject.frame_id, None)
            # It says nothing of its residence: the rate may seem lower than it is, never higher.
            key: int | None = reject.frame_id
            if reject.frame_id in self._layers:
                key = self._layers.rejected(reject.frame_id)
            if key is not None:
                self._link.answered(key, residence_s=0.0, edge_s=None, now_s=now_s)
        if reject.reason in _FINAL:
            self._forget()
            self._state = State.REFUSED
            self._refusal = Refusal(reject.reason.name.lower(), reject.detail)
        elif reject.reason in _GREET_AGAIN:
            return self._lost_welcome(reject.reason, now_s=now_s)
        elif reject.reason not in _NO_PAUSE:
            self._closed_until_s = now_s + self._back_off_s
            self._back_off_s = min(MAX_BACKOFF_S, 2 * self._back_off_s)
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
        due_s, _ = self._probe_due(need)
        return due_s if due_s <= need.until_s else None

    def handle_timer(self, need: ProbeNeed | None, *, now_s: float) -> list[Send]:
        """Greet again or probe, if it is time."""
        due_s = self.next_timer_s(need)
        if due_s is None or now_s < due_s:
            return []
        if self._state is State.GREETING:
            return self._greet(now_s=now_s)
        assert need is not None
        return [self._probe(self._probe_due(need)[1], now_s=now_s)]

    def _probe_due(self, need: ProbeNeed) -> tuple[float, int]:
        is_waiting = self._link.num_outstanding > 0
        return self._probing.due(need, sent_s=self._sent_s, is_waiting=is_waiting)

    def _probe(self, num_bytes: int, *, now_s: float) -> Send:
        probe = self._probing.make(num_bytes, now_s=now_s)
        return self._send(probe, key=-1 - probe.probe_id, payload_bytes=num_bytes, now_s=now_s)

    def _greet(self, *, now_s: float) -> list[Send]:
        self._state, self._welcome = State.GREETING, None
        self._greeting.said(now_s=now_s)
        self._link.unsent(_HELLO_KEY)
        hello = Hello(SPOKEN_VERSIONS, self._family_digest, DEFAULT_LIMITS.max_message_bytes)
        return [self._send(hello, key=_HELLO_KEY, payload_bytes=0, now_s=now_s)]

    def _learn_from_welcome(self, *, now_s: float) -> None:
        if self._greeting.is_repeated:
            self._link.unsent(_HELLO_KEY)
            if self._link.delay_s is not None:
                return
            first_s = self._greeting.first_s
            self._link.sent(_HELLO_KEY, num_bytes=MESSAGE_OVERHEAD_BYTES, now_s=first_s)
        self._link.answered(_HELLO_KEY, residence_s=0.0, edge_s=None, now_s=now_s)

    def _lost_welcome(self, reason: RejectReason, *, now_s: float) -> list[Send]:
        if self._state is not State.READY:
            return []
        self._forget()
        if reason is RejectReason.UNKNOWN_PEER:
            return self._greet(now_s=now_s)
        self._state = State.GREETING
        self._greeting.wait(now_s=now_s)
        return []

    def _send(self, *messages: Message, key: int, payload_bytes: int, now_s: float) -> Send:
        """Send what will get one answer: one message, or the slices of one."""
        num_bytes = payload_bytes + MESSAGE_OVERHEAD_BYTES * len(messages)
        self._link.sent(key, num_bytes=num_bytes, now_s=now_s)
        self._sent_s = now_s
        version = self._welcome.version if self._welcome else SPOKEN_VERSIONS[0]
        encoded = tuple(encode(message, version=version) for message in messages)
        return Send(key if key >= 0 else None, encoded)

    def _forget(self) -> None:
        self._link.forget_all()
        self._in_flight.clear()
        self._answered_s.clear()
        self._layers.clear()
        self._welcome = None
        self._greeting.begin()
        self._closed_until_s = 0.0
        self._num_malformed = 0


def _check_durations(result: Result, *, since_s: float) -> None:
    """Raise WireError unless a frame sent so long ago can have been at the edge as it says.

    Believed, one damaged number would keep a device from its edge for minutes.
    """
    whole_s = result.residence_us / 1e6
    parts_s = (result.queue_us + result.decode_us + result.tail_us) / 1e6
    if parts_s > whole_s + CLOCKS_APART_S:
        raise WireError(
            f"RESULT {result.frame_id}: was {whole_s:.3f} s at the edge, and {parts_s:.3f} s of "
            "that in its stages; check the edge"
        )
    if whole_s > since_s * (1 + CLOCKS_APART) + CLOCKS_APART_S:
        raise WireError(
            f"RESULT {result.frame_id}: was {whole_s:.3f} s at the edge, {since_s:.3f} s after it "
            "was sent; check the edge's clock"
        )
