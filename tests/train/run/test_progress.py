"""What a training that nobody watches on a terminal tells its log."""

from __future__ import annotations

import json

import pytest

from headgate.train.folder.epoch_log import EPOCH_SCHEMA, EpochRecord
from headgate.train.run.progress import PlainProgress, choose_progress
from headgate.train.stages import Stage, StageKind

STAGE = Stage("backbone", StageKind.BACKBONE, epochs=2, lr=0.05)


def epoch(number: int, *, rate_bits: float = 0.0) -> EpochRecord:
    return EpochRecord(
        schema=EPOCH_SCHEMA,
        stage="backbone",
        kind="backbone",
        epoch=number,
        num_epochs=2,
        learning_rate=0.05,
        loss=1.5,
        task_loss=1.5,
        exit_loss=0.0,
        prune_loss=0.0,
        distill_loss=0.0,
        rate_bits=rate_bits,
        train_accuracy=0.5,
        accuracy=0.625,
        exit_accuracy=0.0,
        num_steps=100,
        num_pictures=6400,
        train_s=75.0,
        evaluate_s=1.0,
    )


def test_a_log_hears_of_each_stage_and_epoch_and_each_minute_of_a_long_one() -> None:
    lines: list[str] = []
    clock_s = 0.0
    progress = PlainProgress(lines.append, now_s=lambda: clock_s)
    progress.stage_started(STAGE, num_steps=200, steps_done=0)
    for _ in range(100):
        clock_s += 0.75
        progress.steps_done(1)
    progress.epoch_done(epoch(1))
    clock_s += 59.0
    progress.steps_done(1)
    progress.epoch_done(epoch(2, rate_bits=800.0))
    progress.run_ended()
    assert lines == [
        "backbone: 2 epochs, 200 steps",
        "backbone: 80 of 200 steps",
        "backbone: epoch 1 of 2, loss 1.500, accuracy 62.5 %, 75.0 s",
        "backbone: epoch 2 of 2, loss 1.500, accuracy 62.5 %, about 100 bytes, 75.0 s",
    ]


def test_a_stage_that_goes_on_says_how_far_it_was_and_one_that_is_only_taken_over_nothing() -> None:
    lines: list[str] = []
    progress = PlainProgress(lines.append, now_s=lambda: 0.0)
    progress.stage_started(STAGE, num_steps=0, steps_done=0)
    progress.stage_started(STAGE, num_steps=200, steps_done=120)
    progress.stage_started(STAGE, num_steps=1, steps_done=0)
    assert lines == [
        "backbone: 2 epochs, 200 steps, 120 of them done before",
        "backbone: 2 epochs, 1 step",
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_without_a_terminal_lines_go_to_stderr_and_only_json_to_stdout(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = choose_progress(as_json=as_json)
    progress.stage_started(STAGE, num_steps=200, steps_done=0)
    progress.epoch_done(epoch(1))
    told = capsys.readouterr()
    assert told.err.splitlines()[1].startswith("backbone: epoch 1 of 2, loss 1.500")
    found = [json.loads(line)["epoch"] for line in told.out.splitlines()]
    assert found == ([1] if as_json else [])


def test_a_note_is_a_line_of_the_log_and_none_of_the_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    choose_progress(as_json=True).noted("backbone: taken from x, accuracy 39.4 %")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "backbone: taken from x, accuracy 39.4 %\n")
