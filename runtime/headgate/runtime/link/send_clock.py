"""When a device sent something, on the edge's clock, up to the least delay of its uplink.

The two clocks have nothing in common, but they run at one speed: what a message's arrival lies
behind its stamp is their offset and the message's time on the uplink. The least of these
differences belongs to a message that hardly waited,

    m = min (arrival - stamp),        so       stamp + m  <=  arrival

and `stamp + m` is when a message would have come had it not queued. A deadline counted from there
is exact however long its own message was on the way. The least is that of the last five to ten
seconds, so that a new route counts soon; in that time two quartz clocks drift apart by 1 ms at the
worst, which is nothing here. Stamps begin anew every 71 minutes; two that follow one another within
half of that are told apart.
"""

from math import inf

from headgate.runtime.wire.messages import STAMP_MODULUS_US

BUCKET_S = 5.0  # the least of this one and of the one before counts


class SendClock:
    """The stamps of one device. `now_s` is the edge's clock and never falls."""

    def __init__(self) -> None:
        self._stamp_us = 0  # the last one, counted on beyond the modulus
        self._begun_s = -inf  # the present bucket
        self._least_s = self._least_before_s = inf

    def heard(self, stamp_us: int, *, now_s: float) -> float:
        """Take the stamp of a message that comes now; return when it would have come unhindered."""
        half_us = STAMP_MODULUS_US // 2
        step_us = (stamp_us - self._stamp_us + half_us) % STAMP_MODULUS_US - half_us
        self._stamp_us += step_us
        self._turn(now_s=now_s)
        stamp_s = self._stamp_us / 1e6
        self._least_s = min(self._least_s, now_s - stamp_s)
        return min(now_s, stamp_s + min(self._least_s, self._least_before_s))

    def _turn(self, *, now_s: float) -> None:
        """Begin a new bucket when it is time; after a long silence both are empty."""
        age_s = now_s - self._begun_s
        if age_s < BUCKET_S:
            return
        self._least_before_s = self._least_s if age_s < 2 * BUCKET_S else inf
        self._least_s = inf
        self._begun_s = now_s
