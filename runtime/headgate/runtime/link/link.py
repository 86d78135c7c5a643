"""What the link will do to the next message, judged from what it did to the last ones.

Model: T = a + S / C. A message of S bytes reaches the edge and its answer comes back after the
fixed delay `a` (both ways, without the edge's residence), plus its service time on the uplink,
which serves messages in order at the rate C. `a` is measured apart, by messages so small that
their service does not count; size divided by latency would call every small frame's link slow.

    sent                          answered
     |-- waits for those ahead --|-- service S/C --|-- a --|-- residence at the edge --|

One sample of C per answer: bits over the time from the later of (its sending, the arrival of the
message ahead) to its own arrival. What is made of the samples, and of messages that have not been
answered yet, is told in `belief`. Noise is what tiny messages take beyond the fixed delay and their
own service; without it every small frame would seem to know the rate.
"""

import math
from collections.abc import Callable

from headgate.runtime.link.belief import RateBelief
from headgate.runtime.link.forecast import Waiting
from headgate.runtime.link.least_delay import (
    MIN_NOISE_S,
    Least,
    LeastDelay,
    excess_s,
    smoothed_noise_s,
)
from headgate.runtime.link.one_way import SMALL_BYTES, OneWay, Served
from headgate.runtime.link.outlook import Outlook, Sample
from headgate.runtime.link.sent_messages import SentMessage, SentMessages
from headgate.runtime.link.service import CLEAR_OF_NOISE, Service, service_of
from headgate.runtime.link.turns import Turns
from headgate.runtime.wire.bursts import TcpWindow, pace
from headgate.runtime.wire.messages import NO_BURST, Burst

SAMPLE_S = 0.005  # services that follow one another are taken together up to so long
CLEAR_SHARE, CLEAR_GAIN = 0.3, 0.1  # fewer clear of the noise than that do not tell the rate
OVERDUE_TIMES = 3.0  # its service, and a message that waited longer is overdue


