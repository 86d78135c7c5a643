"""How frames leave: whole ones at once, progressive ones layer by layer as the link lets them.

Every frame that goes out passes here, since the first message of any frame ends the progressive one
before it. When a layer may go is up to `layer_sender`; this turns its releases into messages.
"""

from headgate.profiles.manifest import Manifest
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.choice.guard import LEAST_S, Guard
from headgate.runtime.session.conversation import Conversation
from headgate.runtime.session.events import Computed, Send
from headgate.runtime.session.frame_fate import NOT_SENT, FrameOnItsWay, budget_us
from headgate.runtime.session.greeting import State
from headgate.runtime.session.layer_sender import (
    MAX_LAYERS_PER_MESSAGE,
    LayerSender,
    OutgoingFrame,
    Release,
)
from headgate.runtime.session.references import DeviceReferences
from headgate.runtime.wire.messages import NO_BUDGET_US, Frame, stamp_us


class Outbox:
    """The frames that are being sent, and the layers of them that may still be left out."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        edge: Conversation,
        costs: PointCosts,
        references: DeviceReferences,
        guard: Guard,
    ) -> None:
        """`guard` says how long before its deadline a frame is answered without the edge."""
        self._manifest, self._edge, self._costs = manifest, edge, costs
        self._references, self._guard = references, guard
        self._sender = LayerSender()
        self._frames: dict[int, tuple[FrameOnItsWay, tuple[bytes, ...]]] = {}
        self._slicing: tuple[int, int] = NO_BUDGET_US, 0  # budget and stamp of a layer in fragments
        self._pause_ends_s: float | None = None  # for which layers wait

    def why_not(self, frame: FrameOnItsWay, outcome: Computed) -> str | None:
        """Return why a frame cannot be sent, or None."""
        assert outcome.payload is not None
        if self._edge.takes(len(outcome.payload)):
            if outcome.layers and not self._edge.takes_layers:
                return "edge too old"
            by_layer = None if frame.deadline_s is None else frame.layers
            return None if by_layer is None or not by_layer.is_vain else NOT_SENT
        return "too large for the edge" if self._edge.state is State.READY else "no edge"

    def take(self, frame: FrameOnItsWay, outcome: Computed, *, now_s: float) -> list[Send]:
        """Send a frame, or what the link has room for of its layers."""
        assert frame.point is not None
        if not outcome.layers:
            rushed = self._send_planned(now_s=now_s)
            self.clear()
            return [*rushed, self._send_whole(frame, outcome, now_s=now_s)]
        self._frames[frame.frame_id] = frame, outcome.layers
        if frame.layers is None or frame.deadline_s is None:
            return self._send_all_layers(frame, outcome.layers, now_s=now_s)
        plan = frame.layers
        self._sender.add(
            OutgoingFrame(
                frame_id=frame.frame_id,
                captured_s=frame.captured_s,
                deadline_s=frame.deadline_s - self._early_s(frame),
                edge_s=self._costs.edge_s(frame.point.id),
                sizes_bytes=tuple(map(len, outcome.layers)),
                plan=plan,
            )
        )
        return self.pump(now_s=now_s)

    def next_timer_s(self) -> float | None:
        """Return when to `pump` though nothing has come: after the edge's pause, or None."""
        return self._pause_ends_s

    def pump(self, *, now_s: float) -> list[Send]:
        """Send what the link has room for; to be asked after whatever may have changed that."""
        sends: list[Send] = []
        self._pause_ends_s = None
        while len(self._sender):
            outlook = self._edge.layers_outlook(now_s=now_s)
            if outlook is None:
                self._pause_ends_s = self._edge.pause_ends_s(now_s=now_s)
                break
            release = self._sender.next_release(outlook, now_s=now_s)
            if release is None:
                break
            sends.append(self._send_release(release, now_s=now_s))
        return sends

    @property
    def planned_bytes(self) -> int:
        """Bytes that wait for room on the link, as far as they were worth sending."""
        return self._sender.planned_bytes

    @property
    def first_bytes(self) -> int:
        """Those of them that are of first layers."""
        return self._sender.first_bytes

    def answer_chance(self, frame: FrameOnItsWay, *, by_s: float, now_s: float) -> float:
        """Return the probability that a frame's answer is back at `by_s`, residence apart."""
        if frame.num_bytes == 0:  # not even its first layer has left, and may never leave
            return 0.0
        return self._edge.answer_chance(frame.frame_id, by_s=by_s, now_s=now_s)

    def take_back(self, frame: FrameOnItsWay) -> bool:
        """Take back the last message of a frame that the socket did not take; send no more of it.

        Returns whether any of it did leave.
        """
        if frame.sent_bytes:
            frame.sent_bytes.pop()
            frame.sent_layers.pop()
        self.drop(frame.frame_id)
        return frame.num_bytes > 0

    def drop(self, frame_id: int) -> None:
        """Send no more of a frame: it has its record."""
        if self._frames.pop(frame_id, None) is not None:
            self._sender.drop(frame_id)

    def clear(self) -> None:
        """Send no more of any frame."""
        self._sender.clear()
        self._frames.clear()

    def _send_whole(self, frame: FrameOnItsWay, outcome: Computed, *, now_s: float) -> Send:
        payload = outcome.payload
        assert frame.point is not None
        assert payload is not None
        frame.sent_bytes.append(len(payload))
        frame.sent_layers.append(0)
        grace_s = self._references.sent(frame.frame_id, frame.point, outcome, now_s=now_s)
        # A frame that was long on its way is computed in vain rather than rejected in error.
        left_us = budget_us(frame, less_s=self._edge.delay_s - grace_s, now_s=now_s)
        index = self._manifest.index_of(frame.point.id)
        return self._edge.send_frame(Frame(frame.frame_id, index, left_us, payload), now_s=now_s)

    def _send_planned(self, *, now_s: float) -> list[Send]:
        """Send the layers that wait for room and that a frame that goes whole would end.

        It was chosen as one that goes behind them.
        """
        outlook = self._edge.layers_outlook(now_s=now_s) if len(self._sender) else None
        if outlook is None:
            return []
        return [
            self._send_release(release, now_s=now_s)
            for release in self._sender.rush(outlook, now_s=now_s)
        ]

    def _send_all_layers(
        self, frame: FrameOnItsWay, layers: tuple[bytes, ...], *, now_s: float
    ) -> list[Send]:
        """Send all layers at once: nobody said what they are worth one by one."""
        self._sender.clear()
        sends = []
        for first in range(0, len(layers), MAX_LAYERS_PER_MESSAGE):
            num_layers = min(MAX_LAYERS_PER_MESSAGE, len(layers) - first)
            last = first + num_layers == len(layers)
            release = Release(frame.frame_id, first, num_layers, last=last)
            sends.append(self._send_release(release, now_s=now_s))
        return sends

    def _send_release(self, release: Release, *, now_s: float) -> Send:
        frame, layers = self._frames[release.frame_id]
        assert frame.point is not None
        first, *more = layers[release.layer : release.layer + release.num_layers]
        if release.fragment == 0:
            self._slicing = self._layer_budget_us(frame, now_s=now_s), stamp_us(now_s)
        if release.fragments > 1:
            start = len(first) * release.fragment // release.fragments
            first = first[start : len(first) * (release.fragment + 1) // release.fragments]
        budget, sent_us = self._slicing  # that of the first fragment: they must say the same
        message = Frame(
            frame_id=release.frame_id,
            point_index=self._manifest.index_of(frame.point.id),
            budget_us=budget,
            payload=first,
            layer=release.layer,
            fragment=release.fragment,
            fragments=release.fragments,
            more_layers=tuple(more),
            last=release.last,
            sent_us=sent_us,
        )
        frame.sent_bytes.append(len(first) + sum(map(len, more)))
        is_whole = release.fragment + 1 == release.fragments
        frame.sent_layers.append(release.num_layers if is_whole else 0)
        return self._edge.send_layers(message, now_s=now_s)

    def _layer_budget_us(self, frame: FrameOnItsWay, *, now_s: float) -> int:
        """Return until when the edge may wait for layers: the answer has to be here in time."""
        early_s = self._early_s(frame) + self._edge.noise_s
        early_s += self._edge.counted_delay_s(now_s=now_s)
        return budget_us(frame, less_s=early_s, now_s=now_s)

    def _early_s(self, frame: FrameOnItsWay) -> float:
        """Return how long before its deadline the edge's answer must be here to count.

        The guard, where the device answers instead by then; where it has nothing to answer with,
        the end itself.
        """
        answers_here = frame.insurance is not None or frame.last_call_s is not None
        return self._guard.guard_s if answers_here else LEAST_S
