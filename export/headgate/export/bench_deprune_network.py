"""Clients as processes of their own train over sockets: bytes and speed with and without module.

Without it all maps of the split cross, as plain split learning sends them; with it only as many
as the schedule begins with. Both are trained over loopback and over a link of a given rate that all
clients share. The first epoch warms up; the last is counted.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headgate.export.bench_table import BenchResult, Goal
from headgate.export.children import LOOPBACK, child, free_port, last_words, wait_for_port
from headgate.export.deprune_runs import find_runs
from headgate.profiles.errors import PeerError
from headgate.profiles.parse import unparse
from headgate.train.recipe import PruneConfig
from headgate.train.split_training.deprune import prepare
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.settings import DepruneSettings, Phase

NAME = "deprune network"
EPOCHS = 2
MIN_TIMES_FEWER = 25.0  # the paper: 25 to 30
LOOPBACK_LINK = "loopback"


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """Who trains what over which link."""

    trained: Sequence[str]  # options of `train deprune`, but its schedule
    config: PruneConfig
    settings: DepruneSettings
    num_clients: int
    cpu_share: float
    rate_mbps: float
    delay_ms: float
    timeout_s: float
    folder: Path


@dataclass(frozen=True, slots=True)
class _Way:
    """One run: which link, and how many maps cross."""

    link: str
    module: str
    budget: int


def bench_deprune_network(options: NetworkOptions, *, say: Callable[[str], None]) -> BenchResult:
    """Train each way over each link, and compare bytes and pictures per second."""
    num_maps = prepare(options.config, options.settings).blueprint.num_maps
    few = options.settings.phases[0].budget
    shaped = f"{options.rate_mbps:g} Mbit/s"
    ways = [
        _Way(link, module, budget)
        for link in (LOOPBACK_LINK, shaped)
        for module, budget in (("without", num_maps), ("with", few))
    ]
    measured: dict[_Way, DepruneEpoch] = {}
    for way in ways:
        say(f"{way.link}, {way.module} the module: {way.budget} maps")
        measured[way] = _train(options, way)
    rows, goals = [], []
    for way, epoch in measured.items():
        without = measured[replace(way, module="without", budget=num_maps)]
        times_fewer = _bytes_per_picture(without) / _bytes_per_picture(epoch)
        rows.append(
            (
                way.link,
                way.module,
                str(way.budget),
                f"{_bytes_per_picture(epoch):.0f}",
                f"{times_fewer:.2f}",
                f"{epoch.pictures_per_s:.1f}",
                f"{epoch.pictures_per_s / without.pictures_per_s:.2f}",
            )
        )
        if way.budget != num_maps:
            text = f"{way.link}: times fewer bytes, at least {MIN_TIMES_FEWER:g}"
            goals.append(Goal(text, times_fewer, times_fewer >= MIN_TIMES_FEWER))
    columns = (
        "link",
        "module",
        "maps",
        "bytes / picture",
        "times fewer",
        "pictures / s",
        "times faster",
    )
    notes = (
        f"{options.num_clients} clients in processes of their own, each with "
        f"{options.cpu_share:g} of a core; the server in another",
        f"the shaped link has a delay of {options.delay_ms:g} ms each way and is shared by all",
        "bytes are those of all parts of batches and gradients; the clients' halves at the epoch's "
        f"end took {measured[ways[1]].half_bytes} more, however many pictures there are",
    )
    details = {f"{w.link} {w.module}": unparse(epoch) for w, epoch in measured.items()}
    return BenchResult(NAME, columns, tuple(rows), goals=tuple(goals), notes=notes, details=details)


def _train(options: NetworkOptions, way: _Way) -> DepruneEpoch:
    """Train one way to its end, and return its last epoch."""
    name = f"{way.module}-{way.link.partition(' ')[0].replace('.', '-')}"
    out = options.folder / name
    logs = options.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    port = free_port()
    trained = [*options.trained, f"--schedule={Phase(way.budget, EPOCHS)}"]
    command = ["train", "deprune", *trained]
    serve = [
        *command,
        "--role=server",
        f"--bind=tcp://{LOOPBACK}:{port}",
        f"--clients={options.num_clients}",
        f"--out={out}",
        "--force",
        "--no-checkpoint",
        "--json",
    ]
    with contextlib.ExitStack() as held:
        server_log = logs / f"{name}-server.log"
        server = held.enter_context(child(serve, log=server_log))
        wait_for_port(port, process=server, log=server_log)
        if way.link != LOOPBACK_LINK:
            port = held.enter_context(_link(options, port, log=logs / f"{name}-link.log"))
        for number in range(1, options.num_clients + 1):
            client = [
                *command,
                "--role=client",
                f"--server=tcp://{LOOPBACK}:{port}",
                f"--share={number}/{options.num_clients}",
                f"--cpu-share={options.cpu_share}",
            ]
            held.enter_context(child(client, log=logs / f"{name}-client{number}.log"))
        try:
            rc = server.wait(options.timeout_s)
        except subprocess.TimeoutExpired:
            rc = None
        if rc != 0:
            raise PeerError(
                f"headgate train deprune ({name}): ended with {rc} ({last_words(server_log)}); "
                f"see {logs}"
            )
    (run,) = find_runs([out])
    return run.epochs[-1]


@contextlib.contextmanager
def _link(options: NetworkOptions, to_port: int, *, log: Path) -> Iterator[int]:
    """Put a link of the same rate both ways before the server; yield where it listens."""
    port = free_port()
    arguments = [
        "link",
        f"steady:{options.rate_mbps:g}",
        f"--down=steady:{options.rate_mbps:g}",
        f"--listen=tcp://{LOOPBACK}:{port}",
        f"--to=tcp://{LOOPBACK}:{to_port}",
        f"--delay-ms={options.delay_ms:g}",
    ]
    with child(arguments, log=log) as process:
        wait_for_port(port, process=process, log=log)
        yield port


def _bytes_per_picture(epoch: DepruneEpoch) -> float:
    return (epoch.bytes_up + epoch.bytes_down - epoch.half_bytes) / epoch.num_pictures
