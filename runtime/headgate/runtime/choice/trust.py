"""How far the chances that frames were sent with are borne out.

The forecast of a link is made of how its services strayed lately (`link.belief`). On a link that
jumps every tenth of a second, or stands still in turns, most services are those of good moments:
frames sent with a chance of 0.98 were in time in 0.76 of cases, for as long as the link was so, and
where nothing insures them, answering here would have earned more. So chance and outcome are counted
over the frames that were likely to be in time. Where misses exceed what the chances foretold by
more than chance itself explains, chances are believed only so far:

    excess  =  misses - foretold misses - SIGMAS sqrt(misses + 1)
    trust   =  1 - excess / (PRIOR_WEIGHT + foretold hits)          for an excess above 0

They are counted for each point. One that is in time but for a hair, by an estimate that is off by
no more, is always late, and says nothing of smaller ones, which never are; but where those are
late, a larger one will be. So a point is believed by its own frames, the more of them there are,
and for the rest by those of all points that are no larger, its own among them.

Counts are forgotten as newer frames come, and more slowly while frames are answered here, or as
another point: the link may have become another, and only sending tells.

Where chances are borne out, doubtful ones are more than borne out: of frames sent with 0.8 over
recorded links 0.97 were in time, and of those with 0.9 0.96. The forecast follows every sample, and
after a slow one it is too low. Among points that send this hardly matters, as they are doubted
alike. Against answering here it does: what is not sent teaches nothing, and the doubt stays. So
against that the odds of a doubtful point count double (`benefit`).
"""

from collections.abc import Iterable
from math import sqrt

from headgate.profiles.manifest import OperatingPoint

LIKELY = 0.5  # frames with less of a chance are sent for want of anything better
PRIOR_WEIGHT = 10.0  # frames
MEMORY, MEMORY_UNSENT = 50.0, 300.0  # frames: each counts so much less with every newer one
SIGMAS = 1.5
BENEFIT = 2.0  # times the odds, where the choice is whether to send at all


class Trust:
    """Counts what came of frames that were sent with a chance."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[float, _Counts]] = {}  # by point, with its bytes

    def share(self, point: OperatingPoint) -> float:
        """Return what to multiply the chances of a point by, above 0 and at most 1."""
        own, num_bytes = _Counts(), point.bytes.mean
        if point.id in self._of:
            own = self._of[point.id][1]
        known = own.num_frames / (own.num_frames + PRIOR_WEIGHT)
        together = _Counts.sum(c for size, c in self._of.values() if size <= num_bytes)
        return known * own.share + (1 - known) * together.share

    def benefit(self, point: OperatingPoint, on_time: float) -> float:
        """Return what to believe of a chance where the choice is between it and answering here."""
        if self.share(point) < 1:
            return on_time
        return BENEFIT * on_time / (1 + (BENEFIT - 1) * on_time)

    def learn(self, point: OperatingPoint, *, on_time: float, by_edge: bool) -> None:
        """Count a frame that was sent; `by_edge`: the edge answered it in time.

        `on_time` is its chance as it was foretold, before any trust in that: one that was earned by
        its own discount would swing.
        """
        if on_time < LIKELY:
            return
        self._forget(but=point.id)
        _, counts = self._of.setdefault(point.id, (point.bytes.mean, _Counts()))
        counts.forget(MEMORY)
        counts.add(on_time=on_time, by_edge=by_edge)

    def unsent(self) -> None:
        """Take note of a frame that was answered here, or not at all: nothing was learnt."""
        self._forget()

    def _forget(self, *, but: str | None = None) -> None:
        for point_id, (_, counts) in self._of.items():
            if point_id != but:
                counts.forget(MEMORY_UNSENT)


class _Counts:
    """Frames that were likely to be in time, those of long ago for less."""

    def __init__(self) -> None:
        self._misses = self._foretold_misses = self._foretold_hits = 0.0

    @classmethod
    def sum(cls, several: Iterable["_Counts"]) -> "_Counts":
        """Return those of several points together."""
        total = cls()
        for each in several:
            total._misses += each._misses
            total._foretold_misses += each._foretold_misses
            total._foretold_hits += each._foretold_hits
        return total

    @property
    def num_frames(self) -> float:
        """How many there were."""
        return self._foretold_misses + self._foretold_hits

    @property
    def share(self) -> float:
        """How far their chances were borne out."""
        excess = self._misses - self._foretold_misses - SIGMAS * sqrt(self._misses + 1)
        return 1 - max(0.0, excess) / (PRIOR_WEIGHT + self._foretold_hits)

    def add(self, *, on_time: float, by_edge: bool) -> None:
        self._misses += not by_edge
        self._foretold_misses += 1 - on_time
        self._foretold_hits += on_time

    def forget(self, memory: float) -> None:
        kept = 1 - 1 / memory
        self._misses *= kept
        self._foretold_misses *= kept
        self._foretold_hits *= kept
