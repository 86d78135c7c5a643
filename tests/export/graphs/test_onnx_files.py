"""Claims about headgate.export.graphs.onnx_files: reproducible, self-contained, free batch size."""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from headgate.export.graphs.graphs import FullGraph
from headgate.export.graphs.onnx_files import count_macs, module_to_onnx
from headgate.profiles.errors import UsageError


def small_network() -> nn.Module:
    torch.manual_seed(3)
    norm = nn.BatchNorm2d(8)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, -1.0, 1.0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        norm,
        nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    return network.eval()


@cache
def exported_once() -> bytes:
    return exported(small_network())


def exported(network: nn.Module) -> bytes:
    return module_to_onnx(
        FullGraph(network),
        (torch.zeros(2, 6, 10, 3, dtype=torch.uint8),),
        input_names=FullGraph.input_names,
        output_names=FullGraph.output_names,
        where="test",
    )


def test_the_same_weights_give_the_same_bytes() -> None:
    assert exported(small_network()) == exported_once()


def test_nothing_in_the_file_tells_of_the_machine_that_wrote_it() -> None:
    data = exported_once()
    assert b".py" not in data
    assert b"torch" not in data
    assert b"aten" not in data


def test_weights_are_inside_the_file() -> None:
    model = onnx.load_from_string(exported_once())
    assert all(not tensor.external_data for tensor in model.graph.initializer)


def test_any_batch_size_runs_and_equals_torch() -> None:
    network = small_network()
    session = ort.InferenceSession(exported_once(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[0] == "batch"
    graph = FullGraph(network)
    for batch in (1, 2, 5):
        pictures = np.random.default_rng(batch).integers(0, 256, (batch, 6, 10, 3), np.uint8)
        (found,) = session.run(None, {"picture": pictures})
        with torch.no_grad():
            expected = graph(torch.from_numpy(pictures)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)


class Attention(nn.Module):
    """Attention over three axes, which torch 2.13 cannot write as ONNX; over four it can."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x_BLC = x.flatten(2).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(x_BLC, x_BLC, x_BLC)
        return mixed.mean(1)


class OfTwoPictures(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)).view(2, 3)


@pytest.mark.parametrize(
    ("network", "reason"),
    [(Attention(), "only 4D query, key, and value"), (OfTwoPictures(), "batch")],
)
def test_what_cannot_be_a_graph_is_refused_in_one_sentence(network: nn.Module, reason: str) -> None:
    with pytest.raises(UsageError, match=r"^test: this network cannot be written as") as refused:
        exported(network)
    assert reason in str(refused.value)
    assert str(refused.value).endswith("; write that part of the model's code in another way")
    assert "\n" not in str(refused.value)


def test_batch_norm_is_folded_into_the_convolution_before_it() -> None:
    model = onnx.load_from_string(exported_once())
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_multiply_adds_are_those_of_one_picture() -> None:
    convolution = 8 * 3 * 9 * 6 * 10
    transposed = 8 * 4 * 4 * 6 * 10
    linear = 4 * 5
    assert count_macs(exported_once()) == convolution + transposed + linear


class GroupNormed(nn.Module):
    """A convolution whose normalisation reshapes its maps, and another behind it."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(x).mean((2, 3))
        return logits


def test_multiply_adds_behind_a_reshape_are_counted() -> None:
    first = 4 * 3 * 9 * 4 * 8
    second = 8 * 4 * 9 * 1 * 3
    assert count_macs(exported(GroupNormed().eval())) == first + second
