"""Shows a person how training goes: bars on stderr, and only where stderr is a terminal."""

import sys
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft

from headgate.train.epoch_log import EpochRecord, epoch_line
from headgate.train.stages import Stage


class TrainingProgress(Protocol):
    """Whoever wants to know how a run goes. Only the first process of a run tells."""

    def stage_started(self, stage: Stage, *, num_steps: int, steps_done: int) -> None:
        """Hear that a stage begins, or goes on after `steps_done` of its steps."""

    def steps_done(self, num_steps: int) -> None:
        """Hear that so many more steps are done."""

    def epoch_done(self, record: EpochRecord) -> None:
        """Hear what an epoch came to, once its line is on the disk."""

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

    def run_ended(self) -> None:
        pass


class TerminalProgress:
    """One bar per stage and one line per epoch, on stderr; bars only on a terminal."""

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
        text = (
            f"{record.stage:>9} epoch {record.epoch}/{record.num_epochs}: "
            f"loss {record.loss:.3f}, accuracy {100 * record.accuracy:.1f} %"
        )
        if record.rate_bits:
            text += f", about {record.rate_bits / 8:.0f} bytes"
        text += f", {record.train_s:.1f} s"
        self._bars.console.print(text, highlight=False)

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

    def run_ended(self) -> None:
        self._shown.run_ended()


def choose_progress(*, as_json: bool = False) -> TrainingProgress:
    """Return what suits this process: bars only where a person watches stderr."""
    shown: TrainingProgress = TerminalProgress() if sys.stderr.isatty() else Silent()
    return EpochLines(shown) if as_json else shown
