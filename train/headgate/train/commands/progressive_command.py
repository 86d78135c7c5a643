"""`headgate train nair` and `headgate train clio`: members that answer from any prefix of maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headgate.train.commands.number_lists import numbers_in
from headgate.train.commands.run_options import (
    OF_SEVERAL_MEMBERS,
    given_options,
    options_in_order,
    run_options,
)
from headgate.train.progressive import PENALTY, default_penalty

if TYPE_CHECKING:
    from headgate.profiles.trace import Trace
    from headgate.train.progressive import ProgressiveConfig
    from headgate.train.recipe import PruneConfig

# NAIR's own batch; and a tail that is to learn to do without maps must be free to learn.
DEFAULTS = {"batch_size": 80, "share": "head"}

_shared_options = run_options(without=OF_SEVERAL_MEMBERS, defaults=DEFAULTS)


# What both methods have.
_progressive_options = options_in_order(
    click.option("--maps", type=int, help="B: maps of the bottleneck  [default: phi]"),
    click.option(
        "--bottleneck/--no-bottleneck",
        default=True,
        show_default=True,
        help="send a bottleneck's maps, or the features at the split themselves, as the papers",
    ),
    click.option("--slice", "slice_maps", default=2, show_default=True, help="maps of each slice"),
    click.option(
        "--nair-epochs",
        default=4,
        show_default=True,
        help="epochs of the progressive member; 0 measures it untrained",
    ),
    click.option(
        "--prefixes-per-step",
        type=int,
        help="prefixes drawn for a step beside the whole, a cheaper estimate  [default: all]",
    ),
    click.option(
        "--quantise/--no-quantise",
        default=True,
        show_default=True,
        help="round the maps while training, to one of --levels for each batch",
    ),
)


@click.command()
@_progressive_options
@click.option(
    "--order",
    help="principal (mixtures of the maps, the most telling first), importance (maps as they are, "
    "as the paper), or natural (to compare with)  [default: principal, or importance with "
    "--no-bottleneck]",
)
@click.option(
    "--importance",
    default="folded",
    show_default=True,
    help="of a filter: folded (batch norm's scale counts) or plain (its weights as they are)",
)
@click.option(
    "--w-non",
    default=2.0,
    show_default=True,
    help="a prefix counts (1 - its share of the importance) to this power; 0: all alike",
)
@click.option(
    "--weights-from",
    default="start",
    show_default=True,
    help="whose importance that is: start (before the training) or now (of each step)",
)
@click.option(
    "--penalty",
    type=float,
    help="loss for all importance outside the first slice, in shares of what there was at first  "
    f"[default: {PENALTY}, or 0 with --order principal]",
)
@_shared_options
def nair(
    order: str | None,
    importance: str,
    w_non: float,
    weights_from: str,
    penalty: float | None,
    slice_maps: int,
    **settings: Any,
) -> None:
    """Train a member whose maps are sent the most telling first, with one tail for every prefix.

    The plain network is trained or taken from --backbone; then, with a bottleneck, the member with
    all maps and the one with --maps; then the progressive member from that one.
    """
    from headgate.train.progressive import ProgressiveConfig

    if order is None:
        order = "principal" if settings["bottleneck"] else "importance"
    if penalty is None:
        penalty = default_penalty(order)
    progressive = ProgressiveConfig(
        method="nair",
        slice_maps=slice_maps,
        order=order,
        importance=importance,
        w_non=w_non,
        weights_from=weights_from,
        penalty=penalty,
        **_taken(settings),
    )
    _train(_config(progressive, settings), settings)


@click.command()
@_progressive_options
@click.option("--many-tails", is_flag=True, help="a tail for each prefix, not one for all")
@click.option(
    "--prefix-weights",
    help="how much each prefix counts, the shortest first, as 0.1,0.2,0.7  [default: by the link]",
)
@click.option(
    "--bandwidth-kbps",
    help="rates of the link, equally likely, as 100,250,1000  [default: all prefixes alike]",
)
@click.option(
    "--traces",
    metavar="PATH",
    help="recorded links instead, a folder or a file of CSV (t_s,mbps) or mahimahi: sending begins "
    "at any time of any of them",
)
@click.option(
    "--deadline-ms",
    default=1000.0,
    show_default=True,
    help="time for the maps to cross, with --bandwidth-kbps or --traces",
)
@click.option(
    "--value-bits",
    default=32,
    show_default=True,
    help="bits that each number costs to send, with --bandwidth-kbps or --traces",
)
@_shared_options
def clio(
    many_tails: bool,
    prefix_weights: str | None,
    bandwidth_kbps: str | None,
    traces: str | None,
    deadline_ms: float,
    value_bits: int,
    slice_maps: int,
    **settings: Any,
) -> None:
    """Train CLIO, NAIR's rival: natural order, and prefixes weighted by how likely the link is.

    A prefix weighs as much as it is likely to be the longest that crosses within the deadline.
    """
    from headgate.profiles.errors import UsageError
    from headgate.train.progressive import ProgressiveConfig
    from headgate.train.run.clio import with_prefix_weights

    ways = {
        "--prefix-weights": prefix_weights,
        "--bandwidth-kbps": bandwidth_kbps,
        "--traces": traces,
    }
    given = [option for option, value in ways.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            f"{given[0]}: cannot be given with {' and '.join(given[1:])}; each sets the weights of "
            "the prefixes, so leave all but one out"
        )
    if value_bits < 1:
        raise UsageError(f"--value-bits: found {value_bits}, expected 1 or more")
    progressive = ProgressiveConfig(
        method="clio",
        slice_maps=slice_maps,
        order="natural",
        many_tails=many_tails,
        prefix_weights=_numbers("--prefix-weights", prefix_weights),
        **_taken(settings),
    )
    config = _config(progressive, settings)
    if not progressive.prefix_weights:
        rates_kbps = _numbers("--bandwidth-kbps", bandwidth_kbps)
        config = with_prefix_weights(
            config,
            rates_bps=[1000 * rate for rate in rates_kbps],
            traces=() if traces is None else _open_links(traces),
            deadline_s=deadline_ms / 1000,
            value_bits=value_bits,
        )
    _train(config, settings)


def _open_links(path: str) -> list[Trace]:
    """Return the recorded links of a folder or a file; say which files of a folder are none."""
    from headgate.profiles.trace_folder import open_folder_or_trace
    from headgate.train.processes import is_first_process

    traces, notes = open_folder_or_trace(path)
    for note in notes if is_first_process() else ():
        click.echo(f"--traces: {note}", err=True)
    return traces


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    return () if text is None else numbers_in(text, option=option, example="100,250,1000")


def _taken(settings: dict[str, Any]) -> dict[str, Any]:
    """Take out of `settings` what is a progressive member's own."""
    return {
        "bottleneck": settings.pop("bottleneck"),
        "epochs": settings.pop("nair_epochs"),
        "prefixes_per_step": settings.pop("prefixes_per_step"),
        "quantise": settings.pop("quantise"),
    }


