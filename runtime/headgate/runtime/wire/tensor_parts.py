"""One named tensor <-> one payload part of a RESULT.

0  dtype u8 (a key of DTYPES)   1  number of dimensions u8   2  length of name u8   3  zero u8
4  dimensions u32 each, then the name in ASCII, then zeros up to a multiple of 8,
   then the values, little-endian, in C order, up to the end of the part
"""

from functools import lru_cache
from math import prod
from struct import Struct
from typing import Any

import numpy as np

from headgate.profiles.errors import WireError
from headgate.runtime.wire.messages import NamedTensor

MAX_NAME_BYTES = 64
MAX_DIMENSIONS = 8
MAX_DIMENSION = 1 << 24
MAX_VALUES = 1 << 28  # counting empty dimensions as 1: NumPy overflows on the others

# Wire code of each dtype; little-endian whatever the machine.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("u1"),
    2: np.dtype("i1"),
    3: np.dtype("<i8"),
    4: np.dtype("<f2"),
    5: np.dtype("<f4"),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_HEAD = Struct("<BBBB")


def encode_tensor(tensor: NamedTensor) -> bytes:
    """Return the part that holds the tensor."""
    array = tensor.array
    head, dtype = _head_of(tensor.name, array.dtype, array.shape)
    return head + (array if array.dtype == dtype else array.astype(dtype)).tobytes()


@lru_cache(maxsize=64)  # answers of a family all look alike
def _head_of(
    name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> tuple[bytes, np.dtype[Any]]:
    """Return what stands before the values, and the type that they have on the wire."""
    ascii_name = name.encode("ascii")
    dtype = dtype.newbyteorder("<")
    assert 1 <= len(ascii_name) <= MAX_NAME_BYTES
    assert len(shape) <= MAX_DIMENSIONS
    assert dtype in _CODES, f"tensor {name}: {dtype} does not cross the wire"
    head = _HEAD.pack(_CODES[dtype], len(shape), len(ascii_name), 0)
    head += b"".join(size.to_bytes(4, "little") for size in shape) + ascii_name
    return head + bytes(-len(head) % 8), dtype


def decode_tensor(part: bytes, *, where: str) -> NamedTensor:
    """Return a read-only view of the part, every length checked first, or raise WireError."""
    try:
        if len(part) < _HEAD.size:
            raise WireError(f"tensor of {len(part)} bytes, expected {_HEAD.size} or more")
        values_at = _size_of_head(part[: _HEAD.size])
        if len(part) < values_at:
            raise WireError(f"tensor of {len(part)} bytes, its head alone needs {values_at}")
        name, dtype, shape, num_values = _read_head(part[:values_at])
        expected_bytes = dtype.itemsize * num_values
        if len(part) - values_at != expected_bytes:
            raise WireError(
                f"tensor {name!r}: {len(part) - values_at} bytes of values, "
                f"shape {list(shape)} of {dtype.name} needs {expected_bytes}"
            )
    except WireError as reason:
        raise WireError(f"{where}: {reason}") from None
    values = np.frombuffer(part, dtype, count=num_values, offset=values_at)
    return NamedTensor(name, values if len(shape) == 1 else values.reshape(shape))


@lru_cache(maxsize=64)  # what is refused is not kept
def _size_of_head(fixed: bytes) -> int:
    """Return where the values begin, from the first bytes of a part, or raise WireError."""
    code, num_dimensions, name_bytes, zero = _HEAD.unpack(fixed)
    if code not in DTYPES:
        raise WireError(f"tensor of unknown dtype {code}, expected one of {list(DTYPES)}")
    if zero != 0:
        raise WireError(f"a tensor's reserved byte is {zero}, expected 0; update Headgate")
    if num_dimensions > MAX_DIMENSIONS or not 1 <= name_bytes <= MAX_NAME_BYTES:
        raise WireError(
            f"tensor with {num_dimensions} dimensions and a name of {name_bytes} bytes, "
            f"expected at most {MAX_DIMENSIONS} and 1 to {MAX_NAME_BYTES}"
        )
    name_end = _HEAD.size + 4 * int(num_dimensions) + int(name_bytes)
    return name_end + -name_end % 8


@lru_cache(maxsize=64)
def _read_head(head: bytes) -> tuple[str, np.dtype[Any], tuple[int, ...], int]:
    """Return name, type, shape and number of values of a head of the right size, or WireError."""
    code, num_dimensions, name_bytes, _ = _HEAD.unpack_from(head)
    name_at = _HEAD.size + 4 * num_dimensions
    name = head[name_at : name_at + name_bytes]
    if not all(0x20 < byte < 0x7F for byte in name) or any(head[name_at + name_bytes :]):
        raise WireError(f"tensor name {name!r}, expected printable ASCII, then zeros")
    sizes = range(_HEAD.size, name_at, 4)
    shape = tuple(int.from_bytes(head[at : at + 4], "little") for at in sizes)
    too_many = prod(max(1, size) for size in shape) > MAX_VALUES
    if too_many or max(shape, default=0) > MAX_DIMENSION:
        raise WireError(
            f"tensor {name.decode('ascii')!r}: shape {list(shape)}, "
            f"expected at most {MAX_VALUES} values"
        )
    return name.decode("ascii"), DTYPES[code], shape, prod(shape)
