"""Tests of turning data sets into tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.manifest import InputSpec
from headgate.profiles.pictures import preprocess
from headgate.train.pictures.batches import (
    Augmentation,
)
from headgate.train.pictures.data import (
    default_augmentation,
    load_training_data,
    native_input,
    open_split,
)
from profiles.labelled_files import write_cifar10_binary, write_picture


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


def test_digits_are_never_mirrored_and_photographs_are() -> None:
    assert default_augmentation("embedded", input_px=96) == Augmentation(6, mirror=False)
    assert default_augmentation("cifar10:/data", input_px=32) == Augmentation(4, mirror=True)
    assert not default_augmentation("npz:/data", input_px=32).mirror
