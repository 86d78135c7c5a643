"""`headgate link`: how its arguments are read, and what it refuses."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from headgate.profiles.errors import UsageError
from headgate.runtime.cli import main
from headgate.runtime.commands.link import (
    link,
    parse_address,
    parse_window,
    refuse_beyond_loopback,
)
from headgate.runtime.emulator.shaper import Window


def test_a_stall_is_a_start_and_a_length() -> None:
    assert parse_window("--stall", "20:3", default_s=None) == Window(20.0, 3.0)


def test_a_cut_may_leave_its_length_out() -> None:
    assert parse_window("--cut", "40", default_s=0.5) == Window(40.0, 0.5)
    assert parse_window("--cut", "40:2", default_s=0.5) == Window(40.0, 2.0)


@pytest.mark.parametrize("text", ["", "x", "20", "20:", "20:x", "-1:2", "1:0", "1:-2", "nan:1"])
def test_a_window_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="--stall 20:3"):
        parse_window("--stall", text, default_s=None)


def test_an_address_is_a_host_and_a_port() -> None:
    assert parse_address("--listen", "tcp://127.0.0.1:7701") == ("127.0.0.1", 7701)
    assert parse_address("--listen", "tcp://[::1]:7701") == ("::1", 7701)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:7701",
        "tcp://:7701",
        "tcp://host",
        "tcp://host:x",
        "ipc:///tmp/a",
        "tcp://h:70000",
        "tcp://h:\u00b2",
        "tcp://h:\u0663\u0663",
        f"tcp://h:{5000 * '1'}",
    ],
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected tcp://HOST:PORT"):
        parse_address("--to", text)


def test_an_edge_has_a_port() -> None:
    result = CliRunner().invoke(
        main, ["link", "demo", "--to", "tcp://127.0.0.1:0", "--delay-ms", "-1"]
    )
    assert (result.exit_code, "nobody listens on port 0" in result.output) == (2, True)


def test_listening_beyond_loopback_must_be_asked_for() -> None:
    with pytest.raises(UsageError, match="--insecure"):
        refuse_beyond_loopback("tcp://0.0.0.0:7701", insecure=False)
    refuse_beyond_loopback("tcp://0.0.0.0:7701", insecure=True)
    refuse_beyond_loopback("tcp://127.0.0.1:7701", insecure=False)


@pytest.mark.parametrize("delay_ms", ["nan", "inf", "-1", "60001"])
def test_a_delay_of_no_link_is_refused(delay_ms: str) -> None:
    refused = CliRunner().invoke(link, ["demo", "--delay-ms", delay_ms])
    assert isinstance(refused.exception, UsageError)
    assert "expected a delay of 0 to 60000 ms" in str(refused.exception)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--loss-percent", "1"], "a relay carries the bytes of TCP and cannot lose any"),
        (["--packets", "--loss-percent", "101"], "expected 0 to 100"),
        (["--packets", "--loss-percent", "nan"], "expected 0 to 100"),
        (["--packets", "--to", "tcp://127.0.0.1:7700"], "two different IPv4 addresses"),
        (["--packets", "--to", "tcp://198.18.0.1:7701"], "one port for both"),
        (["--packets", "--to", "tcp://198.18.0.1:0"], "nobody listens on port 0"),
    ],
)
def test_what_a_link_of_packets_cannot_be_is_refused(options: list[str], said: str) -> None:
    refused = CliRunner().invoke(main, ["link", "steady:8", *options])
    assert (refused.exit_code, said in refused.output) == (2, True), refused.output