class LinkEstimator:
    """Learns from every message that has an answer. Keys are the caller's, unique while out."""

    def __init__(self, *, observe: Callable[[Sample], None] | None = None) -> None:
        """`observe` is handed every sample too."""
        self._observe = observe
        self._belief = RateBelief()
        self._delays = LeastDelay()  # there and back
        self._noise_s = MIN_NOISE_S
        self._one_way = OneWay()
        self._window = TcpWindow()
        self._turns = Turns()
        self._residence_s = 0.0  # at the edge: falls slowly from the largest seen
        self._out = SentMessages()
        self._free_s = -math.inf  # when the last message had been served, on our clock
        self._short: Service | None = None  # too short to learn from by itself
        self._clear_share = 0.5  # of the last services that were
        self._clear_s = -math.inf  # when the last sample clear of the noise was taken

    @property
    def ahead_bytes(self) -> int:
        """Bytes sent and not known to have arrived."""
        return self._out.num_bytes

    @property
    def num_outstanding(self) -> int:
        """Messages sent and not known to have arrived."""
        return len(self._out)

    @property
    def delay_s(self) -> float | None:
        """The fixed delay there and back, or None before the first answer."""
        least = self._delays.newest
        return None if least is None else least.delay_s

    @property
    def noise_s(self) -> float:
        """What a message may take beyond delay and service."""
        return max(MIN_NOISE_S, self._noise_s)

    def counted_delay_s(self, *, now_s: float) -> float:
        """Return the delay there and back by which the edge's deadlines must be early.

        More than the fixed one where the uplink is never idle: see `one_way`. 0 while unknown.
        """
        fixed_s = self.delay_s or 0.0
        return max(fixed_s, self._one_way.counted_trip_s(now_s=now_s) or 0.0)

    def waited_s(self, *, now_s: float) -> float:
        """Return for how long the first outstanding message has been in service by now.

        Its answer may be under way or at the edge: the usual time of both is not waiting.
        """
        if not self._out:
            return 0.0
        return max(0.0, now_s - self._usual_s() - self._busy_since_s())

    def overdue_s(self, *, now_s: float) -> float:
        """Return how much longer the first outstanding message waits than it should at most.

        That is three times its service at the present level.
        """
        from_s = self.overdue_from_s()
        return 0.0 if from_s is None else max(0.0, now_s - from_s)

    def overdue_from_s(self) -> float | None:
        """Return from when on the first outstanding message is overdue; None if nothing is out."""
        if not self._out:
            return None
        service_s = 8 * self._out.first.num_bytes / math.exp(self._belief.level)
        return self._busy_since_s() + self._usual_s() + OVERDUE_TIMES * service_s

    def bytes_up_to(self, key: int) -> int:
        """Return the bytes not known to have arrived, up to this message's; 0 if it has."""
        return self._out.bytes_up_to(key)

    def sent_s(self, key: int) -> float | None:
        """Return when an outstanding message was sent; None for unknown keys."""
        return self._out.sent_s(key)

    def sent(self, key: int, *, num_bytes: int, now_s: float) -> None:
        """Note a message that will be answered. Messages arrive in the order of these calls."""
        window_bytes = self._window.sent(delay_s=self.delay_s or 0.0, now_s=now_s)
        self._out.add(SentMessage(key, num_bytes, now_s, self._belief.levels, window_bytes))

    def unsent(self, key: int) -> None:
        """Take back a message that never left."""
        self._out.take_back(key)

    def forget_all(self) -> None:
        """Forget what is outstanding: the connection is gone. What was learnt stays."""
        self._out.clear()
        self._free_s = -math.inf
        self._short = None
        self._window = TcpWindow()
        self._one_way = OneWay()  # the next edge may have another clock

    def answered(
        self,
        key: int,
        *,
        residence_s: float,
        edge_s: float | None,
        now_s: float,
        burst: Burst = NO_BURST,
    ) -> float | None:
        """Learn from an answer; returns the round trip less the residence, None for unknown keys.

        `edge_s` is the arrival on the edge's own clock (None if the answer does not say), `burst`
        how the message's slices came in. Messages sent before this one have arrived too, whether
        or not they have been answered.
        """
        message = self._out.answered(key)
        if message is None:
            return None
        residence_s = min(residence_s, now_s - message.sent_s)  # whatever its edge says
        trip_s = now_s - message.sent_s - residence_s
        usual_s = self._residence_s + 0.05 * (residence_s - self._residence_s)
        self._residence_s = max(residence_s, usual_s)
        if self._observe is not None:
            delay_s = trip_s if self.delay_s is None else min(trip_s, self.delay_s)
            self._observe(Sample(message.num_bytes, message.sent_s, now_s, residence_s, delay_s))
        if message.arrived:  # a later one was answered first and told all there was to tell
            return trip_s
        alone = self._out.first is message and message.sent_s >= self._free_s
        self._learn_delay(trip_s, message, alone=alone, now_s=now_s)
        start_s = self._busy_since_s()
        num_bytes = self._out.arrived_up_to(message)
        served = self._served(message, edge_s, alone=alone, back_s=now_s - residence_s)
        self._free_s = max(self._free_s, served.at_s)
        self._turns.served(num_bytes, sent_s=message.sent_s, at_s=served.at_s)
        self._window.answered(message.num_bytes)
        inside = pace(
            burst,
            sent_bytes=message.num_bytes,
            window_bytes=message.window_bytes,
            delay_s=self.delay_s or 0.0,
        )
        if inside is not None and inside.held_up:  # by its sender: says nothing of the link
            return trip_s
        if alone:
            self._observe_alone(message, served, now_s=now_s)
        service = service_of(num_bytes, served, start_s=start_s, message=message)
        if service is not None:
            self._observe_service(service, now_s=now_s)
        return trip_s

    def _observe_alone(self, message: SentMessage, served: Served, *, now_s: float) -> None:
        """Learn from all the time of a message that waited for no other of ours.

        The service of the message that showed the least delay is in that, and belongs to the time;
        while it is unknown only what is well above it tells something.
        """
        least = served.least
        if least.own_s is not None or message.num_bytes >= 2 * least.num_bytes:
            self._belief.alone(
                num_bytes=message.num_bytes,
                time_s=served.at_s - message.sent_s + (least.own_s or 0.0),
                foreseen=message.foreseen,
                now_s=now_s,
            )

    def _observe_service(self, service: Service, *, now_s: float) -> None:
        """Learn from a service, together with those right before it if they were short.

        The service of one small message says more of who else sent in between than of the link.
        """
        if service.only_bounds:
            self._belief.bounded(
                num_bits=8.0 * service.num_bytes,
                within_s=service.service_s,
                foreseen=service.foreseen,
                now_s=now_s,
            )
            self._note_clear(False, now_s=now_s)
            return
        before = self._short
        if before is not None and service.behind:
            service = before.then(service)
        elif before is not None:
            self._learn_rate(before, now_s=now_s)
        self._short = None
        if self._out and service.service_s < SAMPLE_S:
            self._short = service
        else:
            self._learn_rate(service, now_s=now_s)

    def _learn_rate(self, service: Service, *, now_s: float) -> None:
        self._belief.observe(
            num_bits=8.0 * service.num_bytes,
            service_s=service.service_s,
            foreseen=service.foreseen,
            noise_s=service.noise_s,
            behind=service.behind,
            now_s=now_s,
        )
        self._note_clear(service.service_s >= CLEAR_OF_NOISE * service.noise_s, now_s=now_s)

    def _note_clear(self, clear: bool, *, now_s: float) -> None:
        """Take note whether a service was clear of the noise; one in many that are not is noise."""
        self._clear_share += CLEAR_GAIN * (clear - self._clear_share)
        if clear and self._clear_share >= CLEAR_SHARE:
            self._clear_s = now_s

    def outlook(self, *, now_s: float) -> Outlook:
        """Return what to expect of a message sent at `now_s`."""
        waiting = None
        waited_s = self.waited_s(now_s=now_s)
        if waited_s > 0:
            waiting = Waiting(8.0 * self._out.first.num_bytes, waited_s)
        return Outlook(
            now_s=now_s,
            delay_s=self._path_s(),
            forecast=self._belief.forecast(now_s=now_s, waiting=waiting),
            timing=self._belief.timing(now_s=now_s, waiting=waiting),
            ahead_bytes=self._out.num_bytes,
            busy_since_s=self._busy_since_s() if self._out else now_s,
            age_s=now_s - self._clear_s,
            noise_s=self.noise_s,
            turn_bytes=self._turns.num_bytes,
        )

    def _path_s(self) -> float:
        """Return the fixed delay without the service of the message that showed it.

        That is in the service of every message as well: on slow links it would be counted twice,
        and frames that just fit would never be sent. As it is assumed and not measured, the less
        of what it was believed to be then and of what it is by the rate now.
        """
        least = self._delays.newest
        if least is None:
            return 0.0
        own_s = min(least.own_s or 0.0, 8 * least.num_bytes / math.exp(self._belief.level))
        return max(0.0, least.delay_s - own_s)

    def _usual_s(self) -> float:
        """Return what an answer takes beyond the message's service."""
        return (self.delay_s or 0.0) + self._residence_s + self._noise_s

    def _busy_since_s(self) -> float:
        return max(self._out.first.sent_s, self._free_s)

    def _learn_delay(
        self, trip_s: float, message: SentMessage, *, alone: bool, now_s: float
    ) -> None:
        small = alone and message.num_bytes <= SMALL_BYTES
        least, own_s = self._delays.newest, self._own_s(message)
        if small and least is not None:
            late_s = excess_s(trip_s, own_s=own_s, least=least)
            self._noise_s = smoothed_noise_s(self._noise_s, excess_s=late_s)
        if small or least is None or trip_s < least.delay_s:
            seen = Least(now_s, trip_s, message.num_bytes, own_s)
            self._delays.add(seen, noise_s=self.noise_s)

    def _own_s(self, message: SentMessage) -> float | None:
        """Return how long the uplink likely had a message; None before the rate was measured."""
        if not self._belief.measured:
            return None
        return 8 * message.num_bytes / math.exp(self._belief.level)

    def _served(
        self, message: SentMessage, edge_s: float | None, *, alone: bool, back_s: float
    ) -> Served:
        """Return when the uplink was through with a message; `back_s` is without the residence.

        By the edge's clock where the answer names it, as the way back may jitter, but never later
        than the delay there and back allows: a clock may have stood still.
        """
        least = self._delays.newest
        assert least is not None
        latest = Served(back_s - least.delay_s, least, self._noise_s)
        if edge_s is None:
            return latest
        served = self._one_way.answered(
            sent_s=message.sent_s,
            edge_s=edge_s,
            back_s=back_s,
            num_bytes=message.num_bytes,
            alone=alone,
            own_s=self._own_s(message),
        )
        return latest if served is None or served.at_s > latest.at_s else served
