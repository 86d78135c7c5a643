"""Builds the network that is to be split, from a built-in name or from the user's own callable."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from headgate.profiles.errors import UsageError
from headgate.train.networks.layout import ViewsMayCopy
from headgate.train.networks.networks import LeNet, MobileNetV2, ResNet18, Vgg11
from headgate.train.recipe import unknown_model

# Shapes: B batch, C channels, H height, W width, K classes

SMALL_INPUT_PX = 64  # up to here stems do not stride, or nothing would be left to split


class Normalise(nn.Module):
    """Shift and scale a picture with values in 0..1 by the data set's mean and deviation."""

    mean_1C11: Tensor
    std_1C11: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean_1C11", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std_1C11", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        normalised_BCHW: Tensor = (x_BCHW - self.mean_1C11) / self.std_1C11
        return normalised_BCHW


class PlainModel(nn.Module):
    """The unsplit network as it is served: picture with values in 0..1 in, logits out."""

    def __init__(self, normalise: Normalise, network: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, x_BCHW: Tensor) -> Tensor:
        with ViewsMayCopy():
            logits_BK: Tensor = self.network(self.normalise(x_BCHW))
        return logits_BK


MIN_WIDTH, MAX_WIDTH = 0.02, 4.0  # below, every layer has the four maps that it has at least
BUILT_IN_MIN_PX = {"vgg11": 32, "mobilenet_v2": 32, "resnet18": 32, "lenet": 16}


def build_backbone(
    name_or_spec: str, *, num_classes: int, input_px: int | tuple[int, int], width: float = 1.0
) -> nn.Module:
    """Build a network from a built-in name or from `package.module:callable`.

    `input_px` is the side of a square picture, or (height, width). The user's callable gets those
    of the keywords num_classes, input_px and width that it can take, and must return an nn.Module.
    """
    if ":" in name_or_spec:
        return _build_users_own(
            name_or_spec, num_classes=num_classes, input_px=input_px, width=width
        )
    if name_or_spec not in BUILT_IN_MIN_PX:
        raise unknown_model(name_or_spec)
    size_px = (input_px, input_px) if isinstance(input_px, int) else input_px
    if min(size_px) < BUILT_IN_MIN_PX[name_or_spec]:
        smallest = min(BUILT_IN_MIN_PX, key=lambda name: BUILT_IN_MIN_PX[name])
        remedy = "" if name_or_spec == smallest else f" or use {smallest}"
        raise UsageError(
            f"model {name_or_spec}: the input is {size_px[0]} x {size_px[1]} px, expected at "
            f"least {BUILT_IN_MIN_PX[name_or_spec]} px a side; give a larger --input-px{remedy}"
        )
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        raise UsageError(
            f"--width: found {width:g}, expected {MIN_WIDTH:g} to {MAX_WIDTH:g}; 0.25 is a small "
            "network"
        )
    if name_or_spec == "vgg11":
        return Vgg11(num_classes=num_classes, width=width)
    if name_or_spec == "lenet":
        return LeNet(num_classes=num_classes, size_px=size_px, width=width)
    small_input = min(size_px) <= SMALL_INPUT_PX
    network = ResNet18 if name_or_spec == "resnet18" else MobileNetV2
    return network(num_classes=num_classes, small_input=small_input, width=width)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of the user's own code says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _build_users_own(
    spec: str, *, num_classes: int, input_px: int | tuple[int, int], width: float
) -> nn.Module:
    factory = _find_callable(spec)
    offered: dict[str, Any] = {"num_classes": num_classes, "input_px": input_px, "width": width}
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError as error:  # some callables that are written in C
        raise UsageError(f"model {spec}: {error}; expected a Python function or class") from error
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        taken = offered
    else:
        taken = {key: value for key, value in offered.items() if key in parameters}
    if width != 1.0 and "width" not in taken:
        raise UsageError(
            f"--width: found {width}, but {spec} takes no `width`; leave it at 1, or add the "
            "argument"
        )
    try:
        network = factory(**taken)
    except Exception as error:  # the user's own code runs here: it may raise anything
        raise UsageError(
            f"model {spec}: calling it with {sorted(taken)} failed: {first_line(error)}; it must "
            "work with no arguments but num_classes, input_px and width"
        ) from error
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"model {spec}: returned {type(network).__name__}, expected a torch.nn.Module"
        )
    if any(is_lazy(parameter) for parameter in network.parameters()):
        raise UsageError(
            f"model {spec}: some of its layers are lazy, expected weights that have their sizes; "
            "run it on a batch before you return it, or give the sizes"
        )
    others = {parameter.dtype for parameter in network.parameters()} - {torch.float32}
    if others:
        raise UsageError(
            f"model {spec}: some of its weights are {others.pop()}, expected torch.float32; return "
            "the network as float32, `--precision` says what to compute with"
        )
    return network


def _find_callable(spec: str) -> Callable[..., object]:
    module_name, _, attribute = spec.partition(":")
    if "/" in module_name or module_name.endswith(".py"):
        raise UsageError(
            f"model {spec}: names a file, expected package.module:callable; run in its folder with "
            f"--model {Path(module_name).stem}:{attribute}"
        )
    # An installed command does not search the current folder, where the user's module often lies.
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"model {spec}: module {module_name!r} cannot be imported: {first_line(error)}; run "
            "in its folder, or install it"
        ) from error
    except (Exception, SystemExit) as error:  # the user's own code again; a script may even exit
        raise UsageError(
            f"model {spec}: module {module_name!r} cannot be imported, its code raises "
            f"{type(error).__name__}: {first_line(error)}; run it in Python to see where"
        ) from error
    finally:
        sys.path.remove(os.getcwd())
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UsageError(
            f"model {spec}: {module_name} has no callable {attribute!r}; expected "
            "package.module:callable"
        )
    found: Callable[..., object] = factory
    return found
