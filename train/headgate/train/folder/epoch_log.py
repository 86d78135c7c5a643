"""`epochs.jsonl`: one JSON line per epoch, on disk at its end; EpochRecord says what is in it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from headgate.profiles.parse import unparse
from headgate.profiles.storage import naming, write_atomic

EPOCH_SCHEMA = 1
LOG_FILE = "epochs.jsonl"


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch did. Losses are means over its training pictures, in nats."""

    schema: int
    stage: str  # "backbone", "slim", "pictures", or the member's id
    kind: str  # a StageKind's value
    epoch: int  # from 1
    num_epochs: int  # of the stage
    learning_rate: float  # of the last step
    loss: float  # the whole, as it is minimised
    task_loss: float  # cross entropy of the network's own answer
    exit_loss: float  # cross entropy of the early exit; 0 for the backbone
    prune_loss: float  # before its weight epsilon; 0 for the backbone
    distill_loss: float  # towards the backbone's answers, before its weight; 0 without a teacher
    rate_bits: float  # estimated bits per picture that cross; 0 for the backbone
    train_accuracy: float  # 0..1, as trained: augmented, and quantised for members
    accuracy: float  # 0..1, validation pictures, not quantised; compressed for `pictures`
    exit_accuracy: float  # 0..1, of the early exit; 0 for the backbone
    num_steps: int
    num_pictures: int
    train_s: float  # wall time of the steps
    evaluate_s: float


def append_epoch(folder: Path, record: EpochRecord) -> None:
    """Add one line and wait until it is on the disk."""
    append_line(folder, epoch_line(record))


def append_line(folder: Path, line: str) -> None:
    """Add a line of JSON and wait until it is on the disk."""
    path = folder / LOG_FILE
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def keep_epochs(folder: Path, num_lines: int) -> None:
    """Drop the lines after `num_lines`: epochs that no checkpoint remembers are trained again."""
    path = folder / LOG_FILE
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    write_atomic(path, b"".join(lines[:num_lines]))


def epoch_line(record: EpochRecord) -> str:
    """Return the JSON line without its end."""
    return json.dumps(unparse(record), allow_nan=False)
