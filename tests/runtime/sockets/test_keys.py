import resource
import socket
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.runtime.cli import main
from headgate.runtime.device.playback import Playback
from headgate.runtime.records import Source
from headgate.runtime.sockets import keys
from runtime.running import RunningDevice, edge_thread


def test_a_set_of_keys_trusts_each_other_and_secrets_are_private(tmp_path: Path) -> None:
    edge, device = keys.make_set(tmp_path, device="cam1")
    edge_keys, device_keys = keys.load_edge_keys(edge), keys.load_device_keys(device)
    assert device_keys.edge_public == edge_keys.own.public
    assert [path.name for path in edge_keys.devices.iterdir()] == ["cam1.key"]
    for secret in (edge / "edge.key_secret", device / "device.key_secret"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert b"secret" not in (device / "device.key").read_bytes()


def test_a_second_device_joins_the_same_edge(tmp_path: Path) -> None:
    edge, first = keys.make_set(tmp_path, device="cam1")
    again, second = keys.make_set(tmp_path, device="cam2")
    assert again == edge
    assert keys.load_device_keys(second).edge_public == keys.load_device_keys(first).edge_public
    assert {path.stem for path in (edge / "devices").iterdir()} == {"cam1", "cam2"}


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    keys.make_set(tmp_path, device="cam1")
    with pytest.raises(UsageError, match="has keys already; choose another --name"):
        keys.make_set(tmp_path, device="cam1")
    with pytest.raises(UsageError, match="is there already"):
        keys.write_pair(tmp_path / "edge", "edge")


@pytest.mark.parametrize(
    "missing", [("edge/devices/cam1.key", "cam1/edge.key"), ("cam1/edge.key",)]
)
def test_a_set_that_a_kill_left_half_made_is_completed_with_the_same_secrets(
    missing: tuple[str, ...], tmp_path: Path
) -> None:
    edge, device = keys.make_set(tmp_path, device="cam1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.key*")}
    for name in missing:
        (tmp_path / name).unlink()
    assert keys.make_set(tmp_path, device="cam1") == (edge, device)
    pair = keys.load_device_keys(device)
    assert pair.edge_public == keys.load_edge_keys(edge).own.public
    for path in before:
        if path.suffix == ".key_secret":
            assert path.read_bytes() == before[path]


