"""Clients as processes of their own train over sockets: bytes and speed with and without module.

Without it all maps of the split cross, as plain split learning sends them; with it only as many
as the schedule begins with. Both are trained over loopback and over a link of a given rate that all
clients share. The first epoch warms up; the last is counted.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headgate.export.bench.bench_options import as_asked
from headgate.export.bench.bench_table import BenchResult, Goal
from headgate.export.bench.split_training.deprune_network_report import write_network_report
from headgate.export.bench.split_training.deprune_runs import find_runs
from headgate.export.bench.split_training.plot_deprune_network import Bars
from headgate.export.children import LOOPBACK, POLL_S, child, free_port, last_words, wait_for_port
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
COLUMNS = (
    "link",
    "module",
    "maps",
    "bytes / picture",
    "times fewer",
    "pictures / s",
    "times faster",
)


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


@dataclass(slots=True)
class _Process:
    """One side of a run, and where it writes what it says."""

    who: str
    log: Path
    child: subprocess.Popen[bytes] | None = None

    def ended_with(self) -> int | None:
        assert self.child is not None
        return self.child.poll()

    def failure(self, name: str) -> PeerError:
        return PeerError(
            f"headgate train deprune ({name}): {self.who} ended with {self.ended_with()} "
            f"({last_words(self.log)}); see {self.log}"
        )


def bench_deprune_network(options: NetworkOptions, *, say: Callable[[str], None]) -> BenchResult:
    """Train each way over each link, compare bytes and pictures per second, write a report."""
    num_maps = prepare(options.config, options.settings).blueprint.num_maps
    few = options.settings.phases[0].budget
    links = (LOOPBACK_LINK, f"{options.rate_mbps:g} Mbit/s")
    measured: dict[_Way, DepruneEpoch] = {}
    for link in links:
        for module, budget in (("without", num_maps), ("with", few)):
            way = _Way(link, module, budget)
            say(f"{link}, {module} the module: {budget} maps")
            measured[way] = _train(options, way)
    compared = [
        _bars(link, *(epoch for way, epoch in measured.items() if way.link == link))
        for link in links
    ]
    result = _result(options, measured, compared)
    path = write_network_report(
        as_asked(result), compared, options.folder.parent, maps=(num_maps, few)
    )
    say(f"report: {path}")
    return result


def _bars(link: str, without: DepruneEpoch, with_module: DepruneEpoch) -> Bars:
    both = (without, with_module)
    return Bars(
        link,
        bytes_per_picture=(_bytes_per_picture(without), _bytes_per_picture(with_module)),
        pictures_per_s=(both[0].pictures_per_s, both[1].pictures_per_s),
    )


def _result(
    options: NetworkOptions, measured: dict[_Way, DepruneEpoch], compared: Sequence[Bars]
) -> BenchResult:
    rows, goals = [], []
    plain = {bars.link: bars for bars in compared}
    for way, epoch in measured.items():
        bars = plain[way.link]
        times_fewer = bars.bytes_per_picture[0] / _bytes_per_picture(epoch)
        rows.append(
            (
                way.link,
                way.module,
                str(way.budget),
                f"{_bytes_per_picture(epoch):.0f}",
                f"{times_fewer:.2f}",
                f"{epoch.pictures_per_s:.1f}",
                f"{epoch.pictures_per_s / bars.pictures_per_s[0]:.2f}",
            )
        )
        if way.module == "with":
            text = f"{way.link}: times fewer bytes, at least {MIN_TIMES_FEWER:g}"
            goals.append(Goal(text, times_fewer, times_fewer >= MIN_TIMES_FEWER))
    some = next(iter(measured.values()))
    notes = (
        f"{options.num_clients} clients in processes of their own, each with "
        f"{options.cpu_share:g} of a core; the server in another",
        f"the shaped link has a delay of {options.delay_ms:g} ms each way and is shared by all",
        f"the second of two epochs, of {some.num_pictures} pictures each; bytes are those of all "
        "parts of batches and gradients; the clients' halves at the epoch's end took "
        f"{some.half_bytes} more, however many pictures there are",
    )
    details = {f"{w.link} {w.module}": unparse(epoch) for w, epoch in measured.items()}
    return BenchResult(NAME, COLUMNS, tuple(rows), goals=tuple(goals), notes=notes, details=details)


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
        server = _Process("server", logs / f"{name}-server.log")
        # All start at once: clients try again until the server listens.
        server.child = held.enter_context(child(serve, log=server.log))
        if way.link != LOOPBACK_LINK:
            port = held.enter_context(_link(options, port, log=logs / f"{name}-link.log"))
        clients = []
        for number in range(1, options.num_clients + 1):
            client = [
                *command,
                "--role=client",
                f"--server=tcp://{LOOPBACK}:{port}",
                f"--share={number}/{options.num_clients}",
                f"--cpu-share={options.cpu_share}",
            ]
            clients.append(_Process(f"client {number}", logs / f"{name}-client{number}.log"))
            clients[-1].child = held.enter_context(child(client, log=clients[-1].log))
        _wait(server, clients, name=name, timeout_s=options.timeout_s)
    (run,) = find_runs([out])
    return run.epochs[-1]


def _wait(server: _Process, clients: Sequence[_Process], *, name: str, timeout_s: float) -> None:
    """Wait until the server has ended well; a client that fails would be waited for in vain."""
    give_up_s = time.monotonic() + timeout_s
    while server.ended_with() is None:
        for client in clients:
            if client.ended_with() not in (None, 0):
                raise client.failure(name)
        if time.monotonic() > give_up_s:
            raise PeerError(
                f"headgate train deprune ({name}): not done after {timeout_s:g} s "
                f"({last_words(server.log)}); see {server.log}, or give more --timeout-s"
            )
        time.sleep(POLL_S)
    if server.ended_with() != 0:
        raise server.failure(name)


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
