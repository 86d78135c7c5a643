"""Waking a poller from other threads and signal handlers."""

import os
import threading

import pytest
import zmq

from headgate.runtime.wakeup import Wakeup, poll_timeout_ms


@pytest.fixture(params=["eventfd", "sockets"])
def wakeup(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Wakeup:
    if request.param == "sockets":
        monkeypatch.delattr(os, "eventfd", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("this system has no eventfd")
    return Wakeup()


def poll(wakeup: Wakeup, *, timeout_ms: int = 0) -> bool:
    poller = zmq.Poller()
    poller.register(wakeup, zmq.POLLIN)
    return bool(poller.poll(timeout_ms))


def test_a_poller_wakes_once_however_often_it_was_woken(wakeup: Wakeup) -> None:
    assert not poll(wakeup)
    for _ in range(3):
        wakeup.set()
    assert poll(wakeup)
    wakeup.clear()
    assert not poll(wakeup)
    wakeup.clear()  # nothing to take back is no error
    wakeup.close()


def test_another_thread_can_wake_it(wakeup: Wakeup) -> None:
    thread = threading.Thread(target=wakeup.set)
    thread.start()
    assert poll(wakeup, timeout_ms=20_000)
    thread.join()
    wakeup.close()


def test_waking_too_often_or_too_late_does_no_harm(wakeup: Wakeup) -> None:
    for _ in range(5000):
        wakeup.set()
    wakeup.clear()
    assert not poll(wakeup)
    wakeup.close()
    wakeup.set()


def test_a_poller_waits_until_its_timer_and_not_less() -> None:
    assert poll_timeout_ms(None, now_s=1.0) is None
    assert poll_timeout_ms(1.0004, now_s=1.0) == 1
    assert poll_timeout_ms(0.5, now_s=1.0) == 0


def test_a_timer_of_another_age_is_a_wait_that_zeromq_can_count() -> None:
    assert poll_timeout_ms(1e12, now_s=1.0) == 86_400_000
