import contextlib
import json
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from click.testing import CliRunner

from headgate.profiles.errors import PeerError, ProfileError, UsageError
from headgate.profiles.family import Family
from headgate.profiles.manifest import PointKind
from headgate.profiles.profile import Profile, load_profile
from headgate.runtime.cli import main
from headgate.runtime.device import control
from headgate.runtime.device.playback import Playback
from headgate.runtime.sockets import keys
from runtime.running import RunningDevice

NO_EDGE = "tcp://127.0.0.1:9"  # nobody listens on the discard port


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this test a folder of control sockets of its own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / f"headgate-{os.getuid()}"


@pytest.fixture
def running(own_folder: Path, tiny_family: Family, tiny_set: Path) -> Iterator[RunningDevice]:
    with RunningDevice(
        tiny_family,
        f"npz:{tiny_set}",
        edge=NO_EDGE,
        profile=load_profile("balanced"),
        playback=Playback(fps=100, loop=True),
    ) as device:
        yield device


@contextlib.contextmanager
def listening(folder: Path, pid: int) -> Iterator[None]:
    """Listen at the control address of a process."""
    with socket.socket(socket.AF_UNIX) as device:
        device.bind(str(folder / f"device-{pid}.ipc"))
        device.listen()
        yield


def left_behind(folder: Path, pid: int) -> None:
    """Leave the address of a device behind that was killed."""
    with listening(folder, pid):
        pass


def test_a_switch_is_acknowledged_with_the_frame_it_took_effect_at(running: RunningDevice) -> None:
    running.wait_for(lambda records: len(records) >= 3)
    before = control.ask_device(running.device.control_address)
    assert before.profile.name == "balanced"
    after = control.ask_device(running.device.control_address, profile=load_profile("low-latency"))
    assert after.profile.name == "low-latency"
    running.wait_for(lambda records: records[-1].frame_id >= after.from_frame + 3)
    for record in running.records:
        expected = "low-latency" if record.frame_id >= after.from_frame else "balanced"
        assert record.profile == expected


def test_a_profile_of_the_operators_own_travels_whole(running: RunningDevice) -> None:
    mine = Profile("mine", kinds=(PointKind.LOCAL,), points=("local-exit",), sla_ms=75.0)
    state = control.ask_device(running.device.control_address, profile=mine)
    assert state.profile == mine
    assert state.points == ("local-exit",)
    running.wait_for(lambda records: records[-1].profile == "mine")
    assert running.records[-1].point == "local-exit"


def test_a_profile_the_family_cannot_serve_is_refused_and_changes_nothing(
    running: RunningDevice,
) -> None:
    with pytest.raises(ProfileError, match="'b9r9-l2' matches no point of the family"):
        control.ask_device(
            running.device.control_address, profile=Profile("odd", points=("b9r9-l2",))
        )
    assert control.ask_device(running.device.control_address).profile.name == "balanced"


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"{", b"[]", b'"show"', b'{"command": "stop"}', b'{"command": "set"}', b'{"x": 1}',
     b'{"command": "set", "profile": {"name": 3}}', b"[" * 50_000,
     b'{"command": "set", "profile": {"name": "x", "sla_ms": ' + 400 * b"1" + b"}}",
     b'{"command": "set", "profile": {"name": "\\ud800"}}',
     b'{"command": "set", "profile": {"name": "a\\u001b[2J"}}',
     b'{"command": "set", "profile": {"name": "' + 101 * b"x" + b'"}}'],
)  # fmt: skip
def test_a_request_that_is_none_gets_an_error_and_the_device_lives_on(
    running: RunningDevice, request_bytes: bytes
) -> None:
    context = zmq.Context()
    with context, context.socket(zmq.REQ) as asker:
        asker.linger = 0
        asker.connect(running.device.control_address)
        asker.send(request_bytes)
        assert asker.poll(10_000)
        assert set(json.loads(asker.recv())) == {"error"}
    assert control.ask_device(running.device.control_address).profile.name == "balanced"