def test_a_full_disk_names_the_public_key_that_it_has_no_room_for(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            keys.write_public(tmp_path, "edge", b"0" * 32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(tmp_path / "edge.key")


def test_a_full_disk_leaves_no_part_of_a_key(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(UsageError, match=r"cannot write keys .* choose another folder"):
            keys.write_pair(tmp_path, "edge")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    keys.write_pair(tmp_path, "edge")


def test_a_file_in_the_way_of_the_keys_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"/file: cannot write keys .* choose another folder"):
        keys.write_pair(tmp_path / "file", "edge")


def test_neither_side_is_made_in_the_folder_of_the_other(tmp_path: Path) -> None:
    """An edge's `edge.key` would replace the one that the device trusts."""
    edge, device = keys.make_set(tmp_path, device="cam1")
    trusted = (device / "edge.key").read_bytes()
    for folder, role, said in (
        (device, "edge", "is a device's keys folder; choose another for the edge"),
        (edge, "device", "is an edge's keys folder; choose another for the device"),
    ):
        made = CliRunner().invoke(main, ["keygen", str(folder), "--role", role])
        assert made.exit_code == 2
        assert said in made.stderr
    assert (device / "edge.key").read_bytes() == trusted


@pytest.mark.parametrize("name", ["edge", "", "../up", "a/b", "-x"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        keys.make_set(tmp_path, device=name)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    _, device = keys.make_set(tmp_path, device="cam1")
    (device / "device.key_secret").chmod(0o644)
    with pytest.raises(UsageError, match=r"others may read it \(mode 644, expected 600\)"):
        keys.load_device_keys(device)


def test_missing_and_broken_key_files_are_named(tmp_path: Path) -> None:
    edge, device = keys.make_set(tmp_path, device="cam1")
    with pytest.raises(UsageError, match=r"edge.key_secret: no such key file; make keys"):
        keys.load_edge_keys(tmp_path / "nothing")
    (device / "edge.key").write_text("nonsense")
    with pytest.raises(UsageError, match=r"edge.key: is not a key file"):
        keys.load_device_keys(device)
    (device / "edge.key").unlink()
    with pytest.raises(UsageError, match=r"edge.key: no such key file; copy it"):
        keys.load_device_keys(device)
    (edge / "devices" / "cam1.key").write_text('curve\n    public-key = "short"\n')
    with pytest.raises(UsageError, match="has 5 characters, expected 40"):
        keys.load_edge_keys(edge)


def test_a_folder_beside_the_right_one_is_told_from_it(tmp_path: Path) -> None:
    edge, device = keys.make_set(tmp_path, device="cam1")
    with pytest.raises(UsageError, match=r"this is the folder of a device, give that of an edge"):
        keys.load_edge_keys(device)
    with pytest.raises(UsageError, match=r"this is the folder of an edge, give that of a device"):
        keys.load_device_keys(edge)
    with pytest.raises(UsageError, match=rf"give the folder of one side, {edge}$"):
        keys.load_edge_keys(tmp_path)
    with pytest.raises(UsageError, match=rf"give the folder of one side, {device}$"):
        keys.load_device_keys(tmp_path)


def test_a_public_key_that_is_no_z85_or_of_another_pair_is_refused(tmp_path: Path) -> None:
    _, device = keys.make_set(tmp_path, device="cam1")
    _, other = keys.make_set(tmp_path / "other", device="cam1")
    edge_key = device / "edge.key"
    text = edge_key.read_text()
    at = text.index('"') + 1
    edge_key.write_text(text[:at] + "~~~~~" + text[at + 5 :])
    with pytest.raises(UsageError, match=r"edge.key: is not a key file"):
        keys.load_device_keys(device)
    edge_key.write_text(text)
    public = keys.load_device_keys(device).own.public.decode()
    foreign = keys.load_device_keys(other).own.public.decode()
    secret = device / "device.key_secret"
    secret.write_text(secret.read_text().replace(public, foreign))
    with pytest.raises(UsageError, match=r"its public key is not that of its secret key"):
        keys.load_device_keys(device)


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("tcp://127.0.0.1:7700", True),
        ("tcp://127.9.9.9:7700", True),
        ("tcp://[::1]:7700", True),
        ("ipc:///tmp/x", True),
        ("tcp://0.0.0.0:7700", False),
        ("tcp://*:7700", False),
        ("tcp://192.0.2.1:7700", False),
        ("tcp://[2001:db8::1]:7700", False),
    ],
)
def test_only_loopback_and_ipc_are_local(endpoint: str, local: bool) -> None:
    assert keys.is_local(endpoint) is local


def test_a_host_name_counts_by_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"near": ["127.0.0.1"], "both": ["127.0.0.1", "192.0.2.1"], "far": ["192.0.2.1"]}

    def resolve(host: str, port: object) -> list[tuple[object, ...]]:
        if host not in found:
            raise socket.gaierror("unknown")
        return [(0, 0, 0, "", (address, 0)) for address in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert keys.is_local("tcp://near:1")
    assert not keys.is_local("tcp://both:1")
    assert not keys.is_local("tcp://far:1")
    assert not keys.is_local("tcp://eth0:1")


def test_beyond_loopback_needs_keys_or_insecure() -> None:
    far = "tcp://192.0.2.1:7700"
    with pytest.raises(UsageError, match=r"not loopback and there are no keys.*--insecure"):
        keys.check_exposure(far, option="--edge", has_keys=False, insecure=False)
    keys.check_exposure(far, option="--edge", has_keys=True, insecure=False)
    keys.check_exposure(far, option="--edge", has_keys=False, insecure=True)
    keys.check_exposure("tcp://127.0.0.1:1", option="--edge", has_keys=False, insecure=False)


@pytest.mark.parametrize(
    "endpoint",
    ["7700", "udp://x:1", "tcp://host", "tcp://:1", "tcp://h:99999", f"tcp://h:{5000 * '1'}"],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError, match=r"is not tcp://HOST:PORT or ipc://PATH"):
        keys.check_endpoint(endpoint, option="--edge")


def test_a_device_on_the_list_is_answered_by_the_edge(
    tiny_family: Family, tiny_set: Path, tmp_path: Path
) -> None:
    edge, device = keys.make_set(tmp_path, device="cam1")
    with (
        edge_thread(tiny_family, keys=keys.load_edge_keys(edge)) as server,
        RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=server.endpoint,
            keys=keys.load_device_keys(device),
            playback=Playback(fps=200, loop=True),
        ) as running,
    ):
        running.wait_for(lambda records: sum(r.source is Source.EDGE for r in records) >= 5)
    assert running.failure is None


def refused(
    family: Family,
    pictures: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    edge: keys.EdgeKeys | None,
    device: keys.DeviceKeys | None,
) -> str:
    """Run a device until it has logged why it was not let in; return what it logged."""
    caplog.set_level("INFO")
    with (
        edge_thread(family, keys=edge) as server,
        RunningDevice(
            family,
            f"npz:{pictures}",
            edge=server.endpoint,
            keys=device,
            playback=Playback(fps=200, loop=True),
            until=lambda records: (
                "staying on local" in caplog.text
                and ("refused a" in caplog.text or "before its handshake did" in caplog.text)
            ),
        ) as running,
    ):
        records = running.join()
    passed_over = ("stopped", "superseded")  # by a newer picture, on a busy machine
    assert {r.source for r in records if r.reason not in passed_over} <= {Source.LOCAL}
    assert running.failure is None
    assert ": disconnected" not in caplog.text  # it never was connected
    return caplog.text


def test_an_unknown_key_is_refused_and_the_device_says_what_to_do(
    tiny_family: Family, tiny_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edge, device = keys.make_set(tmp_path, device="cam1")
    (edge / "devices" / "cam1.key").unlink()
    own = keys.load_device_keys(device)
    text = refused(tiny_family, tiny_set, caplog, edge=keys.load_edge_keys(edge), device=own)
    assert "refused our key" in text
    key = own.own.public.decode()
    assert f"refused a device: its public key {key} is not in the devices folder" in text
    assert "add this device's .key file to the edge's devices folder" in text


def test_a_device_is_admitted_as_soon_as_the_edge_that_runs_is_given_its_key(
    tiny_family: Family, tiny_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edge, _ = keys.make_set(tmp_path, device="cam1")
    caplog.set_level("INFO")
    late = tmp_path / "cam2"
    keys.write_pair(late, keys.DEVICE_NAME)
    own = keys.load_edge_keys(edge)
    keys.write_public(late, keys.EDGE_NAME, own.own.public)
    device = keys.load_device_keys(late)
    with (
        edge_thread(tiny_family, keys=own) as server,
        RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=server.endpoint,
            keys=device,
            playback=Playback(fps=200, loop=True),
        ) as running,
    ):
        running.wait_for(lambda _: "refused our key" in caplog.text)
        keys.write_public(own.devices, "cam2", device.own.public)
        running.wait_for(lambda records: sum(r.source is Source.EDGE for r in records) >= 5)
    assert running.failure is None
    assert "cam2: connected, family" in caplog.text  # what its key file is called
    assert "cam1" not in caplog.text


def test_a_device_without_keys_is_told_that_the_edge_asks_for_them(
    tiny_family: Family, tiny_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edge, _ = keys.make_set(tmp_path, device="cam1")
    text = refused(tiny_family, tiny_set, caplog, edge=keys.load_edge_keys(edge), device=None)
    # Which side notices first is a matter of luck; the other sees the connection end.
    assert "it asks for keys and we have none" in text or "or does it ask for keys?" in text


def test_a_device_with_keys_does_not_talk_to_an_edge_without(
    tiny_family: Family, tiny_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, device = keys.make_set(tmp_path, device="cam1")
    text = refused(tiny_family, tiny_set, caplog, edge=None, device=keys.load_device_keys(device))
    assert "it has no keys and we have" in text or "is the edge up, started with --keys" in text
