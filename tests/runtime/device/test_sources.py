import contextlib
import itertools
import os
import re
import struct
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headgate.profiles.errors import DataError, HeadgateError, UsageError
from headgate.runtime.device.sources import MANY_DAMAGED, in_turns, open_source
from runtime.tiny_family import tinted_pictures


def write_video(path: Path, *, num_frames: int, fps: int = 25, darker_left: bool = False) -> Path:
    """Write an MPEG-4 video whose frames get brighter, and are dark again after twelve."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(fps))
        stream.width = stream.height = 32
        for index in range(num_frames):
            picture = np.full((32, 32, 3), 20 * index % 256, np.uint8)
            if darker_left:
                picture[:, 16:] += 100
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def damage(clip: Path, first: int, end: int) -> None:
    """Overwrite the pictures of an AVI file from number `first` to before `end`."""
    data = bytearray(clip.read_bytes())
    for chunk in list(re.finditer(rb"00dc", data))[first:end]:
        size = int.from_bytes(data[chunk.end() : chunk.end() + 4], "little")
        data[chunk.end() + 4 : chunk.end() + 4 + size] = bytes(size)
    clip.write_bytes(data)


def turn_video(path: Path) -> None:
    """Mark an MP4 to be shown turned by a quarter with the clock, as telephones do.

    The matrix of the track header (ISO/IEC 14496-12) is the identity when it is written.
    """
    one = 1 << 16
    data = path.read_bytes()
    plain = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, one, 0, -one, 0, 0, 32 * one, 0, 1 << 30)
    place = data.index(plain, data.index(b"tkhd"))
    path.write_bytes(data[:place] + turned + data[place + len(turned) :])


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


def test_a_video_yields_every_frame_at_its_own_rate_and_ends(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "clip.mp4", num_frames=5)))
    brightness = [float(frame.picture.mean()) for frame in source.frames()]
    assert len(brightness) == 5
    assert brightness == sorted(brightness)
    assert source.fps == 25
    assert len(list(source.frames())) == 5  # it can be played again


def test_a_video_that_was_filmed_upright_is_seen_upright(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", num_frames=1, darker_left=True)
    lying = next(iter(open_source(str(clip)).frames())).picture
    turn_video(clip)
    upright = next(iter(open_source(str(clip)).frames())).picture
    assert lying[:, :8].mean() < lying[:, 24:].mean()
    np.testing.assert_array_equal(upright, np.rot90(lying, -1))


def test_a_video_that_cannot_be_decoded_is_refused_at_the_start(tmp_path: Path) -> None:
    pytest.importorskip("av")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video" * 100)
    with pytest.raises(DataError, match=r"broken.mp4: cannot be opened as video"):
        open_source(str(broken))


def test_damaged_pictures_of_a_video_are_left_out_and_those_after_them_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = write_video(tmp_path / "clip.avi", num_frames=40)
    damage(clip, 10, 13)
    num_frames = len(list(open_source(str(clip)).frames()))
    assert num_frames == 37
    assert "a picture is damaged and left out" in caplog.text


def test_a_video_of_which_nothing_can_be_decoded_any_more_ends(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", num_frames=3 * MANY_DAMAGED)
    damage(clip, 20, 3 * MANY_DAMAGED)
    frames = open_source(str(clip)).frames()
    with pytest.raises(DataError, match=r"cannot be decoded after frame (19|20) "):
        list(frames)


def test_a_video_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "clip.avi", num_frames=12)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    num_frames = 0
    with contextlib.suppress(DataError):  # some decoders notice, some just end
        for _ in open_source(str(cut)).frames():
            num_frames += 1
    assert num_frames < 12


def test_a_video_that_breaks_off_as_if_all_were_well_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_video(tmp_path / "clip.mkv", num_frames=100)
    assert len(list(open_source(str(whole)).frames())) == 100
    assert caplog.text == ""
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = open_source(str(cut))
    for _ in range(2):
        assert 10 < len(list(source.frames())) < 90
    (said,) = caplog.messages
    assert said.startswith(f"INPUT {cut}: ends after ")
    assert said.endswith(" s, but is said to last 4.0 s; check that the file is whole")


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


def test_without_pyav_a_video_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"video")
    with pytest.raises(UsageError, match=r"extra `video` brings; pip install '\.\[video\]'"):
        open_source(str(clip))


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
