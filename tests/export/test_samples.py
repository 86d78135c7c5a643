"""Claims about the pictures of an export: whose they are, and which are set aside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.tiny_run import LENET, NUM_PICTURES, write_pictures, write_run
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.export.samples import HeldOut, Samples, load_samples, spread
from headgate.profiles.errors import DataError, UsageError
from headgate.train.folder.run_folder import load_run
from headgate.train.folder.run_record import SideEntry
from headgate.train.pictures.data import load_training_data
from headgate.train.run.picture_stage import held_out_pictures

OPTIONS = ExportOptions(num_calibration=16)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("lenet"), LENET)


def test_pictures_set_aside_for_confidence_are_not_measured(run: Path) -> None:
    samples = load_samples(load_run(run), data=None, num_calibration=4, limit=30, num_confidence=12)
    aside = {picture.tobytes() for picture in samples.confidence.pictures}
    assert (len(aside), len(samples.confidence.labels), len(samples.labels)) == (12, 12, 30)
    assert aside.isdisjoint(picture.tobytes() for picture in samples.pictures)
    with pytest.raises(UsageError, match=f"found {NUM_PICTURES}, and npz:.* has {NUM_PICTURES}"):
        load_samples(
            load_run(run), data=None, num_calibration=4, limit=None, num_confidence=NUM_PICTURES
        )


def test_some_pictures_are_of_all_classes_where_these_are_sorted() -> None:
    pictures = np.arange(100, dtype=np.uint8)[:, None, None, None]
    nobody = HeldOut(pictures[:0], np.arange(0))
    samples = Samples(pictures, pictures, np.arange(100), "", nobody, nobody)
    assert (samples.some(4).ravel() // 25).tolist() == [0, 1, 2, 3]
    assert len(samples.some(101)) == 100


@pytest.mark.parametrize(("num", "limit"), [(1000, 100), (1000, 64), (97, 96), (5, 1), (3, 0)])
def test_spread_pictures_are_of_all_classes_where_these_take_turns(num: int, limit: int) -> None:
    picks = spread(num, limit)
    assert np.array_equal(picks, spread(num, limit))
    assert len(picks) == limit
    assert (np.diff(picks) > 0).all()
    assert (np.abs(picks - np.arange(limit) * num / max(1, limit)) <= num / max(1, limit)).all()
    if limit >= 64:
        assert np.bincount(picks % 10, minlength=10).min() > 0


@pytest.mark.parametrize("drawn", [True, False])
def test_networks_are_chosen_by_pictures_that_neither_was_tuned_on(run: Path, drawn: bool) -> None:
    loaded = load_run(run)
    data = load_training_data(loaded.record.dataset.spec, loaded.input)
    train_NHWC = data.train_pictures_NCHW.numpy().transpose(0, 2, 3, 1)
    tuned = SideEntry("", "", accuracy=1, plain_accuracy=1, epochs=1, draws_held_out=drawn)
    record = replace(loaded.record, sides={"pictures": tuned})
    samples = load_samples(replace(loaded, record=record), data=None, num_calibration=4, limit=30)
    expected = train_NHWC[held_out_pictures(len(train_NHWC), drawn=drawn)]
    np.testing.assert_array_equal(samples.held_out.pictures, expected)


def test_the_digest_is_of_what_was_taken_of_the_data_set_too(run: Path) -> None:
    def digest(*, num_calibration: int = 4, limit: int | None = 30, num_confidence: int = 0) -> str:
        return load_samples(
            load_run(run),
            data=None,
            num_calibration=num_calibration,
            limit=limit,
            num_confidence=num_confidence,
        ).digest

    found = [digest(), digest(num_calibration=5), digest(limit=None), digest(num_confidence=9)]
    assert len(set(found)) == 4
    assert digest() == found[0]


def test_a_data_set_that_changed_since_training_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, LENET)
    write_pictures(tmp_path / "colours.npz", seed=9)
    with pytest.raises(DataError, match="was trained on"):
        export_family(run, tmp_path / "family", OPTIONS, print)


def test_a_data_set_of_other_classes_is_refused(run: Path, tmp_path: Path) -> None:
    with np.load(run.parent / "colours.npz") as arrays:
        np.savez(tmp_path / "other.npz", **arrays, label_names=np.array(["a", "b", "c"]))
    options = replace(OPTIONS, data=f"npz:{tmp_path / 'other.npz'}")
    with pytest.raises(DataError, match="3 classes are not the 3"):
        export_family(run, tmp_path / "family", options, print)
