"""Shows how training goes, on stderr: bars on a terminal, plain lines into a log or pipe."""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft

from headgate.train.folder.epoch_log import EpochRecord, epoch_line
from headgate.train.stages import Stage

STILL_HERE_S = 60.0  # a log hears of an epoch that takes longer at least so often


class TrainingProgress(Protocol):
    """Whoever wants to know how a run goes. Only the first process of a run tells."""

    def stage_started(self, stage: Stage, *, num_steps: int, steps_done: int) -> None:
        """Hear that a stage begins, or goes on after `steps_done` of its steps."""

    def steps_done(self, num_steps: int) -> None:
        """Hear that so many more steps are done."""

    def epoch_done(self, record: EpochRecord) -> None:
        """Hear what an epoch came to, once its line is on the disk."""

    def noted(self, text: str) -> None:
        """Hear what a person should know now rather than at the end."""

    def run_ended(self) -> None:
        """Hear that no more follows, whether for success or for an error."""


class Silent:
    """Shows nothing."""

    def stage_started(self, stage: Stage, *, num_steps: int, steps_done: int) -> None:
        pass

    def steps_done(self, num_steps: int) -> None:
        pass

    def epoch_done(self, record: EpochRecord) -> None:
        pass

    def noted(self, text: str) -> None:
        pass

    def run_ended(self) -> None:
        pass


class PlainProgress:
    """A line as a stage begins, for each epoch, and now and then in a long one."""

    def __init__(
        self,
        say: Callable[[str], None] | None = None,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`say` takes a line, by default to standard error."""
        self._say = say or _to_stderr
        self._now_s = now_s
        self._stage = ""
        self._num_steps = self._done = 0
        self._said_s = now_s()

    def stage_started(self, stage: Stage, *, num_steps: int, steps_done: int) -> None:
        self._stage, self._num_steps, self._done = stage.id, num_steps, steps_done
        if num_steps == 0:  # taken from another run as it is
            return
        epochs = f"{stage.epochs} epoch{'s' if stage.epochs > 1 else ''}"
        steps = f"{num_steps:,} step{'s' if num_steps > 1 else ''}"
        so_far = f", {steps_done:,} of them done before" if steps_done else ""
        self._tell(f"{stage.id}: {epochs}, {steps}{so_far}")

    def steps_done(self, num_steps: int) -> None:
        self._done += num_steps
        if self._now_s() >= self._said_s + STILL_HERE_S:
            self._tell(f"{self._stage}: {self._done:,} of {self._num_steps:,} steps")

    def epoch_done(self, record: EpochRecord) -> None:
        self._tell(epoch_text(record))

    def noted(self, text: str) -> None:
        self._tell(text)

    def run_ended(self) -> None:
        pass

    def _tell(self, text: str) -> None:
        self._say(text)
        self._said_s = self._now_s()


class TerminalProgress:
    """One bar per stage and one line per epoch, on stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeLeft(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def stage_started(self, stage: Stage, *, num_steps: int, steps_done: int) -> None:
        self._task = None
        if num_steps == 0:  # taken from another run as it is
            return
        self._bars.start()
        self._task = self._bars.add_task(stage.id, total=num_steps, completed=steps_done)

    def steps_done(self, num_steps: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, num_steps)

    def epoch_done(self, record: EpochRecord) -> None:
        self._bars.console.print(epoch_text(record), highlight=False)

    def noted(self, text: str) -> None:
        self._bars.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def run_ended(self) -> None:
        self._bars.stop()
        self._task = None


class EpochLines:
    """Prints each epoch's JSON line on stdout, and tells another as well."""

    def __init__(self, shown: TrainingProgress) -> None:
        self._shown = shown

    def stage_started(self, stage: Stage, *, num_steps: int, steps_done: int) -> None:
        self._shown.stage_started(stage, num_steps=num_steps, steps_done=steps_done)

    def steps_done(self, num_steps: int) -> None:
        self._shown.steps_done(num_steps)

    def epoch_done(self, record: EpochRecord) -> None:
        print(epoch_line(record), flush=True)
        self._shown.epoch_done(record)

    def noted(self, text: str) -> None:
        self._shown.noted(text)

    def run_ended(self) -> None:
        self._shown.run_ended()


def epoch_text(record: EpochRecord) -> str:
    """Return what an epoch came to, as a line for people."""
    text = (
        f"{record.stage}: epoch {record.epoch} of {record.num_epochs}, "
        f"loss {record.loss:.3f}, accuracy {100 * record.accuracy:.1f} %"
    )
    if record.rate_bits:
        text += f", about {record.rate_bits / 8:.0f} bytes"
    return f"{text}, {record.train_s:.1f} s"


def choose_progress(*, as_json: bool = False) -> TrainingProgress:
    """Return what suits this process: bars where a person watches stderr, else lines."""
    shown: TrainingProgress = TerminalProgress() if sys.stderr.isatty() else PlainProgress()
    return EpochLines(shown) if as_json else shown


def _to_stderr(text: str) -> None:
    with contextlib.suppress(OSError):  # a log that nobody takes must not end a training
        print(text, file=sys.stderr, flush=True)
