"""What operating points cost and are worth, side by side, and which are never worth taking."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from rich import box
from rich.table import Table

from headgate.profiles.family import ROLES, files_of
from headgate.profiles.manifest import Manifest, OperatingPoint, PointTime
from headgate.profiles.progressive import maps_of_prefix
from headgate.runtime.commands.point_words import family_line, id_lines

PICTURES_KEY = "validation_pictures"  # in a manifest's provenance
COUNT = re.compile("[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class PointCost:
    """One point as it is compared: `quality` higher is better, the rest lower."""

    id: str
    quality: float
    num_bytes: float  # mean payload
    device_s: float
    edge_s: float
    predicted: bool = False  # its bytes are those of a video, not of pictures

    def dominates(self, other: "PointCost") -> bool:
        """Return whether this point is at least as good everywhere and better somewhere.

        Bytes of pictures and of a video do not compare.
        """
        if self.predicted != other.predicted:
            return False
        mine, theirs = self._costs(), other._costs()
        no_worse = all(a <= b for a, b in zip(mine, theirs, strict=True))
        return no_worse and mine != theirs

    def _costs(self) -> tuple[float, float, float, float]:
        return (-self.quality, self.num_bytes, self.device_s, self.edge_s)


def dominated_by(costs: Sequence[PointCost]) -> dict[str, str]:
    """Return, for every dominated point's id, the id of the first point that dominates it."""
    found = {}
    for cost in costs:
        better = next((other.id for other in costs if other.dominates(cost)), None)
        if better is not None:
            found[cost.id] = better
    return found


def point_costs(manifest: Manifest, times: Mapping[str, PointTime]) -> list[PointCost]:
    """Return the points as they compare on one machine; without times only by worth and bytes."""
    unknown = PointTime(device_s=0.0, edge_s=0.0)
    return [
        PointCost(
            id=point.id,
            quality=manifest.quality(point),
            num_bytes=point.bytes.mean,
            device_s=times.get(point.id, unknown).device_s,
            edge_s=times.get(point.id, unknown).edge_s,
            predicted=point.twin is not None,
        )
        for point in manifest.points
    ]


def pick_machine(manifest: Manifest) -> str | None:
    """Return the machine whose times are shown: the first by name, or None without any."""
    return min(manifest.times, default=None)


def family_to_json(manifest: Manifest, *, roles: Sequence[str] = ROLES) -> dict[str, Any]:
    """Return the inspected family as one JSON object, times in milliseconds.

    `roles` are those whose files the folder holds.
    """
    machine = pick_machine(manifest)
    times = manifest.times[machine] if machine is not None else {}
    dominated = dominated_by(point_costs(manifest, times))
    return {
        "digest": manifest.digest,
        "task": manifest.task,
        "labels": list(manifest.labels),
        "input_px": [manifest.input.height_px, manifest.input.width_px],
        "members": [member.id for member in manifest.members],
        "layers": {m.id: list(m.layers) for m in manifest.members if m.layers},
        "num_files": len(files_of(manifest, roles=roles)),
        "roles": list(roles),
        "machine": machine,
        "points": [
            {
                "id": point.id,
                "kind": point.kind.value,
                "codec": point.codec,
                "metrics": point.metrics,
                "bytes": {
                    "mean": point.bytes.mean,
                    "p5": point.bytes.p5,
                    "p95": point.bytes.p95,
                    "max": point.bytes.max,
                },
                "device_ms": _ms(times, point, "device_s"),
                "edge_ms": _ms(times, point, "edge_s"),
                "dominated_by": dominated.get(point.id),
                "twin": point.twin,
                "prefix": point.prefix,
            }
            for point in manifest.points
        ],
    }


def points_table(manifest: Manifest, *, roles: Sequence[str] = ROLES) -> Table:
    """Return the table of points for a terminal; dominated ones are dim and say what beats them.

    Prefixes of a progressive member stand together, a line below each series. `roles` are those
    whose files the folder holds.
    """
    machine = pick_machine(manifest)
    times = manifest.times[machine] if machine is not None else {}
    dominated = dominated_by(point_costs(manifest, times))
    metric = manifest.primary_metric
    progressive = any(member.layers for member in manifest.members)
    # Narrow enough for 80 columns; what has no room is folded, never cut. The points' ids stay
    # whole: they are to be copied. `--json` says all there is of the sizes.
    table = Table(
        title="operating points",
        caption=_caption(manifest, machine, roles=roles),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for title in ("point", "kind", "codec"):
        table.add_column(title, no_wrap=True)
    if progressive:
        table.add_column("maps", justify="right")
    sizes_shown = ("mean\nbytes",) if progressive else ("mean\nbytes", "p95\nbytes")
    for title in (metric, *sizes_shown, "device\nms", "edge\nms"):
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("beaten\nby", overflow="fold")
    for point, after in zip(manifest.points, [*manifest.points[1:], None], strict=True):
        sizes = (point.bytes.mean, *(() if progressive else (point.bytes.p95,)))
        table.add_row(
            point.id,
            point.kind.value,
            point.codec or "",
            *([_maps_text(manifest, point)] if progressive else []),
            f"{point.metrics[metric]:.4f}",
            *(f"{size:.0f}" for size in sizes),
            *(_ms_text(_ms(times, point, key)) for key in ("device_s", "edge_s")),
            dominated.get(point.id, ""),
            style="dim" if point.id in dominated else None,
            end_section=point.prefix is not None
            and (after is None or after.series != point.series),
        )
    return table


def _caption(manifest: Manifest, machine: str | None, *, roles: Sequence[str]) -> str:
    num_files = len(files_of(manifest, roles=roles))
    caption = f"family {manifest.digest[:12]}, {num_files} files verified"
    if machine is not None:
        caption += f"; times on {machine}"
    for absent in (role for role in ROLES if role not in roles):
        caption += f"\nonly a part: what {_owner(absent)} needs beside is not here"
    caption += f"\n{family_line(manifest)}"
    caption += _chance(manifest)
    caption += "".join(f"\n{line}" for line in id_lines(manifest))
    caption += "\nbeaten by: no worse in accuracy, bytes and times, and better in one of them"
    if any(point.twin is not None for point in manifest.points):
        caption += "\n-p: predicted from earlier frames, bytes of a video"
    if any(member.layers for member in manifest.members):
        caption += "\n-p1, -p2 ...: so many layers in the order of sending, bytes of all of them"
    return caption


def _owner(role: str) -> str:
    return "an edge" if role == "edge" else "a device"


def _chance(manifest: Manifest) -> str:
    """Say how many pictures an accuracy is of, and what that leaves to chance."""
    counted = manifest.provenance.get(PICTURES_KEY, "")
    metric = manifest.primary_metric
    if metric != "top1" or not COUNT.fullmatch(counted):
        return ""
    rights = [point.metrics[metric] for point in manifest.points]
    error = max(sqrt(max(0.0, right * (1 - right)) / int(counted)) for right in rights)
    return f"\ntop1: of {counted} validation pictures, standard error up to {error:.3f}"


def _maps_text(manifest: Manifest, point: OperatingPoint) -> str:
    """Return how many of a member's maps a split point sends."""
    if point.member is None or point.levels is None:
        return ""
    member = manifest.member(point.member)
    num_maps = member.features.shape[0]
    sent = num_maps if point.prefix is None else maps_of_prefix(member, point.prefix)
    return f"{sent}/{num_maps}"


def _ms(times: Mapping[str, PointTime], point: OperatingPoint, key: str) -> float | None:
    time = times.get(point.id)
    return None if time is None else round(1000 * getattr(time, key), 4)


def _ms_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
