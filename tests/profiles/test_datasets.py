"""Tests of opening labelled data sets in each of their layouts, whole and broken."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headgate.profiles.datasets import is_dataset_spec, open_dataset
from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.picture_folder import open_folder
from profiles.labelled_files import (
    cifar_records,
    write_cifar10_binary,
    write_cifar10_python,
    write_picture,
)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cifar100:/data", "'cifar100' is not one of cifar10, folder, npz"),
        ("/data", "is not one of"),
        ("folder:", "no path after folder:"),
    ],
)
def test_what_is_no_specification_is_a_usage_error(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_dataset(spec, "val")


def test_only_labelled_data_sets_are_recognised() -> None:
    assert is_dataset_spec("cifar10:/data")
    assert not is_dataset_spec("dir:/data")
    assert not is_dataset_spec("cifar10")


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_cifar10_binary_is_found_in_the_folder_or_below(tmp_path: Path, inner: str) -> None:
    write_cifar10_binary(tmp_path / "data" / inner)
    train = open_dataset(f"cifar10:{tmp_path / 'data'}", "train")
    val = open_dataset(f"cifar10:{tmp_path / 'data'}", "val")
    planes, labels = cifar_records("data_batch_3", count=4)
    assert (len(train), len(val)) == (20, 4)
    assert train.labels[train.label(9)] == val.labels[labels[1]]
    np.testing.assert_array_equal(train.picture(9), planes[1].reshape(3, 32, 32).transpose(1, 2, 0))
    assert train.size_px == (32, 32)
    assert train.picture(0).flags.c_contiguous
    assert train.digest != val.digest


def test_both_layouts_of_cifar10_hold_the_same(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "a" / "cifar-10-batches-bin")
    write_cifar10_python(tmp_path / "b" / "cifar-10-batches-py")
    binary = open_dataset(f"cifar10:{tmp_path / 'a'}", "train")
    python = open_dataset(f"cifar10:{tmp_path / 'b'}", "train")
    assert binary.digest == python.digest
    np.testing.assert_array_equal(binary.picture(7), python.picture(7))


def test_a_changed_label_changes_the_digest(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data")
    before = open_dataset(f"cifar10:{tmp_path / 'data'}", "val").digest
    file = tmp_path / "data" / "test_batch.bin"
    content = file.read_bytes()
    file.write_bytes(bytes([(content[0] + 1) % 10]) + content[1:])
    assert open_dataset(f"cifar10:{tmp_path / 'data'}", "val").digest != before


def test_a_missing_cifar10_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found nothing, expected a folder with data_batch_1\.bin"):
        open_dataset(f"cifar10:{tmp_path / 'nowhere'}", "train")
    with pytest.raises(DataError, match="found neither layout"):
        open_dataset(f"cifar10:{tmp_path}", "train")


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data")
    (tmp_path / "data" / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_4\.bin: No such file"):
        open_dataset(f"cifar10:{tmp_path / 'data'}", "train")
    assert len(open_dataset(f"cifar10:{tmp_path / 'data'}", "val")) == 4


@pytest.mark.parametrize(
    ("keep_bytes", "message"),
    [(3073 * 4 - 1, "expected whole records of 3073"), (0, "0 bytes"), (3073, "1 pictures, expec")],
)
def test_a_truncated_binary_batch_is_refused(tmp_path: Path, keep_bytes: int, message: str) -> None:
    write_cifar10_binary(tmp_path / "data")
    file = tmp_path / "data" / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:keep_bytes])
    with pytest.raises(DataError, match=rf"data_batch_2\.bin: .*{message}"):
        open_dataset(f"cifar10:{tmp_path / 'data'}", "train")


def test_a_label_out_of_range_names_file_and_picture(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "data")
    file = tmp_path / "data" / "test_batch.bin"
    content = bytearray(file.read_bytes())
    content[2 * 3073] = 10
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"test_batch\.bin: label 10 of picture 2, expected 0 to 9"):
        open_dataset(f"cifar10:{tmp_path / 'data'}", "val")


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"labels": [1]}, r"expected \['data'\] as well"),
        ({"data": [1, 2], "labels": [1]}, "data is list of 2"),
        ({"data": np.zeros((1, 3072), "u2"), "labels": [1]}, "data is uint16"),
        ({"data": np.zeros((1, 3071), "u1"), "labels": [1]}, r"\(1, 3071\)"),
        ({"data": np.zeros((2, 3072), "u1"), "labels": [1]}, "expected 2 whole numbers"),
        ({"data": np.zeros((1, 3072), "u1"), "labels": ["cat"]}, "expected 1 whole numbers"),
        ({"data": np.zeros((1, 3072), "u1"), "labels": [-1]}, "label -1 of picture 0"),
        ({"data": np.zeros((1, 3072), "u1"), "labels": [1 << 80]}, "expected 1 whole numbers"),
    ],
)
def test_a_wrong_python_batch_is_refused(
    tmp_path: Path, batch: dict[str, Any], message: str
) -> None:
    write_cifar10_python(tmp_path / "data")
    (tmp_path / "data" / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match=message):
        open_dataset(f"cifar10:{tmp_path / 'data'}", "val")


def test_a_malicious_python_batch_is_refused(tmp_path: Path) -> None:
    write_cifar10_python(tmp_path / "data")
    (tmp_path / "data" / "test_batch").write_bytes(b"cos\nsystem\n(S'echo no'\ntR.")
    with pytest.raises(DataError, match=r"test_batch: the pickle asks for os\.system"):
        open_dataset(f"cifar10:{tmp_path / 'data'}", "val")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_a_pipe_in_the_place_of_a_batch_is_not_waited_for(tmp_path: Path) -> None:
    write_cifar10_binary(tmp_path / "cifar")
    (tmp_path / "cifar" / "test_batch.bin").unlink()
    os.mkfifo(tmp_path / "cifar" / "test_batch.bin")  # nobody will ever write into it
    with pytest.raises(DataError, match=r"test_batch\.bin: is a pipe or a device, expected"):
        open_dataset(f"cifar10:{tmp_path}/cifar", "val")


def test_a_folder_with_train_and_val_is_read_as_it_is(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(["cat", "dog"]):
            for index in range(count):
                write_picture(tmp_path / split / name / f"{index}.png", shade=100 * label + index)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no picture")
    train = open_dataset(f"folder:{tmp_path}", "train")
    val = open_dataset(f"folder:{tmp_path}", "val")
    assert (len(train), len(val)) == (6, 4)
    assert train.labels == ("cat", "dog")
    assert [val.label(index) for index in range(4)] == [0, 0, 1, 1]
    assert val.picture(3)[0, 0, 0] == 101
    assert val.size_px == (6, 8)


def test_a_single_tree_is_split_by_name_into_disjoint_parts_that_stay(tmp_path: Path) -> None:
    for index in range(100):
        write_picture(tmp_path / "cat" / f"{index}.png", shade=index)
    train = open_folder(tmp_path, "train")
    val = open_folder(tmp_path, "val")
    names = [{part.path(index).name for index in range(len(part))} for part in (train, val)]
    assert len(train) + len(val) == 100
    assert not names[0] & names[1]
    assert 10 <= len(val) <= 30
    write_picture(tmp_path / "dog" / "new.png", shade=1)
    again = open_folder(tmp_path, "val")
    assert names[1] <= {again.path(index).name for index in range(len(again))}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for index in range(30):
        write_picture(tmp_path / "train" / f"{index}.png", shade=index)
        write_picture(tmp_path / "ship" / f"{index}.png", shade=index)
    assert open_dataset(f"folder:{tmp_path}", "val").labels == ("ship", "train")


def test_pictures_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "cat" / "a.png", shade=1)
    write_picture(tmp_path / "train" / "cat" / "b.png", shade=2)
    write_picture(tmp_path / "val" / "cat" / "a.png", shade=3)
    broken = tmp_path / "train" / "cat" / "b.png"
    broken.write_bytes(broken.read_bytes()[:50])
    train = open_dataset(f"folder:{tmp_path}", "train")
    assert train.picture(0)[0, 0, 0] == 1
    with pytest.raises(DataError, match=r"b\.png: 50 bytes, .*one whole .*, or remove it"):
        train.picture(1)


def test_decoded_pictures_are_kept_only_when_asked(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "cat" / "a.png", shade=1)
    write_picture(tmp_path / "val" / "cat" / "a.png", shade=3)
    kept = open_folder(tmp_path, "train", keep_decoded=True)
    read = open_folder(tmp_path, "train")
    assert kept.picture(0) is kept.picture(0)
    assert read.picture(0) is not read.picture(0)


def test_a_picture_of_another_size_changes_the_digest(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "cat" / "a.png", shade=1)
    write_picture(tmp_path / "val" / "cat" / "a.png", shade=3)
    before = open_dataset(f"folder:{tmp_path}", "train").digest
    assert open_dataset(f"folder:{tmp_path}", "train").digest == before
    write_picture(tmp_path / "train" / "cat" / "a.png", shade=1, size_px=(60, 80))
    assert open_dataset(f"folder:{tmp_path}", "train").digest != before


def test_file_names_need_not_be_text(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe.png")
    write_picture(tmp_path / "train" / "cat" / odd, shade=1)
    write_picture(tmp_path / "val" / "cat" / odd, shade=3)
    dataset = open_dataset(f"folder:{tmp_path}", "val")
    assert dataset.picture(0).max() == 3
    before = dataset.digest
    os.rename(tmp_path / "val" / "cat" / odd, tmp_path / "val" / "cat" / "a.png")
    assert open_dataset(f"folder:{tmp_path}", "val").digest != before
    for name in (odd, "b.png", "c.png", "d.png", "e.png", "f.png"):  # and split by their names
        write_picture(tmp_path / "single" / "cat" / name, shade=1)
    halves = [open_folder(tmp_path / "single", each) for each in ("train", "val")]
    assert sum(map(len, halves)) == 6


def test_a_class_whose_name_is_no_text_is_refused_by_its_name(tmp_path: Path) -> None:
    odd = os.fsdecode(b"do\xff")
    for half in ("train", "val"):
        write_picture(tmp_path / half / odd / "a.png", shade=1)
    with pytest.raises(DataError, match=r"train: class 'do\\udcff' has a name that is not UTF-8"):
        open_folder(tmp_path, "train")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no picture for train"),
        (["a.png"], "no picture for train"),
        (["train/cat/a.png"], "but no such val/"),
        (["val/cat/a.png"], "but no such train/"),
        (["train/cat/a.png", "val/dog/a.png"], "class 'dog', expected only those of train/"),
    ],
)
def test_incomplete_folders_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    for file in files:
        write_picture(tmp_path / file, shade=1)
    with pytest.raises(DataError, match=message):
        open_dataset(f"folder:{tmp_path}", "train")


@pytest.mark.parametrize("root", [".", "train"])
def test_a_folder_without_pictures_is_no_class_to_train(tmp_path: Path, root: str) -> None:
    for half in ("train", "val") if root == "train" else (".",):
        for index in range(20):
            write_picture(tmp_path / half / "cat" / f"{index}.png", shade=index)
    (tmp_path / root / "notes").mkdir()
    (tmp_path / root / "notes" / "scan.pdf").write_bytes(b"%PDF")
    message = r"class 'notes' has no picture \(of \.bmp, .*; remove its folder, or convert"
    with pytest.raises(DataError, match=message):
        open_folder(tmp_path, "train")
    assert open_folder(tmp_path, "val").labels == ("cat", "notes")  # to measure on is allowed


def test_pictures_that_cannot_be_read_are_not_left_out_without_a_word(tmp_path: Path) -> None:
    for index in range(20):
        write_picture(tmp_path / "cat" / f"{index}.png", shade=index)
    for name in ("x.HEIC", "y.avif"):
        (tmp_path / "cat" / name).write_bytes(b"ftyp")
    with pytest.raises(DataError, match=r"'cat/x\.HEIC' and 1 more cannot be read, .* convert"):
        open_folder(tmp_path, "train")


def test_every_class_has_a_picture_to_train_on_however_few_it_has(tmp_path: Path) -> None:
    for label in range(30):  # a fifth of them would lie in validation alone
        write_picture(tmp_path / f"class {label}" / "only.png", shade=label)
    train = open_folder(tmp_path, "train")
    assert [train.label(index) for index in range(len(train))] == list(range(30))
    for label in range(30):
        write_picture(tmp_path / f"class {label}" / "other.png", shade=label)
    train, val = open_folder(tmp_path, "train"), open_folder(tmp_path, "val")
    assert {train.label(index) for index in range(len(train))} == set(range(30))
    assert len(train) + len(val) == 60


def test_sizes_are_read_from_headers_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    for index in range(2):
        (tmp_path / "train" / "cat").mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (40, 30))
        picture.save(
            tmp_path / "train" / "cat" / f"{index}.jpg", exif=exif if index else Image.Exif()
        )
    write_picture(tmp_path / "val" / "cat" / "a.png", shade=1)
    assert open_folder(tmp_path, "train").some_sizes_px(64) == [(30, 40), (40, 30)]
    assert open_folder(tmp_path, "train").some_sizes_px(1) == [(30, 40)]


def test_a_pipe_among_pictures_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    for half in ("train", "val"):
        write_picture(tmp_path / half / "cat" / "a.png", shade=1)
    os.mkfifo(tmp_path / "train" / "cat" / "b.png")
    with pytest.raises(DataError, match=r"b\.png: is a pipe or a device, expected a readable file"):
        open_folder(tmp_path, "train").some_sizes_px(64)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing, expected a folder"):
        open_dataset(f"folder:{tmp_path / 'nowhere'}", "train")


def test_too_few_pictures_to_be_split_are_counted(tmp_path: Path) -> None:
    write_picture(tmp_path / "cat" / "1.png", shade=3)
    spec = f"folder:{tmp_path}"
    assert len(open_dataset(spec, "train")) == 1
    with pytest.raises(
        DataError, match="1 pictures, too few to be split 80 to 20: none falls to val"
    ):
        open_dataset(spec, "val")
