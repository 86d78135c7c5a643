"""Profiles: named policies that say what the controller may send, read from TOML.

An operator switches them live. Presets ship with the package; a path to a TOML file works wherever
a preset's name does. Patterns in `points` are those of a shell (`b4*`, `webp-q?0`).
"""

from dataclasses import dataclass, fields
from enum import Enum
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

from headgate.profiles.errors import ProfileError
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.parse import parse, shown
from headgate.profiles.storage import read_toml, toml_from_text

SCHEMA = 1
DEFAULT_PROFILE = "balanced"
MAX_NAME_LENGTH = 100
# A running device reads and matches all of it between two frames.
MAX_DESCRIPTION_LENGTH = 1000
MAX_PATTERNS, MAX_PATTERN_LENGTH = 500, 100


class Preference(Enum):
    """What to spend the time left within the SLA on, among points that make it."""

    ACCURACY = "accuracy"  # the most accurate answer
    BYTES = "bytes"  # the fewest bytes that keep `min_accuracy`
    LATENCY = "latency"  # the earliest answer that keeps `min_accuracy`


@dataclass(frozen=True, slots=True)
class Profile:
    """A policy. Empty `points` means every point; None means no such bound."""

    name: str
    description: str = ""
    sla_ms: float | None = None  # overrides the device's --sla-ms
    kinds: tuple[PointKind, ...] = tuple(PointKind)
    points: tuple[str, ...] = ()  # shell patterns over point ids
    min_accuracy: float | None = None  # 0 to 1, of the primary metric; local points are exempt
    max_bytes: int | None = None  # mean payload per frame
    miss_rate: float = 0.01  # share of frames that may miss the SLA
    prefer: Preference = Preference.ACCURACY
    schema: int = SCHEMA

    @property
    def sla_s(self) -> float | None:
        return None if self.sla_ms is None else self.sla_ms / 1000


def list_presets() -> tuple[Profile, ...]:
    """Return the profiles that ship with Headgate, in alphabetical order."""
    folder = resources.files("headgate.profiles") / "presets"
    found = sorted(item.name for item in folder.iterdir() if item.name.endswith(".toml"))
    return tuple(_read(folder.joinpath(name).read_text(), where=f"preset {name}") for name in found)


def load_profile(name: str) -> Profile:
    """Return the preset of that name, or the profile in the TOML file at that path."""
    presets = {profile.name: profile for profile in list_presets()}
    if name in presets:
        return presets[name]
    path = Path(name)
    if path.suffix == ".toml" and not path.exists():
        raise ProfileError(f"profile {name}: no such file, expected a profile; check the path")
    if path.suffix != ".toml" or not path.is_file():
        raise ProfileError(
            f"profile {name!r}: neither a preset ({', '.join(presets)}) nor the path "
            "of a file that ends in .toml"
        )
    return profile_from_json(read_toml(path, error=ProfileError), where=name)


def profile_text(name: str) -> str:
    """Return the TOML of a profile that `load_profile` takes, comments and all."""
    load_profile(name)  # what is wrong with it is said first
    preset = resources.files("headgate.profiles") / "presets" / f"{name}.toml"
    if name in {profile.name for profile in list_presets()}:
        return preset.read_text()
    return Path(name).read_text(encoding="utf-8")


def profile_from_json(value: Any, *, where: str) -> Profile:
    """Return the profile an object describes, or raise ProfileError saying what is wrong."""
    schema = value.get("schema", SCHEMA) if isinstance(value, dict) else SCHEMA
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise ProfileError(f"{where}.schema: is {schema!r}, this version reads up to {SCHEMA}")
    profile = parse(Profile, value, where=where, error=ProfileError)
    _check_range(profile, where)
    return profile


def allowed_points(profile: Profile, manifest: Manifest) -> tuple[OperatingPoint, ...]:
    """Return the family's points that the profile admits, in the family's order.

    Raises ProfileError if a pattern matches no point of the family, or nothing is left.
    """
    ids = [point.id for point in manifest.points]
    for pattern in profile.points:
        if not any(fnmatchcase(point_id, pattern) for point_id in ids):
            raise ProfileError(
                f"profile {profile.name!r}.points: {pattern!r} matches no point of the family; "
                f"it has {ids}"
            )
    allowed = tuple(point for point in manifest.points if _admits(profile, manifest, point))
    if not allowed:
        raise ProfileError(
            f"profile {profile.name!r}: allows no point of this family; loosen kinds, points, "
            "min_accuracy or max_bytes"
        )
    return allowed


def _admits(profile: Profile, manifest: Manifest, point: OperatingPoint) -> bool:
    if point.kind not in profile.kinds:
        return False
    if profile.points and not any(fnmatchcase(point.id, pattern) for pattern in profile.points):
        return False
    if profile.max_bytes is not None and point.bytes.mean > profile.max_bytes:
        return False
    if profile.min_accuracy is None or point.kind is PointKind.LOCAL:
        return True
    return manifest.quality(point) >= profile.min_accuracy


def _read(text: str, *, where: str) -> Profile:
    value = toml_from_text(text, where=where, error=ProfileError)
    return profile_from_json(value, where=where)


def _check_range(profile: Profile, where: str) -> None:
    if not (0 < len(profile.name) <= MAX_NAME_LENGTH and profile.name.isprintable()):
        raise ProfileError(
            f"{where}.name: is {profile.name[:20]!r} of {len(profile.name)} characters, expected 1 "
            f"to {MAX_NAME_LENGTH} that can be printed: it stands in every frame's line"
        )
    _check_texts(profile, where)
    bounds = {
        "sla_ms": (profile.sla_ms, 0.0, 1e6),
        "min_accuracy": (profile.min_accuracy, 0.0, 1.0),
        "max_bytes": (profile.max_bytes, 0.0, 1e9),
        "miss_rate": (profile.miss_rate, 0.0, 1.0),
    }
    assert bounds.keys() <= {f.name for f in fields(Profile)}
    for key, (value, lowest, highest) in bounds.items():
        if value is not None and not lowest <= value <= highest:
            raise ProfileError(
                f"{where}.{key}: {shown(value)} is not within {lowest:g} to {highest:g}"
            )
    if profile.sla_ms == 0:
        raise ProfileError(f"{where}.sla_ms: must be above 0")
    if not profile.kinds:
        raise ProfileError(f"{where}.kinds: name at least one of split, offload, local")


def _check_texts(profile: Profile, where: str) -> None:
    """Refuse what is too long for a device that answers frames meanwhile.

    The time a pattern takes grows with the square of its length: a long one would stop them.
    """
    if len(profile.description) > MAX_DESCRIPTION_LENGTH:
        raise ProfileError(
            f"{where}.description: has {len(profile.description)} characters, expected at most "
            f"{MAX_DESCRIPTION_LENGTH}; shorten it"
        )
    if len(profile.points) > MAX_PATTERNS:
        raise ProfileError(
            f"{where}.points: has {len(profile.points)} patterns, expected at most {MAX_PATTERNS}; "
            "one with `*` stands for many points"
        )
    for index, pattern in enumerate(profile.points):
        if len(pattern) > MAX_PATTERN_LENGTH:
            raise ProfileError(
                f"{where}.points[{index}]: has {len(pattern)} characters, expected at most "
                f"{MAX_PATTERN_LENGTH}; shorten it"
            )
