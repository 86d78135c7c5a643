"""Claims about the cache of a frozen head's outputs."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from headgate.profiles.errors import UsageError
from headgate.train.learning.feature_cache import (
    CacheKey,
    FeatureCache,
    choose_num_variants,
    open_cache,
)
from headgate.train.learning.material import Deal, Lesson
from headgate.train.pictures.batches import Augmentation, as_floats
from headgate.train.pictures.data import TrainingData, load_training_data
from train.tiny_runs import write_pictures

DEAL = Deal(seed=3, epoch=0, batch_size=8, rank=0, world_size=1, first_step=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    pictures = write_pictures(tmp_path_factory.mktemp("pictures") / "tiny.npz")
    return load_training_data(f"npz:{pictures}")


def key(data: TrainingData, *, num_variants: int = 3, shift_px: int | None = 2) -> CacheKey:
    return CacheKey(
        weights="w",
        data=data.digest,
        seed=1,
        augmentation=None if shift_px is None else Augmentation(shift_px=shift_px),
        precision="float32",
        num_variants=num_variants,
        num_pictures=len(data.train_labels_N),
        num_validation=len(data.val_labels_N),
        shape=(3, 8, 8),
        num_classes=2,
    )


def look(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Halve the size; the answers are the means of red and green."""
    return torch.nn.functional.avg_pool2d(x_BCHW, 2), x_BCHW.mean(dim=(2, 3))[:, :2]


