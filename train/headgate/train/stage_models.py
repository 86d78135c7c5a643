"""What a stage begins with: its network, from whose weights, its objective and its optimizer."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import SGD

from headgate.train.backbones import PlainModel
from headgate.train.data import as_floats
from headgate.train.loop import Objective
from headgate.train.losses import LossWeights
from headgate.train.material import Lesson
from headgate.train.objectives import BackboneObjective, MemberObjective
from headgate.train.optimizers import make_sgd
from headgate.train.plan import Plan, load_backbone
from headgate.train.recipe import SLIM, PruneConfig, Stage, StageKind
from headgate.train.run_folder import read_weights
from headgate.train.run_record import FinishedStage
from headgate.train.seeds import derive_seed
from headgate.train.selection import BATCH, NUM_PICTURES, map_scores_P
from headgate.train.split_model import SplitModel
from headgate.train.weights import with_shared

# Shapes: B batch, C channels, H height, W width

BACKBONE = "backbone"
WARM_START_PICTURES = 256


def starting_model(
    stage: Stage,
    plan: Plan,
    *,
    folder: Path,
    finished: dict[str, FinishedStage],
    device: torch.device,
) -> PlainModel | SplitModel:
    """Build a stage's network with the weights it begins with, the same on every process.

    `folder` is that of the run, `finished` its stages that are done, by id.
    """
    torch.manual_seed(derive_seed(plan.config.seed, "fresh weights", stage.id))
    if stage.kind is StageKind.BACKBONE:
        return _plain_network(plan).to(device)
    assert stage.budget is not None
    if stage.kind is StageKind.TWIN:
        return plan.blueprint.build_split_model(budget=stage.budget).to(device)
    assert stage.start_from is not None
    before = finished[stage.start_from]
    if stage.kind is StageKind.BASE:
        model = member_around_plain(plan, finished, folder=folder).to(device)
        model.freeze_selection()  # all maps cross
        model.warm_start(as_floats(_some_pictures(plan, WARM_START_PICTURES)[0]))
    else:
        model = _member_before(plan, before, finished[BACKBONE], folder=folder).to(device)
        scores_P = map_scores_P(plan.config.select, model, _some_lessons(plan))
        model.bottleneck.reset_prune(stage.budget, scores_P=scores_P)
        if scores_P is not None:
            model.freeze_selection()
    if plan.config.rate_weight > 0:
        model.code_range.hold_after(_follow_batches(stage, plan))
    if plan.config.shares_head:
        model.freeze_parts(late_tail=plan.config.share == "ends")
    return model


def _follow_batches(stage: Stage, plan: Plan) -> int:
    """Return after how many steps ranges are held: an epoch, or half of a stage of one epoch."""
    pictures, batch_size = len(plan.data.train_labels_N), plan.config.batch_size
    return max(1, min(2, stage.epochs) * max(1, pictures // batch_size) // 2)


def stage_objective(
    stage: Stage,
    model: nn.Module,
    plan: Plan,
    *,
    folder: Path,
    finished: dict[str, FinishedStage],
    has_answers: bool = False,
) -> Objective:
    """Return what the stage minimises; with `has_answers` lessons hold the plain network's."""
    config = plan.config
    if stage.kind is StageKind.BACKBONE:
        return BackboneObjective()
    assert isinstance(model, SplitModel)
    teacher = None
    if config.distill_share > 0 and not has_answers:
        device = model.bottleneck.f_hat.device
        teacher = trained_network(plan, finished[BACKBONE], folder=folder).to(device).eval()
        teacher.requires_grad_(False)
    weights = LossWeights(
        prune=config.epsilon,
        delta=config.delta,
        symmetry=config.lambda_,
        rate=config.rate_weight,
        distill=config.distill_share,
        hint=config.hint_weight,
    )
    return MemberObjective(module=model, weights=weights, levels=config.levels, teacher=teacher)


def make_optimizer(model: nn.Module, config: PruneConfig) -> SGD:
    """Return what trains all of a model that is not frozen."""
    return make_sgd(model.parameters(), config)


def _plain_network(plan: Plan) -> PlainModel:
    plain = plan.blueprint.build_backbone()
    if plan.config.backbone is not None:
        load_backbone(plain, Path(plan.config.backbone))
    return plain


def _member_before(
    plan: Plan, before: FinishedStage, backbone: FinishedStage, *, folder: Path
) -> SplitModel:
    """Return a member that an earlier stage made."""
    assert before.budget is not None
    assert before.selected is not None
    model = plan.blueprint.build_split_model(budget=before.budget)
    weights = read_weights(folder / before.file, sha256=before.sha256)
    if before.shares_backbone:
        shared = read_weights(folder / backbone.file, sha256=backbone.sha256)
        weights = with_shared(weights, shared, names=model.state_dict())
    model.load_state_dict(weights)
    model.freeze_selection(before.selected)
    return model


def trained_network(plan: Plan, stage: FinishedStage, *, folder: Path) -> PlainModel:
    """Return the plain network as its stage left it."""
    plain = plan.blueprint.build_backbone()
    plain.load_state_dict(read_weights(folder / stage.file, sha256=stage.sha256))
    return plain


def member_around_plain(
    plan: Plan, finished: dict[str, FinishedStage], *, folder: Path
) -> SplitModel:
    """Return the member with B = phi around the plain network, with the slim head if there is one.

    Its bottleneck and its early exit are fresh.
    """
    plain = trained_network(plan, finished[BACKBONE], folder=folder)
    model = plan.blueprint.build_split_model(budget=plan.blueprint.num_maps, plain=plain)
    slim = finished.get(SLIM)
    if slim is not None:
        weights = read_weights(folder / slim.file, sha256=slim.sha256)
        prefix = "head."
        model.head.load_state_dict(
            {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
        )
    return model


def _some_pictures(plan: Plan, number: int) -> tuple[Tensor, Tensor]:
    """Return training pictures [B, 3, H, W] as bytes, drawn from all over, and labels [B]."""
    pictures_NCHW = plan.data.train_pictures_NCHW
    draw = torch.Generator().manual_seed(derive_seed(plan.config.seed, "warm start"))
    chosen_B = torch.randperm(len(pictures_NCHW), generator=draw)[:number].to(pictures_NCHW.device)
    return pictures_NCHW[chosen_B], plan.data.train_labels_N[chosen_B]


def _some_lessons(plan: Plan) -> Iterator[Lesson]:
    """Yield what the maps of a member are ranked by."""
    pictures_BCHW, labels_B = _some_pictures(plan, NUM_PICTURES)
    for begin in range(0, len(labels_B), BATCH):
        part = slice(begin, begin + BATCH)
        yield Lesson(as_floats(pictures_BCHW[part]), labels_B[part])
