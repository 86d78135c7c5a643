"""FRAME messages of all peers -> frames in the waiting room, or why one is not taken.

Slices are put together (`fragments`), then layers (`layers`); a frame is let in once, with its
payload or its first layers. From then on it waits in the room, which a progressive frame may go on
filling until its batch begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from headgate.profiles.errors import WireError
from headgate.profiles.manifest import Manifest
from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.edge.edge_peers import Peer
from headgate.runtime.edge.edge_references import EdgeReferences
from headgate.runtime.edge.edge_rules import (
    FULL_TEXT,
    LEAVING_TEXT,
    NO_ROOM_TEXT,
    clock_us,
    deadline_of,
    no_room_reason,
    queued_frame,
    why_busy,
    why_unknown,
)
from headgate.runtime.edge.edge_tally import EdgeTally
from headgate.runtime.edge.layers import LayeredFrame, Prefixes
from headgate.runtime.edge.queued import Queued
from headgate.runtime.edge.waiting_room import WaitingRoom
from headgate.runtime.wire.fragments import Assembled
from headgate.runtime.wire.headers import supports_layers
from headgate.runtime.wire.messages import Ack, Frame, RejectReason


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A frame is over before it ran, and why."""

    frame_id: int
    reason: RejectReason
    text: str


Said = list[Ack | NotTaken]


