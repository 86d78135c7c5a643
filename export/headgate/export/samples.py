"""Get the pictures an export needs: some to calibrate with, others to measure on.

Ranges are calibrated on training pictures and points are measured on validation pictures: a
range fitted to the pictures it is judged on would look better than it is.

Shapes: N pictures, H W their size.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headgate.profiles.errors import DataError, UsageError
from headgate.train.folder.run_folder import Run
from headgate.train.pictures.data import TrainingData, load_training_data
from headgate.train.run.picture_stage import held_out_pictures
from headgate.train.stages import PICTURES

MAX_HELD_OUT = 400  # each is run through two networks at every quality


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pictures that what is decided by them was not fitted to, uint8 NHWC, and their labels."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Samples:
    """Pictures at the network's input size, uint8 NHWC, and the labels of those to measure on."""

    calibration: NDArray[np.uint8]
    pictures: NDArray[np.uint8]
    labels: NDArray[np.int64]
    digest: str  # of the data set, of everything it was read with, and of what was taken of it
    held_out: HeldOut  # of training; no network was tuned on them compressed
    confidence: HeldOut  # of validation, set aside: not among `pictures`

    def some(self, num: int) -> NDArray[np.uint8]:
        """Return `num` of the pictures to measure on, of all classes where they are sorted."""
        return self.pictures[spread(len(self.pictures), num)]


def load_samples(
    run: Run,
    *,
    data: str | None,
    num_calibration: int,
    limit: int | None,
    num_confidence: int = 0,
) -> Samples:
    """Read the run's own data set, or the one that `data` names.

    The run's own must still be what it was trained on. At most `limit` validation pictures are
    used, spread over the whole split: data sets on disk are often sorted by class. Before that,
    `num_confidence` of them are set aside to calibrate the early exits on.
    """
    found = _load(run, data)
    if found.labels != run.labels:
        raise DataError(
            f"data set {found.spec}: its {len(found.labels)} classes are not the "
            f"{len(run.labels)} of {run.path}; give --data with the classes of the training"
        )
    aside, rest = _set_aside(len(found.val_labels_N), num_confidence, where=found.spec)
    picks = rest[spread(len(rest), limit)]
    calibration = spread(len(found.train_labels_N), num_calibration)
    held_out = _held_out(found, run, own=data is None or data == run.record.dataset.spec)
    identity = f"{found.digest} {num_calibration} {limit}"
    if num_confidence:
        identity += f" {num_confidence}"
    return Samples(
        calibration=_nhwc(found.train_pictures_NCHW.numpy()[calibration]),
        pictures=_nhwc(found.val_pictures_NCHW.numpy()[picks]),
        labels=found.val_labels_N.numpy()[picks],
        digest=hashlib.sha256(identity.encode()).hexdigest(),
        held_out=HeldOut(
            pictures=_nhwc(found.train_pictures_NCHW.numpy()[held_out]),
            labels=found.train_labels_N.numpy()[held_out],
        ),
        confidence=HeldOut(
            pictures=_nhwc(found.val_pictures_NCHW.numpy()[aside]),
            labels=found.val_labels_N.numpy()[aside],
        ),
    )


def _held_out(found: TrainingData, run: Run, *, own: bool) -> NDArray[np.int64]:
    """Return the places of pictures to choose networks by; `own`: training had this data set."""
    num, tuned = len(found.train_labels_N), run.record.sides.get(PICTURES)
    drawn = tuned is None or tuned.draws_held_out
    candidates = held_out_pictures(num, drawn=drawn) if own else np.arange(num)
    return candidates[spread(len(candidates), MAX_HELD_OUT)]


def _set_aside(
    num: int, num_aside: int, *, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of `num_aside` pictures, spread over all, and those of the others."""
    if num_aside >= num:
        raise UsageError(
            f"--confidence-pictures: found {num_aside}, and {where} has {num} validation pictures, "
            "some of which must be left to measure on; give a smaller number"
        )
    aside = spread(num, num_aside)
    return aside, np.setdiff1d(np.arange(num), aside)


def _load(run: Run, data: str | None) -> TrainingData:
    settings = run.record.settings
    trained_on = run.record.dataset
    if data is not None and data != trained_on.spec:
        return load_training_data(data, run.input)
    found = load_training_data(trained_on.spec, run.input, limit=settings.limit, seed=settings.seed)
    if found.digest != trained_on.digest:
        raise DataError(
            f"data set {found.spec}: digest is {found.digest[:12]}, {run.path} was trained on "
            f"{trained_on.digest[:12]}; put the old one back, or name another with --data"
        )
    return found


def spread(num: int, limit: int | None) -> NDArray[np.int64]:
    """Return the indices of `limit` of `num` pictures, ascending, or of all.

    One is drawn from each of `limit` equal parts, the same one every time. Even distances would
    take pictures of one class where ten classes take turns.
    """
    if limit is None or limit >= num:
        return np.arange(num)
    ends = np.arange(limit + 1) * num // max(1, limit)
    return np.random.default_rng([num, limit]).integers(ends[:-1], ends[1:])


def _nhwc(pictures_NCHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pictures_NCHW.transpose(0, 2, 3, 1))
