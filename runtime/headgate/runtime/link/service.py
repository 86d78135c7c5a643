"""One service of the uplink: how long it had some bytes, measured or only bounded."""

from dataclasses import dataclass

from headgate.runtime.link.least_delay import MIN_NOISE_S
from headgate.runtime.link.one_way import Served
from headgate.runtime.link.sent_messages import SentMessage

NOISE_TIMES = 2.0  # the usual noise: within that a service only bounds the rate
CLEAR_OF_NOISE = 3.0  # times that: service that long tells the rate and not the jitter


@dataclass(frozen=True, slots=True)
class Service:
    """What the uplink did: so many bytes in that time, and what was `foreseen` of it."""

    num_bytes: int
    service_s: float
    foreseen: tuple[tuple[float, ...], ...]
    noise_s: float
    behind: bool  # right after another message of ours
    only_bounds: bool = False  # it took no longer than that

    def then(self, other: "Service") -> "Service":
        """Return this service and the next one as one."""
        num_bytes, service_s = self.num_bytes + other.num_bytes, self.service_s + other.service_s
        return Service(num_bytes, service_s, self.foreseen, self.noise_s, self.behind)


def service_of(
    num_bytes: int, served: Served, *, start_s: float, message: SentMessage
) -> Service | None:
    """Return the service of bytes from `start_s` on, `message` last; None if it tells nothing.

    Behind another message it is what lies between the two: no delay is in it. Else it is what the
    message took beyond the least delay, and of the bytes beyond those that showed that. Where it is
    hardly larger than these, it is of all its bytes, with what the least delay likely holds of
    service (`least_delay`); unless what was measured is well clear of that it is only a bound.
    """
    noise_s = max(MIN_NOISE_S, NOISE_TIMES * served.noise_s)
    service_s = served.at_s - start_s
    if start_s > message.sent_s:
        return Service(num_bytes, service_s, message.foreseen, noise_s, behind=True)
    least = served.least
    further_bytes = num_bytes - least.num_bytes
    if further_bytes >= least.num_bytes:
        return Service(further_bytes, service_s, message.foreseen, noise_s, behind=False)
    if least.own_s is None:
        return None
    service_s, noise_s = max(service_s, noise_s) + least.own_s, noise_s + least.own_s
    measured = service_s - least.own_s > CLEAR_OF_NOISE * noise_s
    return Service(
        num_bytes, service_s, message.foreseen, noise_s, behind=False, only_bounds=not measured
    )
