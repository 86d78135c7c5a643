"""What is under way between the device and one edge, and what the answers to it teach of the link.

All messages that get an answer are known to the link's estimator by a key: a whole frame by its id,
a message with layers by one of its own (an ACK, a RESULT or a REJECT may be the answer to it, see
`sent_layers`), HELLO and probes by negative ones.
"""

from collections import deque
from collections.abc import Callable

from headgate.profiles.errors import WireError
from headgate.runtime.link.link import LinkEstimator
from headgate.runtime.link.outlook import Outlook, Sample
from headgate.runtime.session.sent_layers import SentLayers
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES, PROBE_OVERHEAD_BYTES
from headgate.runtime.wire.messages import Ack, Frame, ProbeReply, Result

MAX_AHEAD_BYTES = 512 * 1024  # not known to have arrived: stale bytes cannot be recalled
LOST_S = 10.0  # an answer so late is not counted as in flight any more
CLOCKS_APART, CLOCKS_APART_S = 0.001, 0.01  # device and edge on one duration: what damage exceeds
_HELLO_KEY = -(1 << 40)
_FIRST_LAYER_KEY = 1 << 40


class Traffic:
    """What was sent and not yet answered. What is not known here teaches nothing."""

    def __init__(self, *, observe: Callable[[Sample], None] | None = None) -> None:
        """`observe` is handed a sample of every answer."""
        self._link = LinkEstimator(observe=observe)
        self._in_flight: dict[int, float] = {}  # frame id -> when sent; not answered by the edge
        self._answered_s: deque[float] = deque()  # when frames were, in the last round trip
        self._layers = SentLayers()
        self._num_layer_messages = 0
        self._sent_s = self._probe_answered_s = 0.0

    @property
    def sent_s(self) -> float:
        """When anything was sent last."""
        return self._sent_s

    @property
    def delay_s(self) -> float | None:
        """The fixed delay there and back; None while unknown."""
        return self._link.delay_s

    @property
    def noise_s(self) -> float:
        """What a message may take beyond delay and service."""
        return self._link.noise_s

    def counted_delay_s(self, *, now_s: float) -> float:
        """Return the delay there and back by which the edge's deadlines must be early."""
        return self._link.counted_delay_s(now_s=now_s)

    @property
    def probe_answered_s(self) -> float:
        """When the last probe was answered; 0 before the first."""
        return self._probe_answered_s

    @property
    def is_waiting(self) -> bool:
        """Whether the answer to anything is outstanding."""
        return self._link.num_outstanding > 0

    def waited_s(self, *, now_s: float) -> float:
        """Return for how long the first message out has been in service by now."""
        return self._link.waited_s(now_s=now_s)

    def overdue_s(self, *, now_s: float) -> float:
        """Return how much longer the first message out waits than it should; 0 if it need not."""
        return self._link.overdue_s(now_s=now_s)

    def overdue_from_s(self) -> float | None:
        """Return from when on the first message out is overdue; None if nothing is out."""
        return self._link.overdue_from_s()

    def outlook(self, *, now_s: float) -> Outlook:
        """Return what the link will do to a message sent now."""
        return self._link.outlook(now_s=now_s)

    @property
    def is_overfull(self) -> bool:
        """Whether so much is on the link that nothing may be added."""
        return self._link.ahead_bytes >= MAX_AHEAD_BYTES

    def has_room(self, *, max_in_flight: int, now_s: float) -> bool:
        """Whether an edge that admits so many frames of ours at a time may be sent one more."""
        for frame_id in [f for f, sent_s in self._in_flight.items() if now_s > sent_s + LOST_S]:
            del self._in_flight[frame_id]
        return len(self._in_flight) < max_in_flight + self._travelling(now_s=now_s)

    def _travelling(self, *, now_s: float) -> int:
        """Return how many frames are on their way there or back, and not with the edge.

        By Little's law the pace at which it answers, times the path's delay: on a path by satellite
        the frames that it admits would else be less than what is under way.
        """
        while self._answered_s and self._answered_s[0] < now_s - (self.delay_s or 0.0):
            self._answered_s.popleft()
        return len(self._answered_s)

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

    # --- what goes out

    def hello_sent(self, *, now_s: float) -> None:
        """Note a HELLO; of several, the answer is taken for one to the last."""
        self._link.unsent(_HELLO_KEY)
        self._sent(_HELLO_KEY, num_bytes=MESSAGE_OVERHEAD_BYTES, now_s=now_s)

    def probe_sent(self, probe_id: int, *, padding_bytes: int, now_s: float) -> None:
        """Note a probe."""
        num_bytes = padding_bytes + PROBE_OVERHEAD_BYTES
        self._sent(-1 - probe_id, num_bytes=num_bytes, now_s=now_s)

    def frame_sent(self, frame: Frame, *, num_messages: int, now_s: float) -> None:
        """Note a whole frame; it is in flight until the edge answers or rejects it."""
        self._in_flight[frame.frame_id] = now_s
        num_bytes = len(frame.payload) + MESSAGE_OVERHEAD_BYTES * num_messages
        self._sent(frame.frame_id, num_bytes=num_bytes, now_s=now_s)

    def layers_sent(self, frame: Frame, *, now_s: float) -> None:
        """Note some layers of a frame, or one fragment of one.

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
        self._sent(key, num_bytes=num_bytes + MESSAGE_OVERHEAD_BYTES, now_s=now_s)

    def _sent(self, key: int, *, num_bytes: int, now_s: float) -> None:
        """Note what gets one answer: one message, or the slices of one."""
        self._link.sent(key, num_bytes=num_bytes, now_s=now_s)
        self._sent_s = now_s

    def unsent(self, frame_id: int) -> None:
        """Take back the last message of a frame: the socket did not take it."""
        self._in_flight.pop(frame_id, None)
        key = self._layers.unsent(frame_id) if frame_id in self._layers else frame_id
        if key is not None:
            self._link.unsent(key)

    def forget_all(self) -> None:
        """Forget what is under way: the connection is gone. What was learnt stays."""
        self._link.forget_all()
        self._in_flight.clear()
        self._answered_s.clear()
        self._layers.clear()

    # --- what comes back

    def hello_answered(self, *, first_s: float | None, now_s: float) -> None:
        """Learn from a WELCOME; `first_s` is when the first HELLO was said, if there were several.

        Which of them it answers is not known: see `greeting`.
        """
        if first_s is not None:
            self._link.unsent(_HELLO_KEY)
            if self._link.delay_s is not None:
                return
            self._link.sent(_HELLO_KEY, num_bytes=MESSAGE_OVERHEAD_BYTES, now_s=first_s)
        self._link.answered(_HELLO_KEY, residence_s=0.0, edge_s=None, now_s=now_s)

    def probe_answered(self, reply: ProbeReply, *, now_s: float) -> None:
        """Learn from a probe."""
        self._probe_answered_s = now_s
        self._link.answered(
            -1 - reply.probe_id,
            residence_s=reply.residence_us / 1e6,
            edge_s=reply.arrived_us / 1e6,
            now_s=now_s,
        )

    def acked(self, ack: Ack, *, now_s: float) -> None:
        """Learn that some layers have come to the edge."""
        key = self._layers.acked(ack.frame_id, layers=ack.layers)
        if key is not None:
            edge_s = ack.arrived_us / 1e6
            self._link.answered(key, residence_s=0.0, edge_s=edge_s, now_s=now_s)

    def frame_answered(self, result: Result, *, layers: int, now_s: float) -> float | None:
        """Learn from an answer; returns its time on the network, or None if it was not ours.

        `layers` says how many it was made from, of a progressive frame. Raises WireError, and
        learns nothing, if its durations cannot be.
        """
        frame_id, residence_s = result.frame_id, result.residence_us / 1e6
        is_layered = frame_id in self._layers
        sent_s = self._layers.sent_s(frame_id) if is_layered else self._link.sent_s(frame_id)
        if sent_s is None:
            self._in_flight.pop(frame_id, None)
            return None
        _check_durations(result, since_s=now_s - sent_s)
        if self._in_flight.pop(frame_id, None) is not None:
            self._answered_s.append(now_s)
        key = self._layers.answered(frame_id, layers=layers) if is_layered else frame_id
        trip_s = None
        if key is not None:
            trip_s = self._link.answered(
                key,
                residence_s=residence_s,
                edge_s=result.arrived_us / 1e6,
                now_s=now_s,
                burst=result.burst,
            )
        return max(0.0, now_s - sent_s - residence_s) if is_layered else trip_s

    def frame_rejected(self, frame_id: int, *, now_s: float) -> None:
        """Learn from a rejection.

        It says nothing of its residence: the rate may seem lower than it is, never higher.
        """
        self._in_flight.pop(frame_id, None)
        key: int | None = frame_id
        if frame_id in self._layers:
            key = self._layers.rejected(frame_id)
        if key is not None:
            self._link.answered(key, residence_s=0.0, edge_s=None, now_s=now_s)


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
