"""Reads pickles of plain containers and NumPy arrays, and nothing else.

A pickle is a program that names functions to call. CIFAR-10's python layout is pickled, and it
may come from anywhere. So every name a pickle may use is on one short list, and each leads to a
stand-in of this module rather than to the real thing: not even NumPy's own unpickling runs.
The stand-ins are classes with `__setstate__`, so the pickle cannot set attributes on them.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import DataError

_DTYPES = frozenset({"b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"})

_SHOWN = 120  # characters of what a pickle says, which may come from anywhere

# What a hostile or damaged pickle makes the unpickler or a stand-in raise.
_BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class _PickledDtype:
    """Stands in for numpy.dtype: a code of the list above and a byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str | bytes, *_: object) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(text, str) or text not in _DTYPES:
            raise pickle.UnpicklingError(f"array of type {_brief(text)}")
        self.code = text
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"byte order {_brief(order)}")
        self.order = order

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _PickledArray:
    """Stands in for numpy.ndarray and for the function that makes an empty one."""

    __slots__ = ("array",)

    array: npt.NDArray[Any] | None

    def __init__(self, *_: object) -> None:
        self.array = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        # Python 2 wrote bytes as text; they come back as Latin-1, one character per byte.
        raw = content.encode("latin1") if isinstance(content, str) else content
        self.array = _array(raw, dtype, shape, "F" if fortran else "C")


class _PickledBuffer(_PickledArray):
    """Stands in for numpy's _frombuffer, which pickle protocol 5 calls."""

    __slots__ = ()

    def __init__(self, content: bytes, dtype: object, shape: tuple[int, ...], order: str) -> None:
        self.array = _array(content, dtype, shape, order)


class _PickledBytes:
    """Stands in for _codecs.encode, with which Python 3 writes bytes in pickle protocol 2."""

    __slots__ = ()

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"text in {_brief(encoding)}")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("state for bytes")


_ADMITTED: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _PickledDtype,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy.core.numeric", "_frombuffer"): _PickledBuffer,
    ("numpy._core.numeric", "_frombuffer"): _PickledBuffer,
    ("_codecs", "encode"): _PickledBytes,
}


class _NameRefused(pickle.UnpicklingError):
    """The pickle asks for a function or class that is not on the list."""


_BY_PYTHON: dict[int, Any] = pickle._Unpickler.dispatch  # each operation by its code


class _PlainUnpickler(pickle._Unpickler):
    """Python's unpickler and not the one in C, which hashes whatever a pickle takes for a key.

    Tuples of tuples as one end the process where they are deep, or it is never done with them.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_BY_PYTHON)
    stack: list[Any]  # what was pushed since the last mark
    append: Callable[[Any], None]  # to it
    read: Callable[[int], bytes]

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        admitted = _ADMITTED.get((module_name, global_name))
        if admitted is None:
            name = f"{module_name}.{global_name}"[:_SHOWN]
            raise _NameRefused(name if name.isprintable() else ascii(name))
        return admitted

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise _NameRefused("an object outside the file")

    def _set_one(self) -> None:
        _check_keys(self.stack[-2:-1])
        _BY_PYTHON[pickle.SETITEM[0]](self)

    def _set_all(self) -> None:
        _check_keys(self.stack[::2])
        _BY_PYTHON[pickle.SETITEMS[0]](self)

    def _make_dict(self) -> None:
        _check_keys(self.stack[::2])
        _BY_PYTHON[pickle.DICT[0]](self)

    def _make_bytearray(self) -> None:
        """Read a bytearray, which Python's own makes, and fills, before it looks for the bytes."""
        (num_bytes,) = struct.unpack("<Q", self.read(8))
        content = self.read(num_bytes)
        if len(content) < num_bytes:
            raise EOFError
        self.append(bytearray(content))

    def _refuse_set(self) -> None:
        raise pickle.UnpicklingError("it holds a set")

    dispatch[pickle.SETITEM[0]] = _set_one
    dispatch[pickle.SETITEMS[0]] = _set_all
    dispatch[pickle.DICT[0]] = _make_dict
    dispatch[pickle.BYTEARRAY8[0]] = _make_bytearray
    dispatch[pickle.ADDITEMS[0]] = dispatch[pickle.FROZENSET[0]] = _refuse_set


def load_plain_pickle(content: bytes, *, where: str) -> dict[str, Any]:
    """Return the dictionary that a pickle holds, its arrays as NumPy arrays, its keys as text.

    Raises DataError for a pickle that is damaged, is no dictionary, or names anything but
    array reconstruction; nothing that it names is imported or called.
    """
    try:
        found = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
        if isinstance(found, dict):
            return {_text(key): _plain(value) for key, value in found.items()}
    except _NameRefused as refused:
        raise DataError(
            f"{where}: the pickle asks for {refused}, expected only arrays and plain containers; "
            "do not use this file, get the data set from its official source"
        ) from None
    except _BROKEN as broken:
        raise DataError(
            f"{where}: not a readable pickle ({_first_line(broken)}), expected a dictionary of "
            "arrays; get the file again"
        ) from None
    raise DataError(
        f"{where}: the pickle holds {type(found).__name__}, expected a dictionary; "
        "get the file again"
    )


def _array(content: object, dtype: object, shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    if not isinstance(dtype, _PickledDtype) or not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("array without type or content")
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise pickle.UnpicklingError("array of a shape that is not of whole numbers")
    flat = np.frombuffer(bytes(content), dtype=dtype.dtype())
    if math.prod(shape) != flat.size:
        raise pickle.UnpicklingError(f"{flat.size} values for an array of shape {shape!r}")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _brief(value: object) -> str:
    """Return what stands for a value in a message: tuples of tuples are never done writing."""
    return repr(value) if isinstance(value, str) else f"a {type(value).__name__}"


def _check_keys(keys: list[Any]) -> None:
    """Admit keys whose hash takes no time, and that are soon written out."""
    for key in keys:
        if not isinstance(key, str | bytes) and key is not None:
            raise pickle.UnpicklingError(f"a key of type {type(key).__name__}")


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _plain(value: object) -> Any:
    return value.array if isinstance(value, _PickledArray) else value


def _first_line(error: BaseException) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0][:_SHOWN]
    return text if text.isprintable() else ascii(text)
