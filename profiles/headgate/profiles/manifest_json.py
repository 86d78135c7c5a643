"""`family.json` <-> the manifest it describes, which is refused where it contradicts itself.

Reading goes by the types of `manifest`; what types cannot say is checked here: names that lead
nowhere, points that lack what their kind needs, layers that do not add up.
"""

from collections import Counter
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from headgate.profiles.context_table import table_fault
from headgate.profiles.errors import FamilyError
from headgate.profiles.manifest import (
    CODECS,
    CONTEXT_CODEC,
    MAX_OUTPUT_NAME,
    MAX_POINTS,
    SCHEMA,
    ByteStats,
    Manifest,
    Member,
    OperatingPoint,
    PointKind,
    PointTime,
)
from headgate.profiles.parse import parse, unparse
from headgate.profiles.quantise import MAX_LEVELS, MIN_LEVELS
from headgate.profiles.quantities import check_amounts, check_shapes


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON object that `family.json` holds."""
    return unparse(manifest)  # type: ignore[no-any-return]


def manifest_from_json(value: Any, *, where: str) -> Manifest:
    """Return the manifest a JSON object describes, or raise FamilyError saying what is wrong."""
    if not isinstance(value, dict):
        raise FamilyError(f"{where}: expected an object, found {type(value).__name__}")
    found = value.get("schema")
    if not isinstance(found, int) or found > SCHEMA or found < 1:
        raise FamilyError(
            f"{where}.schema: is {found!r}, this version reads up to {SCHEMA}; update Headgate"
        )
    manifest = parse(Manifest, value, where=where, error=FamilyError)
    _check(manifest, where)
    return manifest


def _check(manifest: Manifest, where: str) -> None:
    """Refuse references that lead nowhere and points that do not say what their kind needs."""
    if not manifest.metrics or not manifest.points or not manifest.labels:
        raise FamilyError(f"{where}: a family needs metrics, points and labels; export it again")
    _check_outputs(manifest, f"{where}.outputs")
    if len(manifest.points) > MAX_POINTS:
        raise FamilyError(f"{where}.points: {len(manifest.points)}, at most {MAX_POINTS}")
    _check_unique([member.id for member in manifest.members], f"{where}.members")
    _check_unique([point.id for point in manifest.points], f"{where}.points")
    for path in manifest.files:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or pure.as_posix() != path or "\\" in path:
            raise FamilyError(f"{where}.files: {path!r} is not a plain path inside the folder")
    for member in manifest.members:
        for graph in (member.head, member.tail):
            _check_listed(manifest, graph, f"{where}.members.{member.id}")
        if len(member.features.shape) != 3 or member.features.dtype != "uint8":
            raise FamilyError(f"{where}.members.{member.id}.features: expected uint8 [C, h, w]")
    _check_quantities(manifest, where)
    _check_listed(manifest, manifest.full_graph, f"{where}.full_graph")
    for member in manifest.members:
        _check_layers(manifest, member, f"{where}.members.{member.id}")
    for point in manifest.points:
        _check_point(manifest, point, f"{where}.points.{point.id}")
        if point.twin is not None:
            _check_twin(point, manifest.point(point.twin), f"{where}.points.{point.id}.twin")


def _check_outputs(manifest: Manifest, where: str) -> None:
    """Refuse an answer that has no name, or one that no RESULT can carry."""
    if not manifest.outputs:
        raise FamilyError(f"{where}: is empty, expected the answer's tensor; export it again")
    for output in manifest.outputs:
        name = output.name
        is_sendable = name.isascii() and name.isprintable() and " " not in name
        if not is_sendable or not 1 <= len(name) <= MAX_OUTPUT_NAME:
            shown = ascii(name if len(name) <= MAX_OUTPUT_NAME else f"{name[:MAX_OUTPUT_NAME]}...")
            raise FamilyError(
                f"{where}: the name {shown} has {len(name)} characters, expected 1 to "
                f"{MAX_OUTPUT_NAME} of printable ASCII without spaces; export the family again"
            )


def _check_quantities(manifest: Manifest, where: str) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "input": (manifest.input.height_px, manifest.input.width_px, 3)
    }
    shapes |= {f"members.{each.id}.features": each.features.shape for each in manifest.members}
    check_shapes(shapes, where=where)
    amounts: dict[str, float] = {}
    for point in manifest.points:
        amounts |= _named(f"points.{point.id}.bytes", point.bytes)
    for machine, times in manifest.times.items():
        for key, time in times.items():
            amounts |= _named(f"times.{machine}.{key}", time)
    for part, owners in (("members", manifest.members), ("points", manifest.points)):
        for owner in owners:
            if owner.confidence is not None:  # a curve rises; its offset may lie on either side
                place = f"{part}.{owner.id}.confidence"
                amounts[f"{place}.slope"] = owner.confidence.slope
                amounts[f"{place}.offset, without its sign"] = abs(owner.confidence.offset)
    check_amounts(amounts, where=where)


def _named(place: str, record: ByteStats | PointTime) -> dict[str, float]:
    """Return the numbers of a record by their places in the manifest."""
    return {f"{place}.{name}": float(value) for name, value in asdict(record).items()}


def _check_point(manifest: Manifest, point: OperatingPoint, where: str) -> None:
    if manifest.primary_metric not in point.metrics:
        raise FamilyError(f"{where}.metrics: {manifest.primary_metric!r} is missing")
    if point.graph is not None:
        _check_listed(manifest, point.graph, where)
    if point.member is not None:
        manifest.member(point.member)
    if point.kind is PointKind.SPLIT:
        if point.member is None or point.levels is None or point.codec is None:
            raise FamilyError(f"{where}: a split point needs member, levels and codec")
        if not MIN_LEVELS <= point.levels <= MAX_LEVELS:
            raise FamilyError(
                f"{where}.levels: {point.levels} is not within {MIN_LEVELS} to {MAX_LEVELS}"
            )
        num_channels = manifest.member(point.member).features.shape[0]
        if len(point.low) != num_channels or len(point.span) != num_channels:
            raise FamilyError(f"{where}: low and span need one value per channel ({num_channels})")
        if min(point.span) <= 0:
            raise FamilyError(f"{where}.span: must be above 0, found {min(point.span)}")
        _check_codec(point, where)
    if point.kind is PointKind.OFFLOAD and (
        point.graph is None or point.picture_format is None or point.picture_quality is None
    ):
        raise FamilyError(f"{where}: an offload point needs graph, picture_format and quality")
    if point.kind is PointKind.LOCAL and (point.graph is None) == (point.member is None):
        raise FamilyError(f"{where}: a local point needs either a graph or a member's early exit")


def _check_layers(manifest: Manifest, member: Member, where: str) -> None:
    """Refuse layers that do not add up, and points that send no prefix of them or lack one.

    An edge may have received any number of layers, so each number must be a point of its own.
    """
    num_channels = member.features.shape[0]
    if member.layers and (min(member.layers) < 1 or sum(member.layers) != num_channels):
        raise FamilyError(
            f"{where}.layers: {list(member.layers)}, expected numbers above 0 that add up to "
            f"its {num_channels} maps"
        )
    prefixes: dict[object, set[int]] = {}
    for point in manifest.points:
        if point.kind is not PointKind.SPLIT or point.member != member.id:
            continue
        if (point.prefix is None) != (not member.layers):
            raise FamilyError(
                f"{where}: point {point.id} has prefix {point.prefix} and the member "
                f"{len(member.layers)} layers; points of a progressive member name a prefix, "
                "others do not"
            )
        if point.prefix is None:
            continue
        if not 1 <= point.prefix <= len(member.layers):
            raise FamilyError(
                f"{where}: point {point.id} sends {point.prefix} layers, expected 1 to "
                f"{len(member.layers)}"
            )
        found = prefixes.setdefault(point.series, set())
        if point.prefix in found:
            raise FamilyError(f"{where}: point {point.id} repeats prefix {point.prefix}")
        found.add(point.prefix)
    for found in prefixes.values():
        missing = set(range(1, max(found) + 1)) - found
        if missing:
            raise FamilyError(
                f"{where}: no point sends {sorted(missing)} layers where others send more; "
                "every prefix needs a point"
            )


def _check_twin(point: OperatingPoint, twin: OperatingPoint, where: str) -> None:
    """Refuse a twin whose integers mean something else: they are the references."""
    mine = (point.kind, point.member, point.levels, point.low, point.span)
    if point.kind is not PointKind.SPLIT or twin.twin is not None:
        raise FamilyError(f"{where}: a split point may name another that has no twin itself")
    if mine != (twin.kind, twin.member, twin.levels, twin.low, twin.span):
        raise FamilyError(f"{where}: {twin.id} has another member, levels, low or span")
    if point.prefix is not None:
        raise FamilyError(
            f"{where}: {twin.id} goes in layers, which are never predicted; export the family again"
        )


def _check_codec(point: OperatingPoint, where: str) -> None:
    assert point.levels is not None
    if point.codec not in CODECS:
        raise FamilyError(
            f"{where}.codec: {point.codec!r} is not one of {', '.join(CODECS)}; update Headgate"
        )
    if (point.codec == CONTEXT_CODEC) != (point.table is not None):
        raise FamilyError(
            f"{where}: codec {CONTEXT_CODEC!r} and a table of frequencies go together, found "
            f"{point.codec!r} {'without' if point.table is None else 'with'} a table"
        )
    if point.table is None:
        return
    fault = table_fault(point.table, levels=point.levels)
    if fault is not None:
        raise FamilyError(
            f"{where}.table.{fault}; export or copy the family again, or update Headgate where a "
            "newer one wrote it"
        )


def _check_listed(manifest: Manifest, path: str, where: str) -> None:
    if path not in manifest.files:
        raise FamilyError(f"{where}: names {path!r}, which is not among the family's files")


def _check_unique(ids: list[str], where: str) -> None:
    twice = [key for key, count in Counter(ids).items() if count > 1]
    if twice:
        raise FamilyError(f"{where}: {twice} appear more than once")