def _config(progressive: ProgressiveConfig, settings: dict[str, Any]) -> PruneConfig:
    """Return the settings of the run; what is left of `settings` says how it is to be run."""
    from dataclasses import fields

    from headgate.train.recipe import PruneConfig
    from headgate.train.run.from_backbone import with_network_of_backbone

    maps = settings.pop("maps")
    settings |= with_network_of_backbone(settings, given=given_options())
    names = {field.name for field in fields(PruneConfig)} & settings.keys()
    chosen = {name: settings.pop(name) for name in names}
    budgets = () if maps is None else (maps,)
    return PruneConfig(**chosen, budgets=budgets, progressive=progressive)


def _train(config: PruneConfig, how: dict[str, Any]) -> None:
    from headgate.train.commands.tables import (
        prefixes_table,
        print_table,
        say_if_begun_anew,
        say_run,
    )
    from headgate.train.processes import is_first_process
    from headgate.train.run.interruptions import telling_how_to_go_on, way_on
    from headgate.train.run.progress import choose_progress
    from headgate.train.run.prune import train_prune

    out: Path = how["out"]
    as_json: bool = how["as_json"]
    if is_first_process():
        say_if_begun_anew(out, resume=how["resume"] and not how["force"])
    with telling_how_to_go_on(lambda: way_on(out)):
        run = train_prune(
            config,
            out,
            resume=how["resume"],
            force=how["force"],
            progress=choose_progress(as_json=as_json),
        )
    if is_first_process() and not as_json:
        print_table(prefixes_table(run.record))
        say_run(out)
