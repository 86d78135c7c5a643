"""The edge's side of the protocol as a state machine: events in, effects out, no clock.

A peer is a ROUTER identity. It says HELLO, is welcomed to one of the edge's families, and sends
frames and probes; every whole frame gets exactly one RESULT or REJECT, unless its peer left or
said HELLO again in between (a new life of the device, whose frame ids may start anew).

One worker runs one batch at a time: `RunBatch` is not repeated before `batch_finished`.
"""

from collections.abc import Mapping, Sequence
from math import inf

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Manifest
from headgate.runtime.batcher import Batcher, Queued
from headgate.runtime.edge_events import (
    FULL_GRAPH_KEY,
    BatchItem,
    EdgeEffect,
    EdgeLimits,
    Ignored,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.edge_peers import Peer, Peers
from headgate.runtime.edge_references import EdgeReferences
from headgate.runtime.edge_rules import (
    FULL_TEXT,
    LEAVING_TEXT,
    NO_ROOM_TEXT,
    answer_hello,
    clock_us,
    item_of,
    no_room_reason,
    priors_s,
    queued_frame,
    result_of,
    why_busy,
    why_unknown,
)
from headgate.runtime.edge_tally import EdgeStats, Tally
from headgate.runtime.fragments import Assembled
from headgate.runtime.messages import (
    Frame,
    Goodbye,
    Hello,
    Message,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
)
from headgate.runtime.wire import SPOKEN_VERSIONS, decode, encode

__all__ = [
    "FULL_GRAPH_KEY",
    "BatchItem",
    "EdgeEffect",
    "EdgeLimits",
    "EdgeSession",
    "EdgeStats",
    "Ignored",
    "ItemOutcome",
    "RunBatch",
    "SendTo",
]


class EdgeSession:
    """All peers of one edge. All times are the shell's monotonic clock, in seconds."""

    def __init__(
        self,
        families: Mapping[str, Manifest],
        limits: EdgeLimits | None = None,
        *,
        machine: str | None = None,
    ) -> None:
        """`families` by digest; `machine` picks the manifests' times as first guesses."""
        self._families = dict(families)
        self._limits = limits or EdgeLimits()
        self._peers = Peers(self._limits)
        self._batcher = Batcher(max_batch=self._limits.max_batch)
        self._running: tuple[int, list[Queued], float] | None = None  # id, frames, start
        self._draining = False
        self._held_bytes = 0  # of waiting and unfinished frames
        self._sweep_s = inf  # when to look for silent peers
        self._tally = Tally()
        self._references = EdgeReferences(self._families, self._limits)
        for key, frame_s in priors_s(self._families, machine).items():
            self._batcher.times.set_prior(key, frame_s=frame_s)

    @property
    def drained(self) -> bool:
        """Whether `drain` was called and no batch is running."""
        return self._draining and self._running is None

    def stats(self, *, now_s: float) -> EdgeStats:
        """Return the counts so far."""
        return self._tally.snapshot(
            num_peers=self._peers.num_welcomed,
            frames_queued=len(self._batcher),
            busy_share=self._batcher.busy_share(now_s=now_s),
            reference_bytes=self._references.num_bytes,
        )

    def next_timer_s(self) -> float | None:
        """Return when `handle_timer` wants to be called next, or None."""
        batcher_s = self._batcher.next_timer_s()
        first_s = min(inf if batcher_s is None else batcher_s, self._sweep_s)
        return None if first_s == inf else first_s

    def handle_timer(self, *, now_s: float) -> list[EdgeEffect]:
        """Do what was due at `next_timer_s`; harmless when called early."""
        if now_s >= self._sweep_s:
            for peer in self._peers.silent(now_s=now_s):
                self._leave(peer)
            self._sweep_s = now_s + self._limits.ignore_s if any(self._peers) else inf
        return self._advance(now_s=now_s)

    def received(
        self, peer: bytes, parts: Sequence[bytes], *, now_s: float, authorised: bool = True
    ) -> list[EdgeEffect]:
        """Take one message (without the identity part); never raises for what a peer sends.

        `authorised` is False where the shell knows that the peer's key is not on its list.
        """
        known = self._peers.hear(peer, now_s=now_s)
        self._sweep_s = min(self._sweep_s, now_s + self._limits.ignore_s)
        if known is None:
            self._tally.messages_ignored += 1
            text = f"the edge serves {self._limits.max_peers} devices, which is its limit"
            return [self._send(peer, Reject(None, RejectReason.BUSY, text))]
        if now_s < known.ignored_until_s:
            self._tally.messages_ignored += 1
            return []
        if not authorised:
            text = "the key of this device is not on the edge's list; add it there"
            return self._refuse(known, None, RejectReason.UNAUTHORISED, text, now_s=now_s)
        try:
            message = decode(parts, self._limits.wire)
        except WireError as error:
            return self._refuse(known, None, RejectReason.MALFORMED, str(error), now_s=now_s)
        return self._handle(known, message, now_s=now_s)

    def batch_finished(
        self, batch_id: int, outcomes: Sequence[ItemOutcome], *, now_s: float
    ) -> list[EdgeEffect]:
        """Take what the worker made of a batch, one outcome per item in the same order.

        The next batch comes first among the effects, so that the worker does not wait while
        results are being sent.
        """
        assert self._running is not None
        running_id, frames, began_s = self._running
        assert batch_id == running_id
        assert len(outcomes) == len(frames)
        self._running = None
        self._batcher.finished(now_s=now_s)
        effects = self._advance(now_s=now_s)
        for frame, outcome in zip(frames, outcomes, strict=True):
            effects += self._answer(frame, outcome, began_s=began_s, now_s=now_s)
        if self.drained:
            effects += self._goodbyes()
        return effects

    def drain(self, *, now_s: float) -> list[EdgeEffect]:
        """Take no more frames: waiting ones are rejected, the running batch still finishes."""
        if self._draining:
            return []
        self._draining = True
        effects: list[EdgeEffect] = []
        for frame in self._batcher.take_all():
            effects.append(self._reject_queued(frame, RejectReason.LEAVING, LEAVING_TEXT))
        if self.drained:
            effects += self._goodbyes()
        return effects

    # --- what peers say

    def _handle(self, peer: Peer, message: Message, *, now_s: float) -> list[EdgeEffect]:
        match message:
            case Frame():
                return self._frame(peer, message, now_s=now_s)
            case Probe(probe_id):
                if peer.manifest is None:
                    return [self._unknown(peer, None)]
                # The shell answers without delay, so the edge keeps a probe for no time at all.
                reply = ProbeReply(probe_id, clock_us(now_s), 0)
                return [self._send(peer.id, reply, version=peer.version)]
            case Hello():
                return self._hello(peer, message, now_s=now_s)
            case Goodbye():
                self._leave(peer)
                return self._advance(now_s=now_s)
        text = f"{type(message).__name__.upper()}: only an edge says this; connect to an edge"
        return self._refuse(peer, None, RejectReason.MALFORMED, text, now_s=now_s)

    def _hello(self, peer: Peer, hello: Hello, *, now_s: float) -> list[EdgeEffect]:
        """Welcome a device, again if need be: what it sent in an earlier life is forgotten."""
        self._abandon(peer)
        for earlier in self._peers.replaced_by(peer):
            self._leave(earlier)
        peer.manifest = None
        answer = answer_hello(hello, families=self._families, limits=self._limits)
        if isinstance(answer, Reject):
            return self._refuse(peer, None, answer.reason, answer.detail, now_s=now_s)
        if self._draining:
            return [self._reject(peer, None, RejectReason.LEAVING, LEAVING_TEXT)]
        peer.manifest = self._families[hello.family_digest]
        peer.version = answer.version
        peer.max_message_bytes = hello.max_message_bytes
        return [self._send(peer.id, answer)]

    def _frame(self, peer: Peer, piece: Frame, *, now_s: float) -> list[EdgeEffect]:
        if peer.manifest is None:
            return [] if piece.fragment else [self._unknown(peer, piece.frame_id)]
        try:
            if piece.layer != 0:
                raise WireError(f"FRAME {piece.frame_id}: layer {piece.layer}, expected 0")
            whole = self._add_slice(peer, piece, now_s=now_s)
        except WireError as error:
            text = str(error)
            return self._refuse(peer, piece.frame_id, RejectReason.MALFORMED, text, now_s=now_s)
        if self._held_bytes > self._limits.max_held_bytes:
            self._drop_unfinished(peer)
            peer.unfinished.refuse(piece.frame_id)
            return [self._reject(peer, piece.frame_id, RejectReason.BUSY, FULL_TEXT)]
        if whole is None:
            return []
        return self._whole_frame(peer, peer.manifest, whole, now_s=now_s)

    def _add_slice(self, peer: Peer, piece: Frame, *, now_s: float) -> Assembled | None:
        self._held_bytes -= peer.unfinished.num_bytes
        try:
            return peer.unfinished.add(piece, now_s=now_s)
        finally:
            self._held_bytes += peer.unfinished.num_bytes

    def _drop_unfinished(self, peer: Peer) -> None:
        self._held_bytes -= peer.unfinished.num_bytes
        peer.unfinished.clear()

    def _whole_frame(
        self, peer: Peer, manifest: Manifest, whole: Assembled, *, now_s: float
    ) -> list[EdgeEffect]:
        """Let a frame wait for the worker, or say why not."""
        frame = whole.frame
        self._tally.frames_received += 1
        self._tally.payload_bytes += len(frame.payload)
        if frame.frame_id in peer.in_flight:
            text = f"FRAME {frame.frame_id}: sent twice; number frames anew for each"
            return self._refuse(peer, frame.frame_id, RejectReason.MALFORMED, text, now_s=now_s)
        refusal = self._why_not(peer, manifest, frame)
        if refusal is not None:
            return [self._reject(peer, frame.frame_id, *refusal)]
        reference, lost = self._references.find(peer.id, manifest, frame)
        if lost is not None:
            return [self._reject(peer, frame.frame_id, RejectReason.LOST_REFERENCE, lost)]
        queued = queued_frame(peer.id, whole, manifest, now_s=now_s, reference=reference)
        if not self._batcher.has_room(queued, now_s=now_s):
            reason = no_room_reason(len(self._batcher))
            return [self._reject(peer, frame.frame_id, reason, NO_ROOM_TEXT)]
        peer.in_flight[frame.frame_id] = queued
        self._held_bytes += len(frame.payload)
        self._batcher.add(queued)
        return self._advance(now_s=now_s)

    def _why_not(
        self, peer: Peer, manifest: Manifest, frame: Frame
    ) -> tuple[RejectReason, str] | None:
        """Return why a frame cannot wait, or None."""
        unknown = why_unknown(frame, manifest=manifest)
        if unknown is not None:
            return RejectReason.UNKNOWN_POINT, unknown
        if self._draining:
            return RejectReason.LEAVING, LEAVING_TEXT
        busy = why_busy(
            frame,
            num_in_flight=len(peer.in_flight),
            num_queued=len(self._batcher),
            held_bytes=self._held_bytes,
            limits=self._limits,
        )
        return None if busy is None else (RejectReason.BUSY, busy)

    # --- the worker

    def _advance(self, *, now_s: float) -> list[EdgeEffect]:
        """Give up what is too late and start a batch if the worker is idle and should."""
        effects: list[EdgeEffect] = []
        for frame in self._batcher.take_too_late(now_s=now_s):
            left_ms = max(0.0, frame.deadline_s - now_s) * 1e3
            text = f"{left_ms:.1f} ms of its budget are left, too little for the tail"
            effects.append(self._reject_queued(frame, RejectReason.EXPIRED, text))
        frames = self._batcher.start(now_s=now_s)
        if frames is None:
            return effects
        self._tally.batches += 1
        self._tally.frames_batched += len(frames)
        self._running = (self._tally.batches, frames, now_s)
        key = frames[0].key
        items = tuple(item_of(frame, self._families) for frame in frames)
        for frame in frames:
            self._held_bytes -= len(frame.payload)
        return [RunBatch(self._tally.batches, key.digest, key.graph, items), *effects]

    def _answer(
        self, frame: Queued, outcome: ItemOutcome, *, began_s: float, now_s: float
    ) -> list[EdgeEffect]:
        """Return the RESULT or REJECT of a frame that ran."""
        peer = self._peers.find(frame.peer)
        if peer is None or peer.in_flight.get(frame.frame_id) is not frame:
            text = f"frame {frame.frame_id}: its device left, rejoined or is ignored"
            return [Ignored(frame.peer, text)]
        del peer.in_flight[frame.frame_id]
        self._references.keep(frame, outcome.decoded)
        if outcome.tensors is None:
            text = outcome.error or "the edge gave no reason"
            if outcome.reason is RejectReason.MALFORMED:
                return self._refuse(peer, frame.frame_id, outcome.reason, text, now_s=now_s)
            return [
                self._reject(peer, frame.frame_id, outcome.reason, text),
                Ignored(peer.id, f"frame {frame.frame_id}: {text}"),
            ]
        result = result_of(
            frame,
            outcome.tensors,
            outcome,
            began_s=began_s,
            now_s=now_s,
            frames_queued=len(self._batcher),
            busy_share=self._batcher.busy_share(now_s=now_s),
        )
        parts = encode(result, version=peer.version)
        num_bytes = sum(map(len, parts))
        if num_bytes > peer.max_message_bytes:
            text = f"the result has {num_bytes} bytes, the device takes {peer.max_message_bytes}"
            return [self._reject(peer, frame.frame_id, RejectReason.FAILED, text)]
        self._tally.frames_answered += 1
        self._tally.queue_s += began_s - frame.arrived_s
        self._tally.decode_s += outcome.decode_s
        self._tally.tail_s += outcome.tail_s
        return [SendTo(peer.id, parts)]

    # --- leaving and refusing

    def _leave(self, peer: Peer) -> None:
        self._abandon(peer)
        self._peers.forget(peer)

    def _abandon(self, peer: Peer) -> None:
        """Drop what a peer has waiting; what is running will find nobody to answer."""
        for frame in self._batcher.forget(peer.id):
            self._held_bytes -= len(frame.payload)
        self._drop_unfinished(peer)
        self._references.forget(peer.id)
        peer.in_flight.clear()

    def _refuse(
        self, peer: Peer, frame_id: int | None, reason: RejectReason, text: str, *, now_s: float
    ) -> list[EdgeEffect]:
        """Reject what no proper device sends, and ignore a peer that goes on doing so."""
        self._tally.messages_refused += 1
        effects: list[EdgeEffect] = [
            self._reject(peer, frame_id, reason, text),
            Ignored(peer.id, text),
        ]
        if self._peers.count_malformed(peer, now_s=now_s):
            self._abandon(peer)
            seconds = f"{self._limits.ignore_s:g} s"
            effects.append(Ignored(peer.id, f"too many such messages; ignored for {seconds}"))
        return effects

    def _unknown(self, peer: Peer, frame_id: int | None) -> SendTo:
        text = "this edge has seen no HELLO of yours; say HELLO first"
        return self._reject(peer, frame_id, RejectReason.UNKNOWN_PEER, text)

    def _reject_queued(self, frame: Queued, reason: RejectReason, text: str) -> SendTo:
        peer = self._peers.find(frame.peer)
        assert peer is not None, "a peer that leaves takes its waiting frames along"
        del peer.in_flight[frame.frame_id]
        self._held_bytes -= len(frame.payload)
        return self._reject(peer, frame.frame_id, reason, text)

    def _reject(self, peer: Peer, frame_id: int | None, reason: RejectReason, text: str) -> SendTo:
        self._tally.frames_rejected[reason] += 1
        return self._send(peer.id, Reject(frame_id, reason, text))

    def _goodbyes(self) -> list[EdgeEffect]:
        return [
            self._send(peer.id, Goodbye(), version=peer.version)
            for peer in self._peers
            if peer.manifest is not None
        ]

    @staticmethod
    def _send(peer_id: bytes, message: Message, *, version: int = SPOKEN_VERSIONS[0]) -> SendTo:
        return SendTo(peer_id, encode(message, version=version))
