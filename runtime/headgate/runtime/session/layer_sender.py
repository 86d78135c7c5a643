"""Which layer of which frame goes next, and when: frames are sent best layers first, bit by bit.

Layers that have not been sent can be left out, those on the link cannot be recalled. So no more is
put on the link than keeps it busy until the edge's next ACK can be here: what is believed to pass
in a round trip, and a little. Every ACK lets the next message out, and with each the question is
asked anew whether more of this frame is worth sending (see `layer_worth`):

    the link has room:  more of this frame is worth sending -> send the next layers, as one message
                        it is not, and a newer frame waits  -> this one is over, go on with that
                        it is not, and none waits           -> wait, news may change it
    its time is over:                                          this one is over

Frames follow one another: the first layers of a newer frame end the older one, at the edge as well.
So does one that goes whole and cannot wait: what was planned of those before it goes first, see
`LayerSender.rush`.
Small layers share a message, so that its header does not cost more than they do; layers much larger
than a message go as fragments, and between two of them the frame can be given up too.
"""

from collections import deque
from dataclasses import dataclass

from headgate.runtime.choice.backlog import Step
from headgate.runtime.choice.layer_worth import (
    EDGE_MARGIN_S,
    LayerPlan,
    Rate,
    plan_steps,
    rates_of,
    through_by_s,
)
from headgate.runtime.choice.message_worth import layers_together
from headgate.runtime.link.outlook import Outlook
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES

# On the link beyond what a round trip takes: the larger of the two. The bytes are for links that
# are shared, where a device that believes in little would otherwise be left with ever less.
QUEUE_S, QUEUE_BYTES = 0.008, 4000
MESSAGE_S = 0.004  # of the link's time: a message holds about so much
MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES = 1000, 16_000
# Layers go as fragments from about twice this on. A frame can be given up between two of them, but
# then those sent were in vain, and each has a header.
FRAGMENT_BYTES = 3000
LIKELY = 0.5  # chance of what a frame that goes whole lets go first
MAX_LAYERS_PER_MESSAGE = 16  # as many payload parts as the wire allows


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """A frame whose layers are to be sent as far as they are worth it."""

    frame_id: int
    captured_s: float
    deadline_s: float  # when an answer must be here to count: less the guard
    edge_s: float  # how long the edge will likely have it
    sizes_bytes: tuple[int, ...]  # of its layers, best first
    plan: LayerPlan


@dataclass(frozen=True, slots=True)
class Release:
    """One message to send: whole layers, or one fragment of one. `last`: no more will follow."""

    frame_id: int
    layer: int
    num_layers: int
    fragment: int = 0
    fragments: int = 1
    last: bool = False


