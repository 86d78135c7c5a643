from pathlib import Path

import pytest

from headgate.train.folder.run_folder import Run
from train.tiny_runs import train_tiny, write_pictures


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "tiny.npz")


@pytest.fixture(scope="session")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupted; for reading only."""
    return train_tiny(pictures, tmp_path_factory.mktemp("whole") / "run")
