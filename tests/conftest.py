"""What holds for all tests.

One torch thread per process: tiny networks gain nothing from more, and workers share cores. No
deadlines: a drawn case that is slow on a busy machine is no failure.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Read when torch's OpenMP loads, so before any test module is imported; children inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

settings.register_profile("headgate", deadline=None)
settings.load_profile("headgate")


def pytest_collection_finish() -> None:
    """Take what was loaded out of the collector's sight: torch alone is half a second to look at.

    Each engine that opens its graphs collects garbage; it should find a test's, not a library's.
    """
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def nobody_waits_for_the_disk() -> Iterator[None]:
    """Let the system write files when it likes: no test cuts the power, and they make thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
