"""Whether this machine lets us have a link of packets."""

import select
import socket

import pytest

from headgate.profiles.errors import UsageError
from headgate.runtime.emulator.packet_link import exchanged, free_addresses
from headgate.runtime.emulator.tun import Tun

PATIENCE_S = 2.0


def carries_packets() -> bool:
    """Return whether a TUN device can be made here and its packets pass both ways.

    Needs Linux, the right to set up networks, and no firewall that drops them.
    """
    listen, to = free_addresses()
    try:
        tun = Tun(to[0], peer=listen[0])
    except UsageError:
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE_S)
            sock.bind((to[0], 0))
            sock.sendto(b"ping", (listen[0], sock.getsockname()[1]))
            while select.select([tun], [], [], PATIENCE_S)[0]:
                packet = tun.read()
                if packet is not None and packet.endswith(b"ping"):
                    tun.write(exchanged(packet))
                    return sock.recv(16) == b"ping"
            return False
    except OSError:  # a timeout is one too
        return False
    finally:
        tun.close()


needs_packets = pytest.mark.skipif(
    not carries_packets(), reason="no TUN device carries packets here: be root on Linux"
)
