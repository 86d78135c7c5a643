"""What a run takes over from the run that its backbone comes from, where nothing else was asked."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from headgate.profiles.errors import FamilyError
from headgate.train.folder.run_folder import load_run
from headgate.train.networks.blueprint import Blueprint


def with_network_of_backbone(
    settings: Mapping[str, Any], *, given: Collection[str]
) -> dict[str, Any]:
    """Return the settings of a command, its network that of the run folder named as backbone.

    `given` are the settings that the user named: they stay, and are refused later if the weights do
    not fit them. A file of weights says nothing of its network, so it changes nothing.
    """
    backbone = settings["backbone"]
    if backbone is None or not Path(backbone).is_dir():
        return dict(settings)
    try:
        blueprint = load_run(Path(backbone)).blueprint
    except FamilyError:
        return dict(settings)  # whoever loads the weights says what is wrong with the folder
    taken = {name: value for name, value in _network(blueprint).items() if name not in given}
    if "model" in given and settings["model"] != blueprint.model:
        return dict(settings)  # another network; its layers and widths mean something else
    return {**settings, **taken}


def _network(blueprint: Blueprint) -> dict[str, Any]:
    height_px, width_px = blueprint.size_px
    network = {"model": blueprint.model, "width": blueprint.width, "split": blueprint.split}
    return network | ({"input_px": height_px} if height_px == width_px else {})
