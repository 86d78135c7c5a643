import ctypes

import pytest

from headgate.runtime.memory import return_freed_memory


def test_returning_memory_does_no_harm_where_the_c_library_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    return_freed_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    return_freed_memory()
