"""Claims about batches: who is dealt what, and what may be done to a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from headgate.train.pictures.batches import (
    Augmentation,
    as_floats,
    augment,
    batches,
    num_batches,
    val_batches,
)


def numbered(count: int, *, size_px: int = 4) -> tuple[Tensor, Tensor]:
    """Return pictures that are all of their own number, and the numbers as labels."""
    numbers = torch.arange(count)
    pictures = numbers.to(torch.uint8)[:, None, None, None].expand(count, 3, size_px, size_px)
    return pictures.contiguous(), numbers


def dealt(count: int, **options: int) -> list[int]:
    pictures, labels = numbered(count)
    settings = {"batch_size": 4, "seed": 1, "epoch": 0, **options}
    made = batches(pictures, labels, **settings)  # type: ignore[arg-type]
    return [int(label) for batch in made for label in batch.labels_B]


def test_one_epoch_deals_every_picture_once_in_another_order() -> None:
    order = dealt(40)
    assert sorted(order) == list(range(40))
    assert order != list(range(40))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert dealt(40) == dealt(40)
    assert dealt(40) != dealt(40, epoch=1)
    assert dealt(40) != dealt(40, seed=2)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_pictures_without_overlap(world_size: int) -> None:
    shares = [
        dealt(41, batch_size=1, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    everything = [label for share in shares for label in share]
    assert len(set(everything)) == len(everything)
    assert len({len(share) for share in shares}) == 1
    assert len(everything) > 41 - world_size


def test_an_incomplete_batch_is_dropped_unless_it_is_the_only_one() -> None:
    assert len(dealt(10, batch_size=4)) == 8
    assert len(dealt(10, batch_size=64)) == 10


def test_ranks_get_as_many_pictures_where_one_batch_holds_all() -> None:
    assert [len(dealt(5, batch_size=64, rank=rank, world_size=2)) for rank in range(2)] == [2, 2]


@pytest.mark.parametrize("count", [1, 3, 10, 41])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("world_size", [1, 3])
def test_the_number_of_batches_is_known_beforehand(
    count: int, batch_size: int, world_size: int
) -> None:
    pictures, labels = numbered(count)
    for rank in range(world_size):
        made = list(
            batches(
                pictures,
                labels,
                batch_size=batch_size,
                seed=0,
                epoch=0,
                rank=rank,
                world_size=world_size,
            )
        )
        assert len(made) == num_batches(count, batch_size=batch_size, world_size=world_size)
        assert all(len(batch.labels_B) for batch in made)


def test_pictures_stay_with_their_labels() -> None:
    pictures, labels = numbered(30)
    made = batches(
        pictures, labels, batch_size=7, seed=0, epoch=0, augmentation=Augmentation(2, mirror=True)
    )
    for batch in made:
        assert (batch.pictures_BCHW == batch.labels_B[:, None, None, None]).all()


def test_pictures_are_augmented_anew_in_each_epoch_and_the_same_if_it_is_repeated() -> None:
    columns = torch.arange(8, dtype=torch.uint8).expand(32, 3, 8, 8).contiguous()

    def seen(epoch: int) -> Tensor:
        (batch,) = batches(
            columns,
            torch.arange(32),
            batch_size=32,
            seed=0,
            epoch=epoch,
            augmentation=Augmentation(2),
        )
        return batch.pictures_BCHW[batch.labels_B.argsort()]

    assert not torch.equal(seen(0), columns)
    assert not torch.equal(seen(0), seen(1))
    assert torch.equal(seen(0), seen(0))


def test_a_shift_larger_than_the_picture_stays_in_it() -> None:
    pictures = torch.arange(2 * 3, dtype=torch.uint8).view(1, 1, 2, 3).expand(64, 3, 2, 3)
    moved = augment(pictures, Augmentation(shift_px=9), draws=np.random.default_rng(0))
    assert moved.shape == pictures.shape
    assert set(moved.flatten().tolist()) == set(range(6))


def test_validation_deals_every_picture_once_in_order_over_all_ranks() -> None:
    pictures, labels = numbered(11)
    shares = [
        torch.cat(
            [
                batch.labels_B
                for batch in val_batches(pictures, labels, batch_size=2, rank=rank, world_size=3)
            ]
        ).tolist()
        for rank in range(3)
    ]
    assert shares[0] == [0, 3, 6, 9]
    assert sorted(label for share in shares for label in share) == list(range(11))


def test_a_shift_moves_the_whole_picture_and_mirrors_its_border() -> None:
    columns = torch.arange(8, dtype=torch.uint8).expand(64, 3, 8, 8).contiguous()
    moved = augment(columns, Augmentation(shift_px=2), draws=np.random.default_rng(0))
    allowed = {
        (2, 1, 0, 1, 2, 3, 4, 5),
        (1, 0, 1, 2, 3, 4, 5, 6),
        (0, 1, 2, 3, 4, 5, 6, 7),
        (1, 2, 3, 4, 5, 6, 7, 6),
        (2, 3, 4, 5, 6, 7, 6, 5),
    }
    assert {tuple(picture[1, 3].tolist()) for picture in moved} == allowed


def test_mirroring_reverses_about_half_of_the_pictures_from_left_to_right() -> None:
    columns = torch.arange(8, dtype=torch.uint8).expand(200, 3, 8, 8).contiguous()
    made = augment(columns, Augmentation(mirror=True), draws=np.random.default_rng(0))
    is_reversed = made[:, 0, 0, 0] == 7
    assert 70 < int(is_reversed.sum()) < 130
    assert torch.equal(made[is_reversed], columns[is_reversed].flip(3))


def test_no_augmentation_changes_nothing() -> None:
    pictures, _ = numbered(5)
    assert torch.equal(augment(pictures, Augmentation(), draws=np.random.default_rng(0)), pictures)


def test_floats_are_from_0_to_1() -> None:
    pictures_BCHW = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert as_floats(pictures_BCHW).flatten().tolist() == [0.0, pytest.approx(0.2), 1.0]
