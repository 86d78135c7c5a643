"""Tests of turning data sets into tensors and of dealing them out in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.manifest import InputSpec
from headgate.profiles.pictures import preprocess
from headgate.train.pictures.data import (
    Augmentation,
    as_floats,
    augment,
    batches,
    default_augmentation,
    load_training_data,
    native_input,
    num_batches,
    open_split,
    val_batches,
)
from profiles.labelled_files import write_cifar10_binary, write_picture


def numbered(count: int, *, size_px: int = 4) -> tuple[Tensor, Tensor]:
    """Return pictures that are all of their own number, and the numbers as labels."""
    numbers = torch.arange(count)
    pictures = numbers.to(torch.uint8)[:, None, None, None].expand(count, 3, size_px, size_px)
    return pictures.contiguous(), numbers


def dealt(count: int, **options: int | bool) -> list[int]:
    pictures, labels = numbered(count)
    settings = {"batch_size": 4, "seed": 1, "epoch": 0, **options}
    made = batches(pictures, labels, **settings)  # type: ignore[arg-type]
    return [int(label) for batch in made for label in batch.labels_B]


def test_cifar10_is_loaded_as_it_lies_in_the_files(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data", count=3)
    data = load_training_data(f"cifar10:{tmp_path / 'data'}")
    train = open_split(f"cifar10:{tmp_path / 'data'}", "train")
    assert data.input == InputSpec(32, 32)
    assert data.train_pictures_NCHW.shape == (15, 3, 32, 32)
    assert data.train_pictures_NCHW.dtype == torch.uint8
    assert data.val_pictures_NCHW.is_contiguous()
    assert data.train_labels_N.tolist() == [train.label(index) for index in range(15)]
    np.testing.assert_array_equal(
        data.train_pictures_NCHW[14].permute(1, 2, 0).numpy(), train.picture(14)
    )


def test_pictures_are_preprocessed_as_on_the_device(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data", count=2)
    spec = InputSpec(20, 24, "crop", "bicubic")
    data = load_training_data(f"cifar10:{tmp_path / 'data'}", spec)
    wanted = preprocess(open_split(f"cifar10:{tmp_path / 'data'}", "val").picture(1), spec)
    np.testing.assert_array_equal(data.val_pictures_NCHW[1].permute(1, 2, 0).numpy(), wanted)


def test_folders_of_mixed_sizes_become_one_tensor(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "cat" / "a.png", shade=10, size_px=(20, 30))
    write_picture(tmp_path / "train" / "dog" / "a.png", shade=20, size_px=(40, 10))
    write_picture(tmp_path / "val" / "dog" / "a.png", shade=30)
    data = load_training_data(f"folder:{tmp_path}", InputSpec(8, 8, "crop"))
    assert data.train_pictures_NCHW[:, 0, 0, 0].tolist() == [10, 20]
    assert data.val_labels_N.tolist() == [1]
    assert native_input(f"folder:{tmp_path}") == InputSpec(20, 30)


def test_mean_and_deviation_are_of_the_training_pictures(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data", count=4)
    data = load_training_data(f"cifar10:{tmp_path / 'data'}")
    floats = data.train_pictures_NCHW.double() / 255
    assert data.mean == pytest.approx(floats.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert data.std == pytest.approx(floats.std((0, 2, 3)).tolist(), abs=1e-3)


def test_pictures_without_contrast_have_a_deviation_above_zero(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "cat" / "a.png", shade=10)
    write_picture(tmp_path / "val" / "cat" / "a.png", shade=10)
    assert min(load_training_data(f"folder:{tmp_path}").std) > 0


def test_a_limit_keeps_the_same_pictures_for_the_same_seed(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data", count=8)
    spec = f"cifar10:{tmp_path / 'data'}"
    first = load_training_data(spec, limit=5, seed=1)
    again = load_training_data(spec, limit=5, seed=1)
    other = load_training_data(spec, limit=5, seed=2)
    assert len(first.train_labels_N) == len(first.val_labels_N) == 5
    assert torch.equal(first.train_pictures_NCHW, again.train_pictures_NCHW)
    assert not torch.equal(first.train_pictures_NCHW, other.train_pictures_NCHW)
    assert first.digest == again.digest != other.digest


def test_digest_follows_the_input_and_not_an_unused_seed(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data")
    spec = f"cifar10:{tmp_path / 'data'}"
    whole = load_training_data(spec, seed=1)
    assert whole.digest == load_training_data(spec, seed=2).digest
    assert whole.digest != load_training_data(spec, InputSpec(16, 16)).digest


def test_the_embedded_data_set_loads_without_a_path() -> None:
    data = load_training_data("embedded:train=20,val=10", limit=15)
    assert data.train_pictures_NCHW.shape == (15, 3, 96, 96)
    assert len(data.val_labels_N) == 10
    assert data.num_classes == 10
    assert native_input("embedded:128") == InputSpec(128, 128)


def test_too_large_a_data_set_is_refused_before_it_is_read(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data")
    with pytest.raises(DataError, match="use --limit or a smaller --input-px"):
        load_training_data(f"cifar10:{tmp_path / 'data'}", max_bytes=10_000)


def test_an_impossible_limit_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--limit: 0 pictures"):
        load_training_data("embedded", limit=0)


def test_one_epoch_deals_every_picture_once_in_another_order() -> None:
    order = dealt(40)
    assert sorted(order) == list(range(40))
    assert order != list(range(40))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert dealt(40) == dealt(40)
    assert dealt(40) != dealt(40, epoch=1)
    assert dealt(40) != dealt(40, seed=2)


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_pictures_without_overlap(world_size: int, drop_last: bool) -> None:
    shares = [
        dealt(41, rank=rank, world_size=world_size, drop_last=drop_last)
        for rank in range(world_size)
    ]
    everything = [label for share in shares for label in share]
    assert len(set(everything)) == len(everything)
    assert len({len(share) for share in shares}) == 1
    assert drop_last or len(everything) > 41 - world_size


def test_an_incomplete_batch_is_dropped_unless_it_is_asked_for_or_the_only_one() -> None:
    assert len(dealt(10, batch_size=4)) == 8
    assert len(dealt(10, batch_size=4, drop_last=False)) == 10
    assert len(dealt(10, batch_size=64)) == 10


@pytest.mark.parametrize("count", [1, 3, 10, 41])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("drop_last", [True, False])
def test_the_number_of_batches_is_known_beforehand(
    count: int, batch_size: int, world_size: int, drop_last: bool
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
                drop_last=drop_last,
            )
        )
        assert len(made) == num_batches(
            count, batch_size=batch_size, world_size=world_size, drop_last=drop_last
        )
        assert all(len(batch.labels_B) for batch in made)


def test_pictures_stay_with_their_labels() -> None:
    pictures, labels = numbered(30)
    made = batches(
        pictures, labels, batch_size=7, seed=0, epoch=0, augmentation=Augmentation(2, mirror=True)
    )
    for batch in made:
        assert (batch.pictures_BCHW == batch.labels_B[:, None, None, None]).all()


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


def test_digits_are_never_mirrored_and_photographs_are() -> None:
    assert default_augmentation("embedded", input_px=96) == Augmentation(6, mirror=False)
    assert default_augmentation("cifar10:/data", input_px=32) == Augmentation(4, mirror=True)
    assert not default_augmentation("npz:/data", input_px=32).mirror


def test_floats_are_from_0_to_1() -> None:
    pictures_BCHW = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert as_floats(pictures_BCHW).flatten().tolist() == [0.0, pytest.approx(0.2), 1.0]
