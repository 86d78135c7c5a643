import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headgate.profiles.errors import DataError, HeadgateError, UsageError
from headgate.runtime.device.picture_sets import in_turns
from headgate.runtime.device.sources import open_source
from runtime.tiny_family import tinted_pictures


def test_a_folder_yields_its_pictures_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name, value in (("b.png", 2), ("a.png", 1), ("c.JPG", 200)):
        picture = Image.fromarray(np.full((4, 4, 3), value, np.uint8))
        picture.save(tmp_path / name, "PNG" if name.endswith("png") else "JPEG")
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_source(f"dir:{tmp_path}")
    assert [int(frame.picture[0, 0, 0]) for frame in source.frames()] == [1, 2, 200]
    assert source.labels is None
    assert source.fps is None


def test_each_pass_over_a_folder_plays_what_lies_there_as_it_begins(tmp_path: Path) -> None:
    for name, value in (("a.png", 1), ("c.png", 3)):
        Image.new("L", (4, 4), value).save(tmp_path / name)
    source = open_source(f"dir:{tmp_path}")
    assert [int(frame.picture[0, 0, 0]) for frame in source.frames()] == [1, 3]
    (tmp_path / "a.png").unlink()
    Image.new("L", (4, 4), 2).save(tmp_path / "b.png")
    assert [int(frame.picture[0, 0, 0]) for frame in source.frames()] == [2, 3]
    for name in ("b.png", "c.png"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"^INPUT dir:.*holds no pictures, expected files ending"):
        list(source.frames())


def test_a_folder_of_class_folders_is_told_how_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=f"holds no pictures.*; .* write folder:{tmp_path}$"):
        open_source(f"dir:{tmp_path}")


def test_a_labelled_set_tells_the_truth_with_every_picture(tiny_set: Path) -> None:
    source = open_source(f"npz:{tiny_set}")
    pictures, labels = tinted_pictures(40)
    assert [frame.truth for frame in source.frames()] == labels.tolist()
    np.testing.assert_array_equal(next(iter(source.frames())).picture, pictures[0])


def test_truths_are_counted_as_whoever_answers_counts_them(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "train" / name / "a.png")
        Image.new("RGB", (4, 4)).save(tmp_path / "val" / name / "a.png")
    labels = ("bird", "dog", "cat")
    source = open_source(f"folder:{tmp_path}", labels=labels)
    assert [frame.truth for frame in source.frames()] == [2, 1]
    assert source.labels == labels
    with pytest.raises(DataError, match=r"INPUT folder:.*1 of its 2 classes are not the family's"):
        open_source(f"folder:{tmp_path}", labels=("bird", "dog", "cow"))


def test_a_set_that_lies_class_after_class_is_played_in_turns() -> None:
    assert in_turns([0, 0, 0, 1, 1, 2]) == [0, 3, 5, 1, 4, 2]
    assert in_turns([0, 1, 0]) == [0, 1, 2]  # mixed already: as it is
    assert in_turns([]) == []


def test_fake_pictures_have_the_asked_size_and_repeat_by_seed() -> None:
    first, again, other = (
        next(iter(open_source(spec).frames())).picture
        for spec in ("fake://20x10", "fake://20x10", "fake://20x10?seed=1")
    )
    assert first.shape == (10, 20, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert next(iter(open_source("fake://").frames())).picture.shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("dir:/nowhere", DataError, "no such folder"),
        ("nowhere.mp4", DataError, "no such video file, and not one of dir:PATH"),
        ("fake://0x10", UsageError, "expected 1 to"),
        ("fake://axb", UsageError, "is not fake://WIDTHxHEIGHT"),
        ("fake://99999x99999", UsageError, "expected 1 to"),
        ("fake://[2x2", UsageError, r"is not fake://WIDTHxHEIGHT\[\?seed=N\]"),
        ("fake://2x2?sed=1", UsageError, "is not fake://WIDTHxHEIGHT"),
        ("fake://2x2/a?seed=1", UsageError, "is not fake://WIDTHxHEIGHT"),
        ("fake://2x2?seed=", UsageError, "is not fake://WIDTHxHEIGHT"),
        ("v4l2:///dev/video987", DataError, "no such camera '/dev/video987'"),
        ("embedded", UsageError, "no device has; `headgate demo` leaves pictures of it"),
        ("npz:/nowhere.npz", DataError, "nowhere.npz"),
        ("cifar10:/nowhere", DataError, "nowhere"),
    ],
)
def test_an_input_that_is_not_there_is_refused(
    spec: str, error: type[HeadgateError], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_source(spec)


@pytest.mark.parametrize(
    "spec",
    ["dir:/nowhere", "nowhere.mp4", "fake://0x10", "v4l2:///dev/video987", "embedded", __file__],
)
def test_what_is_refused_is_named_with_the_argument_it_was_given_for(spec: str) -> None:
    with pytest.raises(HeadgateError, match=f"^INPUT {spec}: "):
        open_source(spec)
    with pytest.raises(HeadgateError, match=f"^--video {spec}: "):
        open_source(spec, place="--video")


def test_a_plain_folder_is_told_how_to_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; write dir:"):
        open_source(str(tmp_path))
    with pytest.raises(DataError, match="holds no pictures"):
        open_source(f"dir:{tmp_path}")


def test_a_broken_picture_in_a_folder_is_named_when_its_turn_comes_and_those_after_it_follow(
    tmp_path: Path,
) -> None:
    for name in ("a.png", "c.png"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
    a, b, c = open_source(f"dir:{tmp_path}").frames()
    assert (a.fault, a.picture.shape) == (None, (4, 4, 3))
    assert (c.fault, c.picture.shape) == (None, (4, 4, 3))
    assert b.fault is not None
    assert b.fault.startswith(f"picture {tmp_path}/b.png: 11 bytes, ")


def test_a_folder_of_which_no_picture_can_be_read_ends_with_an_error(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG broken")
    frames = open_source(f"dir:{tmp_path}").frames()
    assert all(next(frames).fault for _ in range(2))
    with pytest.raises(DataError, match=r"not one of 2 pictures can be read; the last: picture"):
        next(frames)


def test_a_broken_picture_of_a_labelled_set_keeps_its_truth(tmp_path: Path) -> None:
    for name in ("train/cat/a.png", "train/dog/a.png", "val/cat/a.png", "val/dog/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    source = open_source(f"folder:{tmp_path}")
    (tmp_path / "val" / "dog" / "a.png").write_bytes(b"broken")
    assert [(frame.truth, bool(frame.fault)) for frame in source.frames()] == [
        (0, False),
        (1, True),
    ]


def test_fake_pictures_never_end() -> None:
    frames = itertools.islice(open_source("fake://2x2").frames(), 1000)
    assert sum(1 for _ in frames) == 1000


def test_a_pipe_folder_or_hidden_file_named_like_a_picture_is_passed_over_and_a_dead_link_named(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")  # opening it would block for ever
    (tmp_path / "c.png").mkdir()
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")  # a Mac leaves these beside what it copies
    assert len(list(open_source(f"dir:{tmp_path}").frames())) == 1
    (tmp_path / "d.png").symlink_to(tmp_path / "nowhere")
    _, dead = open_source(f"dir:{tmp_path}").frames()
    assert "d.png: No such file or directory" in str(dead.fault)
