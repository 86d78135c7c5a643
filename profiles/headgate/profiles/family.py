"""Open a family folder: parse the manifest and check every file a role needs against its digest."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from headgate.profiles.errors import FamilyError
from headgate.profiles.manifest import Manifest
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from headgate.profiles.storage import read_json, recover_folder, sha256_file

MANIFEST_NAME = "family.json"
FAMILY_NAMES = frozenset({MANIFEST_NAME, "heads", "tails", "full"})  # all that lies at the top
ROLES = ("device", "edge")
# What desktops leave in a folder that is looked at or copied. No graph is named so, none reads it.
_DESKTOP_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_DESKTOP_PREFIX = "._"


@dataclass(frozen=True, slots=True)
class Family:
    """A verified folder. The manifest may list files that only the other role has."""

    path: Path
    manifest: Manifest
    stamps: dict[str, "FileStamp"] = field(default_factory=dict)  # of what was verified, by name

    def file(self, name: str) -> Path:
        """Return the path of a file the manifest lists."""
        assert name in self.manifest.files
        return self.path / name

    def check_unchanged(self) -> None:
        """Raise FamilyError unless the files are those that were verified; for after loading them.

        Else a folder that is replaced meanwhile would answer under the digest of the one before.
        """
        for name, stamp in self.stamps.items():
            path = self.file(name)
            if not path.is_file() or (
                FileStamp.of(path) != stamp  # as of another mode too
                and sha256_file(path) != self.manifest.files[name].sha256
            ):
                raise FamilyError(
                    f"{path}: was changed while it was loaded; start again once the family is whole"
                )


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What changes with a file's content, or with the file behind a name. Quicker than a digest."""

    device: int
    inode: int
    num_bytes: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        found = path.stat()
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)


def open_family(path: Path, *, roles: Iterable[str] = ROLES) -> Family:
    """Verify the folder for the given roles and return it, or raise FamilyError.

    A device may hold its own files only; what is there must be listed, plain and unaltered.
    """
    recover_folder(path)
    if path.is_file():
        raise FamilyError(f"{path}: is a file, expected a family's folder; give that folder")
    if not path.is_dir():
        raise FamilyError(f"{path}: no such folder; export a family there first")
    manifest = read_manifest(path / MANIFEST_NAME)
    _refuse_foreign_files(path, manifest)
    needed = set(roles)
    stamps = {}
    for name, entry in manifest.files.items():
        if needed.isdisjoint(entry.roles) and not (path / name).exists():
            continue
        stamps[name] = _check_file(
            path / name, expected_sha256=entry.sha256, expected_bytes=entry.num_bytes
        )
    return Family(path, manifest, stamps)


def files_of(manifest: Manifest, *, roles: Iterable[str]) -> list[str]:
    """Return the files that one of the roles needs."""
    wanted = set(roles)
    return [name for name, entry in manifest.files.items() if wanted & set(entry.roles)]


def roles_held(path: Path) -> tuple[str, ...]:
    """Return whose files a folder holds, unverified: both roles', or those it was copied for.

    A role is left out where nothing is there of what only that role needs.
    """
    if not (path / MANIFEST_NAME).is_file():
        return ROLES
    manifest = read_manifest(path / MANIFEST_NAME)
    held = []
    for role in ROLES:
        own = [name for name, entry in manifest.files.items() if entry.roles == (role,)]
        if not own or any((path / name).exists() for name in own):
            held.append(role)
    return tuple(held) or ROLES


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; its own digest, which export writes into it, must be the one it states."""
    if not path.exists() and path.with_name("run.json").is_file():
        raise FamilyError(
            f"{path.parent}: is a training run, no family; export it with `headgate export`"
        )
    raw = read_json(path)
    stated = raw.pop("digest", None) if isinstance(raw, dict) else None
    manifest = manifest_from_json(raw, where=str(path))
    if stated is None:
        raise FamilyError(f"{path}.digest: is missing; export or copy the family again")
    if stated != manifest.digest:
        raise FamilyError(
            f"{path}: digest is {manifest.digest[:12]}, it says {str(stated)[:12]}; "
            "export or copy the family again"
        )
    return manifest


def manifest_text(manifest: Manifest) -> str:
    """Return what `read_manifest` reads: indented for people, and with its own digest.

    Nothing else vouches for the manifest: without the digest, a flipped bit in a range or an
    accuracy would pass for another range or accuracy.
    """
    value = {"digest": manifest.digest, **manifest_to_json(manifest)}
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def is_left_by_desktop(name: str) -> bool:
    """Say whether a file of that name is none of ours, and none that somebody put there."""
    return name in _DESKTOP_FILES or name.startswith(_DESKTOP_PREFIX)


def _refuse_foreign_files(path: Path, manifest: Manifest) -> None:
    """Refuse links and files that nothing vouches for: graphs can name external data."""
    for found in path.rglob("*"):
        name = found.relative_to(path).as_posix()
        if found.is_symlink():
            raise FamilyError(f"{found}: is a link; a family folder holds plain files only")
        if not found.is_file() or is_left_by_desktop(found.name):
            continue
        if name != MANIFEST_NAME and name not in manifest.files:
            raise FamilyError(f"{found}: is not in the manifest; remove it or export again")


def _check_file(path: Path, *, expected_sha256: str, expected_bytes: int) -> FileStamp:
    if not path.is_file():
        raise FamilyError(f"{path}: is missing; export or copy the family again")
    stamp = FileStamp.of(path)
    if stamp.num_bytes != expected_bytes:
        raise FamilyError(
            f"{path}: has {stamp.num_bytes} bytes, the manifest says {expected_bytes}; "
            "export or copy the family again"
        )
    actual = sha256_file(path)
    if actual != expected_sha256:
        raise FamilyError(
            f"{path}: sha256 is {actual[:12]}, the manifest says {expected_sha256[:12]}; "
            "export or copy the family again"
        )
    return stamp
