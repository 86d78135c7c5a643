"""Which part of a network is whose, and how a client's half travels.

The client has the layers before the split, the encoder, the filter, the early exit and the
ranges of its code; the server has the decoder and the layers behind. Both build the whole network
from the same seed, so that they begin as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.optim import Optimizer

from headgate.profiles.errors import WireError
from headgate.train.folder.checkpoints import MODEL_PREFIX, pack, unpack
from headgate.train.networks.split_model import SplitModel
from headgate.train.recipe import PruneConfig

CLIENT_PREFIXES = (
    "normalise.",
    "head.",
    "bottleneck.encoder.",
    "bottleneck.encoder_norm.",
    "bottleneck.f_hat",
    "code_range.",
    "exit_head.",
)
SELECTED = "selected"


def is_clients(name: str) -> bool:
    """Say whether a weight of a SplitModel belongs to the client."""
    return name.startswith(CLIENT_PREFIXES)


def client_state(model: SplitModel) -> dict[str, Tensor]:
    """Return the client's weights and statistics; the tensors are the model's own."""
    return {name: t for name, t in model.state_dict().items() if is_clients(name)}


def pack_side(
    model: SplitModel, optimizer: Optimizer, *, belongs: Callable[[str], bool]
) -> dict[str, Tensor]:
    """Return one side's weights, and its optimizer's, for a checkpoint."""
    packed = pack(model, optimizer)
    prefix = MODEL_PREFIX
    return {
        name: tensor
        for name, tensor in packed.items()
        if not name.startswith(prefix) or belongs(name.removeprefix(prefix))
    }


def unpack_side(tensors: Mapping[str, Tensor], model: SplitModel, optimizer: Optimizer) -> None:
    """Put back what `pack_side` took; the other side's weights stay."""
    present = {MODEL_PREFIX + name: tensor for name, tensor in model.state_dict().items()}
    unpack({**present, **tensors}, model, optimizer)


def is_servers(name: str) -> bool:
    """Say whether a weight of a SplitModel belongs to the server."""
    return not is_clients(name)


def pack_half(model: SplitModel) -> bytes:
    """Return the client's half, with the maps that it was trained to send."""
    assert model.selected is not None
    tensors = {name: t.detach().cpu().contiguous() for name, t in client_state(model).items()}
    # Layers may share a tensor, which the container does not allow.
    tensors = {name: t.clone() for name, t in tensors.items()}
    tensors[SELECTED] = torch.tensor(model.selected)
    return save(tensors)


def open_half(data: bytes, model: SplitModel) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """Return the weights of a half that fits `model`, and its maps, or raise WireError."""
    try:
        tensors = load(bytes(data))
    except SafetensorError as reason:
        raise WireError(f"the client's half is not a safetensors container: {reason}") from None
    selected = tensors.pop(SELECTED, None)
    own = client_state(model)
    fits = tensors.keys() == own.keys() and all(
        t.shape == own[name].shape and t.dtype == own[name].dtype for name, t in tensors.items()
    )
    if selected is None or selected.ndim != 1 or selected.dtype != torch.int64 or not fits:
        raise WireError(
            "the client's half is not one of this network; give both sides the same settings"
        )
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        raise WireError("the client's half holds a number that is not finite")
    chosen = tuple(selected.tolist())
    channels = model.bottleneck.channels
    if (
        list(chosen) != sorted(set(chosen))
        or not chosen
        or not 0 <= chosen[0] <= chosen[-1] < channels
    ):
        raise WireError(f"the client's half selects maps {list(chosen)} of {channels}")
    return tensors, chosen


@torch.no_grad()
def load_half(model: SplitModel, weights: Mapping[str, Tensor]) -> None:
    """Put a client's weights into the whole network; the server's stay."""
    own = client_state(model)
    for name, tensor in weights.items():
        own[name].copy_(tensor)


def mean_half(
    halves: Sequence[Mapping[str, Tensor]], *, shares: Sequence[float]
) -> dict[str, Tensor]:
    """Return the weighted mean of halves; counters, which are whole numbers, are the first's."""
    total = sum(shares)
    mean: dict[str, Tensor] = {}
    for name, first in halves[0].items():
        if not first.is_floating_point():
            mean[name] = first
            continue
        terms = [half[name].double() * (w / total) for half, w in zip(halves, shares, strict=True)]
        mean[name] = torch.stack(terms).sum(dim=0).to(first.dtype)
    return mean


def use_selection(model: SplitModel, selected: tuple[int, ...]) -> None:
    """Let exactly these maps cross."""
    if model.selected != selected:
        model.bottleneck.set_budget(len(selected))
        model.freeze_selection(selected)


def all_finite(*tensors: Tensor) -> bool:
    """Say whether every number is finite, at the cost of one look at the device."""
    sums = [t.detach().float().sum() for t in tensors]
    return bool(torch.isfinite(torch.stack(sums)).all())


def precision_of(config: PruneConfig, device: torch.device) -> torch.autocast:
    """Return the precision of forward passes: float32 unless mixed bfloat16 is asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16")
