"""What `headgate bench nair` compares: each run's accuracy by prefix, and the bytes of each prefix.

A run's record holds the accuracy of every prefix, so that its weights may have stayed on another
machine. Bytes of floats follow from the record too; those of quantised maps need the weights and a
codec (see `nair_codec`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch

from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import Run
from headgate.train.folder.run_record import MemberEntry, ProgressiveEntry
from headgate.train.networks.backbones import build_backbone
from headgate.train.networks.splits import find_split
from headgate.train.progressive import W_NON, default_penalty

FLOAT_BYTES = 4
WITHIN = 0.01  # of a line's overall accuracy
# What a run is called, by the order in which it sends (`headgate.train.progressive.ORDERS`).
TRAINED = {
    "principal": "NAIR of mixtures",
    "importance": "NAIR",
    "natural": "NAIR in original order",
}
UNTRAINED = {
    "principal": "mixtures by worth",
    "importance": "importance order",
    "natural": "original order",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One thing that can be sent of a picture: its mean bytes, and the accuracy that it gives."""

    num_bytes: float
    accuracy: float
    what: str = ""

    def seconds(self, rate_bps: float) -> float:
        return 8 * self.num_bytes / rate_bps


@dataclass(frozen=True, slots=True)
class Line:
    """One way to send pictures: all that it can send, and the tails that it needs."""

    name: str
    sent: tuple[Sent, ...]  # by rising bytes
    tail_parameters: int | None = None  # of all its tails
    num_tails: int = 1
    mixed: bool = False  # at several numbers of levels: what is sent lies on several curves

    def best(self, *, seconds: float, rate_bps: float) -> Sent | None:
        """Return the most accurate that crosses in time; None if nothing does."""
        fits = [each for each in self.sent if each.seconds(rate_bps) <= seconds]
        return max(fits, key=lambda each: each.accuracy, default=None)

    @property
    def front(self) -> tuple[Sent, ...]:
        """What nothing smaller is as accurate as, by rising bytes."""
        front: list[Sent] = []
        for each in self.sent:
            if not front or each.accuracy > front[-1].accuracy:
                front.append(each)
        return tuple(front)

    @property
    def overall(self) -> Sent:
        return max(self.sent, key=lambda each: each.accuracy)

    def quickest(self, *, accuracy: float) -> Sent | None:
        """Return the smallest that is as accurate as that."""
        enough = [each for each in self.sent if each.accuracy >= accuracy]
        return min(enough, key=lambda each: each.num_bytes, default=None)


def progressive_entry(run: Run) -> tuple[MemberEntry, ProgressiveEntry]:
    """Return a run's one progressive member, or refuse a run that has none."""
    found = [member for member in run.record.members if member.progressive is not None]
    if len(found) != 1 or found[0].progressive is None:
        raise UsageError(
            f"{run.path}: has no progressive member; give runs of `headgate train nair` or "
            "`headgate train clio`"
        )
    return found[0], found[0].progressive


def line_name(run: Run) -> str:
    """Say in a few words what a run is, from its settings."""
    config = run.record.settings.progressive
    assert config is not None
    extra = []
    if config.method == "clio":
        name = f"CLIO, {'many tails' if config.many_tails else 'single tail'}"
        if config.weights_of_link is not None:
            traces = config.weights_of_link.traces
            links = traces[0] if len(traces) == 1 else f"{len(traces)} recorded links"
            extra.append(f"weights of {links}")
    elif config.epochs == 0:
        name = f"{UNTRAINED[config.order]}, untrained"
    else:
        name = TRAINED[config.order]
        if config.penalty != default_penalty(config.order):
            extra.append(f"penalty {config.penalty:g}" if config.penalty else "no penalty")
        if config.importance != "folded":
            extra.append(f"{config.importance} importance")
        if config.w_non != W_NON:
            extra.append(f"weights to the {config.w_non:g}" if config.w_non else "no weight")
    if config.bottleneck:
        extra.append(f"bottleneck, r = {run.record.settings.resolution_factor}")
    if run.record.settings.link_loss:
        extra.append(f"link loss {run.record.settings.link_loss:g}")
    return ", ".join([name, *extra])


def answers_of_device(runs: Sequence[Run]) -> dict[str, float]:
    """Return how right the device is by itself, by what answers: no byte crosses for it.

    Of several runs the best, since whoever sends has to beat that.
    """
    whole = [run.record.backbone.accuracy for run in runs if run.record.backbone is not None]
    exits = [progressive_entry(run)[0].exit_accuracy for run in runs]
    found = {"whole network on the device": whole, "early exit on the device": exits}
    return {name: max(accuracies) for name, accuracies in found.items() if accuracies}


def float_line(run: Run) -> Line:
    """Return a run's prefixes sent as float32, as the papers send them."""
    member, progressive = progressive_entry(run)
    ends = list(accumulate(layer_values(run, member)))
    sent = [
        Sent(FLOAT_BYTES * end, prefix.accuracy, f"{prefix.maps} maps")
        for end, prefix in zip(ends, progressive.prefixes, strict=True)
    ]
    return _line(line_name(run), sent, progressive)


def quantised_line(run: Run, layer_bytes: Mapping[int, Sequence[float]]) -> Line:
    """Return a run's prefixes as integers; `layer_bytes` are those of each number of levels."""
    _, progressive = progressive_entry(run)
    sent = [
        Sent(end, prefix.quantised[place], f"{prefix.maps} maps at {levels} levels")
        for place, levels in enumerate(run.record.settings.levels)
        for end, prefix in zip(accumulate(layer_bytes[levels]), progressive.prefixes, strict=True)
    ]
    line = _line(f"{line_name(run)}, quantised and coded", sent, progressive)
    return replace(line, mixed=True)


def layer_values(run: Run, member: MemberEntry) -> list[int]:
    """Return how many numbers each layer of a member has."""
    blueprint = run.blueprint
    network = build_backbone(
        blueprint.model,
        num_classes=blueprint.num_classes,
        input_px=blueprint.size_px,
        width=blueprint.width,
    )
    _, height, width = find_split(network, blueprint.split, blueprint.example()).shape
    if not blueprint.plain_cut:
        r = blueprint.resolution_factor
        height, width = ((px + r - 2) // r + 1 for px in (height, width))
    return [maps * height * width for maps in member.layers]


def importance_shares(run: Run) -> tuple[list[float], list[float]]:
    """Return the share of the importance that each layer has, before the training and after."""
    member, progressive = progressive_entry(run)
    place = {index: place for place, index in enumerate(member.selected)}
    ends = list(accumulate(member.layers, initial=0))
    shares = []
    for importance in (progressive.importance_before, progressive.importance_after):
        ordered = torch.tensor([importance[place[index]] for index in member.order])
        layers = [float(ordered[a:b].sum()) for a, b in pairwise(ends)]
        shares.append([layer / max(sum(layers), 1e-12) for layer in layers])
    return shares[0], shares[1]


def _line(name: str, sent: Sequence[Sent], progressive: ProgressiveEntry) -> Line:
    return Line(
        name,
        tuple(sorted(sent, key=lambda each: each.num_bytes)),
        tail_parameters=progressive.tail_parameters * progressive.num_tails,
        num_tails=progressive.num_tails,
    )
