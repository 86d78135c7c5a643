"""Claims about clients that share a server: who comes and goes, and whose half goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headgate.profiles.train_messages import Header, Kind, Place
from headgate.train.folder.run_folder import load_run
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.halves import pack_half, use_selection
from headgate.train.split_training.kept_halves import Half, KeptHalves
from train.split_training.small import (
    Clock,
    Table,
    differing,
    small_client,
    small_plan,
    small_server,
    small_settings,
    two_clients,
    weights_of,
)


def test_no_client_ever_sees_a_picture_that_another_one_has(pictures: Path) -> None:
    settings = small_settings("2:4")
    plan = small_plan(pictures, settings, augment=False)
    seen = {
        number: {
            picture.numpy().tobytes()
            for epoch in range(4)
            for lesson in small_client(plan, settings, share=(number, 3))._source.lessons(
                Place(epoch)
            )
            for picture in lesson.x_BCHW
        }
        for number in (1, 2, 3)
    }
    assert [len(own) for own in seen.values()] == [11, 11, 10]
    assert len(set.union(*seen.values())) == 32


@pytest.mark.parametrize("sync", ["none", "relay", "fedavg"])
def test_a_client_that_vanishes_does_not_stop_the_others(
    pictures: Path, tmp_path: Path, sync: str
) -> None:
    settings = small_settings("2:1,6:1", client_sync=sync)
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        clients = two_clients(plan, settings)
        for client in clients:
            table.connect(client)
        table.run(num_messages=4)
        table.cut(clients[0])
        table.run()
        assert not server.is_finished
        assert server.next_timer_s() == pytest.approx(60.0)
        clock = server.now_s
        assert isinstance(clock, Clock)
        clock.s = 60.0
        for each in server.handle_timer(now_s=table.now_s):
            answers = clients[1].received(each.header, each.parts, now_s=table.now_s)
            table.waiting.extend((each.peer, *message) for message in answers)
        table.run()
        assert server.is_finished
    assert load_run(tmp_path / "run").member_ids == ("b6r1",)


def test_a_server_that_starts_anew_does_not_wait_for_one_that_had_vanished(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    ann, bo = two_clients(plan, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        table.connect(ann)
        table.connect(bo)
        table.run(num_messages=4)
        table.cut(bo)
        table.run()
        clock = server.now_s
        assert isinstance(clock, Clock)
        clock.s = 60.0
        server.handle_timer(now_s=60.0)
        assert server.session.epoch == 1
        table.cut(ann)
    with small_server(plan, settings, tmp_path / "run", num_clients=2, resume=True) as server:
        table = Table(server)
        table.connect(ann)
        table.run()
        assert server.is_finished
        assert ann.is_done


def test_one_that_returns_goes_on_with_its_next_batch(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:2", client_sync="fedavg")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        ann, bo = two_clients(plan, settings)
        table.connect(ann)
        table.connect(bo)
        table.run(num_messages=4)
        table.cut(ann)
        table.run()
        table.connect(ann)
        table.run()
        assert server.is_finished
        assert ann.is_done
        assert bo.is_done
    batches = [(who, h.place) for who, h in table.log if h.kind is Kind.BATCH]
    assert len({place for who, place in batches if who in ("1", "3")}) == 4
    assert len({place for who, place in batches if who == "2"}) == 4


def test_one_that_is_a_phase_behind_trains_on_with_the_maps_of_its_own(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1,6:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        ann, bo = two_clients(plan, settings)
        table.connect(ann)
        table.connect(bo)
        table.run(num_messages=4)
        table.cut(ann)
        table.run()
        clock = server.now_s
        assert isinstance(clock, Clock)
        clock.s = 60.0  # it is given up, and bo enters the next phase
        for each in server.handle_timer(now_s=table.now_s):
            answers = bo.received(each.header, each.parts, now_s=table.now_s)
            table.waiting.extend((each.peer, *message) for message in answers)
        assert server.session.epoch == 1
        table.connect(ann)
        table.run()
        assert server.is_finished
    assert ann.failure is None
    trained = [h for who, h in table.log if who == "3" and h.kind is Kind.BATCH]
    assert {(h.phase, h.budget) for h in trained} == {(0, 2), (1, 6)}


def test_one_that_joins_later_begins_with_what_the_others_have(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1,6:2", client_sync="fedavg")
    plan = small_plan(pictures, settings)
    records: list[DepruneEpoch] = []
    with small_server(plan, settings, tmp_path / "run", records=records) as server:
        table = Table(server)
        table.connect(small_client(plan, settings, "ann", share=(1, 2)))
        table.run(num_messages=4)  # into the second epoch
        assert server.session.epoch == 1
        late = small_client(plan, settings, "bo", share=(2, 2))
        table.connect(late)
        table.run()
        assert server.is_finished
        assert late.half.model.budget == 6
    assert [sorted(r.clients) for r in records] == [["ann"], ["ann", "bo"], ["ann", "bo"]]


def test_with_relay_one_half_goes_round(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1", client_sync="relay")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        clients = two_clients(plan, settings)
        for client in clients:
            table.connect(client)
        table.run()
        whose = [who for who, h in table.log if h.kind is Kind.BATCH]
        assert whose == ["1", "1", "2", "2"]
        weights = weights_of(clients[1], server)
    run = load_run(tmp_path / "run")
    assert differing(run.member("b2r1").state_dict(), weights) == []


def test_with_relay_what_a_lost_epoch_made_of_the_half_does_not_go_on(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1", client_sync="relay")
    plan = small_plan(pictures, settings)
    ann, bo = two_clients(plan, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        table.connect(ann)
        table.connect(bo)
        while bo.session.place.step == 0:  # with the half that ann has ended the epoch with
            table.run(num_messages=1)
        for client in (ann, bo):
            table.cut(client)
    found = []
    for name, clients in (("run", [bo, ann]), ("calm", two_clients(plan, settings)[::-1])):
        resume = name == "run"
        out = tmp_path / name
        with small_server(plan, settings, out, num_clients=2, resume=resume) as server:
            table = Table(server)
            for client in clients:
                table.connect(client)
                table.run(num_messages=1)
            table.run()
            found.append(weights_of(clients[1], server))
    assert differing(*found) == []


def test_with_relay_a_half_that_comes_late_is_not_the_one_that_goes_round(pictures: Path) -> None:
    settings = small_settings("2:1")
    model = small_client(small_plan(pictures, settings), settings).half.model
    halves = KeptHalves(client_sync="relay")
    one, late = (Half.opened(pack_half(model), model) for _ in range(2))
    halves.keep("ann", one, num_pictures=16)
    halves.keep("bo", late, num_pictures=16, is_late=True)
    assert halves.shared is one
    assert halves.latest["bo"] is late


@pytest.mark.parametrize("sync", ["none", "fedavg"])
def test_a_half_of_an_earlier_phase_that_comes_late_is_neither_measured_nor_kept(
    pictures: Path, sync: str
) -> None:
    settings = small_settings("2:1,6:1", client_sync=sync)
    plan = small_plan(pictures, settings)
    model = small_client(plan, settings).half.model
    earlier = Half.opened(pack_half(model), model)
    use_selection(model, (0, 1, 2, 3, 4, 5))
    now = Half.opened(pack_half(model), model)
    halves = KeptHalves(client_sync=sync)
    halves.keep("ann", earlier, num_pictures=16, is_late=True)
    halves.keep("bo", now, num_pictures=16)
    halves.join(model, selected=now.selected)
    halves.measure(model, plan.data, selected=now.selected)
    assert halves.accuracies.keys() <= {"bo"}
    assert halves.best().selected == now.selected
    assert halves.for_selection().selected == now.selected


def test_with_fedavg_all_go_on_from_the_mean(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:2", client_sync="fedavg")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        ann, bo = two_clients(plan, settings)
        table.connect(ann)
        table.connect(bo)
        while server.session.epoch == 0:
            table.run(num_messages=1)
        own = [
            server.halves.latest[name].weights["head.features.0.weight"] for name in ("ann", "bo")
        ]
        assert server.halves.shared is not None
        mean = server.halves.shared.weights["head.features.0.weight"]
        torch.testing.assert_close(mean, (own[0] + own[1]) / 2)
        assert not torch.equal(own[0], own[1])
        assert torch.equal(ann.half.model.state_dict()["head.features.0.weight"], mean)
        table.run()


def test_with_fedavg_halves_count_by_their_pictures(pictures: Path) -> None:
    settings = small_settings("2:1", client_sync="fedavg")
    model = small_client(small_plan(pictures, settings), settings).half.model
    selected = model.selected
    assert selected is not None
    halves = KeptHalves(client_sync="fedavg")
    for name, value, num_pictures in (("ann", 1.0, 30), ("bo", 5.0, 10)):
        torch.nn.init.constant_(model.get_parameter("bottleneck.f_hat"), value)
        halves.keep(name, Half.opened(pack_half(model), model), num_pictures=num_pictures)
    halves.join(model, selected=selected)
    assert halves.shared is not None
    assert halves.shared.weights["bottleneck.f_hat"].tolist() == [2.0] * 6
    assert model.get_parameter("bottleneck.f_hat").tolist() == [2.0] * 6


def test_with_fedavg_one_that_leaves_before_the_others_have_ended_counts_in_full(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:2", client_sync="fedavg")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        ann, bo = two_clients(plan, settings)
        table.connect(ann)
        table.connect(bo)
        while "ann" not in server.halves.latest:
            table.run(num_messages=1)
        peer = next(m.peer for m in server.session.roster if m.name == "ann")
        assert peer is not None
        header = Header(Kind.GOODBYE)
        server.received(peer, header, (), num_bytes=40, now_s=table.now_s)
        while server.session.epoch == 0:
            table.run(num_messages=1)
        weight = "head.features.0.weight"
        own = [server.halves.latest[name].weights[weight] for name in ("ann", "bo")]
        assert server.halves.shared is not None
        torch.testing.assert_close(server.halves.shared.weights[weight], (own[0] + own[1]) / 2)


def test_a_newcomer_begins_with_the_best_half_of_the_last_epoch_and_no_older_one(
    pictures: Path,
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    model = small_client(plan, settings).half.model
    selected = model.selected
    assert selected is not None
    halves = KeptHalves(client_sync="none")
    assert halves.for_joining("cy") is None
    older, newer = (Half.opened(pack_half(model), model) for _ in range(2))
    halves.keep("ann", older, num_pictures=16)
    assert halves.for_joining("cy") is older  # there is no other yet
    halves.measure(model, plan.data, selected=selected)
    halves.epoch_closed(present=["ann"])  # and ann leaves
    halves.keep("bo", newer, num_pictures=16)
    halves.measure(model, plan.data, selected=selected)
    assert halves.for_joining("cy") is newer
    assert halves.for_joining("ann") is older


def test_halves_of_clients_that_left_long_ago_are_forgotten(pictures: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    model = small_client(plan, settings).half.model
    assert model.selected is not None
    halves = KeptHalves(client_sync="none")
    half = Half.opened(pack_half(model), model)
    halves.keep("stays", half, num_pictures=16)
    for number in range(20):
        halves.keep(f"new{number}", half, num_pictures=16)
    halves.keep("new0", half, num_pictures=16)  # it came again
    halves.accuracies = {"new1": 0.5}
    halves.epoch_closed(present=["stays"])
    assert [*halves.latest] == ["stays", "new1", *(f"new{n}" for n in range(5, 20)), "new0"]


def test_a_second_client_of_one_name_takes_over_and_the_first_is_told(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        first, second = small_client(plan, settings), small_client(plan, settings)
        table.connect(first)
        table.run(num_messages=2)
        table.connect(second)
        table.run()
        assert server.is_finished
    assert "another client took the name 'ann'; choose another --name" in str(first.failure)
    assert second.failure is None
