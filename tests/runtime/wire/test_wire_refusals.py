"""Malformed messages: a row for each, and the sentence that refuses it."""

import struct

import pytest

from headgate.profiles.errors import WireError
from headgate.runtime.wire.headers import Limits
from headgate.runtime.wire.wire import decode


def header(
    kind: int, fields: bytes, *, payloads: int = 0, version: int | None = None, zero: int = 0
) -> bytes:
    if version is None:
        version = 1 if kind in (1, 5) else 3
    return b"HDGT" + bytes([version, kind, payloads, zero]) + fields


def frame_fields(*, layer: int = 0, flags: int = 0, fragment: int = 0, fragments: int = 1) -> bytes:
    return struct.pack("<IIHBBHHI", 1, 2, 3, layer, flags, fragment, fragments, 9)


def older_frame_fields(*, zero: int = 0) -> bytes:
    return struct.pack("<IIHBBHH", 1, 2, 3, 0, zero, 0, 1)


def result(arrivals: int, spread_us: int, num_bytes: int, largest_gap_us: int) -> bytes:
    burst = struct.pack("<HIII", arrivals, spread_us, num_bytes, largest_gap_us)
    return header(4, bytes(34) + burst)


def tensor(
    *, dtype: int = 5, dims: tuple[int, ...] = (1,), name: bytes = b"p", values: int = 4
) -> list[bytes]:
    head = bytes([dtype, len(dims), len(name), 0])
    head += b"".join(struct.pack("<I", size) for size in dims) + name
    part = head + bytes(-len(head) % 8) + bytes(values)
    return [header(4, bytes(48), payloads=1), part]


