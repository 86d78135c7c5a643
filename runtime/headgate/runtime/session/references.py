"""The device's side of prediction: which frames the edge is known to have decoded.

    sent --RESULT--> known to the edge --newer one of its stream, or too old--> dropped
      |--rejected, or never answered--> dropped

A frame is coded against the newest known one of its stream. Nothing is known after a new HELLO,
nor after the edge said that it lacks a reference: then frames go whole until one is answered.
Nor is one that many newer ones followed onto the link, as happens on a long path at a high rate:
by the time this frame comes the edge may have dropped it for them.
Every so often a frame goes whole anyway. The scheme does not need it, as nothing is ever lost
between the two sides; it bounds how long they could disagree if one of them were wrong.

A stream without a reference must begin with a whole frame, which may not fit a link that carries
its predicted frames with ease. Judged by the whole frame alone such a stream would never begin.
So now and then its points are judged as if they had a reference; if one of them is chosen then,
that is a trial: a frame that may be late, but whose answer is worth waiting for.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass

from headgate.profiles.manifest import Manifest, OperatingPoint
from headgate.runtime.choice.costs import PointCosts
from headgate.runtime.codec.prediction import (
    KEPT_FRAMES,
    MAX_DISTANCE,
    Integers,
    Reference,
    reference_distance,
    streams_of,
)
from headgate.runtime.session.events import Computed
from headgate.runtime.wire.messages import Reject, RejectReason

REFRESH_S = 10.0  # a whole frame at least so often; at 10 frames/s about 1 % of the bytes
FIRST_TRIAL_S, MAX_TRIAL_S = 2.0, 64.0  # between trials; doubles with each that came to nothing
TRIAL_GRACE_S = 1.0  # so much later than its deadline the answer to a first whole frame is taken
MAX_SENT = 32  # frames not yet answered; an edge takes fewer at a time


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """The integers of one frame that was sent."""

    frame_id: int
    stream: str
    integers: Integers
    place: int  # among the frames of its stream that were sent


class DeviceReferences:
    """What one device may predict from, on its present connection to an edge."""

    def __init__(
        self, manifest: Manifest, *, costs: PointCosts, refresh_s: float = REFRESH_S
    ) -> None:
        """`costs` is told what sizes to expect."""
        self._costs, self._refresh_s = costs, refresh_s
        self._streams = streams_of(manifest)
        self._predicted = frozenset(p.id for p in manifest.points if p.twin is not None)
        self._sent: OrderedDict[int, _Kept] = OrderedDict()
        self._num_sent: Counter[str] = Counter()  # by stream
        self._known: dict[str, _Kept] = {}  # stream -> newest frame that the edge has answered
        self._trial_s: float | None = None  # when the next one may be
        self._trial_gap_s = FIRST_TRIAL_S
        self._on_trial = False  # the choice being made knows no lack
        self._before_trial: tuple[float, float] | None = None  # when it was due, and the gap
        self._offered = False  # the frame that is being computed has a reference
        self._whole_s: dict[str, float] = {}  # stream -> when a frame was last sent whole

    @property
    def num_kept(self) -> int:
        """How many frames' integers are held."""
        return len(self._sent) + len(self._known)

    def before_choice(self, frame_id: int, *, now_s: float) -> None:
        """Tell the costs which predicted points would have to send this frame whole."""
        if not self._predicted:
            return
        lacking = [p for p in self._predicted if not self._usable(self._streams[p], frame_id)]
        if self._trial_s is None:
            self._trial_s = now_s + self._trial_gap_s
        self._on_trial = now_s >= self._trial_s
        self._costs.lacking(frozenset(() if self._on_trial else lacking))

    def choose(self, point: OperatingPoint, *, frame_id: int, now_s: float) -> Reference | None:
        """Return what to code a frame against; None: code it whole."""
        kept = self._before_trial = None
        if point.twin is not None:
            kept = self._usable(point.twin, frame_id)
            if kept is None and self._on_trial and self._trial_s is not None:
                self._before_trial = self._trial_s, self._trial_gap_s
                self._trial_s = now_s + self._trial_gap_s
                self._trial_gap_s = min(MAX_TRIAL_S, 2 * self._trial_gap_s)
            elif now_s - self._whole_s.get(point.twin, now_s) >= self._refresh_s:
                kept = None
        self._offered = kept is not None
        return None if kept is None else Reference(frame_id - kept.frame_id, kept.integers)

    def kept_back(self) -> None:
        """Tell that the frame just computed is not sent, as its exit is sure: it tried nothing."""
        if self._before_trial is not None:
            self._trial_s, self._trial_gap_s = self._before_trial
            self._before_trial = None

    def computed(self, point: OperatingPoint, payload: bytes) -> bool:
        """Learn from the size of a payload what the next ones will have.

        One that went whole tells about the twin; also about this point, if it had a reference.
        Returns False for a payload that nobody can read any more: the edge that knew its reference
        was lost while it was computed.
        """
        if point.twin is not None and not self._offered and reference_distance(payload) > 0:
            return False
        if point.twin is None or self._offered:
            self._costs.payload_was(point.id, num_bytes=len(payload))
        if point.twin is not None and reference_distance(payload) == 0:
            self._costs.payload_was(point.twin, num_bytes=len(payload))
        return True

    def sent(
        self, frame_id: int, point: OperatingPoint, outcome: Computed, *, now_s: float
    ) -> float:
        """Tell what goes out to the edge.

        Returns for how long after its deadline the edge's answer is still worth having, in
        seconds: it makes the frame a reference, where the stream has none.
        """
        stream = self._streams.get(point.id)
        if stream is None or outcome.integers is None:
            return 0.0
        if point.twin is None or (outcome.payload and not reference_distance(outcome.payload)):
            self._whole_s[stream] = now_s
        self._num_sent[stream] += 1
        place = self._num_sent[stream]
        self._sent[frame_id] = _Kept(frame_id, stream, outcome.integers, place)
        if len(self._sent) > MAX_SENT:
            self._sent.popitem(last=False)
        return TRIAL_GRACE_S if point.twin is not None and stream not in self._known else 0.0

    def answered(self, frame_id: int) -> None:
        """Tell that the edge answered a frame, in time or not: it has decoded it."""
        kept = self._sent.pop(frame_id, None)
        if kept is None:
            return
        known = self._known.get(kept.stream)
        if known is None:
            self._trial_gap_s = FIRST_TRIAL_S
        if known is None or known.frame_id < frame_id:
            self._known[kept.stream] = kept

    def rejected(self, reject: Reject) -> None:
        """Tell that the edge did not answer a frame; perhaps because it lacks the reference."""
        if reject.frame_id is not None:
            self._sent.pop(reject.frame_id, None)
        if reject.reason is RejectReason.LOST_REFERENCE:
            self._known.clear()

    def forget(self) -> None:
        """Tell that the edge is lost or greeted anew: it knows nothing of earlier frames."""
        self._sent.clear()
        self._known.clear()
        self._whole_s.clear()
        self._trial_s = None
        self._offered = False

    def _usable(self, stream: str, frame_id: int) -> _Kept | None:
        """Return the newest known frame of a stream, unless it is too far back."""
        kept = self._known.get(stream)
        if kept is None:
            return None
        num_newer = self._num_sent[stream] - kept.place
        if frame_id - kept.frame_id > MAX_DISTANCE or num_newer >= KEPT_FRAMES:
            del self._known[stream]
            return None
        return kept
