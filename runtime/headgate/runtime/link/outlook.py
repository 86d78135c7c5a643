"""What the link tells the rest of the device: what to expect of it, and single samples."""

import math
from dataclasses import dataclass, replace

from headgate.runtime.link.forecast import Forecast

PROBE_TAKES_S = 0.05  # of the link's time, at most
# The times of the usual noise that a probe takes by the level which is to tell if that is too low:
# services within twice the noise are not measured, so it shows up to four times the rate.
PROBE_NOISE_TIMES = 8.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """The link's near future, as a distribution; valid for the moment it was asked for."""

    now_s: float
    delay_s: float
    forecast: Forecast  # of the rate
    ahead_bytes: int  # outstanding: sent, not known to have arrived
    busy_since_s: float  # when the first of them began to be served; now_s if there are none
    age_s: float  # of the last sample clear of the noise: others may hide a faster link
    noise_s: float = 0.0  # what a message may take beyond delay and service
    timing: Forecast | None = None  # by which to tell when a message is through; None: `forecast`
    turn_bytes: float = 0.0  # that come through together, where messages wait for their turns
    unsent_bytes: float = 0.0  # of ours that leave before what is asked about, but have not yet

    @property
    def rate_bps(self) -> float:
        """The middling rate."""
        return self.forecast.rate_bps

    @property
    def message_floor_bytes(self) -> float:
        """Bytes that a message takes the time of beside its own; 0 but on links of packets."""
        return 0.0 if self.timing is None else self.timing.floor_bytes

    def counted_bytes(self, num_bytes: float) -> float:
        """Return how many bytes hold up the link as long, at its rate, as a message of so many.

        Where messages wait for their turns, those that still fit into the turn of what is ahead
        hold up nobody.
        """
        if self.timing is None:
            return num_bytes
        floor_bytes = self.timing.floor_bytes
        fitting_bytes = max(0.0, self.turn_bytes - self.ahead_bytes)
        num_bytes = max(0.0, num_bytes - fitting_bytes)
        return min(num_bytes, (num_bytes + floor_bytes) * self.rate_bps / self.timing.rate_bps)

    def behind(self, num_bytes: float) -> "Outlook":
        """Return the outlook for what goes after so many bytes that have not left yet."""
        return replace(self, unsent_bytes=num_bytes)

    def probe_bytes(self, num_bytes: float) -> float:
        """Return what a probe may carry that would best have so many: less on a slow link.

        Frames wait behind it. By the level, and not by what a wait rules out: that is no reason to
        ask with less. Where messages wait for a turn, however small, a smaller one would only look
        slower.
        """
        if self.timing is not None:
            return num_bytes
        return min(num_bytes, self._bytes_in(PROBE_TAKES_S))

    def clear_bytes(self) -> float:
        """Return with how many bytes a probe tells more than the noise, or the most it may have."""
        return self._bytes_in(min(PROBE_TAKES_S, PROBE_NOISE_TIMES * self.noise_s))

    def _bytes_in(self, seconds: float) -> float:
        return math.exp(self.forecast.level) / 8 * seconds

    def on_time(self, num_bytes: float, *, by_s: float, leaving_s: float | None = None) -> float:
        """Return the probability that an answer to `num_bytes` is back at `by_s`.

        They are sent at `leaving_s` (default: now); until then what is ahead drains, but for
        what has not been sent itself. The edge's
        residence is not part of it: take it from `by_s`.
        """
        by_s -= self.delay_s
        alone_s = by_s - (self.now_s if leaving_s is None else leaving_s)
        if alone_s <= 0:
            return 0.0
        busy_s = by_s - self.busy_since_s
        timing = self.timing or self.forecast
        num_bytes += timing.floor_bytes + self.unsent_bytes
        needed_bps = 8 * max(num_bytes / alone_s, (self.ahead_bytes + num_bytes) / busy_s)
        return timing.at_least(math.log(needed_bps))

    def drained(self, num_bytes: float, *, by_s: float) -> float:
        """Return the probability that the first `num_bytes` of those ahead are answered at `by_s`.

        The edge's residence is not part of it: take it from `by_s`.
        """
        busy_s = by_s - self.delay_s - self.busy_since_s
        return 0.0 if busy_s <= 0 else self.forecast.at_least(math.log(8 * num_bytes / busy_s))


@dataclass(frozen=True, slots=True)
class Sample:
    """One answered message as its sender sees it; what every estimator can be made from."""

    num_bytes: int  # with the overhead of the message
    sent_s: float
    answered_s: float
    residence_s: float  # at the edge
    delay_s: float  # the fixed delay there and back, as known by now
