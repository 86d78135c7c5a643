"""Runs real edges and devices for tests: in threads, or as processes of their own."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from headgate.profiles.family import Family
from headgate.profiles.profile import Profile
from headgate.runtime.device.device import Device, DeviceSettings
from headgate.runtime.device.playback import Playback
from headgate.runtime.device.sources import open_source
from headgate.runtime.edge.edge import EdgeServer
from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.records import FrameRecord
from headgate.runtime.session.events import Answer
from headgate.runtime.sockets.keys import DeviceKeys, EdgeKeys

PATIENCE_S = 30.0  # for what takes milliseconds; reached only when something is broken
NO_EDGE = "tcp://127.0.0.1:9"  # nobody listens on the discard port
SLA_S = 2.0  # generous: tests ask who answers, not how fast


def headgate(*arguments: str, **environment: str) -> list[str]:
    """Return the command line of this very interpreter's headgate."""
    return [sys.executable, "-m", "headgate.runtime.cli", *arguments]


@contextlib.contextmanager
def edge_thread(
    family: Family,
    *,
    bind: str = "tcp://127.0.0.1:*",
    keys: EdgeKeys | None = None,
    limits: EdgeLimits | None = None,
) -> Iterator[EdgeServer]:
    """Serve `family` from a thread of this process."""
    digest = family.manifest.digest
    engines, manifests = {digest: EdgeEngine(family, max_batch=4)}, {digest: family.manifest}
    server = EdgeServer(engines, manifests, bind=bind, keys=keys, limits=limits)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@contextlib.contextmanager
def edge_process(family: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve `family` from a process of its own; yield it and the endpoint it printed."""
    process = subprocess.Popen(
        headgate("edge", str(family), *(arguments or ("--bind", "tcp://127.0.0.1:*"))),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        ready = json.loads(process.stderr.readline())
        assert ready["event"] == "listening"
        yield process, ready["endpoint"]
    finally:
        process.kill()
        process.communicate()


class RunningDevice:
    """A device in a thread, and every record it delivered so far."""

    def __init__(
        self,
        family: Family,
        source: str,
        *,
        edge: str,
        playback: Playback | None = None,
        keys: DeviceKeys | None = None,
        profile: Profile | None = None,
        control: str | None = None,
        until: Callable[[list[FrameRecord]], bool] = lambda records: False,
    ) -> None:
        self.records: list[FrameRecord] = []
        self.failure: BaseException | None = None
        self._until = until
        self._changed = threading.Condition()
        self.device = Device(
            family.manifest,
            DeviceEngine(family),
            open_source(source),
            DeviceSettings(
                edge=edge,
                profile=profile or Profile("test"),
                sla_s=SLA_S,
                playback=playback or Playback(),
                keys=keys,
                control=control,
            ),
            deliver=self._deliver,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "RunningDevice":
        return self

    def __exit__(self, *error: object) -> None:
        self.device.stop()
        self.join()

    def wait_for(self, claim: Callable[[list[FrameRecord]], bool]) -> None:
        """Wait until `claim` holds for the records so far, of which there is at least one."""
        with self._changed:
            held = self._changed.wait_for(
                lambda: bool(self.records) and claim(self.records), PATIENCE_S
            )
            assert held, self.records[-3:]

    def join(self) -> list[FrameRecord]:
        """Wait for the end of the run and return its records."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.records

    def _deliver(self, record: FrameRecord, answer: Answer | None) -> None:
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()
        if self._until(self.records):
            self.device.stop()

    def _run(self) -> None:
        try:
            self.device.run()
        except BaseException as failure:
            self.failure = failure
