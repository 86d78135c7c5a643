"""The relay's listening socket where the system has none to give, or gave its port away."""

import contextlib
import os
import resource
import selectors
import socket
from collections.abc import Iterator

import pytest

from headgate.profiles.errors import UsageError
from headgate.runtime.emulator.relay_listener import REST_S, Listener

LOOPBACK = ("127.0.0.1", 0)


@pytest.fixture
def selector() -> Iterator[selectors.SelectSelector]:
    with selectors.SelectSelector() as found:
        yield found


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open nothing more for a while."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def waits(selector: selectors.BaseSelector) -> bool:
    return bool(selector.select(0))


def test_who_calls_is_accepted(selector: selectors.SelectSelector) -> None:
    listener = Listener(LOOPBACK, selector=selector)
    with socket.create_connection(listener.address) as caller:
        accepted = listener.accept(now_s=0.0)
        assert accepted is not None
        assert accepted[1] == caller.getsockname()
        accepted[0].close()
    listener.close()
    assert not selector.get_map()


def test_without_a_socket_to_give_it_does_not_listen_for_a_while(
    selector: selectors.SelectSelector,
) -> None:
    listener = Listener(LOOPBACK, selector=selector)
    with socket.create_connection(listener.address):
        assert waits(selector)
        with no_more_files():
            assert listener.accept(now_s=10.0) is None
        assert not waits(selector)  # else the relay would do nothing but try
        listener.open_again(now_s=10.0 + REST_S / 2)
        assert listener.sock is None
    listener.open_again(now_s=10.0 + REST_S)
    with socket.create_connection(listener.address):
        accepted = listener.accept(now_s=12.0)
        assert accepted is not None
        accepted[0].close()
    listener.close()


def test_a_port_that_was_given_away_meanwhile_is_tried_again(
    selector: selectors.SelectSelector,
) -> None:
    listener = Listener(LOOPBACK, selector=selector)
    address = listener.address
    listener.close()
    with socket.create_server(address):
        listener.open_again(now_s=5.0)
        assert listener.sock is None
    listener.open_again(now_s=5.0 + REST_S / 2)
    assert listener.sock is None
    listener.open_again(now_s=5.0 + REST_S)
    assert listener.sock is not None
    assert listener.address == address
    listener.close()


def test_nothing_is_left_open_where_it_cannot_listen(selector: selectors.SelectSelector) -> None:
    with socket.create_server(LOOPBACK) as taken:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(UsageError, match="cannot listen there"):
            Listener(taken.getsockname()[:2], selector=selector)
        assert len(os.listdir("/proc/self/fd")) == before
