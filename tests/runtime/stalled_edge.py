"""An edge that listens and never takes a message: what ZeroMQ queues for it fills up.

Run as a program, `stalled_edge.py FAMILY`; prints the endpoint. ZeroMQ's own bugs end a process.
"""

import sys
import threading
from pathlib import Path

from headgate.profiles.family import open_family
from headgate.runtime.edge.edge import EdgeServer
from headgate.runtime.networks.edge_engine import EdgeEngine


def main(path: str) -> None:
    family = open_family(Path(path))
    digest = family.manifest.digest
    engine = EdgeEngine(family, max_batch=4)
    server = EdgeServer({digest: engine}, {digest: family.manifest}, bind="tcp://127.0.0.1:*")
    print(server.endpoint, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
