import ctypes
import gc

import pytest

from headgate.runtime.networks.memory import freeze_loaded, return_freed_memory


def test_returning_memory_does_no_harm_where_the_c_library_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    return_freed_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    return_freed_memory()


def test_what_is_loaded_is_out_of_the_collector_s_sight() -> None:
    before = gc.get_freeze_count()
    loaded: list[list[int]] = [[] for _ in range(1000)]
    freeze_loaded()
    assert gc.get_freeze_count() > before
    assert loaded
