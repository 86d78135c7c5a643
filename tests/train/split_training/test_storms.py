"""Claims about split training whose connections, messages and processes fail."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headgate.train.split_training.adasplit import AdaSplitSettings
from headgate.train.split_training.timetable import Timetable
from train.split_training.small import differing, small_plan, small_settings
from train.split_training.storms import TROUBLES, Storm, World
from train.tiny_runs import write_pictures

NUM_STEPS = 2  # of an epoch of each client
NUM_EPOCHS = 3
NUM_TROUBLES = 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pictures")
    return write_pictures(folder / "tiny.npz", num_train=16, num_val=4)


def world_of(
    pictures: Path,
    folder: Path,
    *,
    sync: str,
    num_clients: int,
    adasplit: AdaSplitSettings | None = None,
    timetable: Timetable | None = None,
    schedule: str = "2:1,6:2",
    **changes: object,
) -> World:
    settings = small_settings(
        schedule, client_sync=sync, feature_bits=8, gradient_bits=8, timetable=timetable
    )
    if adasplit is not None:
        settings = replace(settings, adasplit=adasplit, server_view="masks", mask_weight=0.01)
    batch_size = 16 // (NUM_STEPS * num_clients)
    plan = small_plan(pictures, settings, batch_size=batch_size)
    return World(plan, settings, folder, num_clients=num_clients, **changes)  # type: ignore[arg-type]


def troubled(world: World, seed: int) -> Storm:
    """Return a training that came to its end in spite of everything."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    storm = Storm(world, draw)
    storm.play([draw.choice(TROUBLES) for _ in range(NUM_TROUBLES)])
    return storm


def every_batch(world: World) -> list[tuple[int, str, int]]:
    """Return what each epoch should have trained: epoch, client, batches."""
    names = [f"client{number}" for number in range(1, world.num_clients + 1)]
    return [(epoch, name, NUM_STEPS) for epoch in range(1, NUM_EPOCHS + 1) for name in names]


def told_batches(storm: Storm) -> list[tuple[int, str, int]]:
    return [
        (record.epoch, name, client.num_batches)
        for record in storm.records
        for name, client in sorted(record.clients.items())
    ]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("sync", "num_clients"), [("none", 1), ("none", 2), ("relay", 2), ("fedavg", 2)]
)
def test_clients_that_keep_each_step_reach_the_bits_of_a_calm_run(
    pictures: Path, tmp_path: Path, sync: str, num_clients: int, seed: int
) -> None:
    """All weights, averages and rounding errors; a calm run has its batches in the same order."""
    world = world_of(pictures, tmp_path / "storm", sync=sync, num_clients=num_clients)
    storm = troubled(world, seed)
    assert told_batches(storm) == every_batch(world)
    calm = Storm(world_of(pictures, tmp_path / "calm", sync=sync, num_clients=num_clients))
    calm.in_order(storm.trained)
    assert differing(storm.tensors(), calm.tensors()) == []


@pytest.mark.parametrize("seed", [3])
@pytest.mark.parametrize("sync", ["none", "relay", "fedavg"])
@pytest.mark.parametrize("keeps_state", [True, False])
def test_whatever_clients_keep_each_batch_is_trained_once_and_all_come_to_an_end(
    pictures: Path, tmp_path: Path, sync: str, keeps_state: bool, seed: int
) -> None:
    world = world_of(
        pictures, tmp_path, sync=sync, num_clients=2, keeps_state=keeps_state, checkpoint_steps=0
    )
    storm = troubled(world, seed)
    assert told_batches(storm) == every_batch(world)
    assert sorted(storm.trained) == sorted(set(storm.trained))


