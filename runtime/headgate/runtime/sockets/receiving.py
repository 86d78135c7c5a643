"""Takes one message from the edge's socket, and says who sent it where that is asked."""

from collections.abc import Container

import zmq

from headgate.runtime.sockets.keys import Socket

NO_ADDRESS = "this machine"  # of ipc; over TCP of who speaks as ZeroMQ did long ago
MAX_PARTS = 64  # more parts than any message of ours: the rest of such a message is dropped


def receive_parts(router: Socket, known: Container[bytes] = ()) -> tuple[list[bytes], str | None]:
    """Return one waiting message, cut after MAX_PARTS parts; raises zmq.Again if none waits.

    Beside it its sender, None if its identity is known already: the public key as Z85 text where
    keys are asked for, else the address. Only then is the dearer way to receive taken.
    """
    parts = [router.recv(zmq.NOBLOCK)]
    sender = None
    if parts[0] not in known and router.getsockopt(zmq.RCVMORE):
        frame = router.recv(zmq.NOBLOCK, copy=False)
        parts.append(frame.bytes)
        sender = _sender(frame)
    while router.getsockopt(zmq.RCVMORE):
        part = router.recv(zmq.NOBLOCK)
        if len(parts) <= MAX_PARTS:
            parts.append(part)
    return parts, sender


def _sender(frame: zmq.Frame) -> str:
    """Return what ZeroMQ knows of the connection that a message came by."""
    for key in ("User-Id", "Peer-Address"):
        try:
            text = frame.get(key)
        except zmq.ZMQError:  # no such property: no keys, or no TCP
            continue
        if text:
            return str(text)
    return NO_ADDRESS
