"""Engines of the tiny families, loaded once for all tests of this folder."""

import pytest

from headgate.profiles.family import Family
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from runtime.tiny_family import (
    write_tiny_family,
)


@pytest.fixture(scope="module")
def device(tiny_family: Family) -> DeviceEngine:
    return DeviceEngine(tiny_family)


@pytest.fixture(scope="module")
def tails(tiny_family: Family) -> EdgeEngine:
    return EdgeEngine(tiny_family, max_batch=4)


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> tuple[DeviceEngine, EdgeEngine]:
    family = write_tiny_family(tmp_path_factory.mktemp("layered") / "family", progressive=True)
    return DeviceEngine(family), EdgeEngine(family, max_batch=4)
