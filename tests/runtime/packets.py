"""Whether this machine lets us have a link of packets."""

import pytest

from headgate.profiles.errors import UsageError
from headgate.runtime.emulator.packet_link import free_addresses
from headgate.runtime.emulator.tun import Tun


def may_make_devices() -> bool:
    """Return whether a TUN device can be made; needs Linux and the right to set up networks."""
    listen, to = free_addresses()
    try:
        Tun(to[0], peer=listen[0]).close()
    except UsageError:
        return False
    return True


needs_packets = pytest.mark.skipif(
    not may_make_devices(), reason="no TUN device may be made here: be root on Linux"
)