def never_look(x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    raise AssertionError("the head ran again")


def never_reserve(descriptor: int, offset: int, num_bytes: int) -> None:
    raise AssertionError("the disk was filled")


def find_no_space(descriptor: int, offset: int, num_bytes: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def made(folder: Path, wanted: CacheKey, data: TrainingData) -> FeatureCache:
    return open_cache(fabric(), folder / "cache", wanted, data=data, look=look)


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def whole_epoch(cache: FeatureCache, deal: Deal = DEAL) -> list[Lesson]:
    return list(cache.deal(deal))


def test_without_augmentation_lessons_are_what_the_head_makes_of_the_pictures(
    data: TrainingData, tmp_path: Path
) -> None:
    cache = made(tmp_path, key(data, num_variants=1, shift_px=None), data)
    lessons = whole_epoch(cache)
    features_BPHW, answers_BK = look(as_floats(data.train_pictures_NCHW))
    seen = torch.cat([lesson.x_BCHW for lesson in lessons])
    assert len(seen) == len(features_BPHW) == 32
    for lesson in lessons:
        assert lesson.at_split
        assert lesson.taught_BK is not None
        for x_PHW, label, answer_K in zip(
            lesson.x_BCHW, lesson.labels_B, lesson.taught_BK, strict=True
        ):
            near_N = (features_BPHW - x_PHW).abs().amax(dim=(1, 2, 3))
            index = int(near_N.argmin())
            assert near_N[index] < 1e-3
            assert label == data.train_labels_N[index]
            assert torch.allclose(answer_K, answers_BK[index], atol=1e-3)


@pytest.mark.parametrize("world_size", [1, 2])
def test_validation_features_are_exact_and_each_comes_once(
    world_size: int, data: TrainingData, tmp_path: Path
) -> None:
    cache = made(tmp_path, key(data), data)
    for rank in range(world_size):
        lessons = list(cache.validation(batch_size=5, rank=rank, world_size=world_size))
        features_BPHW, _ = look(as_floats(data.val_pictures_NCHW[rank::world_size]))
        assert torch.equal(torch.cat([lesson.x_BCHW for lesson in lessons]), features_BPHW)
        labels = torch.cat([lesson.labels_B for lesson in lessons])
        assert torch.equal(labels, data.val_labels_N[rank::world_size])
        assert all(lesson.at_split for lesson in lessons)


def test_epochs_take_other_variants_in_another_order(data: TrainingData, tmp_path: Path) -> None:
    cache = made(tmp_path, key(data), data)
    first = torch.cat([lesson.x_BCHW for lesson in whole_epoch(cache)])
    second = torch.cat([lesson.x_BCHW for lesson in whole_epoch(cache, replace(DEAL, epoch=1))])
    distance_NN = (first[:, None] - second[None]).abs().amax(dim=(2, 3, 4))
    assert (distance_NN.amin(dim=1) > 1e-3).sum() > 20  # of 32: nearly all are seen moved


def test_the_first_variant_is_the_picture_as_it_is_and_others_are_moved(
    data: TrainingData, tmp_path: Path
) -> None:
    plain_BPHW, _ = look(as_floats(data.train_pictures_NCHW))
    wanted = {tuple(features.flatten().tolist()) for features in plain_BPHW.half().float()}
    cache = made(tmp_path, key(data, num_variants=3), data)
    unmoved = [
        tuple(features.flatten().tolist()) in wanted
        for epoch in range(3)
        for lesson in cache.deal(replace(DEAL, epoch=epoch))
        for features in lesson.x_BCHW
    ]
    assert 32 <= sum(unmoved) < 2 * 32  # a draw may also move a picture by nothing


def test_an_epoch_can_begin_in_its_middle(data: TrainingData, tmp_path: Path) -> None:
    cache = made(tmp_path, key(data), data)
    whole, rest = whole_epoch(cache), whole_epoch(cache, replace(DEAL, first_step=2))
    assert len(whole) == 4
    assert len(rest) == 2
    for a, b in zip(whole[2:], rest, strict=True):
        assert torch.equal(a.x_BCHW, b.x_BCHW)
        assert torch.equal(a.labels_B, b.labels_B)


def test_processes_share_an_epoch_out(data: TrainingData, tmp_path: Path) -> None:
    cache = made(tmp_path, key(data, num_variants=1), data)
    both = [
        torch.cat(
            [
                lesson.x_BCHW
                for lesson in cache.deal(replace(DEAL, batch_size=4, rank=rank, world_size=2))
            ]
        )
        for rank in range(2)
    ]
    seen = torch.cat(both).flatten(1)
    assert len(seen) == 32
    assert len(torch.unique(seen, dim=0)) == 32


def test_a_cache_that_is_there_is_taken_and_one_of_another_key_made_anew(
    data: TrainingData, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    before = whole_epoch(made(tmp_path, key(data), data))
    again = open_cache(fabric(), folder, key(data), data=data, look=never_look)
    for a, b in zip(before, whole_epoch(again), strict=True):
        assert torch.equal(a.x_BCHW, b.x_BCHW)
    with pytest.raises(AssertionError, match="the head ran again"):
        open_cache(
            fabric(), folder, replace(key(data), weights="other"), data=data, look=never_look
        )


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"key": {}, "files": {}}'])
def test_a_cache_whose_key_is_something_else_is_made_again(
    text: str, data: TrainingData, tmp_path: Path
) -> None:
    made(tmp_path, key(data), data)
    (tmp_path / "cache" / "key.json").write_text(text)
    with pytest.raises(AssertionError, match="the head ran again"):
        open_cache(fabric(), tmp_path / "cache", key(data), data=data, look=never_look)


def test_a_cache_whose_making_was_interrupted_is_made_again(
    data: TrainingData, tmp_path: Path
) -> None:
    made(tmp_path, key(data), data)
    (tmp_path / "cache" / "key.json").unlink()
    with pytest.raises(AssertionError, match="the head ran again"):
        open_cache(fabric(), tmp_path / "cache", key(data), data=data, look=never_look)


@pytest.mark.parametrize("name", ["features.f16", "answers.f16", "validation.f32", "key.json"])
@pytest.mark.parametrize("share", [None, 0.0, 0.5])
def test_a_cache_of_which_a_file_is_missing_or_cut_is_made_again(
    name: str, share: float | None, data: TrainingData, tmp_path: Path
) -> None:
    before = whole_epoch(made(tmp_path, key(data), data))
    damaged = tmp_path / "cache" / name
    whole = damaged.read_bytes()
    damaged.unlink()
    if share is not None:
        damaged.write_bytes(whole[: int(share * len(whole))])
    for a, b in zip(before, whole_epoch(made(tmp_path, key(data), data)), strict=True):
        assert torch.equal(a.x_BCHW, b.x_BCHW)
        assert a.taught_BK is not None
        assert b.taught_BK is not None
        assert torch.equal(a.taught_BK, b.taught_BK)
    assert damaged.read_bytes() == whole


@pytest.mark.parametrize("name", ["features.f16", "answers.f16", "validation.f32"])
def test_a_cache_of_which_one_bit_is_another_is_made_again(
    name: str, data: TrainingData, tmp_path: Path
) -> None:
    cache = made(tmp_path, key(data), data)
    right = whole_epoch(cache)
    file = tmp_path / "cache" / name
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.unlink()  # the first one is still mapped
    file.write_bytes(damaged)
    again = whole_epoch(made(tmp_path, key(data), data))
    assert file.read_bytes() != damaged
    for before, after in zip(right, again, strict=True):
        assert torch.equal(before.x_BCHW, after.x_BCHW)


def test_a_disk_that_is_too_small_is_told_in_a_sentence_and_not_filled_first(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", never_reserve, raising=False)
    too_large = replace(key(data), num_variants=10**12)  # 12 PB
    with pytest.raises(UsageError, match=r"--cache-gb: .* cannot take .* GB \(No space left"):
        made(tmp_path, too_large, data)
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_others_fill_meanwhile_is_told_in_a_sentence(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", find_no_space, raising=False)
    with pytest.raises(UsageError, match=r"--cache-gb: .* cannot take .* GB \(No space left"):
        made(tmp_path, key(data), data)
    assert not (tmp_path / "cache").exists()


def test_what_a_cache_takes_is_known_beforehand(data: TrainingData, tmp_path: Path) -> None:
    made(tmp_path, key(data), data)
    files = ("features.f16", "answers.f16", "validation.f32")
    taken = sum((tmp_path / "cache" / name).stat().st_size for name in files)
    assert key(data).num_bytes == taken == 3 * 32 * (192 + 2) * 2 + len(data.val_labels_N) * 192 * 4


@pytest.mark.parametrize(
    ("epochs", "augmented", "limit_bytes", "expected"),
    [
        (36, True, 10**9, 8),
        (10, True, 10**9, 5),
        (10, False, 10**9, 1),
        (10, True, 3 * 2 * 100 * (50 + 20) + 4 * 10 * 50, 3),  # answers of 20 classes too
        (10, True, 3 * 2 * 100 * (50 + 20) + 4 * 10 * 50 - 1, 2),
        (10, True, 2 * 100 * (50 + 20) + 4 * 10 * 50 - 1, 0),
        (10, True, 0, 0),
        (1, True, 10**9, 0),
    ],
)
def test_variants_are_as_many_as_are_used_and_fit(
    epochs: int, augmented: bool, limit_bytes: int, expected: int
) -> None:
    found = choose_num_variants(
        num_pictures=100,
        num_validation=10,
        num_values=50,
        num_classes=20,
        epochs=epochs,
        augmented=augmented,
        limit_bytes=limit_bytes,
    )
    assert found == expected
