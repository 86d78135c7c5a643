"""Draw runs and families: link and choices over time, accuracy against bytes, runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headgate.export.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    MEMBER_COLOURS,
    NARROW_IN,
    ORANGE,
    VERMILLION,
    WIDE_IN,
    bytes_text,
    legend_above,
    new_figure,
    plain_bytes,
    png,
    tick_text,
)
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.trace import Trace
from headgate.runtime.records import FrameRecord, Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINK_STEP_S = 0.1  # finer steps than this would be drawn on top of each other

FORMAT_STYLES = {"jpeg": (ORANGE, "s", "JPEG"), "webp": (VERMILLION, "D", "WebP")}
SOURCE_STYLES = {
    Source.EDGE: (BLUE, "o", "edge answered"),
    Source.LOCAL: (GREEN, "^", "device answered"),
    Source.NONE: (BLACK, "x", "no answer"),
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """One real run against its link. `trace_start_s` is the trace's zero in `captured_s` terms."""

    records: Sequence[FrameRecord]
    trace: Trace
    trace_start_s: float
    sla_s: float
    manifest: Manifest

    def at_s(self, record: FrameRecord) -> float:
        """When the frame was captured, in seconds of the trace's clock."""
        return record.captured_s - self.trace_start_s


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the comparison; `measured` tells real runs from simulated ones."""

    name: str
    value: float
    measured: bool
    emphasised: bool


def draw_timeline(timeline: Timeline, width_in: float = WIDE_IN) -> bytes:
    """Return a PNG: bandwidth and its estimate, chosen point, latency against the SLA."""
    figure, axes = new_figure(width_in, height_in=8.2, rows=3, ratios=(1.0, 1.5, 1.3))
    _draw_link(axes[0], timeline)
    _draw_choices(axes[1], timeline)
    _draw_latency(axes[2], timeline)
    axes[2].set_xlabel("time (s)")
    return png(figure)


def draw_points(manifest: Manifest, width_in: float = WIDE_IN) -> bytes:
    """Return a PNG: measured accuracy against mean bytes of every operating point."""
    figure, (axes,) = new_figure(width_in, height_in=5.0 if width_in > 6 else 4.6, rows=1)
    curves = _split_curves(manifest)
    for (label, points), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        _draw_curve(axes, manifest, points, colour=colour, marker="o", label=label)
    for name, (colour, marker, label) in FORMAT_STYLES.items():
        points = [p for p in manifest.points if p.picture_format == name]
        _draw_curve(axes, manifest, points, colour=colour, marker=marker, label=f"{label} offload")
    for style, point in zip(("--", ":", "-."), _local_points(manifest), strict=False):
        value = point.metrics[manifest.primary_metric]
        axes.axhline(value, color=GREEN, linestyle=style, linewidth=1.4, label=f"{point.id}, 0 B")
    plain_bytes(axes)
    axes.set_xlabel("mean bytes per frame (log scale)")
    axes.yaxis.set_major_formatter(tick_text(lambda value: f"{100 * value:g}"))
    axes.set_ylabel(f"{manifest.primary_metric} on validation pictures, %")
    legend_above(axes, ncols=3 if width_in > NARROW_IN else 2)
    return png(figure)


def draw_bars(bars: Sequence[Bar], width_in: float = WIDE_IN) -> bytes:
    """Return a PNG: accuracy credited within the SLA, one bar a run, best on top."""
    ordered = sorted(bars, key=lambda bar: bar.value)
    figure, (axes,) = new_figure(width_in, height_in=1.2 + 0.27 * len(ordered), rows=1)
    for row, bar in enumerate(ordered):
        colour = BLUE if bar.emphasised else "#B9C4CC"
        hatch = None if bar.measured else "///"
        axes.barh(row, 100 * bar.value, color=colour, hatch=hatch, edgecolor="white", height=0.78)
        axes.text(100 * bar.value, row, f" {100 * bar.value:.1f}", va="center", fontsize="small")
    axes.set_yticks(range(len(ordered)), [bar.name for bar in ordered], fontsize="small")
    for bar, label in zip(ordered, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if bar.emphasised else "normal")
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlim(0, 100 * (max((bar.value for bar in ordered), default=1.0) * 1.14 or 1.0))
    axes.set_xlabel("accuracy, %, late = wrong (hatched: simulated)")
    axes.grid(visible=False, axis="y")
    return png(figure)


def _draw_link(axes: Axes, timeline: Timeline) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    end_s = max((timeline.at_s(record) for record in timeline.records), default=1.0)
    step_s = max(LINK_STEP_S, end_s / 2000)
    times_s = [step_s * step for step in range(int(end_s / step_s) + 1)]
    rates = [max(timeline.trace.mean_rate_bps(at_s, at_s + step_s) / 1e6, 1e-3) for at_s in times_s]
    axes.fill_between(times_s, rates, 1e-3, color="#DCE6EC", linewidth=0, step="post")
    axes.step(times_s, rates, where="post", color=GREY, linewidth=1.2, label="link")
    known = [r for r in timeline.records if r.estimate.rate_bps is not None]
    estimates = [max((r.estimate.rate_bps or 0) / 1e6, 1e-3) for r in known]
    axes.plot(
        [timeline.at_s(r) for r in known], estimates, color=VERMILLION, lw=1.1, label="estimate"
    )
    axes.set_yscale("log")
    lowest, highest = max(min(rates) / 2, 0.01), max([*rates, *estimates]) * 2
    axes.set_ylim(lowest, highest)
    subs = (1.0,) if highest > 100 * lowest else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(tick_text(lambda value: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("Mbit/s")
    legend_above(axes)


def _draw_choices(axes: Axes, timeline: Timeline) -> None:
    used = {shown_point(record) for record in timeline.records}
    points = [point for point in timeline.manifest.points if point.id in used]
    points.sort(key=lambda point: (point.bytes.mean, point.id))
    rows = {point.id: row for row, point in enumerate(points)}
    chosen = [record for record in timeline.records if shown_point(record) in rows]
    for source, (colour, marker, label) in SOURCE_STYLES.items():
        frames = [record for record in chosen if record.source is source]
        if frames:
            axes.scatter(
                [timeline.at_s(record) for record in frames],
                [rows[shown_point(record) or ""] for record in frames],
                s=9, c=colour, marker=marker, linewidths=0.8, label=label,
            )  # fmt: skip
    names = [f"{point.id}  {bytes_text(point.bytes.mean)}" for point in points]
    axes.set_yticks(range(len(points)), names, fontsize="small")
    axes.set_ylim(-0.7, len(points) - 0.3)
    legend_above(axes)


def shown_point(record: FrameRecord) -> str | None:
    """Return the point that stands for a frame: what it was answered from, or else was planned as.

    An edge may answer from fewer layers than were planned.
    """
    if record.source is Source.EDGE and record.answered_point is not None:
        return record.answered_point
    return record.point


def _draw_latency(axes: Axes, timeline: Timeline) -> None:
    sla_ms = 1000 * timeline.sla_s
    top_ms = 2.5 * sla_ms
    answered = [r for r in timeline.records if r.stages.total_s is not None]
    for met, colour, marker, label in (
        (True, BLUE, "o", "in time"),
        (False, VERMILLION, "x", "late"),
    ):
        frames = [record for record in answered if record.deadline_met is met]
        if frames:
            axes.scatter(
                [timeline.at_s(record) for record in frames],
                [min(1000 * (record.stages.total_s or 0), top_ms) for record in frames],
                s=9, c=colour, marker=marker, linewidths=0.8, label=label,
            )  # fmt: skip
    axes.axhline(sla_ms, color=BLACK, linestyle="--", linewidth=1.2, label=f"SLA {sla_ms:g} ms")
    axes.set_ylim(0, top_ms * 1.05)
    axes.set_ylabel("latency (ms)")
    legend_above(axes)


def _draw_curve(
    axes: Axes,
    manifest: Manifest,
    points: list[OperatingPoint],
    *,
    colour: str,
    marker: str,
    label: str,
) -> None:
    if not points:
        return
    ordered = sorted(points, key=lambda point: point.bytes.mean)
    axes.plot(
        [point.bytes.mean for point in ordered],
        [point.metrics[manifest.primary_metric] for point in ordered],
        color=colour, marker=marker, markersize=5, linewidth=1.5, label=label,
    )  # fmt: skip


def _split_curves(manifest: Manifest) -> dict[str, list[OperatingPoint]]:
    """Return split points by the line that joins them: a member, or a series of prefixes."""
    curves: dict[str, list[OperatingPoint]] = {}
    for member in manifest.members:
        for point in manifest.points:
            if point.member != member.id or point.kind is not PointKind.SPLIT:
                continue
            label = f"split, budget {member.budget}"
            if member.resolution_factor > 1:
                label += f", r = {member.resolution_factor}"
            if point.prefix is not None:
                label += f", layers at {point.levels} levels"
            curves.setdefault(label, []).append(point)
    return curves


def _local_points(manifest: Manifest) -> list[OperatingPoint]:
    return [point for point in manifest.points if point.kind is PointKind.LOCAL]


def _cycle(count: int) -> list[str]:
    return [MEMBER_COLOURS[index % len(MEMBER_COLOURS)] for index in range(count)]
