"""`headgate bench`: measure speed, quality and rates, each as a table with its provenance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headgate.export.bench.bench_options import held_to_goals, outputs, say, show
from headgate.export.bench.codecs.bench_codec_command import codec
from headgate.export.bench.codecs.bench_predict_command import predict
from headgate.export.bench.codecs.bench_skip_command import skip
from headgate.export.bench.control.bench_control_command import control
from headgate.export.bench.control.bench_drawn_command import drawn
from headgate.export.bench.control.bench_sharing_command import sharing
from headgate.export.bench.edge.bench_edge_command import device_cost, edge
from headgate.export.bench.family.bench_family_command import bench_family
from headgate.export.bench.members.bench_members_command import family_cost, rate_weights, selection
from headgate.export.bench.progressive.bench_nair_command import link_loss, nair
from headgate.export.bench.rates.bench_rates_command import rates, train_rates
from headgate.export.bench.speed.bench_head_command import head
from headgate.export.bench.split_training.bench_deprune_command import (
    adasplit,
    deprune,
    deprune_network,
    train_transport,
)
from headgate.export.bench.split_training.bench_pact_command import pact, pact_run
from headgate.runtime.signals import interrupted_by_sigterm
from headgate.train.commands.command_group import SentenceGroup
from headgate.train.commands.run_options import options_in_order

if TYPE_CHECKING:
    from headgate.export.bench.speed.speed_device import SpeedOptions

STARTUP_ROUNDS = 7


@click.group(cls=SentenceGroup)
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure speed, quality and rates on this machine."""
    context.with_resource(interrupted_by_sigterm())


# What a speed benchmark runs.
_speed_options = options_in_order(
    click.option("--frames", default=400, show_default=True, help="frames to measure"),
    click.option("--point", help="operating point  [default: a split point, middle member]"),
    click.option(
        "--family",
        type=click.Path(file_okay=False, path_type=Path),
        help="family to run  [default: VGG11 at 32 px with three members, made on first use]",
    ),
)


@bench.command()
@_speed_options
@held_to_goals
@outputs
def overhead(family: Path | None, point: str | None, frames: int, out: Path, as_json: bool) -> None:
    """Time from capture to answer beyond the bare networks and transport."""
    from headgate.export.bench.speed.bench_speed import bench_overhead

    show(bench_overhead(_speed(family, point, frames, out)), out, as_json=as_json)


@bench.command()
@_speed_options
@held_to_goals
@outputs
def throughput(
    family: Path | None, point: str | None, frames: int, out: Path, as_json: bool
) -> None:
    """Frames per second beside the slower of the bare head and tail loops."""
    from headgate.export.bench.speed.bench_speed import bench_throughput

    show(bench_throughput(_speed(family, point, frames, out)), out, as_json=as_json)


@bench.command()
@_speed_options
@held_to_goals
@outputs
def memory(family: Path | None, point: str | None, frames: int, out: Path, as_json: bool) -> None:
    """Resident memory of the device process while it answers."""
    from headgate.export.bench.speed.bench_speed import bench_memory

    show(bench_memory(_speed(family, point, frames, out)), out, as_json=as_json)


@bench.command()
@click.option("--rounds", default=STARTUP_ROUNDS, show_default=True, help="starts of each kind")
@held_to_goals
@outputs
def startup(rounds: int, out: Path, as_json: bool) -> None:
    """Time to start the command and to import the runtime."""
    from headgate.export.bench.speed.bench_startup import bench_startup

    show(bench_startup(rounds=rounds), out, as_json=as_json)


@bench.command("training-step")
@click.option("--model", default="vgg11", show_default=True, help="built-in network")
@click.option("--input-px", default=32, show_default=True, help="side of the input, in px")
@click.option("--batch-size", default=128, show_default=True, help="pictures a step")
@click.option("--rounds", default=12, show_default=True, help="steps of each kind, in turns")
@held_to_goals
@outputs
def training_step(
    model: str, input_px: int, batch_size: int, rounds: int, out: Path, as_json: bool
) -> None:
    """A member's training step beside the plain network's."""
    from headgate.export.bench.speed.bench_training import TrainingStepOptions, bench_training_step

    options = TrainingStepOptions(
        model=model, input_px=input_px, batch_size=batch_size, rounds=rounds
    )
    show(bench_training_step(options), out, as_json=as_json)


@bench.command()
@_speed_options
@held_to_goals
@outputs
def speed(family: Path | None, point: str | None, frames: int, out: Path, as_json: bool) -> None:
    """All of startup, memory, overhead, throughput and training-step."""
    from headgate.export.bench.speed.bench_speed import (
        bench_memory,
        bench_overhead,
        bench_throughput,
    )
    from headgate.export.bench.speed.bench_startup import bench_startup
    from headgate.export.bench.speed.bench_training import TrainingStepOptions, bench_training_step

    options = _speed(family, point, frames, out)
    show(bench_startup(rounds=STARTUP_ROUNDS), out, as_json=as_json)
    for measure in (bench_memory, bench_overhead, bench_throughput):
        show(measure(options), out, as_json=as_json)
    show(bench_training_step(TrainingStepOptions()), out, as_json=as_json)


@bench.command()
@click.option("--data", required=True, help="cifar10:PATH, the paper's case")
@click.option("--pictures", type=int, help="of each half; fewer for a CPU  [default: all]")
@click.option("--epochs", default=50, show_default=True, help="of the plain network and twins")
@click.option("--base-epochs", default=10, show_default=True, help="of the member with all maps")
@click.option("--member-epochs", default=10, show_default=True, help="of each smaller member")
@click.option("--batch-size", default=128, show_default=True, help="pictures a step")
@click.option("--precision", default="auto", show_default=True, help="as of `train prune`")
@click.option("--seed", default=0, show_default=True)
@held_to_goals
@outputs
def quality(
    data: str,
    pictures: int | None,
    epochs: int,
    base_epochs: int,
    member_epochs: int,
    batch_size: int,
    precision: str,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Pruned members beside twins trained from scratch. Hours on a CPU without --pictures."""
    from headgate.export.bench.members.bench_quality import QualityOptions, bench_quality
    from headgate.train.run.progress import choose_progress

    options = QualityOptions(
        data=data,
        folder=out / "quality",
        epochs=epochs,
        base_epochs=base_epochs,
        member_epochs=member_epochs,
        pictures=pictures,
        batch_size=batch_size,
        precision=precision,
        seed=seed,
    )
    show(bench_quality(options, progress=choose_progress(), say=say), out, as_json=as_json)


def _speed(family: Path | None, point: str | None, frames: int, out: Path) -> SpeedOptions:
    from headgate.export.bench.speed.bench_family import opened_or_made
    from headgate.export.bench.speed.speed_device import SpeedOptions

    found = opened_or_made(family, out=out)
    return SpeedOptions(family=found, folder=out / "runs", frames=frames, point=point)


for command in (
    *(
        control,
        sharing,
        bench_family,
        deprune,
        adasplit,
        deprune_network,
        train_transport,
        predict,
        skip,
    ),
    *(rates, train_rates, head, codec, family_cost, selection, rate_weights, edge, device_cost),
    *(nair, link_loss, drawn, pact, pact_run),
):
    bench.add_command(command)
