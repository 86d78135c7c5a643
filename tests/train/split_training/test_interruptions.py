"""Claims about messages that are lost and sides that stop: nothing is trained twice, or lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from headgate.profiles.errors import UsageError
from headgate.profiles.train_messages import Kind, Place
from headgate.train.folder.run_folder import load_run
from headgate.train.split_training.deprune import deprune_locally
from train.split_training.one_network import trained_in_one_piece
from train.split_training.small import (
    NUM_STEPS,
    Table,
    differing,
    small_client,
    small_plan,
    small_server,
    small_settings,
    weights_of,
)
from train.tiny_runs import tiny_config


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


@pytest.mark.parametrize(
    ("changes", "share", "said"),
    [
        ({"batch_size": 4}, (1, 1), "batch size: now 4, before 8"),
        ({"augment": False}, (1, 1), "augment: now False, before True"),
        ({"seed": 3}, (1, 1), "seed: now 3, before 0"),
        ({"limit": 16}, (1, 1), "data: now"),
        ({}, (1, 2), "share: now 1/2, before 1/1"),
    ],
)
def test_a_client_does_not_resume_with_other_settings(
    pictures: Path, tmp_path: Path, changes: dict[str, object], share: tuple[int, int], said: str
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    folder = tmp_path / "state"
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings, folder=folder))
        table.run(num_messages=2)
    other = small_plan(pictures, settings, **changes)
    with pytest.raises(UsageError, match=said):
        small_client(other, settings, share=share, folder=folder, resume=True)


def test_a_client_that_begins_anew_never_resumes_what_lay_in_its_folder(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    folder = tmp_path / "state"
    with small_server(plan, settings, tmp_path / "first") as server:
        table = Table(server)
        table.connect(small_client(plan, settings, folder=folder))
        table.run()
        assert server.is_finished
    with small_server(plan, settings, tmp_path / "second") as server:
        table = Table(server)
        first = small_client(plan, settings, folder=folder)
        table.connect(first)
        table.run(num_messages=3)
        table.cut(first)
        client = small_client(plan, settings, folder=folder, resume=True)
        table.connect(client)
        table.run()
        assert server.is_finished
    assert client.failure is None
