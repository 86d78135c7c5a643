"""Claims about packed values: they come back, in no more bytes than they have bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headgate.profiles.errors import WireError
from headgate.runtime.wire.train_bits import pack_bits, packed_bytes, unpack_bits


@st.composite
def few_bits(draw: st.DrawFn) -> tuple[npt.NDArray[np.uint8], int]:
    bits = draw(st.integers(1, 7))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    return draw(hnp.arrays("u1", shape, elements=st.integers(0, 2**bits - 1))), bits


@given(few_bits())
def test_values_come_back_from_as_many_bits(drawn: tuple[npt.NDArray[np.uint8], int]) -> None:
    values, bits = drawn
    packed = pack_bits(values, bits=bits)
    assert len(packed) == packed_bytes(values.size, bits=bits)
    digits = "".join(f"{value:0{bits}b}" for value in values.reshape(-1))
    assert "".join(f"{byte:08b}" for byte in packed).rstrip("0") == digits.rstrip("0")
    found = unpack_bits(packed, num_values=values.size, bits=bits)
    assert found.tolist() == values.reshape(-1).tolist()


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_what_does_not_hold_just_so_many_values_is_refused(bits: int) -> None:
    packed = pack_bits(np.ones(9, np.uint8), bits=bits)
    for raw in (packed[:-1], packed + b"\0", b""):
        with pytest.raises(WireError, match=f"bytes for 9 values of {bits} bits"):
            unpack_bits(raw, num_values=9, bits=bits)
    with pytest.raises(WireError, match="does not end in zeros"):
        unpack_bits(packed[:-1] + bytes([packed[-1] | 1]), num_values=9, bits=bits)
