"""How much accuracy a bad link costs: maps that never come, and bits that come wrong.

Each member of the runs is measured, and the first run's plain network cut after further layers,
with its features quantised as they are: the deeper the cut, the more a lost map takes with it.

Shapes: B batch, P maps at the split, C maps that cross, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headgate.export.bench.bench_table import BenchResult
from headgate.export.graphs.graphs import picture_to_unit
from headgate.export.samples import Samples, load_samples
from headgate.profiles.errors import UsageError
from headgate.profiles.quantise import MAX_LEVELS, MIN_LEVELS
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.networks.crossing import PlainCut
from headgate.train.networks.link_loss import Grid, flip_bits, lose_maps
from headgate.train.networks.quantiser import quantise_straight_through
from headgate.train.networks.split_model import SplitModel, cut_network

BATCH = 100
RANGE_PICTURES = 256
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LinkLossOptions:
    """What to lose, and of what."""

    runs: tuple[Path, ...]
    splits: tuple[str, ...] = ()
    shares: tuple[float, ...] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
    levels: int = 256
    data: str | None = None
    pictures: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for share in self.shares:
            if not 0 <= share <= 1:
                raise UsageError(f"--shares: found {100 * share:g}, expected 0 to 100 percent")
        if not MIN_LEVELS <= self.levels <= MAX_LEVELS:
            raise UsageError(
                f"--levels: {self.levels} is impossible; give {MIN_LEVELS} to {MAX_LEVELS}"
            )
        if self.pictures < 1:
            raise UsageError(f"--pictures: found {self.pictures}, expected 1 or more")


def bench_link_loss(options: LinkLossOptions, *, say: Say) -> BenchResult:
    """Measure every member, and the plain network at the further splits."""
    rows: list[tuple[str, ...]] = []
    found: list[dict[str, object]] = []
    for name, model, samples in _subjects(options):
        say(f"{name}: {len(samples.labels)} pictures")
        for kind, accuracies in _accuracies(model, samples, options).items():
            rows.append((name, kind, *(f"{100 * accuracy:.1f}" for accuracy in accuracies)))
            found.append({"name": name, "lost": kind, "accuracy": accuracies})
    return BenchResult(
        name="Link loss",
        columns=("network", "lost", *(f"{100 * share:g} %" for share in options.shares)),
        rows=tuple(rows),
        notes=(
            f"accuracy in percent with {options.levels} levels; each map of each picture, or each "
            "bit of each number, is lost by itself; a lost map is zero",
        ),
        details={"shares": list(options.shares), "rows": found},
    )


def _subjects(options: LinkLossOptions) -> Iterator[tuple[str, SplitModel, Samples]]:
    """Yield a name, a network and its pictures."""
    for number, path in enumerate(options.runs):
        run = load_run(path)
        samples = load_samples(
            run, data=options.data, num_calibration=RANGE_PICTURES, limit=options.pictures
        )
        for member_id in run.member_ids:
            loss = run.record.settings.link_loss
            trained = f", trained with link loss {loss:g}" if loss else ""
            yield f"{member_id} of {path.name}{trained}", run.member(member_id), samples
        for split in options.splits if number == 0 else ():
            yield f"plain network cut after {split}", _plain_cut(run, split, samples), samples


def _plain_cut(run: Run, split: str, samples: Samples) -> SplitModel:
    """Return the plain network with nothing between its halves but the quantiser."""
    plain = run.backbone()
    blueprint = replace(run.blueprint, split=split, slim_head=None)
    network = cut_network(
        plain.get_submodule("network"),
        split=split,
        example_BCHW=blueprint.example(),
        num_classes=blueprint.num_classes,
        mean=blueprint.mean,
        std=blueprint.std,
    )
    model = SplitModel(
        normalise=network.normalise,
        head=network.head,
        bottleneck=PlainCut(network.channels, size_px=network.size_px),
        tail=network.tail,
        exit_head=network.make_exit_head(),
        levels_choices=blueprint.levels,
    )
    model.freeze_selection()
    model.eval()
    with torch.no_grad():
        for batch_BCHW in _batches(samples.calibration):
            model.code_range.observe(model.features(batch_BCHW), model.bottleneck.selected_C)
    return model


@torch.no_grad()
def _accuracies(
    model: SplitModel, samples: Samples, options: LinkLossOptions
) -> dict[str, list[float]]:
    """Return for each kind of loss the accuracy at every share."""
    torch.manual_seed(options.seed)
    low_C, span_C = model.code_range.of(model.bottleneck.selected_C)
    grid = Grid(low_C, span_C, options.levels)
    right = {kind: [0] * len(options.shares) for kind in ("maps", "bits")}
    labels_N = torch.from_numpy(samples.labels)
    for number, batch_BCHW in enumerate(_batches(samples.pictures)):
        labels_B = labels_N[number * BATCH : (number + 1) * BATCH]
        code_BCHW = model.bottleneck.encode(model.features(batch_BCHW))
        sent_BCHW = quantise_straight_through(
            code_BCHW, low_C=low_C, span_C=span_C, levels=options.levels
        ).value_BCHW
        for place, share in enumerate(options.shares):
            share_B = torch.full((len(labels_B),), share)
            lost = {
                "maps": lose_maps(sent_BCHW, share_B),
                "bits": flip_bits(sent_BCHW, share_B, grid),
            }
            for kind, received_BCHW in lost.items():
                logits_BK = model.tail(model.bottleneck.decode(received_BCHW))
                right[kind][place] += int((logits_BK.argmax(dim=1) == labels_B).sum())
    return {kind: [n / len(labels_N) for n in numbers] for kind, numbers in right.items()}


def _batches(pictures_NHWC: NDArray[np.uint8]) -> Iterator[Tensor]:
    for begin in range(0, len(pictures_NHWC), BATCH):
        yield picture_to_unit(torch.from_numpy(pictures_NHWC[begin : begin + BATCH]))