@pytest.mark.parametrize("seed", [4])
@pytest.mark.parametrize("sync", ["none", "relay", "fedavg"])
def test_one_that_is_given_up_too_soon_trains_nothing_twice_and_all_come_to_an_end(
    pictures: Path, tmp_path: Path, sync: str, seed: int
) -> None:
    world = world_of(pictures, tmp_path, sync=sync, num_clients=2, client_timeout_s=30.0)
    storm = troubled(world, seed)
    assert sorted(storm.trained) == sorted(set(storm.trained))
    assert [record.epoch for record in storm.records] == list(range(1, NUM_EPOCHS + 1))


HALF_ALONE = AdaSplitSettings(local_epochs=1, cross_share=0.5, orchestrator="even")


@pytest.mark.parametrize("seed", range(3))
# Where one half goes round, batches alone do not tell whose turn came first in an epoch of none.
@pytest.mark.parametrize(("sync", "local_epochs"), [("none", 1), ("relay", 0), ("fedavg", 1)])
def test_clients_that_train_alone_reach_the_bits_of_a_calm_run(
    pictures: Path, tmp_path: Path, sync: str, local_epochs: int, seed: int
) -> None:
    adasplit = replace(HALF_ALONE, local_epochs=local_epochs)
    worlds = [
        world_of(pictures, tmp_path / name, sync=sync, num_clients=2, adasplit=adasplit)
        for name in ("storm", "calm")
    ]
    storm = troubled(worlds[0], seed)
    assert told_batches(storm) == [
        (epoch, name, number // 2 if epoch > local_epochs else 0)
        for epoch, name, number in every_batch(worlds[0])
    ]
    calm = Storm(worlds[1])
    calm.in_order(storm.trained)
    assert differing(storm.tensors(), calm.tensors()) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("keeps_state", [True, False])
def test_whatever_clients_keep_that_train_alone_all_come_to_an_end(
    pictures: Path, tmp_path: Path, keeps_state: bool, seed: int
) -> None:
    world = world_of(
        pictures,
        tmp_path,
        sync="none",
        num_clients=2,
        adasplit=replace(HALF_ALONE, local_loss="contrastive", orchestrator="ucb"),
        keeps_state=keeps_state,
        checkpoint_steps=0,
        client_timeout_s=30.0,
    )
    storm = troubled(world, seed)
    assert sorted(storm.trained) == sorted(set(storm.trained))
    assert [record.epoch for record in storm.records] == list(range(1, NUM_EPOCHS + 1))


IN_TURN = Timetable((("client1",), ("client2",), ("client1", "client2")))


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize(
    ("sync", "schedule"),
    [("relay", "6:1,2:2"), ("fedavg", "2:1,6:2"), ("fedavg", "6:1,2:2")],
)
def test_clients_train_in_their_epochs_and_reach_the_bits_of_a_calm_run(
    pictures: Path, tmp_path: Path, sync: str, schedule: str, seed: int
) -> None:
    worlds = [
        world_of(
            pictures,
            tmp_path / name,
            sync=sync,
            num_clients=2,
            timetable=IN_TURN,
            schedule=schedule,
        )
        for name in ("storm", "calm")
    ]
    storm = troubled(worlds[0], seed)
    assert [batch for batch in told_batches(storm) if batch[2]] == [
        (epoch, name, NUM_STEPS)
        for epoch, names in enumerate(IN_TURN.epochs, start=1)
        for name in names
    ]
    calm = Storm(worlds[1])
    calm.in_order(storm.trained)
    assert differing(storm.tensors(), calm.tensors()) == []


@pytest.mark.parametrize("seed", [0])
def test_with_a_timetable_too_all_come_to_an_end_whoever_is_given_up(
    pictures: Path, tmp_path: Path, seed: int
) -> None:
    world = world_of(
        pictures,
        tmp_path,
        sync="fedavg",
        num_clients=2,
        timetable=IN_TURN,
        client_timeout_s=30.0,
        keeps_state=False,
        checkpoint_steps=0,
    )
    storm = troubled(world, seed)
    assert sorted(storm.trained) == sorted(set(storm.trained))
    assert [record.epoch for record in storm.records] == list(range(1, NUM_EPOCHS + 1))
