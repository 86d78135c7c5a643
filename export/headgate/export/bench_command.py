"""`headgate bench`: measure speed, quality and rates, each as a table with its provenance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from headgate.export.bench_speed import SpeedOptions
    from headgate.export.bench_table import BenchResult

STARTUP_ROUNDS = 7
DEFAULT_FOLDER = Path("out/bench")
F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def bench() -> None:
    """Measure speed, quality and rates on this machine."""


def _outputs(function: F) -> F:
    """Give a benchmark the options that all have."""
    for decorate in (
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=DEFAULT_FOLDER,
            show_default=True,
            help="folder for results, runs and families",
        ),
        click.option("--json", "as_json", is_flag=True, help="print one JSON object, not a table"),
    ):
        function = decorate(function)
    return function


def _speed_options(function: F) -> F:
    """Give a speed benchmark the options that choose what runs."""
    for decorate in (
        click.option(
            "--family",
            type=click.Path(file_okay=False, path_type=Path),
            help="family to run  [default: VGG11 at 32 px with three members, made on first use]",
        ),
        click.option("--point", help="operating point  [default: a split point, middle member]"),
        click.option("--frames", default=400, show_default=True, help="frames to measure"),
    ):
        function = decorate(function)
    return function


@bench.command()
@_speed_options
@_outputs
def overhead(family: Path | None, point: str | None, frames: int, out: Path, as_json: bool) -> None:
    """Time from capture to answer beyond the bare networks and transport."""
    from headgate.export.bench_speed import bench_overhead

    _show(bench_overhead(_speed(family, point, frames, out)), out, as_json=as_json)


@bench.command()
@_speed_options
@_outputs
def throughput(
    family: Path | None, point: str | None, frames: int, out: Path, as_json: bool
) -> None:
    """Frames per second beside the slower of the bare head and tail loops."""
    from headgate.export.bench_speed import bench_throughput

    _show(bench_throughput(_speed(family, point, frames, out)), out, as_json=as_json)


@bench.command()
@_speed_options
@_outputs
def memory(family: Path | None, point: str | None, frames: int, out: Path, as_json: bool) -> None:
    """Resident memory of the device process while it answers."""
    from headgate.export.bench_speed import bench_memory

    _show(bench_memory(_speed(family, point, frames, out)), out, as_json=as_json)


@bench.command()
@click.option("--rounds", default=STARTUP_ROUNDS, show_default=True, help="starts of each kind")
@_outputs
def startup(rounds: int, out: Path, as_json: bool) -> None:
    """Time to start the command and to import the runtime."""
    from headgate.export.bench_startup import bench_startup

    _show(bench_startup(rounds=rounds), out, as_json=as_json)


@bench.command("training-step")
@click.option("--model", default="vgg11", show_default=True, help="built-in network")
@click.option("--input-px", default=32, show_default=True, help="side of the input, in px")
@click.option("--batch-size", default=128, show_default=True, help="pictures a step")
@click.option("--rounds", default=12, show_default=True, help="steps of each kind, in turns")
@_outputs
def training_step(
    model: str, input_px: int, batch_size: int, rounds: int, out: Path, as_json: bool
) -> None:
    """A member's training step beside the plain network's."""
    from headgate.export.bench_training import TrainingStepOptions, bench_training_step

    options = TrainingStepOptions(
        model=model, input_px=input_px, batch_size=batch_size, rounds=rounds
    )
    _show(bench_training_step(options), out, as_json=as_json)


@bench.command()
@_speed_options
@_outputs
def speed(family: Path | None, point: str | None, frames: int, out: Path, as_json: bool) -> None:
    """All of startup, memory, overhead, throughput and training-step."""
    from headgate.export.bench_speed import bench_memory, bench_overhead, bench_throughput
    from headgate.export.bench_startup import bench_startup
    from headgate.export.bench_training import TrainingStepOptions, bench_training_step

    options = _speed(family, point, frames, out)
    _show(bench_startup(rounds=STARTUP_ROUNDS), out, as_json=as_json)
    for measure in (bench_memory, bench_overhead, bench_throughput):
        _show(measure(options), out, as_json=as_json)
    _show(bench_training_step(TrainingStepOptions()), out, as_json=as_json)


@bench.command()
@click.option("--data", required=True, help="cifar10:PATH, the paper's case")
@click.option("--pictures", type=int, help="of each half; fewer for a CPU  [default: all]")
@click.option("--epochs", default=50, show_default=True, help="of the plain network and twins")
@click.option("--base-epochs", default=10, show_default=True, help="of the member with all maps")
@click.option("--member-epochs", default=10, show_default=True, help="of each smaller member")
@click.option("--batch-size", default=128, show_default=True, help="pictures a step")
@click.option("--precision", default="auto", show_default=True, help="as of `train prune`")
@click.option("--seed", default=0, show_default=True)
@_outputs
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
    from headgate.export.bench_quality import QualityOptions, bench_quality
    from headgate.train.progress import choose_progress

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
    _show(bench_quality(options, progress=choose_progress(), say=_say), out, as_json=as_json)


@bench.command()
@click.option("--data", required=True, help="folder:PATH, pictures of a realistic size")
@click.option("--model", default="resnet18", show_default=True, help="built-in network")
@click.option("--width", default=0.5, show_default=True, help="multiplies its channels")
@click.option("--split", default="stages.2", show_default=True, help="layer to cut after")
@click.option("--epochs", default=60, show_default=True, help="of the plain network")
@click.option("--member-epochs", default=8, show_default=True, help="of every member")
@click.option("--pictures", type=int, help="of each half; fewer for a CPU  [default: all]")
@click.option("--input-px", type=int, help="side of the input  [default: that of the pictures]")
@click.option("--precision", default="auto", show_default=True, help="as of `train prune`")
@click.option("--seed", default=0, show_default=True)
@_outputs
def rates(
    data: str,
    model: str,
    width: float,
    split: str,
    epochs: int,
    member_epochs: int,
    pictures: int | None,
    input_px: int | None,
    precision: str,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Accuracy against bytes of a family beside JPEG and WebP."""
    from headgate.export.bench_rates import RatesOptions, bench_rates
    from headgate.train.progress import choose_progress

    options = RatesOptions(
        data=data,
        folder=out / "rates",
        model=model,
        width=width,
        split=split,
        epochs=epochs,
        base_epochs=member_epochs,
        member_epochs=member_epochs,
        pictures=pictures,
        input_px=input_px,
        precision=precision,
        seed=seed,
    )
    _show(bench_rates(options, progress=choose_progress(), say=_say), out, as_json=as_json)


def _speed(family: Path | None, point: str | None, frames: int, out: Path) -> SpeedOptions:
    from headgate.export.bench_family import speed_family
    from headgate.export.bench_speed import SpeedOptions
    from headgate.profiles.family import open_family

    found = speed_family(out / "vgg11") if family is None else open_family(family)
    return SpeedOptions(family=found, folder=out / "runs", frames=frames, point=point)


def _show(result: BenchResult, out: Path, *, as_json: bool) -> None:
    from headgate.export.bench_table import write_result

    write_result(result, out)
    click.echo(result.to_json() if as_json else result.to_markdown())


def _say(text: str) -> None:
    click.echo(text, err=True)
