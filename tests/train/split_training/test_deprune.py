"""Claims about whole split trainings: equal to one network's, resumable, and exact in its bytes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.train_messages import Kind
from headgate.train.folder.run_folder import load_run, partial_folder
from headgate.train.split_training.deprune import deprune_locally
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.wire_parcels import carry
from train.split_training.one_network import trained_in_one_piece
from train.split_training.small import (
    CPU,
    Table,
    differing,
    small_client,
    small_plan,
    small_server,
    small_settings,
)
from train.tiny_runs import StoppedOnPurposeError, tiny_config


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
    complete = deprune_locally(
        config, settings, tmp_path / "run", num_clients=2, resume=True, epoch_done=stop
    )
    assert complete == resumed


def test_a_run_whose_folder_is_moved_away_meanwhile_does_not_begin_another(
    pictures: Path, tmp_path: Path
) -> None:
    def moved(record: DepruneEpoch) -> None:
        partial_folder(tmp_path / "run").rename(tmp_path / "moved.partial")

    config, settings = tiny_config(pictures, rate_weight=0.0), small_settings()
    with pytest.raises(FileNotFoundError) as caught:
        deprune_locally(config, settings, tmp_path / "run", epoch_done=moved)
    assert str(partial_folder(tmp_path / "run")) in caught.value.filename
    assert [path.name for path in tmp_path.iterdir()] == ["moved.partial"]
    resumed = deprune_locally(config, settings, tmp_path / "moved", resume=True)
    assert len((resumed.path / "epochs.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("keeps_checkpoints", [True, False])
def test_a_run_whose_place_is_taken_meanwhile_is_published_later_without_training_again(
    keeps_checkpoints: bool, pictures: Path, tmp_path: Path
) -> None:
    out, config, settings = (
        tmp_path / "run",
        tiny_config(pictures, rate_weight=0.0),
        small_settings(),
    )
    epochs: list[int] = []

    def taken(record: DepruneEpoch) -> None:
        epochs.append(record.epoch)
        out.mkdir(exist_ok=True)
        (out / "notes.txt").write_text("precious")

    train = partial(
        deprune_locally,
        config,
        settings,
        out,
        num_clients=2,
        keeps_checkpoints=keeps_checkpoints,
        epoch_done=taken,
    )
    with pytest.raises(UsageError, match=r"it holds 'notes.txt'") as refused:
        train()
    assert "holds the trained run" in refused.value.__notes__[0]
    assert (out / "notes.txt").read_text() == "precious"
    out.rename(tmp_path / "moved")
    train(resume=True)
    assert epochs == [1, 2]
    assert len((load_run(out).path / "epochs.jsonl").read_text().splitlines()) == 2
