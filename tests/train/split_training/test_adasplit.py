"""Claims about whole trainings whose clients learn from their own loss."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from headgate.profiles.errors import TrainingError, UsageError
from headgate.profiles.train_messages import Kind, Place
from headgate.train.folder.run_folder import load_run
from headgate.train.split_training.adasplit import AdaSplitSettings
from headgate.train.split_training.deprune import deprune_locally
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.finished_networks import folder_of
from headgate.train.split_training.greeting import MAX_NAME
from headgate.train.split_training.settings import DepruneSettings
from train.split_training.small import (
    NUM_STEPS,
    Table,
    differing,
    small_client,
    small_plan,
    small_server,
    small_settings,
    two_clients,
)
from train.tiny_runs import StoppedOnPurposeError, tiny_config


def alone_settings(
    schedule: str = "6:3", *, changes: dict[str, Any] | None = None, **adasplit: Any
) -> DepruneSettings:
    """Return settings with one epoch in which nothing crosses, then half of all batches."""
    said = {"local_epochs": 1, "cross_share": 0.5, "orchestrator": "even", **adasplit}
    own = {"server_view": "masks", **(changes or {})}
    return small_settings(schedule, adasplit=AdaSplitSettings(**said), **own)


def test_halves_cross_and_half_of_the_batches_and_no_gradient(
    pictures: Path, tmp_path: Path
) -> None:
    settings = alone_settings()
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        crossed = []
        table.connect(client)
        while table.waiting:
            peer, header, parts = table.waiting.pop(0)
            crossed += [header.place] * (header.kind is Kind.BATCH)
            for each in table.hand(peer, header, parts):
                assert each.header.kind is not Kind.GRADIENT or each.parts == ()
        assert server.is_finished
    assert [(place.epoch, place.step) for place in crossed] == [
        (epoch, step) for epoch in (1, 2) for step in range(NUM_STEPS // 2)
    ]


def test_the_server_begins_to_learn_at_the_top_of_its_rate(pictures: Path, tmp_path: Path) -> None:
    config = tiny_config(pictures, rate_weight=0.0, schedule="constant")
    rates = []
    for local_epochs in (0, 2):
        settings = alone_settings("6:5", local_epochs=local_epochs)
        run = deprune_locally(config, settings, tmp_path / str(local_epochs))
        lines = [json.loads(line) for line in (run.path / "epochs.jsonl").open()]
        rates.append([line["learning_rate"] for line in lines])
    assert rates[1][:2] == [0.0, 0.0]
    assert rates[1][2:] == rates[0][:3]


def test_further_passes_of_the_server_cost_no_byte_and_are_the_same_after_a_stop(
    pictures: Path, tmp_path: Path
) -> None:
    config = tiny_config(pictures, rate_weight=0.0)
    once, twice = (alone_settings(server_passes=number) for number in (1, 2))

    def stop(record: DepruneEpoch) -> None:
        if record.epoch == 2:
            raise StoppedOnPurposeError

    with pytest.raises(StoppedOnPurposeError):
        deprune_locally(config, twice, tmp_path / "run", epoch_done=stop)
    runs = {
        name: deprune_locally(config, settings, tmp_path / name, resume=name == "run")
        for name, settings in (("run", twice), ("whole", twice), ("once", once))
    }
    sent = {
        name: [json.loads(line)["total_bytes"] for line in (run.path / "epochs.jsonl").open()]
        for name, run in runs.items()
    }
    assert sent["whole"] == sent["once"]
    digests = {name: run.record.members[0].sha256 for name, run in runs.items()}
    assert digests["run"] == digests["whole"] != digests["once"]


@pytest.mark.parametrize("local_loss", ["contrastive", "label"])
def test_a_client_trains_on_each_lesson_once_whether_or_not_it_crosses(
    pictures: Path, tmp_path: Path, local_loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = alone_settings(local_loss=local_loss)
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        client = small_client(plan, settings)
        taken: list[tuple[int, int]] = []
        take = client.half._steps.take

        def take_and_tell(place: Place, *, num_steps: int) -> None:
            taken.append((place.epoch, place.step))
            take(place, num_steps=num_steps)

        monkeypatch.setattr(client.half._steps, "take", take_and_tell)
        table = Table(server)
        table.connect(client)
        table.run()
    assert taken == [(epoch, step) for epoch in range(3) for step in range(NUM_STEPS)]


def test_what_the_server_says_and_does_changes_nothing_of_a_clients_half(
    pictures: Path, tmp_path: Path
) -> None:
    halves = []
    for lr_of_server in (1.0, 0.0):
        settings = alone_settings()
        plan = small_plan(pictures, settings)
        with small_server(plan, settings, tmp_path / str(lr_of_server)) as server:
            for parameter in server.half.model.parameters():
                parameter.data *= lr_of_server
            table = Table(server)
            client = small_client(plan, settings)
            table.connect(client)
            table.run()
            halves.append(client.half.extra_state() | dict(client.half.model.head.state_dict()))
    assert differing(halves[0], halves[1]) == []


def test_each_clients_network_is_published_and_the_runs_own_is_the_best_of_them(
    pictures: Path, tmp_path: Path
) -> None:
    settings = alone_settings(changes={"partition": "classes"})
    config = tiny_config(pictures, rate_weight=0.0)
    run = deprune_locally(config, settings, tmp_path / "run", num_clients=2)
    (*_, last) = [json.loads(line) for line in (run.path / "epochs.jsonl").open()]
    own = {name: load_run(run.path / "networks" / name) for name in ("client1", "client2")}
    for name, found in own.items():
        accuracy = found.record.members[0].accuracy
        assert accuracy == last["clients"][name]["accuracy"]
    best = max(own, key=lambda name: last["clients"][name]["accuracy"])
    assert run.record.members[0].sha256 == own[best].record.members[0].sha256
    assert len({found.record.members[0].sha256 for found in own.values()}) == 2


@pytest.mark.parametrize("name", ["../up", "a/b", ".", "..", "cam 1", "ä", MAX_NAME * "ä"])
def test_any_name_of_a_client_is_that_of_one_folder(name: str, tmp_path: Path) -> None:
    assert (tmp_path / folder_of(name)).parent == tmp_path
    assert (tmp_path / folder_of(name)).resolve().parent == tmp_path.resolve()
    (tmp_path / folder_of(name)).mkdir()


def test_long_names_that_begin_alike_are_those_of_two_folders() -> None:
    assert folder_of((MAX_NAME - 1) * "ä" + "1") != folder_of((MAX_NAME - 1) * "ä" + "2")


@pytest.mark.parametrize("changes", [{}, {"feature_bits": 4, "compress": True}])
def test_counted_bytes_are_those_of_the_encoded_messages_and_weights_are_the_same(
    pictures: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = tiny_config(pictures, rate_weight=0.0)
    settings = alone_settings(changes=changes, orchestrator="ucb")
    runs = [
        deprune_locally(config, settings, tmp_path / str(wire), through_wire=wire, num_clients=2)
        for wire in (False, True)
    ]
    counted, encoded = (
        [json.loads(line) for line in (run.path / "epochs.jsonl").open()] for run in runs
    )
    for key in ("bytes_up", "bytes_down", "num_batches"):
        assert [e[key] for e in counted] == [e[key] for e in encoded]
    assert counted[0]["num_batches"] == 0 < counted[1]["num_batches"]
    assert runs[0].record.members[0].sha256 == runs[1].record.members[0].sha256


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(pictures: Path, tmp_path: Path) -> None:
    settings = alone_settings("2:2,6:2", changes={"partition": "classes"}, orchestrator="ucb")
    config = tiny_config(pictures, rate_weight=0.0)

    def stop(record: DepruneEpoch) -> None:
        if record.epoch == 3:
            raise StoppedOnPurposeError

    with pytest.raises(StoppedOnPurposeError):
        deprune_locally(config, settings, tmp_path / "run", num_clients=2, epoch_done=stop)
    resumed, whole = (
        deprune_locally(config, settings, tmp_path / name, num_clients=2, resume=resume)
        for name, resume in (("run", True), ("whole", False))
    )
    for name in ("client1", "client2"):
        one, other = (load_run(run.path / "networks" / name) for run in (resumed, whole))
        assert one.record.members[0].sha256 == other.record.members[0].sha256


def test_a_client_that_works_alone_for_long_says_so_and_is_waited_for(
    pictures: Path, tmp_path: Path
) -> None:
    settings = alone_settings("6:2")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        ann, bo = two_clients(plan, settings)
        peers = {b"1": ann, b"2": bo}
        out = []
        for peer, client in peers.items():
            for header, parts in client.connected(now_s=0.0):
                out += server.received(peer, header, parts, num_bytes=1, now_s=0.0)
        for each in out:
            assert peers[each.peer].received(each.header, each.parts, now_s=0.0) == []
        said = [header.kind for step in (1, 2) for header, _ in ann.handle_timer(now_s=30.0 * step)]
        assert said == [Kind.WORKING, Kind.EPOCH_END]
        before = server.next_timer_s()
        ((header, parts),) = bo.handle_timer(now_s=50.0)
        assert header.kind is Kind.WORKING
        assert server.received(b"2", header, parts, num_bytes=1, now_s=50.0) == []
        assert server.session.roster.find("bo") is not None
        assert before == 60.0  # when both would have been given up


def test_a_client_whose_own_loss_is_not_finite_stops_and_says_so(
    pictures: Path, tmp_path: Path
) -> None:
    settings = alone_settings(local_epochs=0)
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        client = small_client(plan, settings)
        spoiled = next(iter(client.half.local_head.parameters()))  # type: ignore[attr-defined]
        with torch.no_grad():
            spoiled.fill_(float("nan"))
        table = Table(server)
        table.connect(client)
        with pytest.raises(TrainingError, match="client ann, epoch 1, batch 1"):
            table.run()
    assert "a gradient or average is not a finite number" in str(client.failure)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"local_epochs": 3}, "--local-epochs: found 3, expected 0 to 2"),
        ({"cross_share": 0.0}, "--cross-share: found 0, expected above 0 and at most 1"),
        ({"local_loss": "hope"}, "--local-loss: 'hope' is not one of contrastive, label"),
        ({"orchestrator": "dice"}, "--orchestrator: 'dice' is not one of ucb, even"),
        ({"server_passes": 0}, "--server-passes: found 0, expected 1 or more"),
        ({"temperature": 0.0}, "--temperature: found 0, expected more than 0"),
        ({"changes": {"server_view": "own"}}, "--server-view: 'own' is not one of"),
        ({"changes": {"partition": "size"}}, "--partition: 'size' is not one of"),
        ({"changes": {"mask_weight": -1.0}}, "--mask-weight: found -1, expected 0 or more"),
    ],
)
def test_impossible_settings_are_refused(
    pictures: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        small_plan(pictures, alone_settings(**changes))


def test_a_batch_in_an_epoch_in_which_nothing_crosses_is_refused(
    pictures: Path, tmp_path: Path
) -> None:
    settings = alone_settings()
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        while table.waiting[0][1].kind is not Kind.BATCH:
            table.run(num_messages=1)
        peer, header, parts = table.waiting.pop()
        before = {n: t.clone() for n, t in server.half.model.state_dict().items()}
        table.hand(peer, replace(header, place=Place(0, 0)), parts)
        assert differing(before, server.half.model.state_dict()) == []
    assert "nothing crosses before epoch 2" in str(client.failure)


def test_where_the_validation_half_has_none_of_a_clients_classes_all_of_it_counts(
    pictures: Path, tmp_path: Path
) -> None:
    settings = alone_settings(changes={"partition": "classes"})
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        num_val = len(plan.data.val_labels_N)
        for seen, expected in (({0}, None), ({7}, num_val), (set(), num_val)):
            server.half.labels_seen["ann"] = seen
            found = len(server.data_of("ann").val_labels_N)
            assert found == expected or (expected is None and 0 < found < num_val)


def test_a_client_that_waits_for_gradients_is_refused_by_a_server_that_sends_none(
    pictures: Path, tmp_path: Path
) -> None:
    settings = alone_settings()
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        client = small_client(plan, replace(settings, adasplit=None))
        table = Table(server)
        table.connect(client)
        table.run()
    assert "method: server adasplit, client nothing" in str(client.failure)