REFUSED = {
    "no parts": ([], "0 parts"),
    "too many parts": ([b"x"] * 18, "18 parts, expected 1 to 17"),
    "a short header": ([b"HDGT"], "4 bytes, expected 8 or more"),
    "http": ([b"GET / HTTP/1.1\r\n"], "expected b'HDGT'"),
    "a reserved type": ([header(64, b"")], "CONTROL.*reserved"),
    "split training": (
        [header(65, b"")],
        "TRAIN.*an edge does not do; connect to a server of `headgate train deprune --role server`",
    ),
    "an unknown type": ([header(10, b"")], "unknown type 10"),
    "a newer version": ([header(8, b"", version=4)], "version 4, this side speaks"),
    "a version before the last two": ([header(8, b"", version=1)], "version 1, this side speaks"),
    "a HELLO that is not in the frozen layout": (
        [header(1, bytes(44), version=2)],
        "HELLO: version 2",
    ),
    "a header too long": ([header(8, b"\0")], "header of 9 bytes, expected 8"),
    "a header too short": ([header(3, bytes(19), payloads=1), b"x"], "header of 27 bytes"),
    "a missing payload": ([header(3, frame_fields(), payloads=1)], "0 payload parts"),
    "a payload too many": ([header(8, b"", payloads=1), b"x"], "expected 0"),
    "a count that lies": ([header(4, bytes(48), payloads=2), b"x"], "header says 2"),
    "a prefix byte that must be zero": ([header(8, b"", zero=1)], "reserved field holds 1"),
    "a flag that nobody knows": (
        [header(3, frame_fields(flags=2), payloads=1), b"x"],
        "reserved field holds 2",
    ),
    "a flag in version 2": (
        [header(3, older_frame_fields(zero=1), payloads=1, version=2), b"x"],
        "reserved field holds 1",
    ),
    "layers in version 2": (
        [header(3, older_frame_fields(), payloads=2, version=2), b"x", b"y"],
        "2 payload parts, expected 1 in version 2",
    ),
    "a frame of version 2 that says 3": (
        [header(3, older_frame_fields(), payloads=1), b"x"],
        "header of 24 bytes, expected 28",
    ),
    "a frame without a payload": ([header(3, frame_fields())], "payload is empty"),
    "an empty payload": ([header(3, frame_fields(), payloads=1), b""], "payload is empty"),
    "an empty layer": ([header(3, frame_fields(), payloads=2), b"x", b""], "payload is empty"),
    "more layers than parts": (
        [header(3, frame_fields(), payloads=17), *[b"x"] * 17],
        "18 parts, expected 1 to 17",
    ),
    "a layer beyond all": (
        [header(3, frame_fields(layer=254), payloads=2), b"x", b"y"],
        "layers 254 to 255, a frame has at most 255",
    ),
    "several layers in fragments": (
        [header(3, frame_fields(fragments=2), payloads=2), b"x", b"y"],
        "2 layers in fragment 0 of 2, expected 1",
    ),
    "an ACK in version 2": ([header(9, bytes(16), version=2)], "ACK: version 2 has no such type"),
    "an ACK that says more": (
        [header(9, struct.pack("<IBBHQ", 7, 1, 0, 1, 0))],
        "reserved field holds 1",
    ),
    "a fragment beyond the last": (
        [header(3, frame_fields(fragment=2, fragments=2), payloads=1), b"x"],
        "fragment 2 of 2",
    ),
    "no fragments": (
        [header(3, frame_fields(fragment=0, fragments=0), payloads=1), b"x"],
        "fragment 0 of 0",
    ),
    "too many fragments": (
        [header(3, frame_fields(fragments=1025), payloads=1), b"x"],
        "at most 1024",
    ),
    "no versions": ([header(1, bytes(44))], "newest first"),
    "versions in the wrong order": ([header(1, bytes([1, 2]) + bytes(42))], "newest first"),
    "a gap in the versions": ([header(1, bytes([2, 0, 1]) + bytes(41))], "newest first"),
    "a WELCOME to nothing": ([header(2, bytes(40))], "more than none"),
    "a busy share above all": (
        [header(4, struct.pack("<QIIIIIHHHH", 0, 0, 0, 0, 0, 0, 0, 0, 1001, 0) + bytes(12))],
        "1001 permille",
    ),
    "a single arrival with a spread": ([result(1, 5, 5, 0)], "1 arrivals with 5 bytes in 5 us"),
    "arrivals of nothing": ([result(2, 5, 0, 5)], "2 arrivals with 0 bytes"),
    "a gap longer than all": ([result(2, 5, 1, 6)], "gap of 6 us, expected zeros"),
    "an unknown reason": ([header(5, struct.pack("<IHH", 1, 99, 0), payloads=1), b""], "reason 99"),
    "a reason that is not text": (
        [header(5, struct.pack("<IHH", 1, 1, 0), payloads=1), b"\xff"],
        "not UTF-8",
    ),
    "a reason too long": (
        [header(5, struct.pack("<IHH", 1, 1, 0), payloads=1), b"x" * 513],
        "513 bytes",
    ),
    "an empty tensor part": ([header(4, bytes(48), payloads=1), b""], "tensor of 0 bytes"),
    "an unknown dtype": (tensor(dtype=6), "unknown dtype 6"),
    "too many dimensions": (tensor(dims=(1,) * 9), "9 dimensions"),
    "a tensor without a name": (tensor(name=b""), "name of 0 bytes"),
    "a tensor with a long name": (tensor(name=b"x" * 65), "name of 65 bytes"),
    "a tensor name with a blank": (tensor(name=b"a b"), "printable ASCII"),
    "a tensor that ends in its head": (
        [header(4, bytes(48), payloads=1), bytes([5, 1, 9, 0, 1, 0, 0, 0])],
        "its head alone needs 24",
    ),
    "a huge tensor": (tensor(dims=(2**24, 2**24)), "expected at most"),
    "a huge axis beside an empty one": (tensor(dims=(0, 2**32 - 1), values=0), "expected at most"),
    "too few values": (tensor(dims=(2,)), "4 bytes of values.*needs 8"),
    "too many values": (tensor(dims=(1,), values=5), "5 bytes of values.*needs 4"),
    "one tensor twice": (
        [header(4, bytes(48), payloads=2), tensor()[1], tensor()[1]],
        "every name once",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_messages_are_refused_with_a_sentence(case: str) -> None:
    parts, sentence = REFUSED[case]
    with pytest.raises(WireError, match=sentence):
        decode(parts)


def test_sizes_are_refused_before_anything_else_is_looked_at() -> None:
    limits = Limits(max_part_bytes=100, max_message_bytes=150)
    with pytest.raises(WireError, match="a part of 101 bytes, at most 100"):
        decode([bytes(101)], limits)
    with pytest.raises(WireError, match="180 bytes, at most 150"):
        decode([bytes(90), bytes(90)], limits)
