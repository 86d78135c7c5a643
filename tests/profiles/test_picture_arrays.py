"""Tests of opening .npz data sets, whole and broken."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headgate.profiles.datasets import open_dataset
from headgate.profiles.errors import DataError


def make_arrays(**changes: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "train_pictures": np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3),
        "train_labels": np.array([0, 1, 2, 1, 0]),
        "val_pictures": np.zeros((2, 4, 6, 3), dtype=np.uint8),
        "val_labels": np.array([1, 3], dtype=np.uint8),
    }
    return {name: value for name, value in (arrays | changes).items() if value is not None}


def test_npz_classes_come_from_both_splits(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "set.npz", **make_arrays())
    train = open_dataset(f"npz:{tmp_path / 'set.npz'}", "train")
    assert train.labels == ("0", "1", "2", "3")
    assert len(train) == 5
    assert train.label(2) == 2
    np.testing.assert_array_equal(train.picture(4), make_arrays()["train_pictures"][4])


def test_npz_class_names_are_read(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "fox", "owl"])  # of cats there need be no picture
    few = {"train_labels": np.array([1, 2, 3, 1, 2]), "label_names": names}
    np.savez(tmp_path / "set.npz", **make_arrays(**few))
    assert open_dataset(f"npz:{tmp_path / 'set.npz'}", "val").labels == ("cat", "dog", "fox", "owl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": None}, "no array val_labels"),
        ({"train_pictures": np.zeros((5, 4, 6, 3))}, "is float64"),
        ({"train_pictures": np.zeros((5, 4, 6), np.uint8)}, r"uint8 \(5, 4, 6\), expected"),
        ({"train_pictures": np.zeros((4, 4, 6, 3), np.uint8)}, "there are 5 labels"),
        ({"train_pictures": np.zeros((5, 0, 6, 3), np.uint8)}, "at least one"),
        ({"train_labels": np.array([0, 1, -2, 1, 0])}, "label -2 of picture 2"),
        ({"train_labels": np.array([0.0, 1, 2, 1, 0])}, "train_labels is float64"),
        ({"train_labels": np.array([0, 1, 2**40, 1, 0])}, "largest label"),
        ({"label_names": np.array(["cat", "dog"])}, r"label 2 of picture 2, expected 0 to 1"),
        ({"label_names": np.array([1, 2])}, "label_names is int64"),
        ({"label_names": np.array([*"abca"])}, "label_names: two classes are called 'a', expected"),
        ({"label_names": np.array([*"abc", "\udcff"])}, r"class '\\udcff' has a name that is not"),
        ({"train_pictures": np.array([{}], dtype=object)}, "Object arrays cannot be loaded"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "set.npz", **make_arrays(**changes))
    with pytest.raises(DataError, match=message):
        open_dataset(f"npz:{tmp_path / 'set.npz'}", "train")


@pytest.mark.parametrize("keep_bytes", [0, 10, 600])
def test_a_truncated_npz_is_refused(tmp_path: Path, keep_bytes: int) -> None:
    file = tmp_path / "set.npz"
    np.savez(file, **make_arrays())
    file.write_bytes(file.read_bytes()[:keep_bytes])
    with pytest.raises(DataError, match=r"set\.npz: .*, expected a whole \.npz file"):
        open_dataset(f"npz:{file}", "train")


def test_a_missing_npz_and_a_plain_npy_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file"):
        open_dataset(f"npz:{tmp_path / 'nowhere.npz'}", "train")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="not an archive"):
        open_dataset(f"npz:{tmp_path / 'one.npy'}", "train")


def test_a_file_that_is_no_archive_is_refused_without_advice_to_trust_it(tmp_path: Path) -> None:
    (tmp_path / "notes.npz").write_text("hello")
    with pytest.raises(DataError, match=r"not an archive, expected a whole \.npz") as caught:
        open_dataset(f"npz:{tmp_path / 'notes.npz'}", "train")
    assert "pickle" not in str(caught.value)


def test_a_damaged_lzma_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", **make_arrays())
    file = tmp_path / "lzma.npz"
    with (
        zipfile.ZipFile(tmp_path / "set.npz") as plain,
        zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
        starts = [member.header_offset for member in packed.infolist()]
    content = bytearray(file.read_bytes())
    for start in starts:
        content[start + 60 : start + 80] = b"\xff" * 20
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"lzma\.npz: .*, expected a whole \.npz file"):
        open_dataset(f"npz:{file}", "train")


@pytest.mark.parametrize(
    ("offset", "value", "message"), [(8, 1, "is encrypted"), (10, 97, "method is not supported")]
)
def test_an_archive_that_cannot_be_unpacked_is_refused(
    tmp_path: Path, offset: int, value: int, message: str
) -> None:
    file = tmp_path / "set.npz"
    np.savez(file, **make_arrays())
    content = bytearray(file.read_bytes())
    for entry in re.finditer(b"PK\x01\x02", bytes(content)):  # of the list at the archive's end
        content[entry.start() + offset] = value
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_dataset(f"npz:{file}", "train")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_no_archive_is_looked_for_in_what_may_have_no_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a pipe or a device, expected a whole"):
        open_dataset(f"npz:{tmp_path / 'pipe'}", "train")
    with pytest.raises(DataError, match="is a folder, expected a whole"):
        open_dataset(f"npz:{tmp_path}", "train")
