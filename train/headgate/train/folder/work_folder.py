"""The folder of a run that is not complete yet: who may begin it, go on with it, and publish it.

A run that will be `OUT` is trained in `OUT.partial` and becomes `OUT` when all of it is done. So
a kill leaves at OUT what was there before, or the new run, and never a part of one.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import unparse
from headgate.profiles.storage import (
    check_place,
    drop_folder,
    make_folder,
    publish_folder,
    recover_folder,
    seal_json,
    write_atomic,
)
from headgate.train.folder.checkpoints import STATE_FILE
from headgate.train.folder.epoch_log import LOG_FILE
from headgate.train.folder.run_folder import partial_folder
from headgate.train.folder.run_record import COMPLETE, RunRecord, read_record
from headgate.train.recipe import PruneConfig, differences

RUN_FILE = "run.json"
WEIGHTS = "weights"
CHECKPOINT = "checkpoint"
CACHE = "cache"
CLIENTS = "clients"  # of split training in one process
NETWORKS = "networks"  # of clients that each have their own: a run each
_OURS = {RUN_FILE, LOG_FILE, WEIGHTS, CHECKPOINT, CACHE, CLIENTS, NETWORKS}
_LOCK_FILE = ".lock"


def check_output(out: Path, config: PruneConfig, *, resume: bool, force: bool) -> RunRecord | None:
    """Refuse an `out` that must not be written; return the run that is there to resume, if any.

    Changes nothing, so every process of a run may ask.
    """
    if resume and force:
        raise UsageError("--force: cannot be given with --resume; resume the run or replace it")
    check_place(out)
    partial = partial_folder(out)
    for folder in (out, partial):
        if foreign := _foreign(folder):
            raise UsageError(
                f"{folder}: exists and is not a training run ({foreign}); choose another folder "
                "for --out"
            )
    found = partial if (partial / RUN_FILE).is_file() else out
    has_run = (found / RUN_FILE).is_file()
    if has_run and not (resume or force):
        state = "a complete run" if found == out else "an unfinished run"
        raise UsageError(
            f"{found}: {state} is here already; --resume goes on with it, --force replaces it"
        )
    if not (has_run and resume):
        return None
    record = read_record(found / RUN_FILE)
    if changed := differences(config, record.settings):
        raise UsageError(
            f"{found}: cannot be resumed with other settings ({'; '.join(changed)}); "
            "give the same ones, or start over with --force"
        )
    return record


def replacement_rule(out: Path, *, resume: bool, force: bool) -> Callable[[Path], None]:
    """Return what refuses, once a run is trained, to put it in place of what came to `out` since.

    To be asked for when `check_output` has passed. A training takes hours, and `out` is anybody's.
    """
    was_there = out.exists()

    def may_replace(target: Path) -> None:
        if foreign := _foreign(target):
            raise UsageError(
                f"{target}: came to be something else than a training run ({foreign}), and is not "
                "replaced; move it away"
            )
        if not (resume or force) and (not was_there or (target / RUN_FILE).exists()):
            raise UsageError(
                f"{target}: came to be while the run was trained, and is not replaced without "
                "--force; move it away"
            )

    return may_replace


@contextmanager
def work_folder(out: Path, *, fresh: bool) -> Iterator[Path]:
    """Yield the folder to train in, held against other trainings of the same run.

    With `fresh` an unfinished run that lies there is removed; `out` itself stays untouched.
    Without, refuses where the run is gone: another training ended it since `check_output` saw it.
    """
    partial = partial_folder(out)
    gone = UsageError(
        f"{partial}: the run to go on with is gone, another training ended or replaced it just "
        f"now; look at {out}, and repeat the command"
    )
    if fresh:
        make_folder(partial)
    elif not (partial / RUN_FILE).is_file():
        raise gone
    with held(partial, what="training is writing this run", option="--out"):
        if fresh:
            _clear(partial)
        elif not (partial / RUN_FILE).is_file():
            raise gone
        yield partial


def write_record(folder: Path, record: RunRecord) -> None:
    """Write run.json, whole or not at all."""
    write_atomic(folder / RUN_FILE, seal_json(unparse(record)))


def publish(
    folder: Path, out: Path, record: RunRecord, *, may_replace: Callable[[Path], None]
) -> None:
    """Make a finished work folder the run `out`, in place of what may have been there.

    Where `may_replace` refuses, the work folder stays, and the error says how to go on.
    """
    recover_folder(out)
    try:
        _publish(folder, out, record, may_replace)
    except UsageError as error:
        error.add_note(
            f"{folder} holds the trained run, repeat the command with --resume to publish it"
        )
        raise
    drop_folder(folder, target=out)  # half of it could neither be resumed nor begun anew


def _publish(
    folder: Path, out: Path, record: RunRecord, may_replace: Callable[[Path], None]
) -> None:
    with publish_folder(out, may_replace=may_replace) as target:
        (target / WEIGHTS).mkdir()
        (folder / LOG_FILE).touch()  # a run of no epochs has none yet
        shutil.copy2(folder / LOG_FILE, target / LOG_FILE)
        for file in record.files:
            shutil.copy2(folder / file, target / file)
        if (folder / NETWORKS).is_dir():
            _copy_tree(folder / NETWORKS, target / NETWORKS)
        write_record(target, replace(record, status=COMPLETE))


def _copy_tree(folder: Path, copy: Path) -> None:
    """Copy a folder; unlike shutil's own, end with what the system says of the first file."""
    copy.mkdir()
    for path in sorted(folder.rglob("*")):
        place = copy / path.relative_to(folder)
        if path.is_dir():
            place.mkdir()
        else:
            shutil.copy2(path, place)


def _clear(partial: Path) -> None:
    """Remove a run so that a kill midway leaves one that can still be resumed or replaced."""
    (partial / CHECKPOINT / STATE_FILE).unlink(missing_ok=True)
    for name in (CHECKPOINT, WEIGHTS, CACHE, CLIENTS, NETWORKS):
        shutil.rmtree(partial / name, ignore_errors=True)
    for name in (LOG_FILE, RUN_FILE):
        (partial / name).unlink(missing_ok=True)


def _foreign(place: Path) -> str | None:
    """Say what makes a place neither free nor a run nor an empty folder; None if nothing does."""
    if not place.exists():
        return None
    if not place.is_dir():
        return "it is a file"
    # Hidden files are left by kills.
    names = {path.name for path in place.iterdir() if not path.name.startswith(".")}
    if others := sorted(names - _OURS):
        return f"it holds {others[0]!r}"
    return f"it holds no {RUN_FILE}" if names and RUN_FILE not in names else None


@contextmanager
def held(folder: Path, *, what: str, option: str) -> Iterator[None]:
    """Hold a lock on `folder`; the system lets go of it when the process ends, however it ends.

    Raises UsageError where another process holds it, saying `what` that does.
    """
    with (folder / _LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{folder}: another {what}; wait for it, or choose another folder for {option}"
            ) from None
        yield
