from pathlib import Path

import pytest

from headgate.profiles.family import Family
from runtime.tiny_family import write_npz, write_tiny_family


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return write_tiny_family(tmp_path_factory.mktemp("tiny") / "family")


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("set") / "set.npz", 40)
