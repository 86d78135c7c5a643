"""A link between two sockets of this machine that carries TCP's packets: around two `PacketQueue`s.

Unlike the relay it has no connections of its own. The kernel's TCP runs from the device to the edge
through it, and meets what it would meet on a radio link: drops, losses, its own retransmissions and
congestion window, and headers that cost bytes.

Both ends are on one machine, which would not send a packet out that is for itself. So a TUN device
has one address, the edge's, and leads to another, which is nobody's: the device connects to that.
Every packet that is sent there comes to us, and goes back in with its two addresses exchanged. The
edge sees a peer at the other address, and its answers take the same way. TCP's checksum and IP's
are sums in which both addresses stand, so they still hold.

    device, at the edge's address --> listen [ uplink   queue ] --> to, the edge's address --> edge
                                         <-- [ downlink queue ] <--
"""

from __future__ import annotations

import ipaddress
import itertools
import logging
import os
import random
import selectors
import socket
import struct
import time
from collections.abc import Callable

from headgate.profiles.errors import UsageError
from headgate.profiles.trace import Trace
from headgate.runtime.emulator.link_thread import Address, LinkPlan, LinkThread, endpoint_of
from headgate.runtime.emulator.packet_queue import PacketQueue
from headgate.runtime.emulator.tun import Tun, device_with

log = logging.getLogger(__name__)

# Of the addresses that are set aside for measuring networks (RFC 2544); no network has them.
DEFAULT_LISTEN: Address = ("198.18.0.2", 7700)
DEFAULT_TO: Address = ("198.18.0.1", 7700)
MOST_READ = 64  # packets at a time: what is due must not wait for long
_IPV4, _PROTOCOL_AT, _SOURCE, _DESTINATION = 4, 9, slice(12, 16), slice(16, 20)
_PORTS = struct.Struct(">HH")

_numbers = itertools.count(os.getpid())  # of networks in 198.18.0.0/16, modulo 256


class PacketLink(LinkThread):
    """Run a link of packets in a thread: `with PacketLink(...) as link: connect to its endpoint`.

    The edge binds to `to`, which exists from the constructor on.
    """

    def __init__(
        self, *, listen: Address, to: Address, plan: LinkPlan, loss: float = 0.0, seed: int = 0
    ) -> None:
        """`loss` is the probability with which a packet is lost, either way.

        Raises UsageError for addresses that are not two IPv4 ones with one port, and where no
        device can be made.
        """
        _check(listen, to)
        self._tun = Tun(to[0], peer=listen[0])
        super().__init__(plan, to=to, name="headgate-packets")
        self.address = listen
        self._near = socket.inet_aton(listen[0])
        self._selector.register(self._tun, selectors.EVENT_READ)
        chance = random.Random(seed)
        loses = (lambda: chance.random() < loss) if loss else None
        self.uplink = self._queue(plan.uplink, loses)
        self.downlink = self._queue(plan.downlink, loses)

    # Everything below runs in the link's thread.

    def _turn(self) -> bool:
        now_s = self._trace_s()
        if self._has_ended(now_s):
            log.info("link ended duration_s=%.3f", now_s)
            return False
        for queue in (self.uplink, self.downlink):
            for packet in queue.pop_due(now_s=now_s):
                self._tun.write(exchanged(packet))
        timers_s = [self.uplink.next_timer_s(), self.downlink.next_timer_s()]
        ready = self._selector.select(self._wait_s(timers_s))
        if any(key.fileobj is self._tun for key, _ in ready):
            self._read()
        return True

    def _read(self) -> None:
        for _ in range(MOST_READ):
            packet = self._tun.read()
            if packet is None:
                return
            goes_up = self._goes_up(packet)
            if goes_up is None:
                continue
            if self._started_s is None:
                self._started_s = time.monotonic()
            queue = self.uplink if goes_up else self.downlink
            queue.push(packet, now_s=self._trace_s())

    def _goes_up(self, packet: bytes) -> bool | None:
        """Return whether a packet is for the edge, or from it; None for what is none of ours."""
        ports = tcp_ports(packet)
        if ports is None or packet[_DESTINATION] != self._near:
            return None
        source, destination = ports
        if destination == self._to[1]:
            return True
        return False if source == self._to[1] else None

    def _queue(self, trace: Trace | None, loses: Callable[[], bool] | None) -> PacketQueue:
        plan = self._plan
        return PacketQueue(
            trace,
            delay_s=plan.delay_s,
            stalls=plan.stalls,
            cuts=plan.cuts,
            queue_bytes=plan.queue_bytes,
            loses=loses,
        )

    def _close(self) -> None:
        self._selector.unregister(self._tun)
        self._tun.close()
        for name, queue in (("up", self.uplink), ("down", self.downlink)):
            counts = queue.counts
            log.info(
                "packets way=%s sent=%d arrived=%d dropped=%d lost=%d",
                *(name, counts.pushed, counts.delivered, counts.overflowed, counts.lost),
            )


def free_addresses() -> tuple[Address, Address]:
    """Return an address to listen at and one for the edge, which no link of this machine has yet.

    Each call gives others, as sockets of an ended link may linger at its own. Processes that ask
    at the same time get different ones, but for one in 256.
    """
    for number in itertools.islice(_numbers, 256):
        network = f"198.18.{number % 256}"
        if device_with(f"{network}.1") is None:
            return (f"{network}.2", DEFAULT_TO[1]), (f"{network}.1", DEFAULT_TO[1])
    raise UsageError("198.18.0.0/16: 256 links of packets have its addresses; stop some of them")


def tcp_ports(packet: bytes) -> tuple[int, int] | None:
    """Return the source and destination port of a TCP segment over IPv4; None for other packets."""
    if len(packet) < 20 or packet[0] >> 4 != _IPV4 or packet[_PROTOCOL_AT] != socket.IPPROTO_TCP:
        return None
    ports_at = 4 * (packet[0] & 0x0F)
    if len(packet) < ports_at + _PORTS.size:
        return None
    source, destination = _PORTS.unpack_from(packet, ports_at)
    return source, destination


def exchanged(packet: bytes) -> bytes:
    """Return an IPv4 packet with its source and destination exchanged; its checksums hold."""
    return packet[:12] + packet[_DESTINATION] + packet[_SOURCE] + packet[20:]


def _check(listen: Address, to: Address) -> None:
    try:
        addresses = [ipaddress.IPv4Address(place[0]) for place in (listen, to)]
        good = not any(each.is_loopback or each.is_unspecified for each in addresses)
    except ValueError:
        good = False
    if not good or listen[0] == to[0] or listen[1] != to[1]:
        raise UsageError(
            f"--listen {endpoint_of(listen)} --to {endpoint_of(to)}: a link of packets needs two "
            "different IPv4 addresses that nobody has, not loopback, and one port for both, as in "
            f"--listen {endpoint_of(DEFAULT_LISTEN)} --to {endpoint_of(DEFAULT_TO)}"
        )
