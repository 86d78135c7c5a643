"""Claims about whole split trainings: equal to one network's, resumable, and exact in its bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from headgate.profiles.errors import (
    DataError,
    HeadgateError,
    TrainingError,
    UsageError,
    WireError,
)
from headgate.profiles.train_messages import Kind, Place, Status
from headgate.train.data import default_augmentation
from headgate.train.losses import prune_loss
from headgate.train.material import Deal, Pictures
from headgate.train.optimizers import make_sgd
from headgate.train.plan import Plan
from headgate.train.run_folder import load_run, partial_folder
from headgate.train.seeds import derive_seed
from headgate.train.split_model import SplitModel
from headgate.train.split_training.client_halves import ClientHalves, Half
from headgate.train.split_training.deprune import deprune_locally
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.growth import bottleneck_of, encode_following, grow
from headgate.train.split_training.halves import pack_half
from headgate.train.split_training.payload import Parcel
from headgate.train.split_training.server_run import fresh_model
from headgate.train.split_training.settings import DepruneSettings, rate_of
from headgate.train.split_training.transport import carry
from train.split_training.small import (
    CPU,
    NUM_STEPS,
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
from train.tiny_runs import tiny_config, write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_pictures(tmp_path_factory.mktemp("pictures") / "tiny.npz")


def trained_in_one_piece(plan: Plan, settings: DepruneSettings) -> SplitModel:
    """Train the same modules as one network: the reference for both halves."""
    config = plan.config
    model = fresh_model(plan, settings, device=CPU)
    optimizer = make_sgd(model.parameters(), config)
    material = Pictures(plan.data, default_augmentation(config.data, input_px=16))
    for epoch in range(settings.num_epochs):
        phase = settings.phase_of(epoch)
        if model.budget != settings.budget_of(epoch):
            assert settings.budget_of(epoch) == model.bottleneck.channels
            grow(
                bottleneck_of(model),
                optimizer,
                selected=range(model.bottleneck.channels),
                join=settings.join,
                seed=derive_seed(config.seed, "join", phase),
            )
        deal = Deal(derive_seed(config.seed, "deprune"), epoch, config.batch_size, 0, 1, 0)
        for step, lesson in enumerate(material.deal(deal)):
            model.train()
            features_BPHW = model.features(lesson.x_BCHW)
            exit_logits_BK = model.exit_head(features_BPHW.detach())
            code_BCHW = encode_following(model, features_BPHW)
            logits_BK = model.tail(model.bottleneck.decode(code_BCHW))
            loss = functional.cross_entropy(logits_BK, lesson.labels_B)
            loss = loss + functional.cross_entropy(exit_logits_BK, lesson.labels_B)
            loss = loss + config.epsilon * prune_loss(
                model.bottleneck.filter_P,
                budget=model.budget,
                delta=config.delta,
                symmetry=config.lambda_,
            )
            optimizer.zero_grad()
            torch.autograd.backward([loss])
            rate = rate_of(config, settings, epoch=epoch, step=step, num_steps=NUM_STEPS)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
    return model


@pytest.mark.parametrize(
    ("split", "schedule", "resolution"),
    [("features.2", "2:1,6:2", 1), ("features.2", "3:1,6:1", 2), ("0", "1:1,3:1", 1)],
)
def test_both_halves_are_bit_for_bit_those_of_one_network(
    pictures: Path, tmp_path: Path, split: str, schedule: str, resolution: int
) -> None:
    settings = small_settings(schedule)
    config = tiny_config(
        pictures, rate_weight=0.0, split=split, resolution_factor=resolution, gamma=2.0
    )
    run = deprune_locally(config, settings, tmp_path / "run", through_wire=True)
    plan = small_plan(pictures, settings, split=split, resolution_factor=resolution, gamma=2.0)
    reference = trained_in_one_piece(plan, settings)
    assert differing(run.member(run.member_ids[0]).state_dict(), reference.state_dict()) == []


def test_without_the_prune_loss_of_the_client_the_filter_would_be_another(
    pictures: Path, tmp_path: Path
) -> None:
    with_loss = deprune_locally(
        tiny_config(pictures, rate_weight=0.0), small_settings("2:1"), tmp_path / "with"
    )
    without = deprune_locally(
        tiny_config(pictures, rate_weight=0.0, epsilon=0.0), small_settings("2:1"), tmp_path / "no"
    )
    moved, still = (run.member("b2r1").bottleneck.filter_P.sum() for run in (with_loss, without))
    assert moved < still  # towards 2 of 6


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"feature_bits": 16, "gradient_bits": 8},
        {"feature_bits": 4, "gradient_bits": 8, "compress": True},
    ],
)
def test_counted_bytes_are_those_of_the_encoded_messages_and_weights_are_the_same(
    pictures: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = tiny_config(pictures, rate_weight=0.0)
    settings = small_settings(**changes)
    runs = [
        deprune_locally(config, settings, tmp_path / str(wire), through_wire=wire, num_clients=2)
        for wire in (False, True)
    ]
    counted, encoded = (
        [json.loads(line) for line in (run.path / "epochs.jsonl").open()] for run in runs
    )
    for key in ("bytes_up", "bytes_down", "total_bytes"):
        assert [e[key] for e in counted] == [e[key] for e in encoded]
    assert runs[0].record.members[0].sha256 == runs[1].record.members[0].sha256


def test_only_the_selected_maps_and_their_gradients_cross(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1,6:1")
    plan = small_plan(pictures, settings)
    sizes: dict[tuple[int, Kind], int] = {}
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings))
        while table.waiting:
            peer, header, parts = table.waiting.pop(0)
            out = table.hand(peer, header, parts)
            for each_header, each_parts in [(header, parts), *((o.header, o.parts) for o in out)]:
                if each_header.kind in (Kind.BATCH, Kind.GRADIENT):
                    size, _ = carry(
                        each_header, each_parts, device=CPU, compress=False, through_wire=True
                    )
                    sizes[each_header.budget, each_header.kind] = size
    map_bytes = 8 * 6 * 6 * 4  # 8 pictures of 6 x 6 pixels in float32
    head_bytes = 40
    for budget in (2, 6):
        filter_bytes = 4 * budget
        assert sizes[budget, Kind.BATCH] == (
            head_bytes + 3 * 20 + budget * map_bytes + filter_bytes + 8
        )
        assert sizes[budget, Kind.GRADIENT] == (
            head_bytes + 2 * 20 + budget * map_bytes + filter_bytes
        )


def test_every_epoch_has_a_line_with_its_bytes_by_client(pictures: Path, tmp_path: Path) -> None:
    config = tiny_config(pictures, rate_weight=0.0)
    run = deprune_locally(config, small_settings(), tmp_path / "run", num_clients=2)
    lines = [json.loads(line) for line in (run.path / "epochs.jsonl").open()]
    assert [(e["epoch"], e["phase"], e["budget"]) for e in lines] == [(1, 0, 2), (2, 1, 6)]
    for line in lines:
        assert sorted(line["clients"]) == ["client1", "client2"]
        assert 0 < line["half_bytes"] < line["bytes_up"] + line["bytes_down"]
        for key in ("bytes_up", "bytes_down", "half_bytes", "num_batches", "num_pictures"):
            assert line[key] == sum(client[key] for client in line["clients"].values())
    assert lines[0]["num_pictures"] == 32
    assert lines[1]["bytes_up"] > lines[0]["bytes_up"]


def test_the_run_has_one_member_with_all_of_its_maps(pictures: Path, tmp_path: Path) -> None:
    config = tiny_config(pictures, rate_weight=0.0)
    run = deprune_locally(config, small_settings("1:1,3:1"), tmp_path / "run")
    (member,) = run.record.members
    assert (member.id, member.budget, len(member.selected)) == ("b3r1", 3, 3)
    assert [entry.levels for entry in member.quantised] == [256, 8]
    assert run.record.deprune == small_settings("1:1,3:1")
    assert not partial_folder(run.path).exists()


def test_growing_silently_leaves_what_the_network_computes(pictures: Path) -> None:
    settings = small_settings("2:1,5:1")
    plan = small_plan(pictures, settings)
    model = fresh_model(plan, settings, device=CPU).eval()
    optimizer = make_sgd(model.parameters(), plan.config)
    x_BCHW = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    before_BK = model(x_BCHW, levels=None).logits_BK
    assert model.selected is not None
    chosen = sorted([*model.selected, *(set(range(6)) - set(model.selected))][:5])
    grow(bottleneck_of(model), optimizer, selected=chosen, join="silent", seed=3)
    after_BK = model(x_BCHW, levels=None).logits_BK
    torch.testing.assert_close(after_BK, before_BK)


def test_a_message_with_a_lost_answer_is_trained_once(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        table.run(num_messages=3)  # HELLO and two batches
        table.run(num_messages=1, lose_answers=True)
        table.connect(client)
        table.run()
        weights = weights_of(client, server)
        assert server.is_finished
    reference = trained_in_one_piece(plan, settings)
    assert differing(weights, reference.state_dict()) == []
    assert sum(h.kind is Kind.BATCH for _, h in table.log) == NUM_STEPS + 1


def test_a_message_that_was_lost_is_sent_again(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        for _ in range(2 * NUM_STEPS + 4):  # each message in turn is lost once
            table.run(num_messages=1)
            table.cut(client)
            table.connect(client)
        table.run()
        weights = weights_of(client, server)
        assert server.is_finished
    reference = trained_in_one_piece(plan, settings)
    assert differing(weights, reference.state_dict()) == []


def test_client_and_server_that_both_stop_go_on_as_if_they_had_not(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1,6:2", gradient_bits=8)
    plan = small_plan(pictures, settings)
    folder = tmp_path / "state"
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings, folder=folder))
        table.run(num_messages=2 * NUM_STEPS)  # into the second epoch
        assert server.session.epoch == 1
    with small_server(plan, settings, tmp_path / "run", resume=True) as server:
        table = Table(server)
        client = small_client(plan, settings, folder=folder, resume=True)
        table.connect(client)
        table.run()
        assert server.is_finished
    whole = deprune_locally(tiny_config(pictures, rate_weight=0.0), settings, tmp_path / "whole")
    resumed = load_run(tmp_path / "run")
    names = [r.member(r.member_ids[0]).state_dict() for r in (resumed, whole)]
    assert differing(*names) == []
    lines = [json.loads(line) for line in (resumed.path / "epochs.jsonl").open()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


def test_a_client_goes_back_with_a_server_that_lost_the_epoch(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1,6:2")
    plan = small_plan(pictures, settings)
    client = small_client(plan, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(client)
        table.run(num_messages=2 * NUM_STEPS)
        table.cut(client)
    with small_server(plan, settings, tmp_path / "run", resume=True) as server:
        table = Table(server)
        table.connect(client)
        table.run()
        weights = weights_of(client, server)
    reference = trained_in_one_piece(plan, settings)
    assert differing(weights, reference.state_dict()) == []


def test_a_client_that_went_back_with_the_server_does_not_resume_what_it_left(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    folder = tmp_path / "state"
    client = small_client(plan, settings, folder=folder, checkpoint_steps=1)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(client)
        table.run(num_messages=NUM_STEPS)
        table.cut(client)
    with small_server(plan, settings, tmp_path / "run", resume=True) as server:
        table = Table(server)
        table.connect(client)
        table.run(num_messages=1)  # HELLO: back to the begin
        table.cut(client)
        again = small_client(plan, settings, folder=folder, resume=True)
        table.connect(again)
        table.run()
        weights = weights_of(again, server)
    assert again.failure is None
    assert differing(weights, trained_in_one_piece(plan, settings).state_dict()) == []


def test_a_batch_that_is_forgotten_leaves_no_trace(pictures: Path) -> None:
    settings = small_settings("2:1", feature_bits=4)
    plan = small_plan(pictures, settings)
    client = small_client(plan, settings)
    half = client.half

    def everything() -> dict[str, torch.Tensor]:
        state = {name: t.clone() for name, t in half.model.state_dict().items()}
        return {**state, "owed": half.packer.carried_P.clone()}

    (lesson, *_) = client._source.lessons(Place())
    before = everything()
    half.forward(lesson, Place())
    assert differing(everything(), before) != []
    half.forget()
    assert differing(everything(), before) == []


def test_a_client_that_stops_alone_sends_no_batch_twice(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    folder = tmp_path / "state"
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        first = small_client(plan, settings, folder=folder)
        table.connect(first)
        table.run(num_messages=NUM_STEPS + 4)
        table.cut(first)
        table.connect(small_client(plan, settings, folder=folder, resume=True))
        table.run()
        assert server.is_finished
    batches = [h.place for who, h in table.log if h.kind is Kind.BATCH]
    assert sorted(set(batches)) == [Place(e, s) for e in (0, 1) for s in range(NUM_STEPS)]
    assert len(batches) == len(set(batches))


def test_a_client_with_a_checkpoint_of_each_step_loses_nothing(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:2", gradient_bits=8)
    plan = small_plan(pictures, settings)
    folder = tmp_path / "state"
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        first = small_client(plan, settings, folder=folder, checkpoint_steps=1)
        table.connect(first)
        table.run(num_messages=NUM_STEPS + 3)
        table.run(num_messages=1, lose_answers=True)
        table.cut(first)
        client = small_client(plan, settings, folder=folder, resume=True, checkpoint_steps=1)
        table.connect(client)
        table.run()
        weights = weights_of(client, server)
    whole = deprune_locally(tiny_config(pictures, rate_weight=0.0), settings, tmp_path / "whole")
    assert differing(weights, whole.member("b2r1").state_dict()) == []


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
    halves = ClientHalves(client_sync="relay")
    one, late = (Half.opened(pack_half(model), model) for _ in range(2))
    halves.keep("ann", one)
    halves.keep("bo", late, is_late=True)
    assert halves.shared is one
    assert halves.latest["bo"] is late


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


@pytest.mark.parametrize(
    ("changes", "settings_changes", "said"),
    [
        ({"seed": 1}, {}, "seed: server 0, client 1"),
        ({"split": "features.5"}, {}, "split: server features.2, client features.5"),
        ({}, {"schedule": "3:1,6:1"}, "schedule: server 2:1,6:1, client 3:1,6:1"),
        ({"lr": 0.1}, {}, "lr: server 0.05, client 0.1"),
        ({}, {"feature_bits": 8}, "feature bits: server 32, client 8"),
    ],
)
def test_sides_with_different_settings_refuse_and_say_which(
    pictures: Path,
    tmp_path: Path,
    changes: dict[str, object],
    settings_changes: dict[str, Any],
    said: str,
) -> None:
    settings = small_settings()
    theirs = small_settings(**settings_changes)
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(small_plan(pictures, theirs, **changes), theirs)
        table.connect(client)
        table.run()
    assert isinstance(client.failure, WireError)
    assert said in str(client.failure)
    assert client.failure.exit_code == 4


def test_another_wire_version_is_refused_at_the_handshake(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings()
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        client._agreement["wire version"] = 1
        table.connect(client)
        table.run()
    assert "wire version: server 2, client 1" in str(client.failure)


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
    assert "another client took the name 'ann'" in str(first.failure)
    assert second.failure is None


def test_a_label_out_of_range_is_refused_and_nothing_is_trained(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        table.run(num_messages=1)
        before = {n: t.clone() for n, t in server.half.model.state_dict().items()}
        peer, header, (maps, filter_C, labels) = table.waiting.pop()
        assert isinstance(labels, Parcel)
        bad = Parcel(torch.full_like(labels.values, 2))
        table.hand(peer, header, (maps, filter_C, bad))
        assert differing(server.half.model.state_dict(), before) == []
    assert "label 2 is out of range, expected 0 to 1" in str(client.failure)


def test_a_client_whose_data_has_a_label_out_of_range_does_not_begin(pictures: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    bad = replace(plan.data, train_labels_N=torch.full_like(plan.data.train_labels_N, 2))
    with pytest.raises(DataError, match="label 2 is out of range, expected 0 to 1"):
        small_client(replace(plan, data=bad), settings)


def test_a_client_with_a_bad_number_of_its_own_stops_and_says_goodbye(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        table.run(num_messages=1)
        peer, header, parts = table.waiting.pop()
        (out,) = server.received(peer, header, parts, num_bytes=1, now_s=0.0)
        maps, filter_gradient = out.parts
        before = [p.clone() for p in client.half.model.parameters()]
        said = client.received(out.header, (not_finite(maps), filter_gradient), now_s=0.0)
    assert [h.kind for h, _ in said] == [Kind.GOODBYE]
    assert isinstance(client.failure, TrainingError)
    assert all(map(torch.equal, before, client.half.model.parameters()))


class StoppedOnPurposeError(Exception):
    """The run was stopped where a test wanted it to be."""


def test_a_run_in_one_process_that_was_stopped_goes_on_as_if_it_had_not(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1,6:2", client_sync="fedavg", gradient_bits=8)
    config = tiny_config(pictures, rate_weight=0.0)

    def stop(record: DepruneEpoch) -> None:
        if record.epoch == 2:
            raise StoppedOnPurposeError

    with pytest.raises(StoppedOnPurposeError):
        deprune_locally(config, settings, tmp_path / "run", num_clients=2, epoch_done=stop)
    resumed, whole = (
        deprune_locally(config, settings, tmp_path / name, num_clients=2, resume=resume)
        for name, resume in (("run", True), ("whole", False))
    )
    assert resumed.record.members[0].sha256 == whole.record.members[0].sha256


def not_finite(parcel: object) -> Parcel:
    assert isinstance(parcel, Parcel)
    values = parcel.values.clone()
    values.view(-1)[0] = float("nan")
    return Parcel(values)


def test_a_number_that_is_not_finite_stops_the_run(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings))
        table.run(num_messages=1)
        peer, header, (maps, *others) = table.waiting.pop()
        with pytest.raises(TrainingError, match="not a finite number"):
            table.hand(peer, header, (not_finite(maps), *others))


def test_with_skip_its_step_is_refused_the_client_told_and_training_goes_on(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1", on_nan="skip")
    plan = small_plan(pictures, settings)
    records: list[DepruneEpoch] = []
    with small_server(plan, settings, tmp_path / "run", records=records) as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        table.run(num_messages=1)
        own = {n: p.clone() for n, p in client.half.model.named_parameters()}
        theirs = {n: t.clone() for n, t in server.half.model.state_dict().items()}
        peer, header, (maps, *others) = table.waiting.pop()
        (out,) = table.hand(peer, header, (not_finite(maps), *others))
        assert (out.header.status, out.parts) == (Status.NOT_FINITE, ())
        assert differing(own, dict(client.half.model.named_parameters())) == []
        assert differing(theirs, server.half.model.state_dict()) == []  # averages too
        table.run()
        assert server.is_finished
    (record,) = records
    assert record.refused == 1
    assert record.num_batches == NUM_STEPS - 1


@pytest.mark.parametrize(
    ("place", "answered"),
    [(Place(0, 0), Kind.GRADIENT), (Place(0, 3), Kind.REFUSE), (Place(1, 0), Kind.REFUSE)],
)
def test_a_replayed_batch_gets_its_old_answer_and_one_out_of_order_is_refused(
    pictures: Path, tmp_path: Path, place: Place, answered: Kind
) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings))
        table.run(num_messages=1)
        peer, header, parts = table.waiting.pop()
        (first,) = table.hand(peer, header, parts)
        before = {n: t.clone() for n, t in server.half.model.state_dict().items()}
        (again,) = table.hand(peer, replace(header, place=place), parts)
        assert again.header.kind is answered
        if answered is Kind.GRADIENT:
            assert again.parts is first.parts
        assert differing(server.half.model.state_dict(), before) == []


@pytest.mark.parametrize("dry_at", [0, 2])
def test_a_source_that_runs_dry_ends_the_epoch_or_the_client(
    pictures: Path, tmp_path: Path, dry_at: int
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        whole = client._source.material

        class Dry:
            def deal(self, deal: Deal):  # type: ignore[no-untyped-def]
                return iter(list(whole.deal(deal))[: max(0, dry_at - deal.first_step)])

        client._source = replace(client._source, material=Dry())
        table.connect(client)
        table.run()
        assert server.is_finished == bool(dry_at)
    if dry_at:
        assert client.failure is None
    else:
        assert isinstance(client.failure, DataError)
        assert "the data source ran dry" in str(client.failure)


def test_more_clients_than_pictures_are_refused(pictures: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with pytest.raises(DataError, match="leave none for this one"):
        small_client(plan, settings, share=(33, 33))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "2:1,9:1"}, "9:1 is impossible, 6 maps leave the split"),
        ({"client_sync": "gossip"}, "--client-sync: 'gossip' is not one of"),
        ({"feature_bits": 9}, "--feature-bits: found 9"),
        ({"on_nan": "pray"}, "--on-nan: 'pray'"),
    ],
)
def test_impossible_settings_are_refused(
    pictures: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        small_plan(pictures, small_settings(**changes))


def test_a_run_is_not_continued_with_other_settings(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run"):
        pass
    other = replace(settings, client_sync="relay")
    with (
        pytest.raises(HeadgateError, match="cannot be resumed with other settings"),
        small_server(plan, other, tmp_path / "run", resume=True),
    ):
        pass
