"""What export's tests share: torch's table of ONNX translations, made once."""

import gc
from collections.abc import Iterator
from functools import cache

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_table_of_translations() -> Iterator[None]:
    """Keep torch from making its table anew for every graph: a third of the time of a small one.

    An export only reads the table. What is under test is what we do before and after it.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    make_table = ONNXRegistry.from_torchlib

    @cache
    def made_once(**opset: int) -> ONNXRegistry:
        table = make_table(**opset)
        gc.collect()
        gc.freeze()  # as much as torch itself: no collector need look at it again
        return table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(made_once))
        yield
