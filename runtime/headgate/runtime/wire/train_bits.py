"""Values of few bits without gaps between them: what a side sends that does not entropy-code.

In C order, the most significant bit of each first; zeros fill the last byte. It costs some 3 ns a
value of 4 bits and 70 of 3 (measured), where coding maps by their neighbours costs 300.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import WireError

BYTE_BITS = 8


def packed_bytes(num_values: int, *, bits: int) -> int:
    """Return how many bytes so many values take."""
    return -(-num_values * bits // BYTE_BITS)


def pack_bits(values: npt.NDArray[Any], *, bits: int) -> bytes:
    """Return values of dtype u1, each below 2 ** `bits`, as `packed_bytes` of them."""
    flat = values.reshape(-1)
    if BYTE_BITS % bits:
        return np.packbits(np.unpackbits(flat[:, None], axis=1)[:, BYTE_BITS - bits :]).tobytes()
    per_byte = BYTE_BITS // bits
    whole = np.zeros(packed_bytes(flat.size, bits=bits) * per_byte, dtype=np.uint8)
    whole[: flat.size] = flat
    packed = whole[::per_byte] << (BYTE_BITS - bits)
    for place in range(1, per_byte):
        packed |= whole[place::per_byte] << (BYTE_BITS - bits * (place + 1))
    return packed.tobytes()


def unpack_bits(raw: bytes, *, num_values: int, bits: int) -> npt.NDArray[np.uint8]:
    """Return the values [num_values], or raise WireError if they are not exactly so many."""
    expected = packed_bytes(num_values, bits=bits)
    if len(raw) != expected:
        raise WireError(f"{len(raw)} bytes for {num_values} values of {bits} bits, not {expected}")
    packed = np.frombuffer(raw, dtype=np.uint8)
    values: npt.NDArray[np.uint8]
    if BYTE_BITS % bits:
        ones = np.unpackbits(packed)
        rest = ones[num_values * bits :]
        digits = ones[: num_values * bits].reshape(num_values, bits)
        padded = np.zeros((num_values, BYTE_BITS), dtype=np.uint8)
        padded[:, BYTE_BITS - bits :] = digits
        values = np.packbits(padded, axis=1).reshape(-1)
    else:
        per_byte = BYTE_BITS // bits
        whole = np.empty(len(packed) * per_byte, dtype=np.uint8)
        for place in range(per_byte):
            whole[place::per_byte] = packed >> (BYTE_BITS - bits * (place + 1)) & (1 << bits) - 1
        values, rest = whole[:num_values], whole[num_values:]
    if rest.any():
        raise WireError("the last byte of packed values does not end in zeros")
    return values
