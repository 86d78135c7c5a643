"""Draw up the page of a family: sentences, the map, accuracy against bytes, costs, links."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import partial

from headgate.export import page
from headgate.export.bench.bench_table import provenance
from headgate.export.bench.family.family_map import Cell, OverTrace, Way
from headgate.export.bench.family.family_report import FamilyReport
from headgate.export.bench.rates.break_even import rate_text
from headgate.export.bench.rates.plot_rates import draw_rates
from headgate.export.bench.rates.rates_rows import Row, Series
from headgate.profiles.ladder import LADDER
from headgate.profiles.manifest import Manifest, PointKind
from headgate.runtime.commands.point_words import id_lines
from headgate.runtime.commands.points_table import dominated_by, point_costs

POINTS_ALT = (
    "Accuracy against mean bytes: the split points by member, and the lines of JPEG and WebP"
)
COST_COLUMNS = (
    *("point", "accuracy, %", "mean bytes", "device ms", "edge ms"),
    *("multiply-adds here, %", "no better than"),
)
TRACE_COLUMNS = (
    *("link", "mean rate", "SLA", "accuracy, %", "without splitting", "in time, %"),
    *("bytes/frame", "split, %", "picture, %", "alone, %"),
)
LISTED_TRACES = 12  # longer tables are folded


def family_page(report: FamilyReport) -> str:
    """Return the whole document."""
    body = f"""<h1>{html.escape(report.title)}</h1>
<section class="lead">
{page.paragraphs(report.lead)}
</section>
<section>
<h2>What the controller does on a steady link</h2>
{_map_part(report)}
</section>
<section>
<h2>Accuracy against bytes</h2>
<p>Up and to the left is better.{_bars(report)}</p>
{page.themed_picture(partial(draw_rates, report.rates), alt=_alt(report))}
{page.bullets(report.rates_lines)}
</section>
<section>
<h2>What a frame costs</h2>
{page.paragraphs([line for line in (report.cost,) if line])}
{_cost_table(report)}
{page.bullets([] if LADDER in report.manifest.provenance else id_lines(report.manifest))}
</section>
{_traces_part(report)}
<section>
<h2>How this was made</h2>
{page.bullets(report.notes)}
{page.facts(_facts(report.manifest) | provenance())}
</section>"""
    return page.page(f"Headgate: {report.title}", body)


def cost_rows(manifest: Manifest, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the family's points with what they ask of device, link and edge."""
    times = {row.id: row.time for row in rows if row.time is not None}
    dominated = dominated_by(point_costs(manifest, times))
    found: list[tuple[str, ...]] = []
    for row in rows:
        time = row.time
        found.append(
            (
                row.id,
                f"{100 * row.accuracy:.1f}",
                f"{row.mean_bytes:.0f}",
                "-" if time is None else f"{1000 * time.device_s:.2f}",
                "-" if time is None else f"{1000 * time.edge_s:.2f}",
                _device_share(manifest, row.id),
                dominated.get(row.id, ""),
            )
        )
    return found


def _alt(report: FamilyReport) -> str:
    return POINTS_ALT + ("" if report.rates.full is None else ", and the whole network's accuracy")


def _bars(report: FamilyReport) -> str:
    """Say what the bars of the picture are, where it has any."""
    known = any(row.error is not None for row in report.rates.rows)
    return " Bars are one standard error." if known else ""


def _map_part(report: FamilyReport) -> str:
    if not report.cells:
        return page.paragraphs(["No map: compute times are missing."])
    said = page.bullets(report.by_sla)
    return f"""<p>Each cell is a run of the device's own controller over a link of that rate: the
point that answered most often (where a link lies between two, they take turns), the accuracy that
frames in time are worth (late ones count as wrong), and what split points add to it.</p>
<p class="key"><span class="split">split</span><span class="picture">picture</span><span
class="local">device alone</span><span>mostly late</span></p>
{map_table(report.cells, conditions=report.conditions)}
{said}"""


