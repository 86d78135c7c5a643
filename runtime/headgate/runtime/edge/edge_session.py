"""The edge's side of the protocol as a state machine: events in, effects out, no clock.

A peer is a ROUTER identity. It says HELLO, is welcomed to one of the edge's families, and sends
frames and probes; every whole frame gets exactly one RESULT or REJECT, unless its peer left or
said HELLO again in between (a new life of the device, whose frame ids may start anew).

One worker runs one batch at a time: `RunBatch` is not repeated before `batch_finished`.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Manifest
from headgate.runtime.edge.edge_events import (
    EdgeEffect,
    EdgeLimits,
    Ignored,
    ItemOutcome,
    RunBatch,
    SendTo,
)
from headgate.runtime.edge.edge_intake import Intake
from headgate.runtime.edge.edge_peers import Peer, Peers
from headgate.runtime.edge.edge_references import EdgeReferences
from headgate.runtime.edge.edge_rules import (
    LEAVING_TEXT,
    answer_hello,
    clock_us,
    item_of,
    point_used,
    result_of,
)
from headgate.runtime.edge.edge_tally import EdgeStats, EdgeTally
from headgate.runtime.edge.layers import prefixes_by_point
from headgate.runtime.edge.queued import Queued
from headgate.runtime.edge.waiting_room import WaitingRoom
from headgate.runtime.link.send_clock import SendClock
from headgate.runtime.wire.headers import SPOKEN_VERSIONS, supports_layers
from headgate.runtime.wire.messages import (
    Ack,
    Frame,
    Goodbye,
    Hello,
    Message,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
)
from headgate.runtime.wire.wire import decode, encode


class EdgeSession:
    """All peers of one edge. All times are the shell's monotonic clock, in seconds."""

    def __init__(self, families: Mapping[str, Manifest], limits: EdgeLimits | None = None) -> None:
        """`families` by digest."""
        self._families = dict(families)
        self._limits = limits or EdgeLimits()
        self._peers = Peers(self._limits)
        self._room = WaitingRoom(
            max_batch=self._limits.max_batch, max_waiting=self._limits.max_queued
        )
        self._draining = False
        self._sweep_s = inf  # when to look for silent peers
        self._tally = EdgeTally()
        self._references = EdgeReferences(self._families, self._limits)
        self._prefixes = {d: prefixes_by_point(family) for d, family in self._families.items()}
        self._intake = Intake(
            self._room,
            references=self._references,
            prefixes=self._prefixes,
            limits=self._limits,
            tally=self._tally,
        )

    @property
    def drained(self) -> bool:
        """Whether `drain` was called and no batch is running."""
        return self._draining and not self._room.running

    def stats(self, *, now_s: float) -> EdgeStats:
        """Return the counts so far."""
        return self._tally.snapshot(
            num_peers=self._peers.num_welcomed,
            frames_queued=self._room.num_queued,
            busy_share=self._room.busy_share(now_s=now_s),
            reference_bytes=self._references.num_bytes,
        )

    def family_of(self, peer_id: bytes) -> str | None:
        """Return the digest of the family that a peer is welcome to, or None."""
        peer = self._peers.find(peer_id)
        return None if peer is None or peer.manifest is None else peer.manifest.digest

    def heard_s(self, peer_ids: Iterable[bytes]) -> dict[bytes, float]:
        """Return of these peers those that are welcome, and when each was heard last."""
        peers = (self._peers.find(peer_id) for peer_id in peer_ids)
        return {peer.id: peer.heard_s for peer in peers if peer is not None and peer.manifest}

    def next_timer_s(self) -> float | None:
        """Return when `handle_timer` wants to be called next, or None."""
        batch_s = self._room.next_timer_s()
        self._room.margin.awaits(batch_s)
        first_s = min(inf if batch_s is None else batch_s, self._sweep_s)
        return None if first_s == inf else first_s

    def handle_timer(self, *, now_s: float) -> list[EdgeEffect]:
        """Do what was due at `next_timer_s`; harmless when called early."""
        self._room.margin.saw(now_s=now_s)
        if now_s >= self._sweep_s:
            for peer in self._peers.silent(now_s=now_s):
                self._leave(peer)
            for peer in self._peers:
                self._intake.give_up_stale(peer, now_s=now_s)
            self._sweep_s = now_s + self._limits.ignore_s if any(self._peers) else inf
        return self._advance(now_s=now_s)

    def received(
        self, peer: bytes, parts: Sequence[bytes], *, now_s: float, owner: str | None = None
    ) -> list[EdgeEffect]:
        """Take one message (without the identity part); never raises for what a peer sends.

        `owner` is the key that a peer not known yet has: one key's peers may not take all places.
        """
        self._room.margin.saw(now_s=now_s)
        known = self._hear(peer, owner=owner, now_s=now_s)
        self._sweep_s = min(self._sweep_s, now_s + self._limits.ignore_s)
        if known is None:
            self._tally.messages_ignored += 1
            text = f"the edge serves {self._limits.max_peers} devices, which is its limit"
            if owner is not None:
                text += f", and {self._peers.max_of_owner} with one key; give each its own"
            return [self._send(peer, Reject(None, RejectReason.BUSY, text))]
        if now_s < known.ignored_until_s:
            self._tally.messages_ignored += 1
            return []
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
        self._room.margin.saw(now_s=now_s)
        assert batch_id == self._tally.batches
        batch = self._room.finished(now_s=now_s)
        self._tally.busy_s += now_s - batch.began_s
        effects = self._advance(now_s=now_s)
        for frame, outcome in zip(batch.frames, outcomes, strict=True):
            effects += self._answer(frame, outcome, began_s=batch.began_s, now_s=now_s)
        if self.drained:
            effects += self._goodbyes()
        return effects

    def drain(self, *, now_s: float) -> list[EdgeEffect]:
        """Take no more frames: waiting ones are rejected, the running batch still finishes."""
        if self._draining:
            return []
        self._draining = True
        self._intake.leave()
        effects: list[EdgeEffect] = []
        for frame in self._room.take_all():
            effects.append(self._reject_queued(frame, RejectReason.LEAVING, LEAVING_TEXT))
        if self.drained:
            effects += self._goodbyes()
        return effects

    # --- what peers say

    def _hear(self, peer_id: bytes, *, owner: str | None, now_s: float) -> Peer | None:
        """Return the peer; if the table is full, in the place of one that has long been silent."""
        known = self._peers.hear(peer_id, owner=owner, now_s=now_s)
        if known is not None:
            return known
        silent = self._peers.longest_silent(owner=owner, now_s=now_s)
        if silent is None:
            return None
        self._leave(silent)
        return self._peers.hear(peer_id, owner=owner, now_s=now_s)

    def _handle(self, peer: Peer, message: Message, *, now_s: float) -> list[EdgeEffect]:
        match message:
            case Frame():
                return self._frame(peer, message, now_s=now_s)
            case Probe(probe_id, _, sent_us):
                if peer.manifest is None:
                    return [self._unknown(peer, None)]
                if supports_layers(peer.version):
                    peer.clock.heard(sent_us, now_s=now_s)
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
        self._intake.forget(peer)
        peer.clock = SendClock()
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
            first = piece.layer == 0 and piece.fragment == 0
            return [self._unknown(peer, piece.frame_id)] if first else []
        effects: list[EdgeEffect] = []
        for said in self._intake.add(peer, peer.manifest, piece, now_s=now_s):
            if isinstance(said, Ack):
                effects.append(self._send(peer.id, said, version=peer.version))
            elif said.reason is RejectReason.MALFORMED:
                effects += self._refuse(peer, said.frame_id, said.reason, said.text, now_s=now_s)
            else:
                effects.append(self._reject(peer, said.frame_id, said.reason, said.text))
        return [*effects, *self._advance(now_s=now_s)]

    # --- the worker

    def _advance(self, *, now_s: float) -> list[EdgeEffect]:
        """Give up what is too late and start a batch if the worker is idle and should."""
        effects: list[EdgeEffect] = []
        for frame in self._room.take_too_late(now_s=now_s):
            left_ms = max(0.0, frame.deadline_s - now_s) * 1e3
            text = f"{left_ms:.1f} ms of its budget are left, too little for the tail"
            effects.append(self._reject_queued(frame, RejectReason.EXPIRED, text))
        batch = self._room.start(now_s=now_s)
        if batch is None:
            return effects
        batch_id = self._tally.batch_began(len(batch.frames))
        key = batch.frames[0].key
        manifest, prefixes = self._families[key.digest], self._prefixes[key.digest]
        items = tuple(item_of(frame, manifest, prefixes) for frame in batch.frames)
        return [RunBatch(batch_id, key.digest, key.graph, items), *effects]

    def _answer(
        self, frame: Queued, outcome: ItemOutcome, *, began_s: float, now_s: float
    ) -> list[EdgeEffect]:
        """Return the RESULT or REJECT of a frame that ran."""
        peer = self._peers.find(frame.peer)
        if peer is None or peer.in_flight.get(frame.frame_id) is not frame:
            text = f"frame {frame.frame_id}: its device left, rejoined, spoiled it or is ignored"
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
            point_index=point_used(frame, self._prefixes[frame.key.digest]),
            began_s=began_s,
            now_s=now_s,
            frames_queued=self._room.num_queued,
            busy_share=self._room.busy_share(now_s=now_s),
        )
        parts = encode(result, version=peer.version)
        num_bytes = sum(map(len, parts))
        if num_bytes > peer.max_message_bytes:
            text = f"the result has {num_bytes} bytes, the device takes {peer.max_message_bytes}"
            return [self._reject(peer, frame.frame_id, RejectReason.FAILED, text)]
        self._tally.answered(
            queue_s=began_s - frame.queued_s,
            decode_s=outcome.decode_s,
            tail_s=outcome.tail_s,
            is_cut_short=result.point_index != frame.point_index,
        )
        return [SendTo(peer.id, parts)]

    # --- leaving and refusing

    def _leave(self, peer: Peer) -> None:
        self._intake.forget(peer)  # what is running will find nobody to answer
        self._peers.forget(peer)

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
            self._intake.forget(peer)
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
