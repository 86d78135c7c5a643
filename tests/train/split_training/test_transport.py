"""Claims about the sockets of split training, on loopback: bytes, keys, lost connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from headgate.profiles.errors import PeerError, TrainingError, UsageError
from headgate.profiles.trace_files import open_trace
from headgate.runtime.emulator.link_thread import LinkPlan
from headgate.runtime.emulator.relay import Relay
from headgate.runtime.emulator.shaper import Window
from headgate.runtime.sockets.keys import make_set
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.split_training.client import SplitClient
from headgate.train.split_training.deprune import deprune_locally
from headgate.train.split_training.exchange import serve, train_as_client
from headgate.train.split_training.growth import bottleneck_of
from headgate.train.split_training.transport import (
    ClientSocket,
    Ready,
    Security,
    ServerSocket,
)
from train.split_training.small import (
    CPU,
    NUM_STEPS,
    Table,
    small_client,
    small_plan,
    small_server,
    small_settings,
    two_clients,
)
from train.split_training.storms import KilledError
from train.tiny_runs import tiny_config

LOOPBACK = "tcp://127.0.0.1:*"


@contextmanager
def in_background(work: Callable[[], None]) -> Iterator[list[BaseException]]:
    """Run on a thread that has ended when the block is left; yield what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # the test looks at it
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        thread.join(timeout=60)
        assert not thread.is_alive()


def counted_bytes(run: Run) -> list[tuple[int, int]]:
    """Return the bytes of each epoch, up and down."""
    lines = [json.loads(line) for line in (run.path / "epochs.jsonl").open()]
    return [(line["bytes_up"], line["bytes_down"]) for line in lines]


class ReadsLate(ClientSocket):
    """Looks at what has come only when its connection has ended, or has not ended for a while."""

    def wait(self, timeout_s: float | None) -> Ready:
        ready = super().wait(timeout_s)
        if ready.message:
            self._monitor.poll(200)
            return super().wait(0.0)
        return ready


def train_on(
    endpoint: str,
    client: SplitClient,
    *,
    compress: bool = False,
    security: Security | None = None,
    cpu_share: float = 1.0,
    socket_type: type[ClientSocket] = ClientSocket,
) -> None:
    socket = socket_type(endpoint, security or Security())
    try:
        train_as_client(
            client, socket, device=CPU, compress=compress, endpoint=endpoint, cpu_share=cpu_share
        )
    finally:
        socket.close()


@pytest.mark.parametrize("changes", [{}, {"feature_bits": 8, "gradient_bits": 8, "compress": True}])
def test_over_sockets_weights_and_counted_bytes_are_those_of_one_process(
    pictures: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = small_settings(**changes)
    plan = small_plan(pictures, settings)
    client = small_client(plan, settings, "client1")
    socket = ServerSocket(LOOPBACK, Security())
    with small_server(plan, settings, tmp_path / "far") as server:
        work = lambda: train_on(socket.endpoint, client, compress=settings.compress)  # noqa: E731
        with in_background(work) as raised:
            serve(server, socket, device=CPU, compress=settings.compress)
        socket.close()
    assert raised == []
    near = deprune_locally(tiny_config(pictures, rate_weight=0.0), settings, tmp_path / "near")
    far = load_run(tmp_path / "far")
    assert far.record.members[0].sha256 == near.record.members[0].sha256
    counted = [
        [
            (e["bytes_up"], e["bytes_down"])
            for e in map(json.loads, (r.path / "epochs.jsonl").open())
        ]
        for r in (far, near)
    ]
    assert counted[0] == counted[1]


def test_a_finished_server_that_was_killed_tells_its_clients_when_it_starts_anew(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    folder = tmp_path / "state"
    with suppress(KilledError), small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings, folder=folder))
        table.run(num_messages=1 + NUM_STEPS)
        table.run(num_messages=1, lose_answers=True)
        assert server.is_finished
        raise KilledError
    client = small_client(plan, settings, folder=folder, resume=True)
    socket = ServerSocket(LOOPBACK, Security())
    with small_server(plan, settings, tmp_path / "run", resume=True) as server:
        with in_background(lambda: train_on(socket.endpoint, client)) as raised:
            serve(server, socket, device=CPU, compress=False)
        socket.close()
    assert raised == []
    assert client.is_done
    assert load_run(tmp_path / "run").member_ids == ("b2r1",)


