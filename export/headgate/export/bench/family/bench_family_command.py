"""`headgate bench family`: one page on what a family is worth on which links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headgate.export.bench.bench_options import (
    NOT_NEGATIVE,
    POSITIVE,
    Milliseconds,
    Number,
    PositiveList,
    outputs,
    say,
    show,
)
from headgate.export.bench.rates.bench_rates_command import measuring
from headgate.profiles.profile import DEFAULT_PROFILE


@click.command("family")
@click.argument("family", type=click.Path(exists=True, path_type=Path))
@click.option("--data", help="measure again on these pictures  [default: believe the manifest]")
@measuring(qualities="1,3,5,10,20,40,60,80")
@click.option(
    "--traces",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="folder of recorded links, CSV or mahimahi",
)
@click.option(
    "--sla-ms", type=Milliseconds(), default="50,100,200", show_default=True, help="answers within"
)
@click.option(
    "--mbps", type=PositiveList(), default="0.02,0.05,0.1,0.2,0.5,1,2,5,10,20,50",
    show_default=True, help="steady links of the map, in Mbit/s",
)  # fmt: skip
@click.option("--rtt-ms", type=NOT_NEGATIVE, default=20.0, show_default=True)
@click.option("--fps", type=Number(0.1, 1000), default=30.0, show_default=True)
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, help="preset or TOML file")
@click.option(
    "--trace-s", type=POSITIVE, default=30.0, show_default=True, help="of each link at most, in s"
)
@outputs
def bench_family(
    family: Path,
    limit: int | None,
    jpeg_qualities: tuple[int, ...],
    webp_qualities: tuple[int, ...],
    threads: int,
    sla_ms: tuple[float, ...],
    mbps: tuple[float, ...],
    rtt_ms: float,
    out: Path,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Write one page on FAMILY: accuracy against bytes, and where splitting pays.

    Without --data it says what the family's manifest knows. The map and the recorded links are runs
    of the device's own controller in the simulator: about ten seconds for each SLA, and a few more
    for each link and SLA. --device-factor and --profile make it your device instead of this
    machine. Writes family.html, family.md and family.json. FAMILY may also be a ladder of points in
    a TOML file (examples/ladder.toml).
    """
    from headgate.export.bench.family.family_page import family_page
    from headgate.export.bench.family.family_report import FamilyOptions, open_target, report_family
    from headgate.export.bench.rates.rates_measure import MeasureOptions
    from headgate.profiles.storage import write_atomic

    options = FamilyOptions(
        limit=limit,
        measure=MeasureOptions(
            jpeg_qualities=jpeg_qualities, webp_qualities=webp_qualities, threads=threads
        ),
        slas_s=tuple(each / 1000 for each in sla_ms),
        rates_bps=tuple(each * 1e6 for each in mbps),
        rtt_s=rtt_ms / 1000,
        **chosen,
    )
    report = report_family(open_target(family, options), options, say=say)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "family.html", family_page(report))
    show(report.result(), out, as_json=as_json)
    say(f"page: {out / 'family.html'}")
