"""Claims about epochs that are not everybody's: who waits, who stands in, and what is learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.train_messages import Header, Kind, Place, Status
from headgate.train.folder.run_folder import load_run
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.greeting import Greeting
from headgate.train.split_training.server_effects import (
    Attendance,
    CloseEpoch,
    Effect,
    Go,
    KeepHalf,
)
from headgate.train.split_training.server_session import ServerSession
from headgate.train.split_training.settings import check_settings
from headgate.train.split_training.timetable import Timetable
from train.split_training.small import (
    Table,
    differing,
    small_plan,
    small_server,
    small_settings,
    two_clients,
    weights_of,
)

ANN, BO = b"\x01", b"\x02"


def make(*epochs: tuple[str, ...], num_clients: int = 2) -> ServerSession:
    return ServerSession(
        num_epochs=len(epochs),
        num_clients=num_clients,
        client_sync="fedavg",
        client_timeout_s=10.0,
        timetable=Timetable(epochs),
    )


def hello(session: ServerSession, peer: bytes, name: str, *, now_s: float = 0.0) -> list[Effect]:
    said = Greeting(name, "1", is_fresh=True, num_pictures=8, agreement={})
    return session.greeted(peer, said, place=Place(), differences=[], now_s=now_s)


def goes(effects: list[Effect]) -> list[tuple[str, Place]]:
    return [(e.name, e.place) for e in effects if isinstance(e, Go)]


def train(session: ServerSession, peer: bytes, epoch: int, *, now_s: float = 0.0) -> list[Effect]:
    """Train one batch and end the epoch; return what follows from its end."""
    session.received(peer, Header(Kind.BATCH, Place(epoch)), now_s=now_s)
    return session.received(peer, Header(Kind.EPOCH_END, Place(epoch, 1)), now_s=now_s)


def both(*epochs: tuple[str, ...]) -> tuple[ServerSession, list[Effect]]:
    session = make(*epochs)
    return session, [*hello(session, ANN, "ann"), *hello(session, BO, "bo")]


def test_only_those_whose_epoch_it_is_are_let_in() -> None:
    session, effects = both(("ann",), ("bo",), ("ann", "bo"))
    assert goes(effects) == [("ann", Place(0))]
    assert CloseEpoch(0) in train(session, ANN, 0)
    assert goes(session.epoch_closed(now_s=0.0)) == [("bo", Place(1))]
    assert CloseEpoch(1) in train(session, BO, 1)
    assert goes(session.epoch_closed(now_s=0.0)) == [("ann", Place(2)), ("bo", Place(2))]


def test_who_waits_for_its_epoch_is_never_given_up_as_silent() -> None:
    session, _ = both(("ann",), ("bo",))
    train(session, ANN, 0, now_s=9.0)
    session.epoch_closed(now_s=9.0)
    assert session.next_timer_s() == 19.0  # bo, from its GO on
    session, _ = both(("ann",), ("bo",))
    assert [e.name for e in session.handle_timer(now_s=10.0) if isinstance(e, Attendance)] == [
        "ann"
    ]


def test_where_nobody_of_an_epoch_is_there_all_that_are_train_in_it() -> None:
    session = make(("cy",), ("ann",))
    effects = [*hello(session, ANN, "ann"), *hello(session, BO, "bo")]
    assert goes(effects) == [("ann", Place(0)), ("bo", Place(0))]


def test_whoever_is_left_stands_in_for_one_that_vanishes_in_its_epoch() -> None:
    session, _ = both(("ann",), ("bo",))
    session.received(ANN, Header(Kind.BATCH, Place()), now_s=0.0)
    assert goes(session.handle_timer(now_s=10.0)) == [("bo", Place(0))]
    assert CloseEpoch(0) in train(session, BO, 0, now_s=11.0)


def test_nobody_stands_in_for_one_that_leaves_when_its_epoch_is_done() -> None:
    session, _ = both(("ann", "bo"), ("ann",), ("bo",))
    train(session, ANN, 0)
    train(session, BO, 0)
    session.epoch_closed(now_s=0.0)
    session.received(ANN, Header(Kind.BATCH, Place(1)), now_s=0.0)
    ended = session.received(ANN, Header(Kind.EPOCH_END, Place(1, 1)), now_s=0.0)
    assert KeepHalf("ann", is_late=False) in ended
    assert CloseEpoch(1) in ended
    left = session.received(ANN, Header(Kind.GOODBYE, Place(2)), now_s=0.0)
    assert not goes(left)
    assert goes(session.epoch_closed(now_s=0.0)) == [("bo", Place(2))]


def test_a_client_that_comes_in_an_epoch_of_others_waits_for_its_own() -> None:
    session = make(("ann",), ("bo",), num_clients=1)
    assert goes(hello(session, ANN, "ann")) == [("ann", Place(0))]
    assert not goes(hello(session, BO, "bo"))
    train(session, ANN, 0)
    assert goes(session.epoch_closed(now_s=0.0)) == [("bo", Place(1))]


def test_at_the_beginning_nobody_is_waited_for_longer_than_a_silent_client() -> None:
    session = make(("ann",), ("bo",))
    assert not goes(hello(session, BO, "bo", now_s=5.0))
    assert session.next_timer_s() == 15.0
    assert not session.handle_timer(now_s=14.9)
    effects = session.handle_timer(now_s=15.0)
    assert [e.name for e in effects if isinstance(e, Attendance)] == ["ann"]
    assert goes(effects) == [("bo", Place(0))]  # it stands in for ann
    assert session.next_timer_s() == 25.0
    assert goes(hello(session, ANN, "ann", now_s=16.0)) == [("ann", Place(0))]


def test_without_a_timetable_the_beginning_has_no_end() -> None:
    session = ServerSession(num_epochs=1, num_clients=2, client_sync="none", client_timeout_s=10.0)
    hello(session, ANN, "ann")
    assert session.next_timer_s() is None


def test_pictures_that_a_plan_did_not_count_on_are_told() -> None:
    timetable = Timetable((("ann",),), {"ann": 8})
    assert timetable.differs("ann", num_pictures=8) == ""
    assert timetable.differs("bo", num_pictures=9) == ""
    assert "has 9 pictures and not 8" in timetable.differs("ann", num_pictures=9)


def test_all_hear_of_the_end() -> None:
    session, _ = both(("ann",))
    train(session, ANN, 0)
    ended = session.epoch_closed(now_s=0.0)
    assert [(e.name, e.status) for e in ended if isinstance(e, Go)] == [
        ("ann", Status.FINISHED),
        ("bo", Status.FINISHED),
    ]


@pytest.mark.parametrize("epochs", [(("ann",),), (("ann",), ()), (("a",), ("a",), ("a",))])
def test_a_timetable_has_somebody_for_each_epoch(epochs: tuple[tuple[str, ...], ...]) -> None:
    settings = small_settings("2:2", timetable=Timetable(epochs))
    with pytest.raises(UsageError, match="timetable: has clients for"):
        check_settings(settings)


def test_clients_train_in_their_epochs_alone_and_on_what_the_others_learnt(
    pictures: Path, tmp_path: Path
) -> None:
    timetable = Timetable((("ann",), ("bo",), ("ann", "bo")))
    settings = small_settings("2:1,6:2", client_sync="fedavg", timetable=timetable)
    plan = small_plan(pictures, settings)
    records: list[DepruneEpoch] = []
    with small_server(plan, settings, tmp_path / "run", num_clients=2, records=records) as server:
        table = Table(server)
        ann, bo = two_clients(plan, settings)
        table.connect(ann)
        table.connect(bo)
        table.run()
        assert server.is_finished
        assert ann.is_done
        assert bo.is_done
    trained = [
        {name for name, done in record.clients.items() if done.num_batches} for record in records
    ]
    assert trained == [{"ann"}, {"bo"}, {"ann", "bo"}]
    assert load_run(tmp_path / "run").record.deprune == settings


def test_where_all_train_in_all_epochs_a_timetable_changes_nothing(
    pictures: Path, tmp_path: Path
) -> None:
    everyone = Timetable((("ann", "bo"),) * 2)
    found = []
    for number, timetable in enumerate((None, everyone)):
        settings = small_settings(client_sync="fedavg", timetable=timetable)
        plan = small_plan(pictures, settings)
        with small_server(plan, settings, tmp_path / f"{number}", num_clients=2) as server:
            table = Table(server)
            clients = two_clients(plan, settings)
            for client in clients:
                table.connect(client)
            table.run()
            found.append(weights_of(clients[0], server))
    assert not differing(*found)


def test_a_client_of_another_name_is_refused(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1", timetable=Timetable((("cy",),)))
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        ann, _ = two_clients(plan, settings)
        table.connect(ann)
        table.run()
        assert "name: found 'ann', expected one of cy" in str(ann.failure)


def test_fewer_maps_may_cross_in_a_later_phase(pictures: Path, tmp_path: Path) -> None:
    shrinking = small_settings("6:1,2:1", client_sync="fedavg")
    plan = small_plan(pictures, shrinking)
    with small_server(plan, shrinking, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        clients = two_clients(plan, shrinking)
        for client in clients:
            table.connect(client)
        table.run()
        assert server.is_finished
        assert [len(selected) for selected in server.half.selections] == [6, 2]
        assert set(server.half.selections[1]) < set(server.half.selections[0])
    member = load_run(tmp_path / "run").record.members[0]
    assert member.id == "b2r1"
    assert len(member.selected) == 2
