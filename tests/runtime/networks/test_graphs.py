"""What is asked of onnxruntime, and what it may not do silently."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.family import Family
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.graphs import EngineOptions, Graph, providers_to_try
from runtime.running import PATIENCE_S, headgate


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


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes UTF-8 only")
@pytest.mark.parametrize("command", ["device", "edge"])
def test_a_family_under_a_path_that_is_not_utf_8_is_refused_in_a_sentence(
    command: str, tiny_family: Family, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_family.path, tmp_path / os.fsdecode(b"\xff\xfe"))
    more = ["fake://16x16"] if command == "device" else []
    ended = subprocess.run(
        headgate(command, str(folder), *more), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert ended.returncode == 2, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"headgate: error: {tmp_path}/\\udcff\\udcfe/")
    assert last.endswith(
        "this path is not UTF-8, and onnxruntime opens no other; rename its folders"
    )
    assert "Traceback" not in ended.stderr
