import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headgate.profiles.errors import DataError
from headgate.runtime.device.picture_source import SourceFrame
from headgate.runtime.device.playback import Captured, Playback, Player

PATIENCE_S = 20.0


@dataclass
class Numbered:
    """A source of pictures whose truth is their number; breaks after `breaks_after`."""

    num: int
    fps: float | None = None
    is_live: bool = False
    breaks_after: int | None = None
    name: str = "numbered"
    labels: tuple[str, ...] | None = None

    def frames(self) -> Iterator[SourceFrame]:
        for index in range(self.num):
            if index == self.breaks_after:
                raise DataError("numbered: picture 2 is broken; replace it")
            yield SourceFrame(np.zeros((1, 1, 3), np.uint8), index)


class Taking:
    """Takes pictures as a main loop does: after each wake-up, all there are."""

    def __init__(self, source: Numbered, playback: Playback) -> None:
        self._woken = threading.Event()
        self.player = Player(source, playback, on_frame=self._woken.set)
        self.captured: list[Captured] = []

    def all(self) -> list[int | None]:
        """Play to the end and return the numbers of the pictures."""
        self.player.start()
        while not self.player.ended:
            captured = self.player.take(now_s=1000.0)
            if captured is not None:
                self.captured.append(captured)
            elif not self.player.ended:
                assert self._woken.wait(PATIENCE_S)
                self._woken.clear()
        self.player.stop()
        return [each.frame.truth for each in self.captured]


def test_without_a_rate_every_picture_is_taken_once_and_captured_when_taken() -> None:
    taking = Taking(Numbered(5), Playback())
    assert taking.player.on_demand
    assert taking.all() == [0, 1, 2, 3, 4]
    assert {each.captured_s for each in taking.captured} == {1000.0}


def test_with_a_rate_no_picture_is_captured_before_its_time() -> None:
    taking = Taking(Numbered(4), Playback(fps=100))
    assert not taking.player.on_demand
    began_s = time.monotonic()
    assert taking.all() == [0, 1, 2, 3]
    for index, captured in enumerate(taking.captured):
        assert captured.captured_s >= began_s + index / 100


def test_a_source_with_a_rate_of_its_own_keeps_it() -> None:
    assert not Taking(Numbered(1, fps=25.0), Playback()).player.on_demand


def test_frames_bounds_the_pictures_even_in_a_loop() -> None:
    assert Taking(Numbered(3), Playback(loop=True, frames=7)).all() == [0, 1, 2, 0, 1, 2, 0]
    assert Taking(Numbered(3), Playback(fps=1000, loop=True, frames=4)).all() == [0, 1, 2, 0]


def test_looping_over_nothing_ends() -> None:
    assert Taking(Numbered(0), Playback(loop=True)).all() == []


def test_a_live_source_is_read_at_its_own_pace_and_thinned_to_the_rate() -> None:
    taking = Taking(Numbered(1000, is_live=True), Playback(fps=0.001))
    assert taking.all() == [0]  # all the others came before the next was due


def test_a_source_that_breaks_ends_with_its_error_kept() -> None:
    taking = Taking(Numbered(5, breaks_after=2), Playback())
    assert taking.all() == [0, 1]
    assert "picture 2 is broken" in str(taking.player.failure)


def test_stopping_does_not_wait_for_a_slow_pace_or_a_full_queue() -> None:
    for playback in (Playback(fps=0.001), Playback()):
        player = Player(Numbered(1000), playback, on_frame=lambda: None)
        player.start()
        player.stop()
        assert player.take(now_s=0.0) is None
        assert not player._thread.is_alive()


class Buggy(Numbered):
    def frames(self) -> Iterator[SourceFrame]:
        yield from super().frames()
        raise ZeroDivisionError("bug")


def test_a_bug_in_a_source_ends_the_play_with_it_kept_instead_of_waiting_for_ever() -> None:
    taking = Taking(Buggy(2), Playback())
    assert taking.all() == [0, 1]
    assert isinstance(taking.player.failure, ZeroDivisionError)
