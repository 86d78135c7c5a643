"""What a client of split training tells while it has no connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from headgate.profiles.errors import PeerError
from headgate.train.split_training.exchange import SAY_AFTER_S, train_as_client
from headgate.train.split_training.transport import ClientSocket, Ready
from train.split_training.small import small_client, small_plan, small_settings


class AbsentServer:
    """A socket whose server is there only at the given times, on a clock that it moves itself."""

    def __init__(self, *, changes: list[tuple[float, bool]]) -> None:
        self.now_s = 100.0
        self._changes = [(self.now_s + after_s, there) for after_s, there in changes]
        self.sent: list[Any] = []

    def wait(self, timeout_s: float | None) -> Ready:
        assert timeout_s is not None, "nothing to wait for"
        due_s = self.now_s + max(0.0, timeout_s)
        first_s = min([due_s, *(at_s for at_s, _ in self._changes)])
        self.now_s = first_s
        return Ready(message=False, connection=any(at_s <= first_s for at_s, _ in self._changes))

    def connection_events(self) -> list[bool]:
        events = [there for at_s, there in self._changes if at_s <= self.now_s]
        self._changes = self._changes[len(events) :]
        return events

    def forget(self) -> None:
        pass

    def send(self, parts: Any) -> None:
        self.sent.append(parts)


def told(pictures: Path, *, changes: list[tuple[float, bool]]) -> list[str]:
    """Return what a client said until it gave up after 60 s without a connection."""
    settings = small_settings("2:1")
    client = small_client(small_plan(pictures, settings), settings)
    server, said = AbsentServer(changes=changes), list[str]()
    with pytest.raises(PeerError, match="tcp://there: no connection for 60 s; start the server"):
        train_as_client(
            client,
            cast(ClientSocket, server),
            device=torch.device("cpu"),
            compress=False,
            give_up_s=60.0,
            endpoint="tcp://there",
            say=said.append,
            now_s=lambda: server.now_s,
        )
    return said


def test_a_client_says_once_that_no_server_is_there(pictures: Path) -> None:
    assert told(pictures, changes=[]) == [
        "no connection to tcp://there; is the server running there? Tries for 55 s more"
    ]


def test_a_connection_that_is_soon_there_again_is_not_spoken_of(pictures: Path) -> None:
    brief = [(1.0, True), (9.0, False), (9.0 + SAY_AFTER_S / 2, True)]
    assert told(pictures, changes=[*brief, (20.0, False)]) == [
        "no connection to tcp://there; is the server running there? Tries for 55 s more"
    ]


def test_a_connection_is_spoken_of_where_its_want_was(pictures: Path) -> None:
    said = told(pictures, changes=[(10.0, True), (20.0, False)])
    assert [text.partition(" ")[0] for text in said] == ["no", "connected", "no"]
