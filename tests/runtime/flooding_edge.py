"""An edge that welcomes one device, then acknowledges what was never sent, as fast as it can.

Run as a program, `flooding_edge.py ENDPOINT DIGEST`: a thread of the device's own process would
share the interpreter with its victim.
"""

import sys

import zmq

from headgate.runtime.sockets.keys import Context
from headgate.runtime.wire.messages import Ack, Welcome
from headgate.runtime.wire.wire import encode


def main(endpoint: str, digest: str) -> None:
    context: Context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(endpoint)
    peer = router.recv_multipart()[0]
    welcome = Welcome(3, digest, max_payload_bytes=1 << 20, max_in_flight=8)
    router.send_multipart([peer, *encode(welcome)])
    while True:  # what the queue has no room for is dropped
        router.send_multipart([peer, *encode(Ack(frame_id=1, layers=1, arrived_us=5))])


if __name__ == "__main__":
    main(*sys.argv[1:])
