"""Files that are either the old ones or the new ones: atomic writes, folders published by rename.

A reader never sees half a file: everything is written beside its target, flushed to the disk and
renamed. A folder is swapped by two renames; `publish_folder` repairs the moment between them at
its next use, and `recover_folder` does so for a reader. Whoever swaps or repairs holds a lock on
the folder above meanwhile: a swap that is under way looks like one that a kill interrupted.
"""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from headgate.profiles.errors import FamilyError, HeadgateError, UsageError
from headgate.profiles.plain_files import read_plain
from headgate.profiles.refusals import check_can_hold_files

MAX_JSON_BYTES = 1 << 26  # far more than any manifest or record of a run has
MAX_TOML_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_MAX_NAME_BYTES = 200  # of the 255 that file systems allow: names beside the target are longer


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a kill leaves either the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        try:
            with temporary.open("wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a write that fails name its file: a full disk names none, an open the one beside it."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def refuse_existing(target: Path) -> None:
    """Refuse whatever lies where a folder is to be published."""
    raise UsageError(f"{target}: exists already; choose another folder or say --force")


@contextmanager
def publish_folder(
    target: Path, *, may_replace: Callable[[Path], None] = refuse_existing
) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends without an error.

    An existing `target` stays untouched until the new one is complete. `may_replace` raises where
    it must not go, and looks twice: others may put files there while the block runs.
    Raises UsageError where `target` may not be written.
    """
    check_place(target)
    target = Path(os.path.realpath(target))  # a link stays, what it leads to is replaced
    with _swapping_in(target.parent):
        _repair(target)
        _refuse_remains(target)
    _remove_orphans(target)
    if target.exists():
        may_replace(target)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    make_folder(fresh, shown=target)
    try:
        with _named_by(fresh, target):
            yield fresh
        with naming(target):
            _sync_tree(fresh)
            with _swapping_in(target.parent):
                _repair(target)
                old = _old_name(target)
                if target.exists():
                    may_replace(target)
                    os.rename(target, old)
                os.rename(fresh, target)
                _sync_folder(target.parent)
                _remove_tree(old)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def drop_folder(folder: Path, *, target: Path) -> None:
    """Remove a folder that `target`, beside it, was made from.

    A kill leaves all of it, or hidden remains that the next one to publish `target` removes.
    """
    gone = folder.with_name(f".{target.name}.{os.getpid()}.new")
    with naming(folder):
        os.rename(folder, gone)
    shutil.rmtree(gone)


@contextmanager
def _named_by(fresh: Path, target: Path) -> Iterator[None]:
    """Let what the system refuses in a folder that nobody sees be named as the user knows it."""
    try:
        yield
    except OSError as error:
        for name in ("filename", "filename2"):
            path = getattr(error, name)
            if isinstance(path, str | os.PathLike) and Path(path).is_relative_to(fresh):
                setattr(error, name, str(target / Path(path).relative_to(fresh)))
        raise


def check_place(target: Path) -> None:
    """Refuse a folder that cannot be swapped, before any work.

    It is where we are, or holds that; it has an endless name, or one that is no text; or nothing
    may be written beside it.
    """
    if Path.cwd().is_relative_to(os.path.realpath(target)):
        raise UsageError(
            f"{str(target)!r}: is the current folder or holds it, and would be replaced under your "
            "feet; name a folder that lies elsewhere"
        )
    if len(os.fsencode(target.name)) > _MAX_NAME_BYTES:
        raise UsageError(
            f"{target.name[:40]}...: a name of {len(os.fsencode(target.name))} bytes, expected at "
            f"most {_MAX_NAME_BYTES}; shorten it"
        )
    _check_is_text(target)
    check_can_hold_files(Path(os.path.realpath(target)).parent, wanted=target)


def _check_is_text(target: Path) -> None:
    """Refuse a path that the libraries which read weights and graphs cannot be told."""
    try:
        os.path.realpath(target).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{str(target)!r}: this path is not UTF-8, and what reads weights and graphs opens no "
            "other; choose another folder, or rename those above it"
        ) from None


def make_folder(path: Path, *, shown: Path | None = None) -> None:
    """Make a folder and those above it, or raise UsageError saying why it cannot be made.

    `shown` is the folder to name then, if not `path`.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise UsageError(
            f"{shown or path}: this folder cannot be made ({reason.strerror}); choose another "
            "place, or change what stands in the way"
        ) from None


def recover_folder(target: Path) -> None:
    """Finish a swap that a kill interrupted: bring the old folder back, or remove it."""
    target = Path(os.path.realpath(target))
    if _old_name(target).is_dir():
        with _swapping_in(target.parent):
            _repair(target)


def _repair(target: Path) -> None:
    """Do what `recover_folder` promises; only under the lock."""
    old = _old_name(target)
    if not old.is_dir():
        return
    if target.exists():
        _remove_tree(old)
    else:
        os.rename(old, target)


def _remove_tree(folder: Path) -> None:
    """Remove a folder as far as that is possible, also where its folders are read-only."""
    for path, _, _ in os.walk(folder):  # from above: what is below needs those above it
        with suppress(OSError):
            os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _refuse_remains(target: Path) -> None:
    """Refuse to begin work whose result could not be swapped in."""
    old = _old_name(target)
    if old.exists():
        raise UsageError(
            f"{old}: is left of an earlier {target.name} and cannot be removed; remove it, or "
            "choose another folder"
        )


@contextmanager
def _swapping_in(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder in which others are swapped; where there are none, do without.

    Some network file systems lock no folders. The lock goes with the process, however it ends.
    """
    descriptor: int | None = None
    try:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return the one encoding that digests are taken of: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def seal_json(value: dict[str, Any]) -> bytes:
    """Return canonical JSON of an object that also holds its own digest, for `read_sealed_json`."""
    digest = hashlib.sha256(canonical_json(value)).hexdigest()
    return canonical_json({**value, "digest": digest}) + b"\n"


def read_sealed_json(path: Path) -> Any:
    """Read JSON without its digest, or raise FamilyError if that is not what it states.

    JSON that states none is taken as it is: people may write it by hand.
    """
    value = read_json(path)
    stated = value.pop("digest", None) if isinstance(value, dict) else None
    if stated is None:
        return value
    found = hashlib.sha256(canonical_json(value)).hexdigest()
    if found != stated:
        raise FamilyError(
            f"{path}: digest is {found[:12]}, it says {str(stated)[:12]}; "
            "the file was altered, put it back or start over with --force"
        )
    return value


def read_json(path: Path, *, error: type[HeadgateError] = FamilyError) -> Any:
    """Read one JSON file, or raise `error` saying what is wrong with it."""
    try:
        return json.loads(read_plain(path, max_bytes=MAX_JSON_BYTES).decode())
    except FileNotFoundError:
        raise error(f"{path}: no such file; is this the right folder?") from None
    except OSError as reason:
        why = reason.strerror or reason
        raise error(f"{path}: cannot be read ({why}); check what it is") from None
    except json.JSONDecodeError as reason:
        raise error(
            f"{path}: not JSON at line {reason.lineno}, column {reason.colno} ({reason.msg}); "
            "the file is damaged, write it again"
        ) from None
    except (ValueError, RecursionError) as reason:  # not UTF-8, endless digits, too deep
        raise error(f"{path}: not JSON ({reason}); the file is damaged, write it again") from None


def read_toml(path: Path, *, error: type[HeadgateError]) -> dict[str, Any]:
    """Read one TOML file, or raise `error` saying what is wrong with it."""
    try:
        with path.open("rb") as file:  # of a pipe too: a shell may write it
            data = file.read(MAX_TOML_BYTES + 1)
        if len(data) > MAX_TOML_BYTES:
            raise error(f"{path}: larger than {MAX_TOML_BYTES >> 10} KiB; check the path")
        text = data.decode("utf-8-sig")  # some editors begin a file with a mark of its encoding
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror}); check the path") from None
    except UnicodeDecodeError as reason:
        raise error(f"{path}: not TOML ({reason}); correct the file") from None
    return toml_from_text(text, where=str(path), error=error)


def toml_from_text(text: str, *, where: str, error: type[HeadgateError]) -> dict[str, Any]:
    """Return what the text of a TOML file says, or raise `error`."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as reason:  # also endless digits, and too deep
        raise error(f"{where}: not TOML ({reason}); correct the file") from None


def _remove_orphans(target: Path) -> None:
    """Remove what killed processes began to write for `target` and will not finish."""
    for orphan in target.parent.glob(f".{glob.escape(target.name)}.*.new"):
        owner = orphan.name.split(".")[-2]
        if not (owner.isdecimal() and _is_alive(int(owner))):
            shutil.rmtree(orphan, ignore_errors=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _old_name(target: Path) -> Path:
    return target.parent / f".{target.name}.old"


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
