"""Tables and lines that `headgate train` prints."""

import json
import shlex
from math import sqrt
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from headgate.profiles.parse import unparse
from headgate.train.folder.run_folder import partial_folder
from headgate.train.folder.run_record import RunRecord
from headgate.train.networks.split_names import PICTURE
from headgate.train.networks.splits import CROSSED, NO_MAPS, SplitPoint
from headgate.train.stages import PICTURES, SLIM

GUESSING_ERRORS = 2.5  # standard errors above chance: one guessing network in 160 gets past
LEARN_MORE = (
    "train for longer (--epochs), with more steps an epoch (a smaller --batch-size), "
    "or at another rate (--lr)"
)
SCALED_OTHERWISE = (
    "the pictures it learnt from may have been scaled in another way (--normalise), or its classes "
    "be in another order"
)


def print_table(table: Table) -> None:
    """Print a table on stdout, as wide as it needs where that is not a terminal."""
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(width=200, markup=False)
    console.print(table)


def members_table(record: RunRecord) -> Table:
    """Show what each member of a run is worth on the validation pictures."""
    title = f"{record.blueprint.model} on {record.dataset.spec}"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in ("", "maps", "epochs", "accuracy", "early exit", "levels", "then", "bytes"):
        table.add_column(heading, justify="left" if not heading else "right")
    if record.backbone is not None:
        table.add_row(
            "backbone", "", str(record.backbone.epochs), _percent(record.backbone.accuracy)
        )
        table.add_section()
    for member in record.members:
        # A row for each number of levels: a column for each would not fit a terminal.
        cells = [
            member.id,
            str(member.budget),
            str(member.epochs),
            _percent(member.accuracy),
            _percent(member.exit_accuracy),
        ]
        if not member.quantised:
            table.add_row(*cells)
        for q in member.quantised:
            table.add_row(*cells, str(q.levels), _percent(q.accuracy), f"{q.rate_bits / 8:,.0f}")
            cells = [""] * len(cells)
        table.add_section()
    table.caption = (
        "then: accuracy with so many levels a value; bytes are what the rate term "
        "estimates, before any codec"
    )
    table.caption += _hardly_trained(record)
    slim = record.sides.get(SLIM)
    if slim is not None:
        table.add_row(SLIM, "", str(slim.epochs), _percent(slim.accuracy), "")
        table.caption += (
            f"\nslim: the members' head, with {_percent(slim.head_macs / slim.whole_head_macs)} "
            "of the multiply-adds of the backbone's, and the backbone's tail"
        )
    tuned = record.sides.get(PICTURES)
    if tuned is not None:
        table.add_row(PICTURES, "", str(tuned.epochs), _percent(tuned.accuracy), "")
        table.caption += (
            "\npictures: a copy of the backbone tuned on compressed pictures, measured on such "
            f"ones; the backbone itself reaches {_percent(tuned.plain_accuracy)} on them"
        )
    return table


def prefixes_table(record: RunRecord) -> Table:
    """Show what each prefix of a run's progressive member is worth on the validation pictures."""
    (member,) = record.members
    assert member.progressive is not None
    title = f"{member.id}: {record.blueprint.model} on {record.dataset.spec}"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in ("layers", "maps", "accuracy"):
        table.add_column(heading, justify="right")
    for levels in record.settings.levels[: len(member.progressive.prefixes[0].quantised)]:
        table.add_column(f"at {levels} levels", justify="right")
    config = record.settings.progressive
    weights = config.prefix_weights if config is not None else ()
    if weights:
        table.add_column("weight", justify="right")
    for place, prefix in enumerate(member.progressive.prefixes):
        accuracies = (prefix.accuracy, *prefix.quantised)
        cells = [str(place + 1), str(prefix.maps), *map(_percent, accuracies)]
        table.add_row(*cells, *(f"{weight:.3f}" for weight in weights[place : place + 1]))
    table.caption = f"early exit: {_percent(member.exit_accuracy)}"
    if record.backbone is not None:
        table.caption += f"; backbone: {_percent(record.backbone.accuracy)}"
    table.caption += _hardly_trained(record)
    source = config.weights_of_link if config is not None else None
    if source is not None:
        table.caption += (
            f"\nweight: how likely it is the longest that crosses in {1000 * source.deadline_s:g} "
            f"ms at {source.value_bits} bits a number, on {', '.join(source.traces)}"
        )
    return table