def test_the_command_finds_the_device_and_switches_it(running: RunningDevice) -> None:
    shown = CliRunner().invoke(main, ["profile", "show", "--json"])
    assert json.loads(shown.stdout)["profile"]["name"] == "balanced"
    switched = CliRunner().invoke(main, ["profile", "set", "low-bandwidth"])
    assert switched.exit_code == 0, switched.output
    assert switched.stdout.startswith("profile low-bandwidth from frame ")
    back = CliRunner().invoke(main, ["profile", "set", "auto"])
    assert back.stdout.startswith("profile balanced from frame ")


def test_points_are_folded_at_the_width_of_the_terminal_between_ids(
    running: RunningDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    shown = CliRunner().invoke(main, ["profile", "show"]).stdout
    lines = shown.partition("points ")[2].splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 30 for line in lines)
    ids = "".join(lines).replace(" ", "").split(",")
    assert tuple(ids) == control.ask_device(running.device.control_address).points


def test_the_control_address_is_private_and_gone_after_the_run(
    running: RunningDevice, own_folder: Path
) -> None:
    path = Path(running.device.control_address.removeprefix("ipc://"))
    assert stat.S_IMODE(own_folder.stat().st_mode) == 0o700
    assert path.exists()
    running.device.stop()
    running.join()
    assert not path.exists()


def test_no_device_is_exit_code_5(own_folder: Path) -> None:
    result = CliRunner().invoke(main, ["profile", "show"])
    assert result.exit_code == 5
    assert "no running device found on this machine" in result.stderr


def test_a_device_that_does_not_answer_is_a_peer_error() -> None:
    with pytest.raises(PeerError, match=r"no device answered within 0\.05 s; check"):
        control.ask_device(NO_EDGE, timeout_s=0.05)
    with pytest.raises(PeerError, match=r"if it is only busy it may switch later"):
        control.ask_device(NO_EDGE, profile=Profile("p"), timeout_s=0.05)


def test_a_profile_that_no_device_would_take_is_not_sent() -> None:
    # Each letter of these takes six in JSON: within every bound, and too long for one request.
    wide = Profile(name="mine", points=tuple(f"{index:03}{97 * chr(233)}" for index in range(200)))
    with pytest.raises(ProfileError, match="bytes long, a device takes at most 65536"):
        control.ask_device("tcp://127.0.0.1:9", profile=wide, timeout_s=0.05)


def test_an_address_left_by_a_killed_device_is_not_found(own_folder: Path) -> None:
    own_folder.mkdir(mode=0o700)
    left_behind(own_folder, os.getpid())  # the number of a program that runs, and is no device
    with pytest.raises(PeerError, match="no running device"):
        control.find_device()
    with listening(own_folder, 1):
        assert control.find_device() == f"ipc://{own_folder}/device-1.ipc"


def test_several_devices_have_to_be_told_apart(own_folder: Path) -> None:
    own_folder.mkdir(mode=0o700)
    with (
        listening(own_folder, 1),
        listening(own_folder, 2),
        pytest.raises(UsageError, match="several devices run here, choose one of ipc://"),
    ):
        control.find_device()


def test_a_folder_others_can_enter_is_not_used(own_folder: Path) -> None:
    own_folder.mkdir()
    own_folder.chmod(0o755)
    with pytest.raises(UsageError, match="is not a folder of this user alone"):
        control.default_address()
    with (
        listening(own_folder, 1),
        pytest.raises(UsageError, match="alone; remove it or pass --device"),
    ):
        control.find_device()


def test_a_link_or_a_file_in_the_place_of_the_folder_is_not_used(
    own_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    own_folder.symlink_to(tmp_path / "mine")
    for ask in (control.default_address, control.find_device):
        with pytest.raises(UsageError, match="is not a folder of this user alone"):
            ask()
    own_folder.unlink()
    own_folder.write_text("")
    for ask in (control.default_address, control.find_device):
        with pytest.raises(UsageError, match="is not a folder of this user alone"):
            ask()


def test_a_machine_without_a_temporary_folder_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])
    for ask in (control.default_address, control.find_device):
        with pytest.raises(UsageError, match="no folder can hold a control socket"):
            ask()


