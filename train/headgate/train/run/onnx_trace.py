"""Trace a torch module into an ONNX graph: what export writes, and what a training tries first."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# The newest opset that every onnxruntime the `cpu` extra admits can run.
OPSET = 20
MAX_BATCH = 4096


def trace_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> Any:
    """Return the ONNX graph of `module` in evaluation mode, its first axes free.

    `example` must hold a batch of at least two: torch takes a batch of one for a constant. Raises
    whatever the module's own code or torch raises.
    """
    assert all(tensor.shape[0] >= 2 for tensor in example)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=tuple({0: batch} for _ in example),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def first_cause(error: BaseException) -> BaseException:
    """Return what began it: around it, torch wraps advice to those who work on torch."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide torch's remarks on its own deprecations and on packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