class _Sending:
    """How far one frame has got."""

    def __init__(self, frame: OutgoingFrame) -> None:
        self.frame = frame
        self.layer = 0  # the first that has not been sent whole
        self.fragment = 0  # of that layer, the next to be sent
        self.fragments = 1
        self.last = False  # the edge is told that no more follow the layer being sent
        self.over = False  # and it has been sent

    def steps(self) -> list[Step]:
        """Return what each further layer takes from here, all before it included."""
        sizes, qualities = self.frame.sizes_bytes, self.frame.plan.qualities
        ahead = MESSAGE_OVERHEAD_BYTES - self.fragment * sizes[self.layer] / self.fragments
        found = []
        for layer in range(self.layer, len(sizes)):
            ahead += sizes[layer]
            found.append(Step(ahead, qualities[layer]))
        return found

    def released_bytes(self, outlook: Outlook, *, next_bytes: float) -> float:
        """Return how much of the next layer, of so many bytes, is on the link for good if begun.

        Where a frame in time is through before the next is captured, only a late one is in the way
        of others, and what it teaches of the link is worth that (as in `whole_worth`).
        """
        plan = self.frame.plan
        if plan.backlog.window_s <= plan.period_s:
            return 0.0
        return min(next_bytes, message_bytes(outlook))

    @property
    def planned_bytes(self) -> int:
        """What is left of the layers that were worth sending when this was planned."""
        return self._left_bytes(self.frame.plan.num_steps)

    @property
    def first_bytes(self) -> int:
        """What is left of the first of them."""
        return self._left_bytes(min(1, self.frame.plan.num_steps))

    def _left_bytes(self, num_layers: int) -> int:
        """Return what is left of the first so many layers."""
        if self.over:
            return 0
        left = self.frame.sizes_bytes[self.layer : num_layers]
        return sum(left) - (left[0] * self.fragment // self.fragments if left else 0)

    @property
    def quality(self) -> float:
        """What the frame earns if what was sent arrives and nothing more is."""
        plan = self.frame.plan
        return plan.qualities[self.layer - 1] if self.layer else plan.quality


class LayerSender:
    """The frames whose layers are being sent, oldest first."""

    def __init__(self) -> None:
        self._frames: deque[_Sending] = deque()

    def __len__(self) -> int:
        """Return how many frames may still send something."""
        return len(self._frames)

    def add(self, frame: OutgoingFrame) -> None:
        """Take a frame; it is newer than all before it."""
        assert len(frame.sizes_bytes) == len(frame.plan.qualities) > 0
        assert not self._frames or frame.frame_id > self._frames[-1].frame.frame_id
        self._frames.append(_Sending(frame))

    def drop(self, frame_id: int) -> None:
        """Send no more of this frame."""
        self._frames = deque(f for f in self._frames if f.frame.frame_id != frame_id)

    def clear(self) -> None:
        """Send no more of any."""
        self._frames.clear()

    def rush(self, outlook: Outlook, *, now_s: float) -> list[Release]:
        """Return what was worth sending of each frame and is likely in time; all are over then.

        For a frame that goes whole, which cannot wait for them and ends them.
        """
        rushed: list[Release] = []
        for sending in self._frames:
            frame = sending.frame
            num_bytes = sending.planned_bytes
            by_s = frame.deadline_s - frame.edge_s - outlook.noise_s
            likely = outlook.on_time(num_bytes + MESSAGE_OVERHEAD_BYTES, by_s=by_s) >= LIKELY
            if num_bytes and likely:
                rushed += _take_planned(sending)
        self._frames.clear()
        return rushed

    @property
    def planned_bytes(self) -> int:
        """Bytes of layers that were worth sending when their frames were planned, and wait."""
        return sum(sending.planned_bytes for sending in self._frames)

    @property
    def first_bytes(self) -> int:
        """Those of them that are of first layers: frames that the edge can do nothing with yet."""
        return sum(sending.first_bytes for sending in self._frames)

    def next_release(self, outlook: Outlook, *, now_s: float) -> Release | None:
        """Return the next message to send now, which counts as sent; None: nothing for now."""
        while self._frames:
            sending = self._frames[0]
            frame = sending.frame
            by_s = through_by_s(outlook, deadline_s=frame.deadline_s, edge_s=frame.edge_s)
            if sending.over or now_s >= by_s:
                self._frames.popleft()
                continue
            if outlook.ahead_bytes > room_bytes(outlook):
                return None
            steps, rates = sending.steps(), rates_of(outlook)
            plan = plan_steps(
                steps,
                rates,
                quality=sending.quality,
                leaving_s=now_s,
                by_s=by_s,
                next_s=frame.captured_s + frame.plan.period_s,
                backlog=frame.plan.backlog,
                begun=sending.layer > 0,
                released_bytes=sending.released_bytes(outlook, next_bytes=steps[0].num_bytes),
            )
            fits = sending.fragment == 0 and plan.num_steps <= MAX_LAYERS_PER_MESSAGE
            if plan.together and fits:
                sending.layer, sending.over = plan.num_steps, True
                return Release(frame.frame_id, 0, plan.num_steps, last=True)
            if plan.num_steps:
                planned = steps[: plan.num_steps]
                most = _in_one_message(sending, planned, outlook, rates, now_s=now_s, by_s=by_s)
                return _take(sending, most, outlook, rates, by_s=by_s)
            if len(self._frames) == 1:
                return None
            self._frames.popleft()
        return None


def room_bytes(outlook: Outlook) -> float:
    """Return how many bytes not known to have arrived keep the link busy, and no more."""
    bytes_per_s = outlook.rate_bps / 8
    queue_bytes = max(QUEUE_BYTES, QUEUE_S * bytes_per_s)
    return (outlook.delay_s + outlook.noise_s) * bytes_per_s + queue_bytes


def message_bytes(outlook: Outlook) -> float:
    """Return about how much payload a message should hold."""
    return min(MAX_MESSAGE_BYTES, max(MIN_MESSAGE_BYTES, outlook.rate_bps / 8 * MESSAGE_S))


def _in_one_message(
    sending: _Sending,
    steps: list[Step],
    outlook: Outlook,
    rates: tuple[Rate, ...],
    *,
    now_s: float,
    by_s: float,
) -> int:
    """Return how many of these steps the next message may hold, by what late ones would cost.

    On links that carry packets a message takes its time however small it is: there two are no
    better than one.
    """
    largest_bytes = message_bytes(outlook) + MESSAGE_OVERHEAD_BYTES
    small = [step for step in steps[:MAX_LAYERS_PER_MESSAGE] if step.num_bytes <= largest_bytes]
    if len(small) < 2 or outlook.message_floor_bytes:
        return len(steps)
    if 8 * small[-1].num_bytes <= MESSAGE_S * outlook.rate_bps:
        return len(steps)
    frame = sending.frame
    most = layers_together(
        small,
        rates,
        quality=sending.quality,
        leaving_s=now_s,
        by_s=by_s,
        next_s=frame.captured_s + frame.plan.period_s,
        backlog=frame.plan.backlog,
        begun=sending.layer > 0,
    )
    return len(steps) if most == len(small) else most


def _take(
    sending: _Sending, num_steps: int, outlook: Outlook, rates: tuple[Rate, ...], *, by_s: float
) -> Release:
    """Take the next message off a frame of which so many more layers are worth sending."""
    sizes, first, wanted = sending.frame.sizes_bytes, sending.layer, message_bytes(outlook)
    if sending.fragment:
        return _take_fragment(sending)
    sending.fragments = max(1, round(sizes[first] / max(wanted, FRAGMENT_BYTES)))
    until, num_bytes = first + 1, sizes[first]
    if sending.fragments == 1:
        while until < first + min(num_steps, MAX_LAYERS_PER_MESSAGE):
            if num_bytes + sizes[until] > wanted:
                break
            num_bytes += sizes[until]
            until += 1
    sending.last = until == len(sizes)
    if not sending.last:
        ends = num_bytes + sending.fragments * MESSAGE_OVERHEAD_BYTES
        ends += sizes[until] + MESSAGE_OVERHEAD_BYTES
        sending.last = _is_hopeless(ends, rates, by_s=by_s - EDGE_MARGIN_S)
    if sending.fragments > 1:
        return _take_fragment(sending)
    sending.layer, sending.over = until, sending.last
    return Release(sending.frame.frame_id, first, until - first, last=sending.last)


def _take_planned(sending: _Sending) -> list[Release]:
    """Take all that was worth sending of a frame when it was planned, in as few messages as go."""
    taken: list[Release] = []
    while sending.fragment:
        taken.append(_take_fragment(sending))
    num_layers = sending.frame.plan.num_steps
    while sending.layer < num_layers:
        first = sending.layer
        sending.layer = min(num_layers, first + MAX_LAYERS_PER_MESSAGE)
        last = sending.layer == num_layers
        taken.append(Release(sending.frame.frame_id, first, sending.layer - first, last=last))
    return taken


def _take_fragment(sending: _Sending) -> Release:
    """Take the next fragment of a large layer; all of them say the same of what will follow."""
    layer, fragment, fragments = sending.layer, sending.fragment, sending.fragments
    sending.fragment += 1
    if sending.fragment == fragments:
        sending.fragment, sending.layer, sending.over = 0, layer + 1, sending.last
    return Release(sending.frame.frame_id, layer, 1, fragment, fragments, sending.last)


def _is_hopeless(num_bytes: float, rates: tuple[Rate, ...], *, by_s: float) -> bool:
    """Whether a layer that ends so many bytes from now is late at every rate the link may have."""
    return all(rate.free_s + 8 * num_bytes / rate.rate_bps > by_s for rate in rates)
