"""Points, device and profile that the control and the sharing benchmark simulate with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headgate.export.bench.family.family_map import slower
from headgate.profiles.errors import ProfileError, UsageError
from headgate.profiles.family import open_family
from headgate.profiles.ladder import read_ladder
from headgate.profiles.manifest import Manifest, PointKind
from headgate.profiles.profile import Profile, allowed_points

EVERYTHING = Profile(name="bench")  # no bound of any kind


def open_points(target: Path, *, device_factor: float = 1.0) -> Manifest:
    """Return the manifest of a family folder or of a ladder's TOML file.

    Its compute times are those of a device `device_factor` times slower, at the same edge.
    """
    manifest = open_family(target).manifest if target.is_dir() else read_ladder(target)
    times = next(iter(manifest.times.values()), {})
    missing = [point.id for point in manifest.points if point.id not in times]
    if missing:
        raise UsageError(f"{target}: no compute times for {missing}; export the family again")
    if all(point.kind is PointKind.LOCAL for point in manifest.points):
        raise UsageError(f"{target}: no point sends anything; there is nothing to decide")
    if device_factor == 1:
        return manifest
    name = next(iter(manifest.times))
    return replace(manifest, times={name: slower(times, factor=device_factor)})


def named_points(profile: Profile, manifest: Manifest) -> Profile:
    """Return the profile with the points that it admits listed one by one, whatever their kind.

    So it means the same on a manifest whose points have become of another kind. Raises
    ProfileError where there is nothing to decide.
    """
    points = allowed_points(profile, manifest)
    if all(point.kind is PointKind.LOCAL for point in points):
        raise ProfileError(
            f"profile {profile.name!r}: allows no point of this family that sends anything, so "
            "there is nothing to decide; allow split or offload"
        )
    return replace(profile, kinds=tuple(PointKind), points=tuple(point.id for point in points))


def within(profile: Profile, manifest: Manifest) -> Profile | None:
    """Return a profile of `named_points` for a manifest that lacks some of them; None: has none."""
    ids = {point.id for point in manifest.points}
    kept = tuple(name for name in profile.points if name in ids)
    if profile.points and not kept:
        return None
    return replace(profile, points=kept)
