"""Reads a labelled data set from folders of picture files, one folder per class.

Either PATH/train/CLASS/... and PATH/val/CLASS/..., or PATH/CLASS/... alone. The single tree is
split 80 to 20 by a hash of class and file name, so a picture stays on its side when others come
and go, and on every machine. Of each class at least one picture is for training: what all lies in
validation could not be learnt.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from headgate.profiles.class_names import check_names
from headgate.profiles.errors import DataError
from headgate.profiles.labelled import Picture, Split
from headgate.profiles.pictures import (
    PICTURE_SUFFIXES,
    UNREAD_SUFFIXES,
    load_picture,
    picture_size_px,
)

_VAL_PERCENT = 20
_REMEDY = "put pictures into PATH/train/CLASS/ and PATH/val/CLASS/, or into PATH/CLASS/"


class FolderDataset:
    """Pictures that are read from their files when they are asked for."""

    def __init__(
        self,
        *,
        root: Path,
        files: Sequence[tuple[str, int]],
        names: tuple[str, ...],
        keep_decoded: bool = False,
    ) -> None:
        """`files` are paths relative to `root` with a label each.

        `keep_decoded` keeps every picture that was read, as uint8: for sets that fit in memory
        and are gone through more than once.
        """
        assert files
        self._root = root
        self._files = tuple(files)
        self._names = names
        self._decoded: dict[int, Picture] | None = {} if keep_decoded else None

    @property
    def labels(self) -> tuple[str, ...]:
        return self._names

    @property
    def digest(self) -> str:
        """Return the sha256 over names, labels and file sizes.

        Contents are not read: that would take minutes for the larger sets, at every start.
        """
        digest = hashlib.sha256(_bytes_of("\n".join(self._names)))
        for name, label in self._files:
            digest.update(_bytes_of(f"{name}\0{label}\0{self._num_bytes(name)}\n"))
        return digest.hexdigest()

    @property
    def size_px(self) -> tuple[int, int]:
        height_px, width_px, _ = self.picture(0).shape
        return height_px, width_px

    def some_sizes_px(self, num: int) -> list[tuple[int, int]]:
        """Return height and width of at most `num` pictures spread over the set."""
        step = -(-len(self._files) // num)
        return [picture_size_px(self._root / name) for name, _ in self._files[::step]]

    def __len__(self) -> int:
        return len(self._files)

    def picture(self, index: int) -> Picture:
        if self._decoded is None:
            return load_picture(self._root / self._files[index][0])
        if index not in self._decoded:
            self._decoded[index] = load_picture(self._root / self._files[index][0])
        return self._decoded[index]

    def label(self, index: int) -> int:
        return self._files[index][1]

    def path(self, index: int) -> Path:
        return self._root / self._files[index][0]

    def _num_bytes(self, name: str) -> int:
        try:
            return (self._root / name).stat().st_size
        except OSError as error:
            raise DataError(
                f"folder {self._root / name}: {error.strerror}, expected the picture that was "
                "there; do not change the data set while it is read"
            ) from None


def open_folder(path: Path, split: Split, *, keep_decoded: bool = False) -> FolderDataset:
    """Open one split of a folder of class folders. Pictures are read later, one by one."""
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise DataError(f"folder {path}: found {found}, expected a folder; {_REMEDY}")
    if _is_split_in_two(path):
        names = _class_names(path / "train")
        _refuse_unknown_classes(_class_names(path / "val"), names, where=path / "val")
        root = path / split
        files = both_sides = _list_files(root, names)
    else:
        names = _class_names(path)
        root = path
        both_sides = _list_files(path, names)
        files = _side(both_sides, split)
        if both_sides and not files:
            raise DataError(
                f"folder {path}: {len(both_sides)} pictures, too few to be split 80 to 20: none "
                f"falls to {split}; add some, or make PATH/train/CLASS/ and PATH/val/CLASS/"
            )
    check_names(names, where=f"folder {root}")
    if not files:
        raise DataError(
            f"folder {root}: no picture for {split} (of {', '.join(sorted(PICTURE_SUFFIXES))}), "
            f"expected at least one; {_REMEDY}"
        )
    if split == "train":
        _refuse_unreadable(root, names)
        _refuse_empty_classes(both_sides, names, where=root)
    return FolderDataset(root=root, files=files, names=names, keep_decoded=keep_decoded)


def _is_split_in_two(path: Path) -> bool:
    """Say whether `path` holds train/ and val/; refuse one of them without the other.

    A class may be called train: such a folder holds pictures, not folders.
    """
    present = [name for name in ("train", "val") if _class_names(path / name)]
    if len(present) == 1:
        absent = "val" if present == ["train"] else "train"
        raise DataError(
            f"folder {path}: {present[0]}/ with class folders but no such {absent}/, expected "
            f"both; {_REMEDY}"
        )
    return len(present) == 2


def _class_names(path: Path) -> tuple[str, ...]:
    if not path.is_dir():
        return ()
    return tuple(
        sorted(entry.name for entry in path.iterdir() if entry.is_dir() and entry.name[0] != ".")
    )


def _refuse_unknown_classes(found: Sequence[str], names: Sequence[str], *, where: Path) -> None:
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise DataError(
            f"folder {where}: class {unknown[0]!r}, expected only those of train/; "
            "remove it or add training pictures of it"
        )


def _refuse_empty_classes(
    files: Sequence[tuple[str, int]], names: Sequence[str], *, where: Path
) -> None:
    """Refuse a folder that would be a class of its own without being one, or that is not read."""
    empty = sorted(set(range(len(names))) - {label for _, label in files})
    if empty:
        raise DataError(
            f"folder {where}: class {names[empty[0]]!r} has no picture (of "
            f"{', '.join(sorted(PICTURE_SUFFIXES))}), expected at least one; remove its folder, or "
            "convert what is in it"
        )


def _refuse_unreadable(root: Path, names: tuple[str, ...]) -> None:
    """Refuse pictures that would be left out without a word, as half of a telephone's would."""
    found = _list_files(root, names, suffixes=UNREAD_SUFFIXES)
    if found:
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise DataError(
            f"folder {root}: {found[0][0]!r}{others} cannot be read, expected pictures ending in "
            f"{', '.join(sorted(PICTURE_SUFFIXES))}; convert or remove them"
        )


