"""Turn a torch module into the bytes of a self-contained, reproducible ONNX graph.

Two exports of the same weights give the same bytes: what the exporter notes about this machine
(source lines, class names, graph signatures) is taken out, and weights are inside the file.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import onnx
from torch import Tensor, nn

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import first_line
from headgate.train.run.onnx_trace import first_cause, trace_onnx

PRODUCER = "headgate"
# Protobuf cannot hold more in one message, and external data would be a second file to guard.
MAX_GRAPH_BYTES = (1 << 31) - 1

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def module_to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    where: str,
) -> bytes:
    """Return an ONNX graph of `module` whose first axis, everywhere, is a free batch size.

    `example` must hold a batch of at least two: torch takes a batch of one for a constant.
    """
    try:
        graph = trace_onnx(module, example, input_names=input_names, output_names=output_names)
        _strip_provenance(graph)
        _name_batch_axis(graph)
        onnx.checker.check_model(graph)
    except Exception as error:  # the model's own code runs here, and torch knows not every operator
        raise UsageError(
            f"{where}: this network cannot be written as an ONNX graph: "
            f"{first_line(first_cause(error))}; write that part of the model's code in another way"
        ) from error
    data: bytes = graph.SerializeToString(deterministic=True)
    if len(data) > MAX_GRAPH_BYTES:
        raise UsageError(
            f"{where}: the graph takes {len(data)} bytes, one ONNX file holds "
            f"{MAX_GRAPH_BYTES}; use a narrower network or another split"
        )
    return data


def count_macs(data: bytes) -> int:
    """Return the multiply-adds that a graph spends on one picture.

    Convolutions and matrix products are counted; what is not (activations, pooling) is small.
    """
    model = onnx.load_from_string(data)
    for tensor in model.graph.input:  # one picture: what is reshaped by the batch has a size too
        for dim in tensor.type.tensor_type.shape.dim:
            dim.dim_value = dim.dim_value or 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = _tensor_shapes(graph)
    total = 0
    for node in graph.node:
        if node.op_type in _CONVOLUTIONS:
            # Conv visits every output position, ConvTranspose every input position.
            place = node.output[0] if node.op_type == "Conv" else node.input[0]
            total += prod(shapes[node.input[1]]) * prod(shapes[place][2:])
        elif node.op_type in ("Gemm", "MatMul"):
            inner = shapes[node.input[0]][-1]
            total += inner * prod(shapes[node.output[0]][1:])
    return total


def _tensor_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Return each tensor's shape with the batch axis, and any other free one, as 1."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        dims = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(dim.dim_value or 1 for dim in dims)
    return shapes


def _strip_provenance(model: Any) -> None:
    """Remove everything that says where and how the graph was traced."""
    model.producer_name = PRODUCER
    for field in ("producer_version", "doc_string", "metadata_props", "domain"):
        model.ClearField(field)
    _strip_described(model.graph)


def _strip_described(message: Any) -> None:
    """Clear notes on a graph and all it holds, subgraphs of its nodes included."""
    for field in ("doc_string", "metadata_props"):
        message.ClearField(field)
    graph = message
    for item in [*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        for field in ("doc_string", "metadata_props"):
            item.ClearField(field)
    for node in graph.node:
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            if attribute.HasField("g"):
                _strip_described(attribute.g)


def _name_batch_axis(model: Any) -> None:
    """Call the free axis `batch` in inputs and outputs: torch numbers its symbols as it likes."""
    symbols = {
        value.type.tensor_type.shape.dim[0].dim_param
        for value in [*model.graph.input, *model.graph.output]
    } - {""}
    # Inner shapes mention products of the symbol too; nobody needs them, shapes are inferred.
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        assert dims[0].dim_param in symbols, f"{value.name}: batch axis became fixed"
        dims[0].dim_param = "batch"
