"""Both sides in one process: the same sessions and halves, joined by a queue.

Messages do not become bytes unless `through_wire` asks for it: what crosses stays on its device,
in the precision it crosses in, and its bytes are those that the message would have (a test compares
the two). With entropy coding each is encoded, since its size depends on what is in it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import torch

from headgate.profiles.errors import TrainingError
from headgate.profiles.train_messages import Header
from headgate.train.split_training.client import SplitClient
from headgate.train.split_training.payload import Payload
from headgate.train.split_training.server import SplitServer
from headgate.train.split_training.wire_parcels import carry


def train_locally(
    server: SplitServer,
    clients: Sequence[SplitClient],
    *,
    device: torch.device,
    compress: bool,
    through_wire: bool = False,
) -> None:
    """Train until all is done; clients take turns, one batch each."""
    queue: deque[tuple[int, Header, tuple[Payload, ...]]] = deque()
    for index, client in enumerate(clients):
        queue.extend((index, *message) for message in client.connected(now_s=time.monotonic()))
    while queue:
        index, header, parts = queue.popleft()
        num_bytes, parts = carry(
            header, parts, device=device, compress=compress, through_wire=through_wire
        )
        out = server.received(
            _peer(index), header, parts, num_bytes=num_bytes, now_s=time.monotonic()
        )
        for each in out:
            num_bytes, parts = carry(
                each.header, each.parts, device=device, compress=compress, through_wire=through_wire
            )
            if each.name is not None:
                server.tally.sent(each.name, each.header.kind, num_bytes)
            to = int(each.peer)
            client = clients[to]
            replies = client.received(each.header, parts, now_s=time.monotonic())
            while client.works_alone:
                replies += client.handle_timer(now_s=time.monotonic())
            queue.extend((to, *message) for message in replies)
            failure = client.failure
            if failure is not None:
                raise failure
    if not server.is_finished:
        raise TrainingError("no client is left to train; give them more pictures")


def _peer(index: int) -> bytes:
    return str(index).encode()