def map_table(cells: Sequence[Cell], *, conditions: str) -> str:
    """Return the map as a table: a row per rate, the fastest on top, a column per SLA."""
    slas_s = sorted({cell.sla_s for cell in cells})
    by_place = {(cell.rate_bps, cell.sla_s): cell for cell in cells}
    heads = "".join(f'<th scope="col">{1000 * sla_s:g} ms</th>' for sla_s in slas_s)
    body = ""
    for rate_bps in sorted({cell.rate_bps for cell in cells}, reverse=True):
        row = "".join(_map_cell(by_place[rate_bps, sla_s]) for sla_s in slas_s)
        body += f'<tr><th scope="row">{rate_text(rate_bps)}</th>{row}</tr>\n'
    return (
        f'<div class="scroll"><table class="map"><caption>{html.escape(conditions)}</caption>'
        f'<thead><tr><th scope="col">rate, and SLA</th>{heads}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def _map_cell(cell: Cell) -> str:
    outcome = cell.outcome
    kind = {Way.SPLIT: "split", Way.PICTURE: "picture", Way.LOCAL: "local"}.get(outcome.way, "")
    name = "mostly late" if outcome.way is Way.NONE else outcome.point or ""
    small = f"{100 * outcome.credited:.1f} %"
    if cell.pays and outcome.gain is not None:
        small += f" <b>{100 * outcome.gain:+.1f}</b>"
    shares = ", ".join(f"{way.value} {100 * part:.0f} %" for way, part in outcome.shares.items())
    title = (
        f"{100 * outcome.in_time:.1f} % in time, {outcome.mean_bytes:,.0f} bytes a frame; {shares}"
    )
    return f'<td class="{kind}" title="{title}">{html.escape(name)}<small>{small}</small></td>'


def _cost_table(report: FamilyReport) -> str:
    own = [row for row in report.rates.rows if row.own]
    return page.text_table(
        COST_COLUMNS,
        cost_rows(report.manifest, own),
        caption=f"The family's points; times {report.machine}",
        marked=[row.series is Series.SPLIT for row in own],
    )


def _traces_part(report: FamilyReport) -> str:
    if not report.runs:
        return ""
    table = page.text_table(
        TRACE_COLUMNS,
        [trace_row(run) for run in report.runs],
        caption=f"Simulated with the device's own controller; {report.conditions}",
    )
    if len(report.runs) > LISTED_TRACES:
        table = page.details(f"All {len(report.runs)} runs", table)
    return f"""<section>
<h2>Recorded links</h2>
{page.paragraphs([report.traces_said] if report.traces_said else [])}
{table}
<p class="note">How far this is from a controller that knows the future, and how rivals do on the
same links: <code>headgate bench control</code>.</p>
</section>"""


def trace_row(run: OverTrace) -> tuple[str, ...]:
    """Return the cells of one recorded link at one SLA."""
    outcome = run.outcome
    without = "-" if outcome.without_split is None else f"{100 * outcome.without_split:.1f}"
    ways = (Way.SPLIT, Way.PICTURE, Way.LOCAL)
    return (
        run.trace,
        rate_text(run.mean_bps),
        f"{1000 * run.sla_s:g} ms",
        f"{100 * outcome.credited:.1f}",
        without,
        f"{100 * outcome.in_time:.1f}",
        f"{outcome.mean_bytes:,.0f}",
        *(f"{100 * outcome.shares.get(way, 0.0):.0f}" for way in ways),
    )


def _device_share(manifest: Manifest, point_id: str) -> str:
    """Return how much of the network runs on the device, in percent of the multiply-adds."""
    point = manifest.point(point_id)
    if point.kind is PointKind.OFFLOAD:
        return "0"
    if point.member is None:
        return "-" if LADDER in manifest.provenance else "100"
    member = manifest.member(point.member)
    total = member.head_macs + member.tail_macs
    return f"{100 * member.head_macs / total:.0f}" if total else "-"


def _facts(manifest: Manifest) -> dict[str, str]:
    if LADDER in manifest.provenance:  # the rest of its manifest is made up
        return {"ladder": manifest.provenance[LADDER]}
    size = f"{manifest.input.width_px} x {manifest.input.height_px} px"
    num = len(manifest.labels)
    known = {
        key: manifest.provenance[key]
        for key in ("model", "width", "split", "data")
        if key in manifest.provenance
    }
    return {
        "family": manifest.digest[:12],
        "input": f"{size}, {num} class{'' if num == 1 else 'es'}",
        **{f"trained with: {key}" if key == "data" else key: text for key, text in known.items()},
    }