def _list_files(
    root: Path, names: tuple[str, ...], *, suffixes: frozenset[str] = PICTURE_SUFFIXES
) -> list[tuple[str, int]]:
    """Return every picture file under the class folders, in an order that is always the same."""
    files = []
    for label, name in enumerate(names):
        for parent, folders, entries in os.walk(root / name):
            folders[:] = sorted(folder for folder in folders if folder[0] != ".")
            for entry in sorted(entries):
                if entry[0] != "." and Path(entry).suffix.lower() in suffixes:
                    files.append(((Path(parent) / entry).relative_to(root).as_posix(), label))
    return files


def _side(files: Sequence[tuple[str, int]], split: Split) -> list[tuple[str, int]]:
    """Return the files of one side; of a class that would all be validation one is for training."""
    shares = {name: _share(name) for name, _ in files}
    last: dict[int, str] = {}  # of each class, what goes to validation last
    for name, label in files:
        last[label] = max(last.get(label, name), name, key=lambda each: shares[each])
    return [
        (name, label)
        for name, label in files
        if (split == "val") == (shares[name] < _VAL_PERCENT and last[label] != name)
    ]


def _share(name: str) -> int:
    """Return a number from 0 to 99 that the name alone decides."""
    return int.from_bytes(hashlib.sha256(_bytes_of(name)).digest()[:8], "big") % 100


def _bytes_of(name: str) -> bytes:
    """Return the bytes of file names, which need not be text."""
    return name.encode(errors="surrogateescape")
