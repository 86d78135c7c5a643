"""What is asked of onnxruntime, and what it may not do silently."""

from pathlib import Path

import pytest

from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.family import Family
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.graphs import EngineOptions, Graph, providers_to_try


def test_cuda_asked_for_without_cuda_is_refused_and_auto_is_not(tiny_family: Family) -> None:
    with pytest.raises(UsageError, match="cuda was asked for, the installed onnxruntime has"):
        providers_to_try("cuda", available=["CPUExecutionProvider"])
    assert providers_to_try("auto", available=["CPUExecutionProvider"]) == ("CPUExecutionProvider",)
    assert providers_to_try("tensorrt", available=["TensorrtExecutionProvider"]) == (
        "TensorrtExecutionProvider",
    )
    with pytest.raises(UsageError, match="'gpu' is not one of auto, cpu, cuda, tensorrt"):
        DeviceEngine(tiny_family, options=EngineOptions(providers="gpu"))


def test_a_file_that_is_no_graph_is_a_family_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(FamilyError, match="cannot load it"):
        Graph(path, options=EngineOptions())
