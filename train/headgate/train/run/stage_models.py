"""The networks that stages begin with, and from whose weights; the same on every process."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from headgate.train.folder.run_folder import read_trained
from headgate.train.folder.run_record import FinishedStage
from headgate.train.folder.weights import with_shared
from headgate.train.learning.material import Lesson
from headgate.train.learning.mixing import start_with_mixtures
from headgate.train.learning.selection import BATCH, NUM_PICTURES, map_scores_P
from headgate.train.networks.backbones import PlainModel
from headgate.train.networks.bottleneck import Bottleneck
from headgate.train.networks.progressive_model import LayerPlan, ProgressiveModel
from headgate.train.networks.split_model import SplitModel
from headgate.train.pictures.batches import as_floats
from headgate.train.progressive import slice_layers
from headgate.train.run.plan import Plan
from headgate.train.run.setting import Setting
from headgate.train.seeds import derive_seed
from headgate.train.stages import BACKBONE, SLIM, Stage, StageKind

# Shapes: B batch, C channels, H height, W width

WARM_START_PICTURES = 256


def starting_member(stage: Stage, setting: Setting) -> SplitModel:
    """Build a member with the weights it begins with; fresh ones are drawn from torch's state."""
    plan, device = setting.plan, setting.fabric.device
    assert stage.budget is not None
    if stage.kind is StageKind.TWIN:
        return plan.blueprint.build_split_model(budget=stage.budget).to(device)
    assert stage.start_from is not None
    before = setting.finished[stage.start_from]
    model: SplitModel
    if stage.kind is StageKind.PROGRESSIVE:
        model = _progressive_start(stage, setting, before).to(device)
        model.settle(
            as_floats(_some_pictures(plan, WARM_START_PICTURES)[0]),
            trained_ranges=before.budget is not None and not _is_mixed(plan),
        )
    elif stage.kind is StageKind.BASE:
        model = member_around_plain(setting).to(device)
        model.freeze_selection()  # all maps cross
        model.warm_start(as_floats(_some_pictures(plan, WARM_START_PICTURES)[0]))
    else:
        model = _member_before(setting, before).to(device)
        assert isinstance(model.bottleneck, Bottleneck)
        if plan.config.select == "principal":
            start_with_mixtures(model, stage.budget, _some_lessons(plan))
        else:
            scores_P = map_scores_P(plan.config.select, model, _some_lessons(plan))
            model.bottleneck.reset_prune(stage.budget, scores_P=scores_P)
            if scores_P is not None:
                model.freeze_selection()
    if plan.config.rate_weight > 0:
        model.code_range.hold_after(_follow_batches(stage, plan))
    if plan.config.shares_head:
        model.freeze_parts(late_tail=plan.config.share == "ends")
    model.link_loss = plan.config.link_loss
    return model


def _is_mixed(plan: Plan) -> bool:
    """Return whether the maps of the progressive member are new mixtures, of no range yet."""
    progressive = plan.config.progressive
    return progressive is not None and progressive.order == "principal"


def _follow_batches(stage: Stage, plan: Plan) -> int:
    """Return after how many steps ranges are held: an epoch, or half of a stage of one epoch."""
    pictures, batch_size = len(plan.data.train_labels_N), plan.config.batch_size
    return max(1, min(2, stage.epochs) * max(1, pictures // batch_size) // 2)


def _member_before(setting: Setting, before: FinishedStage) -> SplitModel:
    """Return a member that an earlier stage made."""
    assert before.budget is not None
    model = setting.plan.blueprint.build_split_model(budget=before.budget)
    model.load_state_dict(_weights_before(setting, before, names=model.state_dict()))
    model.freeze_selection(before.selected)
    return model


def _weights_before(
    setting: Setting, before: FinishedStage, *, names: Iterable[str]
) -> dict[str, Tensor]:
    """Return all weights of a member that an earlier stage made, `names` where it shares them."""
    weights = read_trained(setting.folder / before.file, sha256=before.sha256)
    if before.shares_backbone:
        weights = with_shared(weights, plain_weights(setting), names=names)
    return weights


def _progressive_start(stage: Stage, setting: Setting, before: FinishedStage) -> ProgressiveModel:
    """Return the progressive member with the weights of the member, or backbone, before it.

    Its order is that of the weights it begins with, and stays.
    """
    config = setting.plan.config.progressive
    assert config is not None
    assert stage.budget is not None
    layers = slice_layers(stage.budget, slice_maps=config.slice_maps)
    num_extra_tails = len(layers) - 1 if config.many_tails else 0
    model = setting.plan.blueprint.build_progressive_model(
        budget=stage.budget, plain=trained_network(setting), num_extra_tails=num_extra_tails
    )
    if before.budget is None:
        model.freeze_selection(before.selected)
    else:
        start = _member_before(setting, before).to(setting.fabric.device)
        if config.order == "principal":
            lessons = _some_lessons(setting.plan)
            mixtures = start_with_mixtures(start, stage.budget, lessons)
            model.worth_before = tuple(mixtures.shares_M.tolist())
        model.start_from(start.state_dict())
        model.freeze_selection(start.selected)
    with torch.no_grad():
        importance_C = model.importance_C(folded=config.importance == "folded")
    model.importance_before = tuple(importance_C.tolist())
    assert model.selected is not None
    order = model.selected  # mixtures are in order already
    if config.order == "importance":
        places = torch.sort(importance_C, descending=True, stable=True).indices.tolist()
        order = tuple(model.selected[place] for place in places)
    model.set_layers(LayerPlan(order, layers))
    return model


def trained_network(setting: Setting) -> PlainModel:
    """Return the plain network as its stage left it."""
    plain = setting.plan.blueprint.build_backbone()
    plain.load_state_dict(plain_weights(setting))
    return plain


def plain_weights(setting: Setting) -> dict[str, Tensor]:
    """Return the plain network's weights as its stage left them."""
    backbone = setting.finished[BACKBONE]
    return read_trained(setting.folder / backbone.file, sha256=backbone.sha256)


def member_around_plain(setting: Setting) -> SplitModel:
    """Return the member with B = phi around the plain network, with the slim head if there is one.

    Its bottleneck and its early exit are fresh.
    """
    blueprint = setting.plan.blueprint
    plain = trained_network(setting)
    model = blueprint.build_split_model(budget=blueprint.num_maps, plain=plain)
    slim = setting.finished.get(SLIM)
    if slim is not None:
        weights = read_trained(setting.folder / slim.file, sha256=slim.sha256)
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
