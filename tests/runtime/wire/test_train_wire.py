"""Claims about the messages of split training: exact bytes, nothing else taken, nothing guessed."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headgate.profiles.errors import WireError
from headgate.profiles.train_messages import (
    Header,
    Kind,
    PackedTensor,
    Part,
    Place,
    Status,
)
from headgate.runtime.wire.train_maps import MAX_MAP_VALUES
from headgate.runtime.wire.train_parts import TrainLimits, pack, plain_bytes
from headgate.runtime.wire.train_wire import TRAIN_VERSION, decode, encode, message_bytes
from runtime.grid_maps import smooth

GOLDEN = Path(__file__).parents[1] / "golden" / "train"

FILTER = PackedTensor(np.array([0.5, 0.75], np.float32))
LABELS = PackedTensor(np.array([3, 0, 255], np.uint8))
SELECTED = PackedTensor(np.array([1, 300], np.uint16))
ON_GRID = PackedTensor(
    np.arange(12, dtype=np.uint8).reshape(3, 2, 1, 2),
    bits=4,
    low_C=np.array([0.0, -1.0], np.float32),
    step_C=np.array([0.25, 0.5], np.float32),
)
PACKED = PackedTensor(
    (np.arange(2 * 2054) % 7).astype(np.uint8).reshape(1, 2, 26, 79),
    3,
    *np.ones((2, 2), np.float32),
)
PLAIN = PackedTensor(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 2, 1, 2))
HALVED = PackedTensor(PLAIN.values.astype(np.float16))
BATCH = Header(Kind.BATCH, Place(2, 7), phase=1, budget=2, num_steps=9, num_pictures=3, loss=0.5)

# What the files under golden/train hold; changing one of them is a new version of the messages.
MESSAGES: dict[str, tuple[Header, tuple[Part, ...]]] = {
    "hello": (Header(Kind.HELLO, Place(1, 4)), (b'{"name": "ann"}',)),
    "welcome": (
        Header(Kind.WELCOME, Place(1, 4), Status.WAIT, phase=1, budget=2),
        (b"{}", SELECTED),
    ),
    "welcome-half": (Header(Kind.WELCOME), (b"{}", SELECTED, b"half")),
    "refuse": (Header(Kind.REFUSE), ("seed: server 0, client 1 é".encode(),)),
    "batch": (BATCH, (PLAIN, FILTER, LABELS)),
    "batch-half-precision": (BATCH, (HALVED, FILTER, LABELS)),
    "batch-grid": (BATCH, (ON_GRID, FILTER, LABELS)),
    "batch-packed": (replace(BATCH, num_pictures=1), (PACKED, FILTER, LABELS)),
    "gradient": (
        Header(Kind.GRADIENT, Place(2, 7), phase=1, budget=2, num_right=3, loss=2.5),
        (ON_GRID, FILTER),
    ),
    "gradient-refused": (Header(Kind.GRADIENT, Place(2, 7), Status.NOT_FINITE), ()),
    "epoch-end": (Header(Kind.EPOCH_END, Place(2, 9), budget=2), (b"\0half",)),
    "go": (Header(Kind.GO, Place(3, 0), phase=1, budget=2), (SELECTED,)),
    "go-half": (Header(Kind.GO, Place(3, 0), phase=1, budget=2), (SELECTED, b"half")),
    "go-finished": (Header(Kind.GO, Place(4, 0), Status.FINISHED), (SELECTED,)),
    "goodbye": (Header(Kind.GOODBYE), ()),
    "working": (Header(Kind.WORKING, Place(2, 7)), ()),
}


def golden(name: str) -> list[bytes]:
    """Return the parts in golden/train/NAME.hex: one line of hexadecimal digits each."""
    lines = (GOLDEN / f"{name}.hex").read_text().split("\n")[:-1]
    return [bytes.fromhex(line) for line in lines]


def encoded(message: tuple[Header, tuple[Part, ...]], *, compress: bool = False) -> list[bytes]:
    return [bytes(part) for part in encode(*message, compress=compress)]


def assert_same(
    found: tuple[Header, tuple[Part, ...]], expected: tuple[Header, tuple[Part, ...]]
) -> None:
    assert found[0] == expected[0]
    assert len(found[1]) == len(expected[1])
    for one, other in zip(found[1], expected[1], strict=True):
        if isinstance(other, bytes):
            assert one == other
            continue
        assert isinstance(one, PackedTensor)
        assert (one.bits, one.values.shape) == (other.bits, other.values.shape)
        assert one.values.dtype.newbyteorder("=") == other.values.dtype
        assert one.values.tobytes() == other.values.tobytes()
        for mine, theirs in ((one.low_C, other.low_C), (one.step_C, other.step_C)):
            assert (mine is None) == (theirs is None)
            if mine is not None and theirs is not None:
                assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_have_exactly_the_bytes_of_the_golden_vectors(name: str) -> None:
    assert encoded(MESSAGES[name]) == golden(name)
    assert_same(decode(golden(name)), MESSAGES[name])


def test_every_golden_vector_is_tested() -> None:
    assert {path.stem for path in GOLDEN.glob("*.hex")} == set(MESSAGES)
    assert {header.kind for header, _ in MESSAGES.values()} == set(Kind)


u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
plain = st.sampled_from(["u1", "<u2", "<f2", "<f4"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


@st.composite
def on_grid(draw: st.DrawFn) -> PackedTensor:
    bits = draw(st.integers(1, 8))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=4, max_side=5))
    values = draw(hnp.arrays("u1", shape, elements=st.integers(0, 2**bits - 1)))
    floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
    scales = [draw(hnp.arrays("<f4", shape[1], elements=floats)) for _ in range(2)]
    return PackedTensor(values, bits, *scales)


tensors = st.builds(PackedTensor, plain) | on_grid()


@st.composite
def messages(draw: st.DrawFn) -> tuple[Header, tuple[Part, ...]]:
    header = Header(
        draw(st.sampled_from([Kind.BATCH, Kind.GO, Kind.WELCOME, Kind.GRADIENT])),
        Place(draw(u32), draw(u32)),
        draw(st.sampled_from(Status)),
        phase=draw(u16),
        budget=draw(u16),
        num_steps=draw(u32),
        num_pictures=draw(u32),
        num_right=draw(u32),
        loss=draw(st.floats(allow_nan=False, width=32)),
    )
    shapes = {Kind.BATCH: "ttt", Kind.GO: "tb", Kind.WELCOME: "btb", Kind.GRADIENT: "tt"}
    parts = [
        draw(tensors) if kind == "t" else draw(st.binary(max_size=30))
        for kind in shapes[header.kind]
    ]
    return header, tuple(parts)


@given(messages(), st.booleans())
def test_decoding_what_was_encoded_gives_the_same_message(
    message: tuple[Header, tuple[Part, ...]], compress: bool
) -> None:
    assert_same(decode(encoded(message, compress=compress)), message)


@given(messages())
def test_the_size_is_known_without_encoding(message: tuple[Header, tuple[Part, ...]]) -> None:
    sizes = [len(part) if isinstance(part, bytes) else part.values.nbytes for part in message[1]]
    scales = [
        len(part.low_C)
        for part in message[1]
        if isinstance(part, PackedTensor) and part.low_C is not None
    ]
    size = message_bytes(data_bytes=sizes, num_scales=sum(scales))
    assert size == sum(map(len, encoded(message)))
    assert message_bytes(data_bytes=[3]) == 40 + 20 + 3


@given(st.lists(st.binary(max_size=120), max_size=5))
@settings(max_examples=300)
def test_garbage_is_a_wire_error_and_nothing_else(parts: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(parts)


@given(st.data(), messages(), st.booleans())
@settings(max_examples=300)
def test_a_damaged_message_is_refused_or_is_another_message(
    data: st.DataObject, message: tuple[Header, tuple[Part, ...]], compress: bool
) -> None:
    parts = encoded(message, compress=compress)
    index = data.draw(st.integers(0, len(parts) - 1))
    part = bytearray(parts[index] or b"\0")
    place = data.draw(st.integers(0, len(part) - 1))
    part[place] ^= data.draw(st.integers(1, 255))
    parts[index] = bytes(part)
    try:
        header, payload = decode(parts)
    except WireError:
        return
    assert isinstance(header, Header)
    assert len(payload) == parts[0][6]


def test_integers_that_repeat_are_compressed_and_noise_is_not() -> None:
    calm = PackedTensor(np.zeros((64, 4, 16, 16), np.uint8), 8, *np.ones((2, 4), np.float32))
    noise = np.random.default_rng(0).integers(0, 256, (64, 4, 16, 16), dtype=np.uint8)
    loud = PackedTensor(noise, 8, *np.ones((2, 4), np.float32))
    sizes = [
        sum(map(len, encoded((BATCH, (each, FILTER, LABELS)), compress=True)))
        for each in (calm, loud)
    ]
    assert sizes[0] < 500
    assert sizes[1] > noise.nbytes


def test_few_bits_are_packed_whether_or_not_they_are_entropy_coded() -> None:
    noise = np.random.default_rng(0).integers(0, 16, (64, 4, 8, 8), dtype=np.uint8)
    maps = PackedTensor(noise, 4, *np.ones((2, 4), np.float32))
    for compress in (False, True):
        head, values = encoded((BATCH, (maps, FILTER, LABELS)), compress=compress)
        assert len(values) == plain_bytes(noise.nbytes, bits=4) == noise.nbytes // 2
        assert_same(decode([head, values]), (BATCH, (maps, FILTER, LABELS)))


def smooth_maps(shape: tuple[int, ...], *, bits: int) -> PackedTensor:
    """Return maps whose neighbours are alike."""
    return PackedTensor(smooth(shape, bits=bits), bits, *np.ones((2, shape[1]), np.float32))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_maps_on_a_grid_are_coded_by_their_neighbours_where_these_are_alike(bits: int) -> None:
    maps = smooth_maps((32, 8, 8, 8), bits=bits)
    whole = encoded((BATCH, (maps, FILTER, LABELS)), compress=True)
    alone = PackedTensor(maps.values)  # without a grid there are no levels to count
    by_zstd = encoded((BATCH, (alone, FILTER, LABELS)), compress=True)
    assert sum(map(len, whole)) < 0.8 * sum(map(len, by_zstd))
    assert_same(decode(whole), (BATCH, (maps, FILTER, LABELS)))


def test_maps_too_large_to_be_read_soon_are_not_coded_as_maps_nor_taken() -> None:
    """A lane takes one value after the other: 85 bytes could keep a reader for half an hour."""
    side = isqrt(MAX_MAP_VALUES)
    for height, coding in ((side, 3), (side + 1, 1)):
        maps = smooth_maps((1, 1, height, side), bits=4)
        head, *_ = encoded((BATCH, (maps, FILTER, LABELS)), compress=True)
        assert head[PART_AT + 2] == coding
        refused = put([head, b""], 0, PART_AT + 2, b"\x03")
        with pytest.raises(WireError, match="too few" if coding == 3 else "16384 values of a map"):
            decode(refused)


def test_coded_maps_that_are_damaged_are_refused_with_the_part_they_are() -> None:
    head, maps = encoded(
        (BATCH, (smooth_maps((8, 4, 8, 8), bits=4), FILTER, LABELS)), compress=True
    )
    with pytest.raises(WireError, match=r"^BATCH, part 1: .*damaged"):
        decode([head, maps[:-2]])


def test_numbers_that_lie_askew_in_the_header_are_given_straight() -> None:
    parts = encoded((Header(Kind.GRADIENT), (LABELS, FILTER)))
    _, (_, found) = decode(parts)
    assert isinstance(found, PackedTensor)
    assert found.values.flags.aligned
    assert not found.values.flags.writeable
    assert found.values.tolist() == [0.5, 0.75]


def test_values_are_not_copied() -> None:
    values = np.zeros((64, 4, 16, 16), np.float32)
    parts = encode(BATCH, (PackedTensor(values), FILTER, LABELS))
    assert isinstance(parts[1], memoryview)
    assert np.shares_memory(np.frombuffer(parts[1], np.float32), values)
    _, (maps, *_) = decode([bytes(part) for part in parts])
    assert isinstance(maps, PackedTensor)
    assert not maps.values.flags.writeable


def put(parts: list[bytes], index: int, at: int, new: bytes) -> list[bytes]:
    """Return the parts with some bytes of one of them replaced."""
    part = parts[index]
    return [*parts[:index], part[:at] + new + part[at + len(new) :], *parts[index + 1 :]]


PART_AT = 40  # where the first part is described


def outside(parts: list[bytes]) -> list[bytes]:
    """Move the maps of a batch out of the header, and say that they are one picture more."""
    at = PART_AT + 3 * 20
    head = put(put(parts, 0, PART_AT + 2, b"\0"), 0, PART_AT + 4, b"\x04")[0]
    return [head[:at] + head[at + 48 :], head[at : at + 48]]


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("batch", lambda p: [], "a header of 0 bytes"),
        ("batch", lambda p: [p[0][:39]], "a header of 39 bytes, expected 40"),
        ("batch", lambda p: put(p, 0, 0, b"XXXX"), "begins with b'XXXX'"),
        ("batch", lambda p: put(p, 0, 5, b"\x03"), "and type 3"),
        ("batch", lambda p: put(p, 0, 4, b"\x01"), "BATCH: version 1, this side speaks 4"),
        ("hello", lambda p: put(p, 0, 4, b"\x02"), "HELLO: version 2, this side speaks 1"),
        ("batch", lambda p: put(p, 0, 7, b"\x01"), "a reserved field is not 0"),
        ("batch", lambda p: put(p, 0, 39, b"\x01"), "a reserved field is not 0"),
        ("batch", lambda p: put(p, 0, 8, b"\x0a"), "unknown kind 10"),
        ("batch", lambda p: put(p, 0, 9, b"\x63"), "unknown status 99"),
        ("welcome-half", lambda p: p[:-1], "1 parts beside the header, which describes 2"),
        ("batch", lambda p: [*p, b"more"], "1 parts beside the header, which describes 0"),
        ("batch", lambda p: [p[0] + b"\0", *p[1:]], "something follows its last part"),
        ("batch", lambda p: [p[0][:-1], *p[1:]], "158 bytes of header, expected 159"),
        ("batch", lambda p: put(p, 0, 6, b"\xff"), "ends before its parts are described"),
        ("batch", lambda p: put(p, 0, 8, b"\x05"), "payload 'ttt'"),
        ("batch", lambda p: put(p, 0, PART_AT, b"\x09"), "BATCH, part 1: dtype 9"),
        ("batch", lambda p: put(p, 0, PART_AT + 1, b"\x05"), "with 5 dimensions"),
        ("batch", lambda p: put(p, 0, PART_AT + 2, b"\x07"), "unknown coding 7"),
        ("batch", lambda p: put(p, 0, PART_AT + 4, b"\x04"), "bytes of header, expected"),
        ("batch", outside, "part 1: 48 bytes of values, its shape needs 64"),
        ("batch", lambda p: put(p, 0, PART_AT + 4, b"\xff" * 4), "values taken"),
        ("batch", lambda p: put(p, 0, PART_AT + 3, b"\x08"), "8 bits of dtype 4"),
        ("batch-grid", lambda p: put(p, 0, PART_AT + 3, b"\x09"), "9 bits of dtype 1"),
        ("batch", lambda p: put(p, 0, PART_AT + 2, b"\x03"), "0 bits in shape [3, 2, 1, 2]"),
        ("batch-packed", lambda p: [p[0], p[1][:-1]], "1540 bytes for 4108 values of 3 bits"),
        ("batch-packed", lambda p: [p[0], p[1][:-1] + b"\xff"], "does not end in zeros"),
        ("hello", lambda p: put(p, 0, PART_AT + 1, b"\x01"), "plain bytes with dimensions"),
        ("hello", lambda p: put(p, 0, PART_AT + 2, b"\x01"), "plain bytes with dimensions"),
        ("hello", lambda p: put(p, 0, PART_AT + 3, b"\x04"), "plain bytes with dimensions"),
        ("hello", lambda p: put(p, 0, PART_AT + 16, b"\x01"), "plain bytes with dimensions"),
        ("batch", lambda p: put(p, 0, PART_AT + 20 + 8, b"\x05"), "zeros after the last"),
        ("batch", lambda p: put(p, 0, PART_AT + 40 + 3, b"\x08"), "8 bits of dtype 1 in shape [3]"),
        ("batch", lambda p: put(p, 0, PART_AT + 4, bytes(4) + b"\xff" * 8), "values taken"),
        ("hello", lambda p: [p[0][:-1], *p[1:]], "ends before its parts are described"),
    ],
)
def test_bad_input_is_refused_with_what_is_wrong(name: str, damage: Any, said: str) -> None:
    with pytest.raises(WireError) as refused:
        decode(damage(golden(name)))
    assert said in str(refused.value)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("shown", ["", "b", "t", "bb", "bt", "tb", "tt", "btb", "ttt", "tttt"])
def test_a_kind_is_taken_with_payloads_of_its_own_only(kind: Kind, shown: str) -> None:
    """They are those of the golden vectors; b stands for bytes, t for a tensor."""
    names = [name for name, (header, _) in MESSAGES.items() if header.kind is kind]
    own = [["t" if isinstance(p, PackedTensor) else "b" for p in MESSAGES[n][1]] for n in names]
    head = put([golden(names[0])[0][:PART_AT]], 0, 6, bytes([len(shown)]))[0]
    inside, outside = pack([LABELS if each == "t" else b"x" for each in shown], compress=False)
    message = [head + b"".join(inside), *map(bytes, outside)]
    if list(shown) in own:
        assert decode(message)[0].kind is kind
        return
    with pytest.raises(WireError, match=f"{kind.name}: payload '{shown}'"):
        decode(message)


def frame_of(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (frame_of(bytes(48)), "names a size"),
        (frame_of(bytes(47), write_content_size=False), "47 bytes, expected 48"),
        (b"no frame", "not a whole zstd frame"),
        (frame_of(bytes(48), write_content_size=False) + b"more", "not a whole zstd frame"),
        (frame_of(bytes(1 << 20), write_content_size=False, level=19), "wants a window"),
    ],
)
def test_a_compressed_part_must_hold_exactly_what_its_shape_says(frame: bytes, said: str) -> None:
    head, *_ = put(golden("batch"), 0, PART_AT + 2, b"\x01")
    parts = [head[: PART_AT + 3 * 20] + head[PART_AT + 3 * 20 + 48 :], frame]
    with pytest.raises(WireError, match=said):
        decode(parts)


def test_limits_hold_before_anything_is_allocated() -> None:
    decode(golden("batch-packed"), TrainLimits(max_part_bytes=1541))
    with pytest.raises(WireError, match="a part of 1541 bytes, at most 1540"):
        decode(golden("batch-packed"), TrainLimits(max_part_bytes=1540))
    with pytest.raises(WireError, match="at most 11 values"):
        decode(golden("batch"), TrainLimits(max_values=11))
    with pytest.raises(WireError, match="expected at most 8 bits"):
        decode(golden("batch-grid"), TrainLimits(max_maps=1))


def test_a_newer_version_can_still_say_hello_and_refuse() -> None:
    for kind in (Kind.HELLO, Kind.REFUSE):
        header = replace(MESSAGES["hello"][0], kind=kind)
        parts = encode(header, (b"text",), version=TRAIN_VERSION + 1)
        assert decode([bytes(part) for part in parts])[0] == header
