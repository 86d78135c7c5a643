"""Reads the plain network's weights that a user brings, and says how pictures are scaled for it."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from headgate.profiles.errors import FamilyError, UsageError
from headgate.train.folder.run_folder import load_run, read_trained
from headgate.train.networks.backbones import PlainModel, first_line
from headgate.train.networks.colours import Scaling, scaling_from_text
from headgate.train.recipe import PruneConfig

NETWORK = "network."
MEAN, STD = "normalise.mean_1C11", "normalise.std_1C11"
TORCH_SUFFIXES = {".pt", ".pth", ".ckpt", ".bin"}  # what torch.save is told to write
COUNTER = ".num_batches_tracked"


def load_backbone(plain: PlainModel, path: Path) -> None:
    """Put the weights of another run, or of a safetensors file, into the plain network.

    What pictures are scaled by stays as it is: see `choose_scaling`.
    """
    weights = _with_tied(_network_only(_read(path), plain), plain)
    try:
        plain.network.load_state_dict(weights)
    except RuntimeError as reason:
        misfit = _misfit(weights, plain.network.state_dict()) or first_line(reason)
        raise UsageError(
            f"--backbone {path}: its weights do not fit this network: {misfit}"
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
        if path.is_file() and path.suffix in TORCH_SUFFIXES:
            raise UsageError(
                f"--backbone {path}: is no safetensors file; in Python, load it into your network, "
                "and write it by safetensors.torch.save_file(network.state_dict(), PATH)"
            ) from None
        raise UsageError(f"--backbone: {reason}") from None


def _network_only(weights: dict[str, Tensor], plain: PlainModel) -> dict[str, Tensor]:
    """Return the network's weights under its own names, which may begin with `network.` too."""
    if weights.keys() == plain.network.state_dict().keys():
        return weights
    if not any(name.startswith(NETWORK) for name in weights):
        return weights
    return {n.removeprefix(NETWORK): w for n, w in weights.items() if n.startswith(NETWORK)}


def _with_tied(weights: dict[str, Tensor], plain: PlainModel) -> dict[str, Tensor]:
    """Return weights under all their names: `safetensors.torch.save_model` keeps one of each."""
    own = plain.network.state_dict(keep_vars=True)
    given = {id(own[name]): weight for name, weight in weights.items() if name in own}
    return {name: given[id(held)] for name, held in own.items() if id(held) in given} | weights


def _misfit(given: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """Say which weights do not fit, and what to do; one of each kind, since there may be hundreds.

    Torch itself makes up counters of batches that are missing.
    """
    foreign = sorted(given.keys() - expected.keys())
    missing = sorted(name for name in expected.keys() - given.keys() if not name.endswith(COUNTER))
    wrapper = _wrapper(foreign, missing)
    if wrapper:
        return (
            f"their names begin with {wrapper!r}, as those of a wrapped network do; save the "
            "state_dict() of the network inside, or take that off the names"
        )
    faults = [
        f"{len(names)} {what}, such as {names[0]!r}"
        for names, what in ((foreign, "that it does not have"), (missing, "missing"))
        if names
    ]
    faults += [
        f"{name!r} is {_sides(given[name])}, expected {_sides(weight)}"
        for name, weight in expected.items()
        if name in given and given[name].shape != weight.shape
    ][:1]
    if not faults:
        return ""
    remedy = "give the same --model, --width, input size and number of classes"
    return f"{', '.join(faults)}; {remedy}"


def _wrapper(foreign: Sequence[str], missing: Sequence[str]) -> str:
    """Return what has to be taken off foreign names to get all those that are missing, or ""."""
    if not missing:
        return ""
    found = {name.removesuffix(missing[0]) for name in foreign if name.endswith(f".{missing[0]}")}
    return next((each for each in found if {each + own for own in missing} <= set(foreign)), "")


def _sides(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"


def _rounded(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = (round(value, 6) for value in values)  # float32 has no more
    return red, green, blue
