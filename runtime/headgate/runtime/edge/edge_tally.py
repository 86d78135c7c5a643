"""What an edge counts of its own work; `headgate edge` logs it each minute and when it ends."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from headgate.runtime.wire.messages import RejectReason


@dataclass(frozen=True, slots=True)
class EdgeStats:
    """The counts at a moment; they and the sums are since the start."""

    num_peers: int  # welcomed and not forgotten
    frames_queued: int
    busy_share: float  # of the worker, over about the last second
    frames_received: int  # whole ones, of welcomed peers
    frames_answered: int
    frames_rejected: Mapping[RejectReason, int]
    messages_refused: int  # malformed, of another family or version
    messages_ignored: int  # of peers that were being ignored
    batches: int
    frames_batched: int
    payload_bytes: int
    queue_s: float  # sums over answered frames
    decode_s: float
    tail_s: float
    busy_s: float = 0.0  # that batches took, one at a time
    reference_bytes: int = 0  # held to predict later frames from
    frames_cut_short: int = 0  # answered from fewer layers than their device had planned
    layers_late: int = 0  # came after their frame's batch began, or after it was rejected

    def since(self, earlier: "EdgeStats") -> "EdgeStats":
        """Return what was counted after an earlier moment; of moments themselves, this one's."""
        rejected = Counter(self.frames_rejected)
        rejected.subtract(earlier.frames_rejected)
        counted: dict[str, Any] = {
            name: getattr(self, name) - getattr(earlier, name) for name in _COUNTED
        }
        return replace(self, frames_rejected=+rejected, **counted)

    def to_line(self) -> str:
        """Return what the edge has done so far as one line of a log."""
        rejected = ",".join(
            f"{why.name.lower()}:{num}" for why, num in self.frames_rejected.items()
        )
        answered = max(1, self.frames_answered)
        return (
            f"frames_received={self.frames_received} frames_answered={self.frames_answered} "
            f"rejected={rejected or 'none'} batches={self.batches} "
            f"frames_batched={self.frames_batched} payload_bytes={self.payload_bytes} "
            f"mean_queue_s={self.queue_s / answered:.6f} "
            f"mean_decode_s={self.decode_s / answered:.6f} "
            f"mean_tail_s={self.tail_s / answered:.6f} "
            f"frames_cut_short={self.frames_cut_short} layers_late={self.layers_late} "
            f"messages_refused={self.messages_refused} messages_ignored={self.messages_ignored}"
        )


_COUNTED = (
    *("frames_received", "frames_answered", "messages_refused", "messages_ignored", "batches"),
    *("frames_batched", "payload_bytes", "queue_s", "decode_s", "tail_s", "busy_s"),
    *("frames_cut_short", "layers_late"),
)


@dataclass(slots=True)
class EdgeTally:
    """The running counts behind `EdgeStats`. Only the session writes them."""

    frames_received: int = 0
    frames_answered: int = 0
    frames_rejected: Counter[RejectReason] = field(default_factory=Counter)
    messages_refused: int = 0
    messages_ignored: int = 0
    batches: int = 0
    frames_batched: int = 0
    payload_bytes: int = 0
    queue_s: float = 0.0
    decode_s: float = 0.0
    tail_s: float = 0.0
    busy_s: float = 0.0
    frames_cut_short: int = 0
    layers_late: int = 0

    def batch_began(self, num_frames: int) -> int:
        """Count a batch; return its number, from 1."""
        self.batches += 1
        self.frames_batched += num_frames
        return self.batches

    def answered(
        self, *, queue_s: float, decode_s: float, tail_s: float, is_cut_short: bool
    ) -> None:
        """Count a frame that was answered, and what its answer took."""
        self.frames_answered += 1
        self.frames_cut_short += is_cut_short
        self.queue_s += queue_s
        self.decode_s += decode_s
        self.tail_s += tail_s

    def snapshot(
        self, *, num_peers: int, frames_queued: int, busy_share: float, reference_bytes: int
    ) -> EdgeStats:
        """Return the counts as they are now."""
        return EdgeStats(
            num_peers=num_peers,
            frames_queued=frames_queued,
            busy_share=busy_share,
            frames_received=self.frames_received,
            frames_answered=self.frames_answered,
            frames_rejected=dict(self.frames_rejected),
            messages_refused=self.messages_refused,
            messages_ignored=self.messages_ignored,
            batches=self.batches,
            frames_batched=self.frames_batched,
            payload_bytes=self.payload_bytes,
            queue_s=self.queue_s,
            decode_s=self.decode_s,
            tail_s=self.tail_s,
            busy_s=self.busy_s,
            reference_bytes=reference_bytes,
            frames_cut_short=self.frames_cut_short,
            layers_late=self.layers_late,
        )
