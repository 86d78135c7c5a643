"""Claims about whole progressive runs: what they leave, how they resume, and what they refuse."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.storage import seal_json
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.networks.bottleneck import CentredBottleneck
from headgate.train.networks.crossing import PlainCut
from headgate.train.networks.progressive_model import ProgressiveModel
from headgate.train.progressive import (
    ProgressiveConfig,
    check_prefix_weights,
    slice_layers,
)
from headgate.train.run.prune import train_prune
from train.tiny_runs import (
    StopAfter,
    StoppedOnPurposeError,
    digests,
    tiny_config,
    train_tiny,
)

PURE = ProgressiveConfig(bottleneck=False, penalty=0.5, epochs=2)
NARROW = ProgressiveConfig(slice_maps=1, penalty=0.5, epochs=2)
MIXED = ProgressiveConfig(slice_maps=1, order="principal", epochs=2)
CLIO = ProgressiveConfig(
    method="clio",
    order="natural",
    bottleneck=False,
    quantise=False,
    prefix_weights=(0.2, 0.3, 0.5),
    many_tails=True,
    prefixes_per_step=1,
    epochs=1,
)
RUNS = {
    "pure": {"progressive": PURE, "budgets": (), "rate_weight": 0.0, "link_loss": 0.3},
    "narrow": {"progressive": NARROW, "budgets": (4,)},
    "mixed": {"progressive": MIXED, "budgets": (4,)},
    "clio": {"progressive": CLIO, "budgets": (), "rate_weight": 0.0},
}
NARROW_RUNS = ("narrow", "mixed")


@pytest.fixture(scope="module")
def runs(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: train_tiny(pictures, folder / name, **changes) for name, changes in RUNS.items()}


@pytest.mark.parametrize(
    ("name", "member_id", "layers", "stages"),
    [
        ("pure", "n6r1", (2, 2, 2), ["backbone", "n6r1"]),
        ("narrow", "n4r1", (1, 1, 1, 1), ["backbone", "b6r1", "b4r1", "n4r1"]),
        ("mixed", "n4r1", (1, 1, 1, 1), ["backbone", "b6r1", "b4r1", "n4r1"]),
        ("clio", "c6r1", (2, 2, 2), ["backbone", "c6r1"]),
    ],
)
def test_a_run_leaves_one_member_in_layers(
    runs: dict[str, Run], name: str, member_id: str, layers: tuple[int, ...], stages: list[str]
) -> None:
    (entry,) = runs[name].record.members
    assert (entry.id, entry.layers) == (member_id, layers)
    assert sorted(entry.order) == list(entry.selected)
    lines = [json.loads(line) for line in (runs[name].path / "epochs.jsonl").open()]
    assert list(dict.fromkeys(line["stage"] for line in lines)) == stages


@pytest.mark.parametrize("name", ["pure", "narrow"])
def test_the_order_is_that_of_falling_importance_before_training(
    runs: dict[str, Run], name: str
) -> None:
    (entry,) = runs[name].record.members
    assert entry.progressive is not None
    importance = dict(zip(entry.selected, entry.progressive.importance_before, strict=True))
    assert list(entry.order) == sorted(entry.selected, key=lambda index: -importance[index])
    assert entry.progressive.importance_after != entry.progressive.importance_before


def test_mixtures_are_sent_in_the_order_they_were_made_in(runs: dict[str, Run]) -> None:
    (entry,) = runs["mixed"].record.members
    assert entry.order == entry.selected


@pytest.mark.parametrize("name", sorted(RUNS))
def test_the_folder_builds_the_member_that_was_measured(runs: dict[str, Run], name: str) -> None:
    run = runs[name]
    (entry,) = run.record.members
    model = run.member(entry.id)
    assert isinstance(model, ProgressiveModel)
    assert isinstance(model.bottleneck, CentredBottleneck if name in NARROW_RUNS else PlainCut)
    assert model.layer_plan is not None
    assert (model.layer_plan.order, model.layer_plan.layers) == (entry.order, entry.layers)
    assert model.many_tails == (name == "clio")
    assert entry.progressive is not None
    whole = entry.progressive.prefixes[-1]
    assert (whole.maps, whole.accuracy) == (len(entry.order), entry.accuracy)
    assert len(whole.quantised) == (0 if name == "clio" else 2)
    with torch.no_grad():
        out = model(torch.rand(2, 3, 16, 16), levels=8, prefixes=range(1, model.num_layers + 1))
    assert out.logits_BK.shape == (2 * model.num_layers, 2)


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_run_that_was_stopped_in_its_last_stage_ends_bit_for_bit_the_same(
    runs: dict[str, Run], name: str, pictures: Path, tmp_path: Path
) -> None:
    config = tiny_config(pictures, checkpoint_steps=2, **RUNS[name])
    num_steps = 4 * sum(1 for _ in (runs[name].path / "epochs.jsonl").open())
    with pytest.raises(StoppedOnPurposeError):
        train_prune(config, tmp_path / "run", progress=StopAfter(steps=num_steps - 1))
    again = train_prune(config, tmp_path / "run", resume=True)
    assert digests(again) == digests(runs[name])
    assert again.record.members == runs[name].record.members


def test_an_untrained_member_is_the_plain_network_measured_by_prefixes(
    pictures: Path, tmp_path: Path
) -> None:
    config = replace(PURE, order="natural", epochs=0)
    run = train_tiny(pictures, tmp_path / "run", **(RUNS["pure"] | {"progressive": config}))
    (entry,) = run.record.members
    assert run.record.backbone is not None
    assert entry.order == tuple(range(6))
    assert entry.accuracy == run.record.backbone.accuracy
    assert entry.progressive is not None
    assert entry.progressive.importance_after == entry.progressive.importance_before


def test_a_run_without_any_epoch_measures_what_another_run_trained(
    runs: dict[str, Run], pictures: Path, tmp_path: Path
) -> None:
    changes = {"progressive": replace(PURE, epochs=0), "epochs": None, "budgets": ()}
    run = train_tiny(
        pictures, tmp_path / "run", backbone=str(runs["pure"].path), rate_weight=0.0, **changes
    )
    assert run.record.backbone == replace(runs["pure"].record.backbone, epochs=0)  # type: ignore[type-var]
    assert (run.path / "epochs.jsonl").read_text() == ""
    order = runs["pure"].record.members[0].order
    assert run.record.members[0].order == order


def test_a_many_tailed_run_says_how_many(runs: dict[str, Run]) -> None:
    (many,), (one,) = runs["clio"].record.members, runs["pure"].record.members
    assert many.progressive is not None
    assert one.progressive is not None
    assert (many.progressive.num_tails, one.progressive.num_tails) == (3, 1)
    assert many.progressive.tail_parameters == one.progressive.tail_parameters > 1000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"progressive": replace(PURE, slice_maps=4)}, "6 maps cannot be cut into slices of 4"),
        ({"progressive": replace(PURE, slice_maps=0)}, "--slice: found 0, expected 1 or more"),
        ({"progressive": replace(PURE, prefixes_per_step=3)}, "beside the whole there are 2"),
        ({"progressive": replace(PURE, order="best")}, "--order: 'best' is not one of"),
        ({"progressive": replace(PURE, order="principal")}, "--order principal: cannot be given"),
        ({"progressive": replace(MIXED, weights_from="now")}, "--weights-from now: with --order"),
        ({"progressive": replace(PURE, importance="big")}, "--importance: 'big' is not one of"),
        ({"progressive": replace(PURE, penalty=-1.0)}, "--penalty: found -1.0"),
        ({"progressive": replace(PURE, w_non=float("nan"))}, "--w-non: found nan"),
        ({"progressive": replace(CLIO, prefix_weights=(1.0,))}, "one for each of the 3 prefixes"),
        (
            {"split": "0", "progressive": replace(PURE, slice_maps=1)},
            "no convolution makes its maps, they are the picture's own",
        ),
        ({"budgets": (4,)}, "--maps: without a bottleneck all maps of the split cross"),
        ({"resolution_factor": 2}, "--resolution: without a bottleneck"),
        ({"hint": 1.0}, "--hint: without a bottleneck"),
        ({"slim_head": 0.5}, "--slim-head: cannot be given with --no-bottleneck"),
        ({"progressive": NARROW, "budgets": (4, 2)}, "--maps: found 2 numbers, expected one"),
        ({"progressive": NARROW, "budgets": (9,)}, "9 is impossible, 6 maps leave the split"),
        (
            {"progressive": replace(PURE, quantise=False), "rate_weight": 1e-5},
            "--rate-weight: cannot be given with --no-quantise",
        ),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(
    changes: dict[str, object], message: str, pictures: Path, tmp_path: Path
) -> None:
    config = tiny_config(pictures, **(RUNS["pure"] | changes))
    with pytest.raises(UsageError) as refused:
        train_prune(config, tmp_path / "run")
    assert message in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"order": [0, 1, 2, 3, 4, 4]},
        {"layers": [2, 2]},
        {"layers": [6, 0]},
        {"order": []},
        {"layers": []},
    ],
)
def test_a_record_whose_order_is_no_permutation_is_refused(
    change: dict[str, list[int]], runs: dict[str, Run], tmp_path: Path
) -> None:
    data = json.loads((runs["pure"].path / "run.json").read_text())
    del data["digest"]
    data["members"][0] |= change
    (tmp_path / "run.json").write_bytes(seal_json(data))
    with pytest.raises(FamilyError, match="is no permutation of the maps that cross"):
        load_run(tmp_path)


def test_slices_divide_the_maps() -> None:
    assert slice_layers(24, slice_maps=2) == (2,) * 12
    with pytest.raises(UsageError, match="give one of 1, 2, 3, 6"):
        slice_layers(6, slice_maps=5)


@pytest.mark.parametrize(
    "weights",
    [(0.0, 0.0), (-1.0, 1.0), (float("inf"), 1.0), (float("nan"), 1.0), (1e39, 1.0), (1.0,)],
)
def test_weights_that_are_none_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="--prefix-weights"):
        check_prefix_weights(weights, num_layers=2)
