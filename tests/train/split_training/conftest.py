"""What tests of split training share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from train.tiny_runs import write_pictures


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_pictures(tmp_path_factory.mktemp("pictures") / "tiny.npz")
