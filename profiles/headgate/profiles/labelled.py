"""What a labelled data set is to every stage: RGB pictures by index, each with a label.

Array shapes: N pictures, H height, W width, C = 3 colours. Pictures are uint8 HWC everywhere.
"""

from __future__ import annotations

import hashlib
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import DataError

Picture = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Split = Literal["train", "val"]


class Dataset(Protocol):
    """One split of a labelled data set, readable in any order."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of the classes; a label is an index into them."""
        ...

    @property
    def digest(self) -> str:
        """Return a hex sha256 that changes when the pictures or labels change."""
        ...

    @property
    def size_px(self) -> tuple[int, int]:
        """Return height and width of the first picture; others may differ."""
        ...

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Picture:
        """Return one picture, uint8 HWC, in RGB order."""
        ...

    def label(self, index: int) -> int: ...


class ArrayDataset:
    """Pictures of one size that are already in memory, or mapped into it."""

    def __init__(
        self, *, pictures_NHWC: Picture, labels_N: Labels, names: tuple[str, ...], digest: str
    ) -> None:
        assert pictures_NHWC.ndim == 4
        assert pictures_NHWC.shape[3] == 3
        assert pictures_NHWC.dtype == np.uint8
        assert len(pictures_NHWC) == len(labels_N)
        self._pictures_NHWC = pictures_NHWC
        self._labels_N = labels_N
        self._names = names
        self._digest = digest

    @property
    def labels(self) -> tuple[str, ...]:
        return self._names

    @property
    def digest(self) -> str:
        return self._digest

    @property
    def size_px(self) -> tuple[int, int]:
        return self._pictures_NHWC.shape[1], self._pictures_NHWC.shape[2]

    def all_pictures(self) -> Picture:
        """Return all pictures at once, uint8 NHWC, not copied: training wants them in bulk."""
        return self._pictures_NHWC

    def all_labels(self) -> Labels:
        return self._labels_N

    def __len__(self) -> int:
        return len(self._labels_N)

    def picture(self, index: int) -> Picture:
        return np.array(self._pictures_NHWC[index], dtype=np.uint8, order="C")

    def label(self, index: int) -> int:
        return int(self._labels_N[index])


def check_labels(labels_N: npt.NDArray[np.integer], *, num_classes: int, where: str) -> Labels:
    """Return the labels as int64, or refuse the first one that is out of range."""
    wrong = np.flatnonzero((labels_N < 0) | (labels_N >= num_classes))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{where}: label {int(labels_N[first])} of picture {first}, "
            f"expected 0 to {num_classes - 1}; get or write the data set again"
        )
    return labels_N.astype(np.int64)


def digest_arrays(*arrays: npt.NDArray[np.generic], names: tuple[str, ...]) -> str:
    """Return the sha256 over shapes, contents and class names."""
    digest = hashlib.sha256("\n".join(names).encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
