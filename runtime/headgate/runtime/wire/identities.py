"""How a device names its connections, so that an edge knows which of them are of one device.

The name is the ROUTER identity of the connection: the device's own, random part, and a number. A
later connection of the same device replaces the earlier ones.
"""

NAME_BYTES = 16  # of a device; its connections are numbered in one byte more
_MARK = b"d"  # an identity must not begin with a zero, and those that ROUTER gives out do


def device_identity(name: bytes, number: int) -> bytes:
    """Return the identity of a device's connection; `name` is random and its own."""
    assert len(name) == NAME_BYTES
    return _MARK + name + bytes([number % 256])


def device_name(identity: bytes) -> bytes | None:
    """Return what the connections of a device have in common; None if a peer is not named so."""
    named = len(identity) == len(_MARK) + NAME_BYTES + 1 and identity.startswith(_MARK)
    return identity[:-1] if named else None
