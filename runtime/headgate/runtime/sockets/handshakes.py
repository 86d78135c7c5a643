"""What a connection or handshake that failed means to its operator, in one sentence.

ZeroMQ tells apart a key that is not listed, and keys on one side only; of the latter the slower
side just sees the connection end. So does a device that has another edge's key, that meets an edge
that hangs, or a relay whose edge is down.
"""

import socket

import zmq

FAILED_HANDSHAKES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

NO_ANSWER = "nobody answers there; is the edge up, and is that its address?"


def silence_complaint(endpoint: str) -> str:
    """Return what to tell of an edge that does not answer. Looking up its name may take seconds."""
    host = endpoint.partition("://")[2].rpartition(":")[0].strip("[]")
    if not endpoint.startswith("tcp://"):
        return NO_ANSWER
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as reason:
        said = getattr(reason, "strerror", None) or "it is no name"
        return (
            f"the name {host} has no address ({said}); is it spelt right, and does this machine "
            "know it? Its numeric address works without"
        )
    return NO_ANSWER


def device_complaint(kind: int, value: int, *, has_keys: bool) -> str:
    """Return what to tell of an edge; `kind` and `value` are those of the monitor's event."""
    if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return (
            f"refused our key (status {value}); add this device's .key file to the edge's "
            "devices folder"
        )
    if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        if has_keys:
            return "it has no keys and we have; start it with --keys"
        return "it asks for keys and we have none; pass --keys"
    if has_keys:
        return (
            "no handshake before the connection ended; is the edge up, started with --keys, and "
            "edge.key the key of that edge?"
        )
    return (
        "no handshake before the connection ended; is that an edge's address, is it up, or does it "
        "ask for keys?"
    )


def edge_complaint(kind: int, value: int, *, has_keys: bool, refused_key: str | None = None) -> str:
    """Return what to tell of a peer that was not let in, because of `refused_key` if known."""
    if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        key = "its key" if refused_key is None else f"its public key {refused_key}"
        return f"refused a device: {key} is not in the devices folder; add its .key file there"
    if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        if has_keys:
            return "refused a peer: it has no keys; start the device with --keys"
        return "refused a peer: it has keys and we have none; start this edge with --keys"
    if kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and has_keys:
        return "refused a peer: its handshake failed; does it have our edge.key?"
    strangers = "no device, one with other keys," if has_keys else "no device, one with keys,"
    return f"a connection ended before its handshake did: {strangers} or one that lost patience"
