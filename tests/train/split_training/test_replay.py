"""Claims about batches that the server trains on again."""

from __future__ import annotations

import torch

from headgate.profiles.train_messages import Header, Kind, Place
from headgate.train.split_training.payload import Parcel
from headgate.train.split_training.replay import Replay


def batch(value: float) -> tuple[Parcel, Parcel, Parcel]:
    values = torch.full((2, 1, 2, 2), value)
    return Parcel(values), Parcel(values.flatten()[:1]), Parcel(torch.tensor([0, 1]))


def filled(num_passes: int, *, num_batches: int = 8, seed: int = 0, max_maps: int = 8) -> Replay:
    (maps, _, _) = batch(0.0)
    replay = Replay(num_passes, seed=seed, max_bytes=max_maps * maps.values.nbytes)
    for step in range(num_batches):
        replay.keep("ann", Header(Kind.BATCH, Place(1, step)), batch(float(step)))
    return replay


def steps_of(replay: Replay, *, epoch: int = 1) -> dict[int, list[int]]:
    """Return which steps each further pass has, in its order."""
    found: dict[int, list[int]] = {}
    for number, _, header, _ in replay.again(epoch):
        found.setdefault(number, []).append(header.place.step)
    return found


def test_each_further_pass_has_every_batch_once_in_an_order_of_its_own() -> None:
    found = steps_of(filled(3))
    assert found.keys() == {1, 2}
    assert sorted(found[1]) == sorted(found[2]) == list(range(8))
    assert found[1] != found[2]
    assert found == steps_of(filled(3))
    assert found != steps_of(filled(3), epoch=2)


def test_an_epoch_is_forgotten_once_it_was_trained_again() -> None:
    replay = filled(2)
    assert steps_of(replay)
    assert steps_of(replay) == {}


def test_with_one_pass_nothing_is_kept() -> None:
    assert steps_of(filled(1)) == {}


def test_what_is_kept_is_not_the_messages_memory() -> None:
    replay = Replay(2, seed=0)
    sent = batch(3.0)
    replay.keep("ann", Header(Kind.BATCH), sent)
    for parcel in sent:
        parcel.values.zero_()
    ((_, _, _, (maps, filter_C, labels)),) = replay.again(0)
    assert bool((maps.values == 3.0).all())
    assert bool((filter_C.values == 3.0).all())
    assert labels.values.tolist() == [0, 1]


def test_of_more_than_there_is_room_for_a_fair_sample_is_kept() -> None:
    times = [0] * 40
    for seed in range(300):
        (kept,) = steps_of(filled(2, num_batches=40, seed=seed)).values()
        assert len(kept) == len(set(kept)) == 8
        for step in kept:
            times[step] += 1
    assert min(times) > 30  # of 60 expected of each
    assert max(times) < 100


def test_batches_none_of_which_has_room_are_not_kept() -> None:
    assert steps_of(filled(2, max_maps=0)) == {}
