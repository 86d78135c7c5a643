"""Videos as they come: upright, damaged, cut short, and without the library that decodes them."""

import contextlib
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from headgate.profiles.errors import DataError, UsageError
from headgate.runtime.device.aside import StoppedError
from headgate.runtime.device.picture_source import SourceFrame
from headgate.runtime.device.sources import open_source
from headgate.runtime.device.video_source import MANY_DAMAGED, VideoSource


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


def test_without_pyav_a_video_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"video")
    with pytest.raises(UsageError, match=r"extra `video` brings; pip install '\.\[video\]'"):
        open_source(str(clip))


@contextlib.contextmanager
def falling_silent_after(data: bytes) -> Iterator[str]:
    """Serve `data` to whoever connects, then nothing; yield the address."""
    callers: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):  # until it is closed
            while True:
                callers.append(listener.accept()[0])
                callers[-1].sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for caller in callers:
        caller.close()


def stream_at(address: str) -> VideoSource:
    return VideoSource(
        address, address=address, form=None, is_live=True, where="INPUT x", timeout_s=0.2
    )


def test_a_stream_that_falls_silent_is_said_to_and_keeps_the_frames_before(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.ts", num_frames=60).read_bytes()
    frames: list[SourceFrame] = []
    with (
        falling_silent_after(data) as address,
        pytest.raises(DataError, match=r"after frame \d\d \(nothing came for 0\.2 s\)"),
    ):
        frames.extend(stream_at(address).frames())
    assert 30 <= len(frames) <= 60  # FFmpeg keeps back one for each further core
    with (
        falling_silent_after(b"") as address,
        pytest.raises(DataError, match=r"opened as video \(nothing came for 0\.2 s\)"),
    ):
        stream_at(address)


@contextlib.contextmanager
def camera(path: Path) -> Iterator[int]:
    """Make a pipe that has FFmpeg wait, as a driver does, with nothing to end it; yield its end."""
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)  # FFmpeg need not wait until somebody opens the other end
    try:
        yield end
    finally:
        os.close(end)  # a thread that was left behind reads the end of it


def driven_from(path: Path) -> VideoSource:
    return VideoSource(
        "camera", address=str(path), form="mpegts", is_live=True, where="INPUT x", timeout_s=0.3
    )


def test_a_camera_that_delivers_no_more_is_said_to_and_keeps_the_frames_before(
    tmp_path: Path,
) -> None:
    data = write_video(tmp_path / "a.ts", num_frames=60).read_bytes()
    frames: list[SourceFrame] = []
    with camera(tmp_path / "camera") as end:
        os.write(end, data)
        source = driven_from(tmp_path / "camera")
        os.write(end, data)
        with pytest.raises(DataError, match=r"after frame \d\d+ \(nothing came for 0\.3 s\)"):
            frames.extend(source.frames())
    assert len(frames) >= 50


def test_a_camera_that_delivers_nothing_is_refused_at_the_start(tmp_path: Path) -> None:
    pytest.importorskip("av")
    with (
        camera(tmp_path / "camera"),
        pytest.raises(DataError, match=r"opened as video \(nothing came for 0\.3 s\)"),
    ):
        driven_from(tmp_path / "camera")


def test_whoever_is_told_to_stop_does_not_wait_for_a_stream_to_open() -> None:
    pytest.importorskip("av")
    with falling_silent_after(b"") as address, pytest.raises(StoppedError):
        VideoSource(
            address, address=address, form=None, is_live=True, where="x", is_stopped=lambda: True
        )
