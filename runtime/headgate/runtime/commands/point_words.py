"""Says in words what a family answers, and what the ids of its operating points mean."""

from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.complaints import printable

NAMED_LABELS = 5
LABEL_CHARS = 16  # of a label that is shown among others


def family_line(manifest: Manifest) -> str:
    """Say which pictures go in and which answers come out."""
    size = manifest.input
    labels = manifest.labels
    named = ", ".join(_short(label) for label in labels[:NAMED_LABELS])
    more = len(labels) - NAMED_LABELS
    line = f"pictures {size.width_px} x {size.height_px} px; {len(labels)} classes: {named}"
    return f"{line} and {more} more" if more > 0 else line


def id_lines(manifest: Manifest) -> list[str]:
    """Say what the ids of the points mean, a line for each way to answer, by an example."""
    lines = []
    split = _first(manifest, PointKind.SPLIT)
    if split is not None and split.member is not None and split.levels is not None:
        member = manifest.member(split.member)
        r = member.resolution_factor
        shrunk = f", shrunk by {r} each way" if r > 1 else ""
        name = f"{split.member}-l{split.levels}"
        maps = f"{member.budget} feature map{'s' if member.budget > 1 else ''}"
        lines.append(f"split    {name}: {maps}{shrunk}, {split.levels} levels a number")
    offload = _first(manifest, PointKind.OFFLOAD)
    if offload is not None:
        lines.append(
            f"offload  {offload.id}: a picture of quality {offload.picture_quality}, for the whole "
            "network at the edge"
        )
    local = [point for point in manifest.points if point.kind is PointKind.LOCAL]
    meanings = [
        f"{point.id}: the {'head and its early exit' if point.graph is None else 'whole network'}"
        for point in local
    ]
    if meanings:
        lines.append(f"local    {', '.join(meanings)}")
    return lines


def _first(manifest: Manifest, kind: PointKind) -> OperatingPoint | None:
    return next((point for point in manifest.points if point.kind is kind), None)


def _short(label: str) -> str:
    shown = printable(label)
    return shown if len(shown) <= LABEL_CHARS else f"{shown[: LABEL_CHARS - 1]}…"