def test_a_folder_that_another_user_made_is_not_used(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_folder.mkdir(mode=0o700)
    own_folder.rename(own_folder.with_name(f"headgate-{os.getuid() + 1}"))
    uid = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: uid)  # no test may give a folder away
    for ask in (control.default_address, control.find_device):
        with pytest.raises(UsageError, match="is not a folder of this user alone"):
            ask()


def test_profile_list_names_the_presets_without_a_device(own_folder: Path) -> None:
    result = CliRunner().invoke(main, ["profile", "list"])
    assert result.exit_code == 0
    for name in ("balanced", "max-accuracy", "low-bandwidth", "low-latency"):
        assert name in result.stdout


def test_over_tcp_only_who_holds_the_keys_is_answered(tmp_path: Path) -> None:
    _, mine = keys.make_set(tmp_path / "a", device="cam1")
    _, foreign = keys.make_set(tmp_path / "b", device="cam1")
    own = keys.load_device_keys(mine)
    context: keys.Context = zmq.Context()
    authenticator = keys.Authenticator(context, mine)
    server = control.ControlServer(context, "tcp://127.0.0.1:*", own=own.own)
    state = control.State(Profile("p"), 0, 0, ("x",), False, "digest")

    def serve_once() -> None:
        if server.socket.poll(20_000):
            server.answer(show=lambda: state, switch=lambda profile: state)

    thread = threading.Thread(target=serve_once)
    thread.start()
    try:
        other = keys.load_device_keys(foreign)
        knows_us = keys.DeviceKeys(other.own, edge_public=own.edge_public)
        for stranger in (None, other, knows_us):
            with pytest.raises(PeerError, match="no device answered"):
                control.ask_device(server.address, keys=stranger, timeout_s=0.2)
        assert control.ask_device(server.address, keys=own, timeout_s=20) == state
    finally:
        thread.join()
        server.close()
        authenticator.close()
        context.term()


def test_an_address_that_another_device_listens_at_stays_its_own(
    running: RunningDevice, tiny_family: Family, tiny_set: Path
) -> None:
    address = running.device.control_address
    with pytest.raises(UsageError, match="another program listens there already; stop it or"):
        RunningDevice(tiny_family, f"npz:{tiny_set}", edge=NO_EDGE, control=address)
    assert control.ask_device(address).profile.name == "balanced"


def test_what_a_peer_that_is_gone_sent_without_an_envelope_costs_nobody_an_answer(
    tmp_path: Path,
) -> None:
    context: keys.Context = zmq.Context()
    server = control.ControlServer(context, f"ipc://{tmp_path}/device.ipc")
    monitor = server.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    state = control.State(Profile("p"), 0, 0, ("x",), False, "digest")
    stranger: keys.Socket = context.socket(zmq.DEALER)
    asker: keys.Socket = context.socket(zmq.REQ)
    try:
        stranger.connect(server.address)
        stranger.send(b"no envelope of a request")
        stranger.close(1000)
        assert monitor.poll(20_000)  # it is gone; what it sent waits
        server.answer(show=lambda: state, switch=lambda profile: state)
        asker.connect(server.address)
        asker.send(b'{"command": "show"}')
        assert server.socket.poll(20_000)
        server.answer(show=lambda: state, switch=lambda profile: state)
        assert asker.poll(20_000)
        assert json.loads(asker.recv())["next_frame"] == 0
    finally:
        server.socket.disable_monitor()
        monitor.close(0)
        asker.close(0)
        server.close()
        context.term()


def test_a_peer_that_is_no_asker_does_not_stop_the_device(
    tiny_family: Family, tiny_set: Path
) -> None:
    address = "tcp://127.0.0.1:*"
    with RunningDevice(
        tiny_family,
        f"npz:{tiny_set}",
        edge=NO_EDGE,
        control=address,
        playback=Playback(fps=100, loop=True),
    ) as running:
        context: keys.Context = zmq.Context()
        stranger: keys.Socket = context.socket(zmq.DEALER)
        stranger.connect(running.device.control_address)
        for _ in range(3):
            stranger.send(b"no envelope of a request")
        assert control.ask_device(running.device.control_address).profile.name == "test"
        seen = len(running.records)
        running.wait_for(lambda records: len(records) > seen + 20)
        context.destroy(0)
