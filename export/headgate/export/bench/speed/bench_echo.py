"""Answers ZeroMQ messages with a fixed number of bytes: the transport alone, to compare with.

Run as `python -m headgate.export.bench.speed.bench_echo ANSWER_BYTES PORT`; ends when its input
closes.
"""

from __future__ import annotations

import sys
import threading

import zmq


def serve(port: int, answer_bytes: int) -> None:
    """Answer every message on loopback until the process ends."""
    socket: zmq.Socket[bytes] = zmq.Context().socket(zmq.ROUTER)
    socket.bind(f"tcp://127.0.0.1:{port}")
    answer = bytes(answer_bytes)
    while True:
        identity, *_ = socket.recv_multipart()
        socket.send_multipart([identity, answer])


if __name__ == "__main__":
    answer_bytes, port = map(int, sys.argv[1:])
    threading.Thread(target=serve, args=(port, answer_bytes), daemon=True).start()
    sys.stdin.read()
