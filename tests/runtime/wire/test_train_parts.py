"""The tensors of split training, part by part: what is taken as it is, and what is refused."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from headgate.profiles.errors import WireError
from headgate.profiles.train_messages import PackedTensor, Part
from headgate.runtime.wire.train_parts import (
    DEFAULT_LIMITS,
    DESCRIPTION_BYTES,
    MAPS,
    SCALE_BYTES,
    TrainLimits,
    layout_of,
    pack,
    plain_bytes,
    unpack,
)
from runtime.grid_maps import smooth

CODING_AT, BITS_AT = 2, 3  # of the 20 bytes that describe a part


def packed(*parts: Part, compress: bool = False) -> tuple[bytes, list[bytes]]:
    """Return what goes into the header, and the parts beside it."""
    inside, outside = pack(parts, compress=compress)
    return b"".join(inside), [bytes(part) for part in outside]


def unpacked(
    head: bytes, outside: list[bytes], *, num: int = 1, limits: TrainLimits = DEFAULT_LIMITS
) -> list[PackedTensor]:
    """Return these tensors out of a header that describes so many of them."""
    at = DESCRIPTION_BYTES * num
    layout = layout_of(head[:at], limits)
    assert (len(head), len(outside)) == (at + layout.num_inside_bytes, layout.num_outside)
    found = unpack(layout, head, at=at, outside=outside, where="X")
    return [part for part in found if isinstance(part, PackedTensor)]


def on_grid(shape: tuple[int, ...], *, bits: int, scale: float = 1.0) -> PackedTensor:
    """Return values that rise from 0 and begin again."""
    values = (np.arange(np.prod(shape)) % (1 << bits)).astype(np.uint8).reshape(shape)
    return PackedTensor(values, bits, *np.full((2, shape[1]), scale, np.float32))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 3, 4, 4), (2, 3, 0, 4), (0, 0, 0, 0)])
def test_tensors_on_a_grid_may_have_no_values(shape: tuple[int, ...], compress: bool) -> None:
    (found,) = unpacked(*packed(on_grid(shape, bits=4), compress=compress))
    assert found.values.shape == shape


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(6, dtype=np.uint16)[::2],
        np.arange(6, dtype=">f4"),
        np.arange(6, dtype=">u2").reshape(2, 3).T,
        np.float32(0.5).reshape(()),
    ],
)
def test_values_cross_however_they_lie_in_memory(values: npt.NDArray[Any]) -> None:
    (found,) = unpacked(*packed(PackedTensor(values)))
    assert found.values.dtype == values.dtype.newbyteorder("<")
    assert found.values.shape == values.shape
    assert np.array_equal(found.values, values)


@pytest.mark.parametrize(("num_values", "beside"), [(4096, []), (4097, [4097])])
def test_tensors_of_4096_bytes_travel_in_the_header_and_larger_ones_do_not(
    num_values: int, beside: list[int]
) -> None:
    _, outside = packed(PackedTensor(np.zeros(num_values, np.uint8)))
    assert [len(part) for part in outside] == beside


@pytest.mark.parametrize(("num_values", "takes_bytes"), [(4096, 4096), (4098, 2049)])
def test_few_bits_are_packed_where_they_do_not_travel_in_the_header(
    num_values: int, takes_bytes: int
) -> None:
    head, outside = packed(on_grid((1, 2, num_values // 2), bits=4))
    beside_values = DESCRIPTION_BYTES + 2 * SCALE_BYTES
    assert len(head) + sum(map(len, outside)) == beside_values + takes_bytes
    assert plain_bytes(num_values, bits=4) == takes_bytes


def test_maps_may_be_many_where_each_can_be_read_soon() -> None:
    values = smooth((1, 300, 8, 8), bits=4)
    maps = PackedTensor(values, 4, *np.ones((2, 300), np.float32))
    head, outside = packed(maps, compress=True)
    assert head[CODING_AT] == MAPS
    (found,) = unpacked(head, outside)
    assert np.array_equal(found.values, values)


def test_limits_are_the_most_that_is_taken() -> None:
    head, outside = packed(on_grid((5, 2, 1, 3), bits=4))
    unpacked(head, outside, limits=TrainLimits(max_values=30, max_maps=2))
    for short in (TrainLimits(max_values=29), TrainLimits(max_maps=1)):
        with pytest.raises(WireError):
            unpacked(head, outside, limits=short)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_scales_that_are_no_numbers_are_refused_with_the_part_they_are_of(scale: float) -> None:
    parts = on_grid((2, 2), bits=4), on_grid((2, 2), bits=4, scale=scale)
    with pytest.raises(WireError, match=r"^X, part 2: a scale is not a finite number"):
        unpacked(*packed(*parts), num=2)


@pytest.mark.parametrize("bits", [1, 4, 7])
def test_the_first_value_that_does_not_fit_its_bits_is_refused(bits: int) -> None:
    head, outside = packed(on_grid((1, 1, 300), bits=bits))
    unpacked(head, outside)
    with pytest.raises(WireError, match=f"^X, part 1: value {1 << bits} in {bits} bits"):
        unpacked(head[:-1] + bytes([1 << bits]), outside)


def test_a_description_that_is_refused_is_told_by_its_number() -> None:
    head, outside = packed(on_grid((2, 2), bits=4), on_grid((2, 2), bits=4))
    at = DESCRIPTION_BYTES + BITS_AT
    with pytest.raises(WireError, match=r"^part 2: 9 bits"):
        unpacked(head[:at] + b"\x09" + head[at + 1 :], outside, num=2)


def test_packed_values_need_bits() -> None:
    head, outside = packed(on_grid((1, 1, 5000), bits=4))
    for bits in (0, 8):
        with pytest.raises(WireError, match=f"packed values of {bits} bits"):
            unpacked(head[:BITS_AT] + bytes([bits]) + head[BITS_AT + 1 :], outside)


@pytest.mark.parametrize("num_bytes", [0, 4999, 5001])
def test_plain_values_are_exactly_as_many_as_the_shape_says(num_bytes: int) -> None:
    head, _ = packed(PackedTensor(np.zeros(5000, np.uint8)))
    with pytest.raises(WireError, match=f"X, part 1: {num_bytes} bytes of values"):
        unpacked(head, [bytes(num_bytes)])