class Intake:
    """Takes what welcomed peers send of frames. The session says to them what comes back."""

    def __init__(
        self,
        room: WaitingRoom,
        *,
        references: EdgeReferences,
        prefixes: Mapping[str, Prefixes],
        limits: EdgeLimits,
        tally: EdgeTally,
    ) -> None:
        """`prefixes` by family digest. The room, the references and the tally are the session's."""
        self._room = room
        self._references = references
        self._prefixes = prefixes
        self._limits = limits
        self._tally = tally
        self._unfinished_bytes = 0  # of slices whose payload is not whole
        self._leaving = False

    @property
    def held_bytes(self) -> int:
        """Payload of all peers that is held at the moment, waiting or unfinished."""
        return self._unfinished_bytes + self._room.num_bytes

    def add(self, peer: Peer, manifest: Manifest, piece: Frame, *, now_s: float) -> Said:
        """Take one FRAME message; return what is to be said about it at once."""
        prefixes: tuple[int, ...] = ()
        unhindered_s = now_s
        if supports_layers(peer.version):
            prefixes = self._prefixes[manifest.digest].get(piece.point_index, ())
            unhindered_s = peer.clock.heard(piece.sent_us, now_s=now_s)
        if piece.layer == 0 and piece.fragment == 0:
            self._end_earlier(peer, piece.frame_id, now_s=now_s)
        if not prefixes and (piece.layer or piece.more_layers):
            return self._no_layers(peer, manifest, piece)
        layered: LayeredFrame | None = None
        try:
            whole = self._add_slice(peer, piece, now_s=now_s)
            if whole is not None and prefixes:
                self._check_new(peer, piece)
                layered = peer.layers.add(whole.frame, num_planned=len(prefixes), now_s=now_s)
        except WireError as error:
            return self._malformed(peer, piece.frame_id, str(error))
        if whole is None:
            acked = self._ack(peer, piece.frame_id, now_s=now_s) if prefixes else []
            if self.held_bytes <= self._limits.max_held_bytes:
                return acked
            if not peer.layers.num_layers(piece.frame_id):  # REJECT is the answer to this message
                return self._overfull(peer, piece.frame_id)
            if peer.layers.is_closed(piece.frame_id):  # it has its answer, or will have it
                self._drop_unfinished(peer)
                peer.unfinished.refuse(piece.frame_id)
                return acked
            return [*acked, *self._overfull(peer, piece.frame_id)]
        if not prefixes:
            return self._whole(peer, manifest, whole, now_s=now_s)
        if layered is None:  # of a frame that was refused
            return []
        deadline_s = deadline_of(whole.frame, sent_s=unhindered_s)
        return self._layers(
            peer, manifest, whole.frame, layered, deadline_s=deadline_s, now_s=now_s
        )

    def leave(self) -> None:
        """Take no more frames: the edge is shutting down."""
        self._leaving = True

    def forget(self, peer: Peer) -> None:
        """Drop all that a peer has here, and that it may continue."""
        self._room.forget(peer.id)
        self._drop_unfinished(peer)
        self._references.forget(peer.id)
        peer.in_flight.clear()
        peer.layers.clear()

    def give_up_stale(self, peer: Peer, *, now_s: float) -> None:
        """Drop a frame whose slices have stopped: their bytes are taken from all peers."""
        if peer.unfinished.has_waited_since(now_s - self._limits.unfinished_s):
            self._unfinished_bytes -= peer.unfinished.num_bytes
            peer.unfinished.give_up()

    # --- slices and layers

    def _add_slice(self, peer: Peer, piece: Frame, *, now_s: float) -> Assembled | None:
        self._unfinished_bytes -= peer.unfinished.num_bytes
        try:
            return peer.unfinished.add(piece, now_s=now_s)
        finally:
            self._unfinished_bytes += peer.unfinished.num_bytes

    def _drop_unfinished(self, peer: Peer) -> None:
        self._unfinished_bytes -= peer.unfinished.num_bytes
        peer.unfinished.clear()

    def _end_earlier(self, peer: Peer, frame_id: int, *, now_s: float) -> None:
        """Another frame begins: the one that grew so far is complete."""
        ended = peer.layers.began(frame_id)
        queued = None if ended is None else peer.in_flight.get(ended.frame_id)
        if queued is not None:
            self._room.completed(queued, now_s=now_s)

    def _check_new(self, peer: Peer, piece: Frame) -> None:
        """Refuse a progressive frame with the id of another that is not answered."""
        other = peer.in_flight.get(piece.frame_id)
        if other is not None and other.layers is None:
            raise WireError(_twice(piece.frame_id))

    # --- frames

    def _whole(self, peer: Peer, manifest: Manifest, whole: Assembled, *, now_s: float) -> Said:
        """Let a frame wait for the worker, or say why not."""
        frame = whole.frame
        self._tally.frames_received += 1
        self._tally.payload_bytes += len(frame.payload)
        if frame.frame_id in peer.in_flight:
            return [NotTaken(frame.frame_id, RejectReason.MALFORMED, _twice(frame.frame_id))]
        unknown = why_unknown(frame, manifest=manifest, version=peer.version)
        if unknown is not None:
            return [NotTaken(frame.frame_id, RejectReason.UNKNOWN_POINT, unknown)]
        reference, lost = self._references.find(peer.id, manifest, frame)
        queued = queued_frame(
            peer.id,
            frame,
            manifest,
            arrived_s=now_s,
            deadline_s=deadline_of(frame, sent_s=whole.first_arrived_s),
            burst=whole.burst,
            reference=reference,
            owner=peer.owner,
        )
        refusal = self._why_not(peer, queued)
        if refusal is None and lost is not None:
            refusal = NotTaken(frame.frame_id, RejectReason.LOST_REFERENCE, lost)
        if refusal is None:
            refusal = self._why_no_room(queued, now_s=now_s)
        if refusal is not None:
            return [refusal]
        self._let_in(peer, queued)
        return []

    def _layers(
        self,
        peer: Peer,
        manifest: Manifest,
        message: Frame,
        layered: LayeredFrame,
        *,
        deadline_s: float,
        now_s: float,
    ) -> Said:
        """Let a progressive frame in with its first layers, or give it more."""
        num_bytes = len(message.payload) + sum(map(len, message.more_layers))
        self._tally.payload_bytes += num_bytes
        if layered.closed:
            self._tally.layers_late += 1 + len(message.more_layers)
            return self._ack(peer, message.frame_id, now_s=now_s)
        queued = queued_frame(
            peer.id,
            message,
            manifest,
            arrived_s=now_s,
            deadline_s=deadline_s,
            layers=layered,
            owner=peer.owner,
        )
        before = peer.in_flight.get(message.frame_id)
        if before is None:
            self._tally.frames_received += 1
            refusal = self._why_not(peer, queued) or self._why_no_room(queued, now_s=now_s)
            if refusal is not None:
                layered.closed = True
                return [refusal]
            self._let_in(peer, queued)
        else:
            if self._room.grew(before, queued, num_bytes=num_bytes, now_s=now_s):
                peer.in_flight[message.frame_id] = queued
        acked = [] if layered.complete else self._ack(peer, message.frame_id, now_s=now_s)
        if before is not None and self.held_bytes > self._limits.max_held_bytes:
            return [*acked, *self._overfull(peer, message.frame_id)]
        return acked

    def _why_not(self, peer: Peer, frame: Queued) -> NotTaken | None:
        if self._leaving:
            return NotTaken(frame.frame_id, RejectReason.LEAVING, LEAVING_TEXT)
        busy = why_busy(
            frame.num_bytes,
            num_in_flight=len(peer.in_flight),
            num_waiting=len(self._room),
            num_of_key=self._room.num_of(peer.owner),
            held_bytes=self.held_bytes,
            limits=self._limits,
        )
        return None if busy is None else NotTaken(frame.frame_id, RejectReason.BUSY, busy)

    def _why_no_room(self, frame: Queued, *, now_s: float) -> NotTaken | None:
        if self._room.has_room(frame, now_s=now_s):
            return None
        return NotTaken(frame.frame_id, no_room_reason(len(self._room)), NO_ROOM_TEXT)

    def _let_in(self, peer: Peer, frame: Queued) -> None:
        peer.in_flight[frame.frame_id] = frame
        self._room.add(frame)

    def _ack(self, peer: Peer, frame_id: int, *, now_s: float) -> Said:
        return [Ack(frame_id, peer.layers.num_layers(frame_id), clock_us(now_s))]

    # --- refusing

    def _no_layers(self, peer: Peer, manifest: Manifest, piece: Frame) -> Said:
        """Refuse layers of a point that has none, or of one that there is not."""
        unknown = why_unknown(piece, manifest=manifest, version=peer.version)
        if unknown is not None:
            return [NotTaken(piece.frame_id, RejectReason.UNKNOWN_POINT, unknown)]
        last = piece.layer + len(piece.more_layers)
        text = (
            f"FRAME {piece.frame_id}: layers {piece.layer} to {last} of point "
            f"{manifest.points[piece.point_index].id}, expected 0; it is sent whole"
        )
        return self._malformed(peer, piece.frame_id, text)

    def _malformed(self, peer: Peer, frame_id: int, text: str) -> Said:
        """Say what is wrong; layers out of turn end their frame."""
        peer.layers.refuse(frame_id)
        self._drop_layered(peer, frame_id)
        return [NotTaken(frame_id, RejectReason.MALFORMED, text)]

    def _overfull(self, peer: Peer, frame_id: int) -> Said:
        self._drop_unfinished(peer)
        peer.unfinished.refuse(frame_id)
        self._drop_layered(peer, frame_id)
        return [NotTaken(frame_id, RejectReason.BUSY, FULL_TEXT)]

    def _drop_layered(self, peer: Peer, frame_id: int) -> None:
        queued = peer.in_flight.get(frame_id)
        if queued is not None and queued.layers is not None:
            del peer.in_flight[frame_id]
            self._room.drop(queued)


def _twice(frame_id: int) -> str:
    return f"FRAME {frame_id}: sent twice; number frames anew for each"
