"""What a device says of an edge that is not there."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.profiles.family import Family
from headgate.runtime.device.playback import Playback
from headgate.runtime.edge.edge import EdgeServer
from runtime.running import RunningDevice, edge_thread


def test_an_edge_that_is_not_there_is_named_once_and_one_that_went_is_not(
    tiny_family: Family, tiny_set: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def run(*, until: Callable[[], bool], edge: str) -> None:
        with RunningDevice(
            tiny_family,
            f"npz:{tiny_set}",
            edge=edge,
            playback=Playback(fps=100, loop=True),
            until=lambda _: until(),
        ) as running:
            records = running.join()
        assert running.failure is None
        assert records

    gone_s: list[float] = []

    def gone_long_ago(server: EdgeServer) -> bool:
        """Stop the edge once the device is on; say whether attempts have failed since then."""
        if any("connected" in each for each in caplog.messages):
            server.stop()
        if not gone_s and any("disconnected" in each for each in caplog.messages):
            gone_s.append(time.monotonic())
        return bool(gone_s) and time.monotonic() > gone_s[0] + 2.5

    with edge_thread(tiny_family) as server:
        endpoint = server.endpoint
        run(until=lambda: gone_long_ago(server), edge=endpoint)
    assert "nobody answers" not in caplog.text
    first_s: list[float] = []

    def told() -> list[str]:
        return [each for each in caplog.messages if "nobody answers" in each]

    def told_long_ago() -> bool:
        """Whether it was told, and more attempts have failed than it took to tell it."""
        if told() and not first_s:
            first_s.append(time.monotonic())
        return bool(first_s) and time.monotonic() > first_s[0] + 2.5

    run(until=told_long_ago, edge=endpoint)
    assert told() == [
        f"edge {endpoint}: nobody answers there; is the edge up, and is that its address?; "
        "staying on local and trying again"
    ]


def test_an_edge_whose_name_has_no_address_is_named_so_while_frames_are_answered(
    tiny_family: Family, tiny_set: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        return [each for each in caplog.messages if "staying on local" in each]

    with RunningDevice(
        tiny_family,
        f"npz:{tiny_set}",
        edge=f"tcp://{'a' * 64}.example:7700",
        playback=Playback(fps=100, loop=True),
        until=lambda _: bool(told()),
    ) as running:
        records = running.join()
    assert running.failure is None
    assert records
    assert len(told()) == 1
    assert f"the name {'a' * 64}.example has no address" in told()[0]
