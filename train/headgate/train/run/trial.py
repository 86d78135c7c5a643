"""Tries a network once before a run begins, so that one it would fail with is refused early."""

from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import PlainModel, first_line
from headgate.train.networks.blueprint import Blueprint
from headgate.train.run.onnx_trace import first_cause, trace_onnx

# Shapes: B = 2 pictures, C = 3 colours, H height, W width, K classes

MAX_DIFFERENCE = 1e-3  # of a probability, as export allows
MAX_REBUILT = 1e-5  # of a logit: the same computation, done again


@torch.no_grad()
def check_answers(plain: PlainModel, blueprint: Blueprint) -> None:
    """Refuse a network that does not answer every picture of a batch with a logit per class.

    Nor may an answer depend on chance or on the other pictures: devices come one by one, and an
    edge batches frames of several.
    """
    plain.eval()
    pair_BCHW = _dark_and_bright(blueprint)
    try:
        together_BK = plain(pair_BCHW)
        alone_BK = [plain(picture_1CHW) for picture_1CHW in torch.split(pair_BCHW, 1)]
    except Exception as error:  # the user's own code runs here: it may raise anything
        raise UsageError(
            f"model {blueprint.model}: it fails on a batch of 2 pictures: {first_line(error)}; "
            "its code must not count on a batch of one"
        ) from error
    if together_BK.shape != (2, blueprint.num_classes):
        raise UsageError(
            f"model {blueprint.model}: it answers 2 pictures with a tensor of shape "
            f"{tuple(together_BK.shape)}, expected {(2, blueprint.num_classes)}; it must return "
            "one logit for each class of the data set"
        )
    if blueprint.num_classes > 1 and _are_probabilities(together_BK):
        raise UsageError(
            f"model {blueprint.model}: it returns probabilities, expected logits; leave the "
            "softmax at its end out"
        )
    difference = float((together_BK.softmax(1) - torch.cat(alone_BK).softmax(1)).abs().max())
    if difference > MAX_DIFFERENCE:
        raise UsageError(
            f"model {blueprint.model}: a picture's probabilities differ by {difference:.2g} when "
            "another picture is in the batch, or from run to run; in eval mode they must not: use "
            "batch norm with running statistics, and no noise"
        )


@torch.no_grad()
def check_can_be_rebuilt(plain: PlainModel, blueprint: Blueprint) -> None:
    """Refuse a network that holds numbers which its weights' file would not bring back.

    Each stage, and export, builds the network anew and loads its weights: what was drawn by chance
    and is no parameter or saved buffer would be another one each time.
    """
    other = blueprint.build_backbone().eval()
    pair_BCHW = _dark_and_bright(blueprint)
    try:
        other.load_state_dict(plain.state_dict())
        ours_BK, theirs_BK = plain.eval()(pair_BCHW), other(pair_BCHW)
    except RuntimeError as error:
        raise UsageError(
            f"model {blueprint.model}: built a second time, it cannot take the weights of the "
            f"first: {first_line(error)}; it must be the same network each time"
        ) from error
    if not torch.allclose(ours_BK, theirs_BK, rtol=MAX_REBUILT, atol=MAX_REBUILT):
        raise UsageError(
            f"model {blueprint.model}: built a second time, it answers otherwise with the same "
            "weights: it holds numbers that its state_dict() does not; make those drawn by chance "
            "parameters, or buffers that are saved (register_buffer)"
        )


def check_can_be_exported(plain: PlainModel, blueprint: Blueprint) -> None:
    """Refuse a user's network that torch cannot write as ONNX: after hours of training it is late.

    Built-in ones can be written. Where what writes it is not installed, it cannot be tried.
    """
    if ":" not in blueprint.model or find_spec("onnxscript") is None:
        return
    try:
        trace_onnx(
            plain, (_dark_and_bright(blueprint),), input_names=["pictures"], output_names=["logits"]
        )
    except Exception as error:  # the user's own code, and torch knows not every operator
        raise UsageError(
            f"model {blueprint.model}: torch cannot write it as an ONNX graph, so it could not be "
            f"exported: {first_line(first_cause(error))}; write that part of its code in another "
            "way"
        ) from error


def check_can_be_trained(plain: PlainModel, blueprint: Blueprint) -> None:
    """Refuse a network through which no gradient comes. Spoils its averages: throw it away."""
    pair_BCHW = _dark_and_bright(blueprint)
    labels_B = torch.zeros(2, dtype=torch.int64)
    try:
        with torch.random.fork_rng(devices=[]):  # dropout draws
            cross_entropy(plain.train()(pair_BCHW), labels_B).backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # the user's own code again
        raise UsageError(
            f"model {blueprint.model}: it cannot be trained: {first_line(error)}; it needs weights "
            "that require a gradient, and no operation in place on what the backward pass needs"
        ) from error


def _are_probabilities(answers_BK: Tensor) -> bool:
    sums_B = answers_BK.sum(1)
    return bool((answers_BK >= 0).all() and torch.allclose(sums_B, torch.ones_like(sums_B)))


def _dark_and_bright(blueprint: Blueprint) -> Tensor:
    """Return two pictures that statistics over the batch would not confuse."""
    draws = torch.Generator().manual_seed(0)
    noise_BCHW = torch.rand(2, 3, *blueprint.size_px, generator=draws)
    return (noise_BCHW + torch.tensor([0.0, 3.0]).view(2, 1, 1, 1)) / 4
