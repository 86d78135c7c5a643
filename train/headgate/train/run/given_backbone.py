"""Reads the plain network's weights that a user brings, and says how pictures are scaled for it."""

from pathlib import Path

from torch import Tensor

from headgate.profiles.errors import FamilyError, UsageError
from headgate.train.folder.run_folder import load_run, read_trained
from headgate.train.networks.backbones import PlainModel
from headgate.train.networks.colours import Scaling, scaling_from_text
from headgate.train.recipe import PruneConfig

NETWORK = "network."
MEAN, STD = "normalise.mean_1C11", "normalise.std_1C11"


def load_backbone(plain: PlainModel, path: Path) -> None:
    """Put the weights of another run, or of a safetensors file, into the plain network.

    What pictures are scaled by stays as it is: see `choose_scaling`.
    """
    weights = _network_only(_read(path), plain)
    try:
        plain.network.load_state_dict(weights)
    except RuntimeError as reason:
        first = str(reason).splitlines()[-1].strip()
        raise UsageError(
            f"--backbone {path}: its weights do not fit this network ({first}); "
            "give the same --model, --width, input size and number of classes"
        ) from None


def choose_scaling(config: PruneConfig, *, of_data: Scaling) -> Scaling:
    """Return what pictures are scaled by: as asked for, as the backbone learnt it, or by the data.

    Weights from elsewhere answer at random if their pictures are scaled in another way.
    """
    if config.normalise is not None:
        return scaling_from_text(config.normalise, of_data=of_data)
    if config.backbone is None:
        return of_data
    weights = _read(Path(config.backbone))
    if not {MEAN, STD} <= weights.keys():
        return of_data
    mean, std = (weights[name].flatten().tolist() for name in (MEAN, STD))
    return Scaling(_rounded(mean), _rounded(std))


def guesses_scaling(config: PruneConfig) -> bool:
    """Say whether weights were brought that do not tell how pictures are scaled for them."""
    if config.backbone is None or config.normalise is not None:
        return False
    return not {MEAN, STD} <= _read(Path(config.backbone)).keys()


def taken_note(config: PruneConfig, *, accuracy: float) -> str:
    """Say how good brought weights are here, before members are trained around them."""
    text = f"backbone: taken from {config.backbone}, accuracy {100 * accuracy:.1f} %"
    if not guesses_scaling(config):
        return text
    return (
        f"{text}; the file does not say how pictures are scaled for it, so they are as with "
        "--normalise data: if it had more, name what it learnt with"
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_run(path).backbone().state_dict() if path.is_dir() else read_trained(path)
    except FamilyError as reason:
        raise UsageError(f"--backbone: {reason}") from None


def _network_only(weights: dict[str, Tensor], plain: PlainModel) -> dict[str, Tensor]:
    """Return the network's weights under its own names, which may begin with `network.` too."""
    if weights.keys() == plain.network.state_dict().keys():
        return weights
    if not any(name.startswith(NETWORK) for name in weights):
        return weights
    return {n.removeprefix(NETWORK): w for n, w in weights.items() if n.startswith(NETWORK)}


def _rounded(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = (round(value, 6) for value in values)  # float32 has no more
    return red, green, blue
