"""Write what happened in a run as one HTML file that needs nothing else: words and pictures."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headgate.export.bench.compare import RunScore, best
from headgate.export.demo.plots import (
    Bar,
    Timeline,
    draw_bars,
    draw_points,
    draw_timeline,
)
from headgate.export.figures import NARROW_IN, WIDE_IN
from headgate.export.page import bullets, facts, page, paragraphs, picture
from headgate.profiles.manifest import Manifest, PointKind
from headgate.profiles.storage import write_atomic
from headgate.runtime.commands.point_words import id_lines
from headgate.runtime.records import Source


@dataclass(frozen=True, slots=True)
class ReportContent:
    """All that a report says: the real run, its rivals, and how it was made."""

    timeline: Timeline
    adaptive: RunScore  # measured, in real time
    adaptive_simulated: RunScore
    fixed: Sequence[RunScore]  # one per operating point, simulated
    allowed: frozenset[str]  # points that the run's profile admits; the others are no rivals
    made_with: dict[str, str]  # what stands at the foot: command, machine, versions, commit

    @property
    def manifest(self) -> Manifest:
        return self.timeline.manifest

    @property
    def rivals(self) -> list[RunScore]:
        """The fixed runs of points that the run might have chosen too."""
        return [run for run in self.fixed if run.name in self.allowed]

    def of_kind(self, kind: PointKind) -> list[RunScore]:
        """Return the rivals whose point is of `kind`."""
        return [run for run in self.rivals if self.manifest.point(run.name).kind is kind]

    def of_format(self, picture_format: str) -> list[RunScore]:
        """Return the rivals that send pictures of this format."""
        return [
            run
            for run in self.rivals
            if self.manifest.point(run.name).picture_format == picture_format
        ]


def write_report(content: ReportContent, folder: Path) -> Path:
    """Write report.html and the three PNGs into `folder`; return the path of the report."""
    figures: tuple[tuple[str, str, Callable[[float], bytes]], ...] = (
        ("timeline", TIMELINE_ALT, partial(draw_timeline, content.timeline)),
        ("points", POINTS_ALT, partial(draw_points, content.manifest)),
        ("comparison", BARS_ALT, partial(draw_bars, _bars(content))),
    )
    pictures = {}
    for name, alt, draw in figures:
        wide = draw(WIDE_IN)
        write_atomic(folder / f"{name}.png", wide)
        pictures[name] = picture(wide, draw(NARROW_IN), alt=alt)
    path = folder / "report.html"
    write_atomic(path, _page(content, pictures))
    return path


def sentences(content: ReportContent) -> list[str]:
    """Say in plain words what happened; also printed at the end of the demo."""
    run, manifest = content.adaptive, content.manifest
    sla_ms = 1000 * content.timeline.sla_s
    lines = [
        _link(content),
        f"{run.summary.frames} frames were captured; {_percent(run.in_time)} were answered within "
        f"{sla_ms:g} ms, at {run.mean_bytes:,.0f} bytes a frame on average.",
        _who_answered(content),
    ]
    if run.summary.credited is not None:
        lines.append(
            f"{_percent(run.summary.credited)} of all frames were answered rightly and in time."
        )
    lines.append(
        "Counted as the simulator counts, with the accuracy that each point was measured to have "
        f"in place of the truth, that is {_percent(run.credited)} "
        f"({_percent(content.adaptive_simulated.credited)} in the simulator, whose machine has "
        "nothing else to do)."
    )
    rival = best(content.rivals)
    if rival is not None:
        lines.append(_against("the best fixed point in hindsight", rival, run, manifest))
    for picture_format, name in (("jpeg", "JPEG"), ("webp", "WebP")):
        rival = best(content.of_format(picture_format))
        if rival is not None:
            lines.append(_against(f"the best {name} offload in hindsight", rival, run, manifest))
    barred = [run.name for run in content.fixed if run.name not in content.allowed]
    if barred:
        lines.append(f"Not allowed to this device, and no rivals: {', '.join(barred)}.")
    return lines


def comparison_rows(content: ReportContent) -> list[tuple[str, RunScore]]:
    """Return the rows worth reading first: the run, its simulation, the best of each kind."""
    rows = [("adaptive", content.adaptive), ("adaptive", content.adaptive_simulated)]
    rivals = [
        ("best fixed split", best(content.of_kind(PointKind.SPLIT))),
        ("best fixed JPEG", best(content.of_format("jpeg"))),
        ("best fixed WebP", best(content.of_format("webp"))),
        ("best local", best(content.of_kind(PointKind.LOCAL))),
    ]
    return rows + [(f"{title}: {run.name}", run) for title, run in rivals if run is not None]


def _link(content: ReportContent) -> str:
    """Say over which link, as far as it was played, and whether it broke down."""
    timeline = content.timeline
    trace = timeline.trace
    end_s = max((timeline.at_s(record) for record in timeline.records), default=trace.duration_s)
    played = [
        rate_bps / 1e6
        for from_s, rate_bps in zip(trace.times_s, trace.rates_bps, strict=True)
        if from_s <= end_s
    ]
    moving = [rate_mbps for rate_mbps in played if rate_mbps > 0]
    link = f"The link is {trace.name}: {min(moving, default=0):.2g} to {max(moving, default=0):.2g}"
    link += " Mbit/s"
    if len(moving) < len(played):
        link += ", and at times nothing"
    return f"{link}."


def _who_answered(content: ReportContent) -> str:
    records = content.timeline.records
    parts = []
    for source, words in (
        (Source.EDGE, "by the edge"),
        (Source.LOCAL, "on the device"),
        (Source.NONE, "by nobody"),
    ):
        share = sum(record.source is source for record in records) / max(1, len(records))
        parts.append(f"{words} ({_percent(share)})")
    chosen = content.adaptive.summary.by_point.values()
    used = sum(count >= 0.01 * len(records) for count in chosen)
    counted = "1 operating point was" if used == 1 else f"{used} operating points were"
    return (
        f"Frames were answered {', '.join(parts[:2])} and {parts[2]}; "
        f"{counted} used for at least one frame in a hundred."
    )


def _against(title: str, rival: RunScore, run: RunScore, manifest: Manifest) -> str:
    difference = run.credited - rival.credited
    verb = "ahead of" if difference >= 0 else "behind"
    point = manifest.point(rival.name)
    accuracy = point.metrics[manifest.primary_metric]
    return (
        f"The run is {100 * abs(difference):.1f} points {verb} {title}: {rival.name}, which has "
        f"accuracy {_percent(accuracy)} but was in time for {_percent(rival.in_time)} of the "
        f"frames and reaches {_percent(rival.credited)} (simulated)."
    )


def fixed_title(run: RunScore, content: ReportContent) -> str:
    """Name a fixed run's point, and say if the profile bars it."""
    return run.name if run.name in content.allowed else f"{run.name} (not allowed here)"


