"""Tests of the unpickler that admits arrays and plain containers only."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headgate.profiles.errors import DataError
from headgate.profiles.plain_pickle import load_plain_pickle

# As Python 2 wrote CIFAR-10: protocol 2, text for bytes, NumPy 1 names.
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
    b"q\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x01K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87"
    b"Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x01\x80\xfftb"
    b"U\x06labelsq\x08]q\x09K\x07au."
)


class Calls:
    """Pickles as a call of anything with any arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<f4", "?"])
def test_arrays_come_back_in_every_protocol(protocol: int, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    content = pickle.dumps({b"data": array, "labels": [1, 2], "n": None}, protocol=protocol)
    found = load_plain_pickle(content, where="batch")
    np.testing.assert_array_equal(found["data"], array)
    assert found["labels"] == [1, 2]


def test_column_order_arrays_come_back() -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    found = load_plain_pickle(pickle.dumps({"data": array}), where="batch")
    np.testing.assert_array_equal(found["data"], array)


def test_what_python_2_wrote_comes_back() -> None:
    found = load_plain_pickle(PYTHON_2, where="batch")
    np.testing.assert_array_equal(found["data"], np.array([[1, 128, 255]], dtype=np.uint8))
    assert found["labels"] == [7]


def test_a_call_in_a_pickle_is_refused_and_not_made(tmp_path: Path) -> None:
    target = tmp_path / "made"
    content = pickle.dumps({"data": Calls(os.mkdir, str(target))})
    with pytest.raises(DataError, match=r"batch: the pickle asks for posix\.mkdir, expected only"):
        load_plain_pickle(content, where="batch")
    assert not target.exists()


@pytest.mark.parametrize(
    "function", [eval, print, getattr, np.load, np.frombuffer, os.system, pickle.loads]
)
def test_other_functions_are_refused_by_name(function: Any) -> None:
    with pytest.raises(DataError, match="the pickle asks for"):
        load_plain_pickle(pickle.dumps(Calls(function, "1")), where="batch")


def test_dotted_names_do_not_reach_past_the_list() -> None:
    content = b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__base__\x93."
    with pytest.raises(DataError, match="the pickle asks for"):
        load_plain_pickle(content, where="batch")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"garbage",
        b"\x80\x04N.",
        pickle.dumps([1, 2]),
        pickle.dumps({"data": np.array([object()])}),
        pickle.dumps({"data": np.zeros(2, dtype=[("a", "u1")])}),
        b"cnumpy\nndarray\n(dS'array'\nI1\nsb.",  # tries to set attributes on the class
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        b"cnumpy\ndtype\n(I5\ntR.",
        b"(dS'a'\ncnumpy\nndarray\n(tR(I1\n(I9\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS'xy'\ntbs.",
        PYTHON_2[:-40],
        b"\x80\x02}cnumpy\nndarray\n)\x81K\x01s.",  # an array as a key
        b"\x80\x02}U\x01acnumpy\nndarray\n)\x81s.",  # an array that was never filled
        b"\x80\x02}\x8b\x88\x13\x00\x00" + b"\x7f" * 5000 + b"K\x01s.",  # 12,000 digits as a key
        b"\x80\x02X\x01",
    ],
)
def test_damaged_or_odd_pickles_are_refused_in_one_sentence(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^batch: ") as refused:
        load_plain_pickle(content, where="batch")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("opened", [b"}", b"}(", b"("])
@pytest.mark.parametrize("nested", [b"\x85" * 200_000, b"2\x86" * 60])
def test_nested_tuples_as_keys_neither_end_the_process_nor_take_for_ever(
    opened: bytes, nested: bytes
) -> None:
    closed = {b"}": b"s", b"}(": b"u", b"(": b"d"}[opened]
    content = b"\x80\x02" + opened + b")" + nested + b"K\x01" + closed + b"."
    with pytest.raises(DataError, match=r"batch: not a readable pickle \(a key of type tuple"):
        load_plain_pickle(content, where="batch")


def test_a_set_of_nested_tuples_is_refused_too() -> None:
    for operation in (b"\x90", b"\x91"):  # add to a set, make a frozen one
        content = b"\x80\x04\x8f()" + b"2\x86" * 60 + operation + b"."
        with pytest.raises(DataError, match=r"batch: not a readable pickle \(it holds a set"):
            load_plain_pickle(content, where="batch")


NESTED = b")" + b"2\x86" * 60  # a tuple of twice itself, sixty times over


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02cnumpy\ndtype\n" + NESTED + b"\x85R.", "array of type a tuple"),
        (
            b"\x80\x02cnumpy\ndtype\nU\x02u1\x85RK\x03" + NESTED + b"\x86b.",
            "byte order a tuple",
        ),
        (b"\x80\x02c_codecs\nencode\nU\x01a" + NESTED + b"\x86R.", "text in a tuple"),
        (
            b"\x80\x02cnumpy\nndarray\n)\x81(K\x01"
            + NESTED
            + b"cnumpy\ndtype\nU\x02u1\x85R\x89C\x00tb.",
            "array of a shape that is not",
        ),
    ],
)
def test_nested_tuples_elsewhere_are_not_written_out(content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_plain_pickle(content, where="batch")


def test_bytes_that_are_not_there_take_no_memory() -> None:
    content = b"\x80\x05\x96" + (1 << 30).to_bytes(8, "little") + b"."
    tracemalloc.start()
    with pytest.raises(DataError, match="EOFError"):
        load_plain_pickle(content, where="batch")
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 1 << 20


def test_what_a_pickle_says_does_not_reach_the_terminal_as_it_is() -> None:
    with pytest.raises(DataError, match="asks for 'os") as refused:
        load_plain_pickle(b"cos\nsys\x1b[31m\n.", where="batch")
    assert str(refused.value).isprintable()


def test_damaged_bytes_are_read_or_refused_and_nothing_else() -> None:
    random = np.random.default_rng(3)
    content = pickle.dumps({"data": np.arange(20, dtype=np.uint8), "labels": [1] * 20}, protocol=2)
    for _ in range(400):
        damaged = bytearray(content)
        damaged[int(random.integers(len(content)))] = int(random.integers(256))
        try:
            load_plain_pickle(bytes(damaged), where="batch")
        except DataError:
            continue