def test_two_clients_train_one_server_half(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:2", client_sync="fedavg")
    plan = small_plan(pictures, settings)
    ann, bo = two_clients(plan, settings)
    socket = ServerSocket(LOOPBACK, Security())
    with (
        small_server(plan, settings, tmp_path / "run", num_clients=2) as server,
        in_background(lambda: train_on(socket.endpoint, ann)) as first,
        in_background(lambda: train_on(socket.endpoint, bo, cpu_share=0.5)) as second,
    ):
        serve(server, socket, device=CPU, compress=False)
        socket.close()
    assert first + second == []
    assert ann.is_done
    assert bo.is_done


def test_a_link_that_is_cut_loses_and_doubles_nothing(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    client = small_client(plan, settings, "client1")
    socket = ServerSocket(LOOPBACK, Security())
    port = int(socket.endpoint.rpartition(":")[2])
    cut = LinkPlan(
        uplink=open_trace("steady:2"),
        downlink=None,
        delay_s=0.0,
        stalls=(),
        cuts=(Window(0.05, 0.001), Window(0.15, 0.001)),
        loop=True,
        queue_bytes=65536,
    )
    with (
        small_server(plan, settings, tmp_path / "far") as server,
        Relay(listen=("127.0.0.1", 0), to=("127.0.0.1", port), plan=cut) as relay,
        in_background(lambda: train_on(relay.endpoint, client)) as raised,
    ):
        serve(server, socket, device=CPU, compress=False)
        socket.close()
    assert raised == []
    near = deprune_locally(tiny_config(pictures, rate_weight=0.0), settings, tmp_path / "near")
    assert load_run(tmp_path / "far").record.members[0].sha256 == near.record.members[0].sha256


def test_with_keys_a_known_client_trains(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    edge, device = make_set(tmp_path / "keys", device="ann")
    client = small_client(plan, settings)
    socket = ServerSocket(LOOPBACK, Security(edge))
    with (
        small_server(plan, settings, tmp_path / "run") as server,
        in_background(
            lambda: train_on(socket.endpoint, client, security=Security(device))
        ) as raised,
    ):
        serve(server, socket, device=CPU, compress=False)
        socket.close()
    assert raised == []


def test_a_client_whose_key_is_refused_ends_at_once_and_says_what_to_do(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    edge, device = make_set(tmp_path / "keys", device="ann")
    (edge / "devices" / "ann.key").unlink()
    server = ServerSocket(LOOPBACK, Security(edge))
    socket = ClientSocket(server.endpoint, Security(device))
    client = small_client(plan, settings)
    try:
        with pytest.raises(
            PeerError, match=r"refused our key; put our \.key file into its devices"
        ):
            train_as_client(client, socket, device=CPU, compress=False, give_up_s=30)
    finally:
        socket.close()
        server.close()


def test_a_client_without_keys_is_not_let_in_and_gives_up(pictures: Path, tmp_path: Path) -> None:
    """ZeroMQ tells one side what was wrong, the one that is quicker; the other sees just an end."""
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    edge, _ = make_set(tmp_path / "keys", device="ann")
    server = ServerSocket(LOOPBACK, Security(edge))
    socket = ClientSocket(server.endpoint, Security())
    client = small_client(plan, settings)
    try:
        why = r"either only one side has keys|no connection for 2 s"
        with pytest.raises(PeerError, match=why) as refused:
            train_as_client(client, socket, device=CPU, compress=False, give_up_s=2)
    finally:
        socket.close()
        server.close()
    assert refused.value.exit_code == 5


@pytest.mark.parametrize("timeout_s", [float("inf"), 1e300])
def test_one_may_wait_for_ever(timeout_s: float) -> None:
    """ZeroMQ takes no such number; --give-up-s and --client-timeout-s do."""
    server = ServerSocket(LOOPBACK, Security())
    client = ClientSocket(server.endpoint, Security())
    try:
        assert client.wait(timeout_s).connection
        client.send([b"x"])
        message = server.receive(timeout_s)
        assert message is not None
        assert message[1] == [b"x"]
    finally:
        client.close()
        server.close()


@pytest.mark.parametrize("side", [ServerSocket, ClientSocket])
def test_beyond_loopback_keys_are_needed(side: Callable[[str, Security], object]) -> None:
    with pytest.raises(UsageError, match="is not loopback and there are no keys"):
        side("tcp://192.0.2.7:7710", Security())


@pytest.mark.parametrize("socket_type", [ClientSocket, ReadsLate])
def test_a_server_that_stops_for_a_bad_number_tells_its_clients(
    pictures: Path, tmp_path: Path, socket_type: type[ClientSocket]
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    client = small_client(plan, settings)
    with torch.no_grad():
        bottleneck_of(client.half.model).f_hat[:] = float("nan")
    socket = ServerSocket(LOOPBACK, Security())
    with (
        small_server(plan, settings, tmp_path / "run") as server,
        in_background(lambda: train_on(socket.endpoint, client, socket_type=socket_type)) as raised,
    ):
        with pytest.raises(TrainingError, match="not a finite number"):
            serve(server, socket, device=CPU, compress=False)
        socket.close()
    (error,) = raised
    assert isinstance(error, TrainingError)
    assert "the server stopped" in str(error)


def test_a_peer_that_talks_garbage_is_told_and_the_others_go_on(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    client = small_client(plan, settings)
    socket = ServerSocket(LOOPBACK, Security())
    stranger = ClientSocket(socket.endpoint, Security())
    stranger.wait(5.0)
    stranger.send([b"what?", b"hello"])

    def both() -> None:
        train_on(socket.endpoint, client)

    with (
        small_server(plan, settings, tmp_path / "run") as server,
        in_background(both) as raised,
    ):
        serve(server, socket, device=CPU, compress=False)
        stranger.wait(5.0)
        answer = stranger.receive()
        stranger.close()
        socket.close()
    assert raised == []
    assert answer is not None
    assert b"begins with" in answer[1] or b"a header of 5 bytes" in answer[1]