def _bars(content: ReportContent) -> list[Bar]:
    bars = [
        Bar("adaptive (measured)", content.adaptive.credited, measured=True, emphasised=True),
        Bar(
            "adaptive (simulated)",
            content.adaptive_simulated.credited,
            measured=False,
            emphasised=True,
        ),
    ]
    return bars + [
        Bar(run.name, run.credited, measured=run.measured, emphasised=False)
        for run in content.rivals
    ]


def _page(content: ReportContent, pictures: dict[str, str]) -> str:
    sla_ms = 1000 * content.timeline.sla_s
    said = paragraphs(sentences(content))
    every = sorted(content.fixed, key=lambda run: -run.credited)
    body = f"""<h1>One run, frame by frame</h1>
<section>
{said}</section>
<section>
<h2>Link, choice and latency</h2>
<p>What the link could carry and what the device believed; what it chose for each frame, or of one
that is sent in layers, what the edge answered from; how long the answer took against the SLA of
{sla_ms:g} ms. Longer latencies are drawn at the upper edge.</p>
{pictures["timeline"]}
</section>
<section>
<h2>Beside fixed choices</h2>
<p>The same trace and the same family. Only the adaptive run marked measured took place in real
time between real processes; all others are simulated, with the compute times measured here.</p>
{_table(comparison_rows(content), caption="The run and the best of each kind")}
{pictures["comparison"]}
<details>
<summary>Every operating point, fixed for the whole run (simulated)</summary>
{_table([(fixed_title(run, content), run) for run in every], caption="Fixed operating points")}
</details>
</section>
<section>
<h2>What a frame can be sent as</h2>
<p>Accuracy on the validation pictures against the bytes of one frame. Up and to the left is
better. The lines across are answers that need no link.</p>
{pictures["points"]}
<p>What the points' names mean, by examples:</p>
{bullets(id_lines(content.manifest))}
</section>
<section>
<h2>How this was made</h2>
{facts(content.made_with)}
</section>"""
    return page(f"Headgate: one run over {content.timeline.trace.name}", body)


def _table(rows: Sequence[tuple[str, RunScore]], *, caption: str) -> str:
    body = "".join(
        f"<tr{' class=own' if run.name.startswith('adaptive') else ''}>"
        f'<th scope="row">{html.escape(title)}</th>'
        f"<td>{'measured' if run.measured else 'simulated'}</td>"
        f"<td>{_percent(run.credited)}</td><td>{_percent(run.in_time)}</td>"
        f"<td>{_milliseconds(run.summary.latency_p50_s)}</td><td>{run.mean_bytes:,.0f}</td></tr>\n"
        for title, run in rows
    )
    heads = ("run", "how", "accuracy, late = wrong", "in time", "median ms", "bytes/frame")
    return (
        f'<div class="scroll"><table class="words"><caption>{html.escape(caption)}</caption>'
        + "<thead><tr>"
        + "".join(f'<th scope="col">{head}</th>' for head in heads)
        + f"</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _milliseconds(seconds: float | None) -> str:
    return "n/a" if seconds is None else f"{1000 * seconds:.1f}"


TIMELINE_ALT = (
    "Three panels over time: bandwidth of the link and the device's estimate of it, the operating "
    "point chosen for each frame, and each frame's latency against the SLA"
)
POINTS_ALT = "Accuracy against mean bytes of every operating point, with JPEG and WebP lines"
BARS_ALT = "Accuracy within the SLA of the adaptive run and of every fixed operating point"