def guessing(accuracy: float, *, record: RunRecord) -> str:
    """Say so where an accuracy may be that of guessing; else return nothing.

    Of a few pictures chance gets many right: what is half of the way to all right is learnt. Where
    classes are unbalanced a network that always gives the commonest one is right more often yet.
    """
    commonest = record.dataset.num_val_commonest / max(1, record.dataset.num_val)
    chance = 1 / max(1, len(record.labels))
    error = sqrt(chance * (1 - chance) / max(1, record.dataset.num_val))
    if accuracy > chance + min(GUESSING_ERRORS * error, (1 - chance) / 2):
        if accuracy > commonest or commonest == 1:
            return ""
        return (
            f"{_percent(accuracy)} is no more than the commonest of {len(record.labels)} classes "
            f"earns if it is always given ({_percent(commonest)})"
        )
    is_more = "hardly" if accuracy > chance else "no"
    return (
        f"{_percent(accuracy)} is {is_more} more than guessing among {len(record.labels)} classes "
        f"({_percent(chance)})"
    )


def _hardly_trained(record: RunRecord) -> str:
    """Say what to do where the plain network guesses, or its early exit answers better than it."""
    backbone = record.backbone
    exits = [member.exit_accuracy for member in record.members]
    if backbone is None:
        return ""
    guessed = guessing(backbone.accuracy, record=record)
    if guessed:
        remedy = LEARN_MORE if backbone.epochs else SCALED_OTHERWISE
        return f"\nbackbone: {guessed}; {remedy}"
    if max(exits, default=0.0) <= backbone.accuracy:
        return ""
    return (
        "\nthe early exit is right more often than the backbone: a device would answer by itself "
        "and send nothing; train the backbone for longer (--epochs), or bring one (--backbone)"
    )


def say_run(out: Path) -> None:
    """Name the finished run's folder on stdout, and on stderr what to do with it."""
    click.echo(f"run: {out}")
    click.echo(f"next: headgate export {shlex.quote(str(out))} FAMILY", err=True)


def say_if_begun_anew(out: Path, *, resume: bool) -> None:
    """Say on stderr that --resume finds nothing at `out`: the path may be mistyped."""
    if resume and not out.exists() and not partial_folder(out).exists():
        click.echo(f"--resume: there is no unfinished run at {out}; a new one begins", err=True)


def splits_table(
    points: list[SplitPoint], *, title: str, with_refused: bool, default: str | None = None
) -> Table:
    """Show where a network can be cut; those that cannot be used are counted, or say why.

    `default` is where it is cut unless the user says otherwise.
    """
    nowhere = not any(point.valid and point.name != PICTURE for point in points)
    with_refused = with_refused or nowhere
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in ("", "split", "shape", "bytes", "head", "tail"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    num_refused = sum(not point.valid for point in points)
    table.caption = "bytes of the float32 maps, shares of the multiply-adds"
    if any(point.valid and point.name == PICTURE for point in points):
        table.caption += "\n0: the picture itself crosses, the whole network is at the edge"
    if nowhere:
        table.caption += "\n" + _remedy(points)
    if default is not None:
        table.caption += f"\nwithout --split, trainings cut after {default}"
    elif not nowhere:
        table.caption += "\ntrainings need one of these names: --split NAME"
    table.caption += _of_containers(points)
    if with_refused:
        table.add_column("why not")
    elif num_refused:
        layers = "layer" if num_refused == 1 else "layers"
        table.caption += f"\n{num_refused} more {layers} cannot be split after; --all says why"
    for point in points:
        if not (point.valid or with_refused):
            continue
        share = head_share(point)
        cells = [
            str(point.index),
            point.name,
            " x ".join(map(str, point.shape)),
            f"{point.nbytes:,}",
            _percent(share),
            _percent(1 - share),
            *([point.reason] if with_refused else []),
        ]
        table.add_row(*cells, style=None if point.valid else "dim")
    return table


def _of_containers(points: list[SplitPoint]) -> str:
    """Say that a block's name is taken too, where a split is its last layer."""
    for point in points:
        for name in point.aliases:
            if point.valid and point.name.startswith(f"{name}."):
                return f"\na block's name stands for its last layer, as {name} for {point.name}"
    return ""


def _remedy(points: list[SplitPoint]) -> str:
    """Say what to change in a network that can be cut after none of its layers."""
    lines = ["this network can be cut after none of its layers; to change that:"]
    if any(point.reason.startswith(CROSSED) for point in points):
        lines.append(
            "- where more than one tensor crosses, put layers and the shortcut around them into a "
            "module\n  that returns one tensor: one can cut after that"
        )
    if any(point.reason.startswith(NO_MAPS) for point in points):
        lines.append(
            "- maps are expected to have height and width: begin with convolutions, or let a "
            "module return\n  what is flat or a row of tokens as (channels, height, width)"
        )
    if len(lines) == 1:
        lines.append("- give it layers that compute something behind the first one")
    return "\n".join(lines)


def split_line(point: SplitPoint) -> str:
    """Return one split as a JSON line."""
    return json.dumps(unparse(point) | {"head_share": round(head_share(point), 6)})


def head_share(point: SplitPoint) -> float:
    """Return the share of the multiply-adds that the device would do, 0..1."""
    return point.head_macs / max(1, point.head_macs + point.tail_macs)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
