"""Golden vectors, round trips and refusals of the wire."""

import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headgate.profiles.errors import WireError
from headgate.runtime.wire import (
    MAX_LAYERS,
    NO_BUDGET_US,
    NO_BURST,
    SPOKEN_VERSIONS,
    Ack,
    Burst,
    Frame,
    Goodbye,
    Hello,
    Limits,
    Load,
    Message,
    NamedTensor,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
    decode,
    encode,
    negotiate,
    stamp_us,
    supports_layers,
)

GOLDEN = Path(__file__).parent / "golden"
DIGEST = "00112233445566778899aabbccddeeff" * 2

RESULT = Result(
    7,
    3,
    1_234_567_890_123,
    5400,
    100,
    200,
    5000,
    Load(2, 250),
    (
        NamedTensor("probabilities", np.array([0.25, 0.75], np.float32)),
        NamedTensor("boxes", np.arange(6, dtype=np.int64).reshape(2, 3)),
    ),
)

# What the files under golden/ hold; changing one of them is a new version of the protocol.
# The handshake has one layout for ever.
HANDSHAKES: dict[str, Message] = {
    "hello": Hello((1,), DIGEST, 65536),
    "hello-two-versions": Hello((3, 2), DIGEST, 4096),
    "reject-frame": Reject(7, RejectReason.EXPIRED, "too late"),
    "reject-connection": Reject(None, RejectReason.WRONG_FAMILY, "edge serves é"),
}
BURST = Burst(arrivals=5, spread_us=16_000, num_bytes=8256, largest_gap_us=4100)
MESSAGES_2: dict[str, Message] = {
    "v2-welcome": Welcome(2, DIGEST, 4194304, 8),
    "v2-frame": Frame(7, 3, 80_000, b"payload"),
    "v2-frame-fragment": Frame(0xFFFFFFFE, 0xFFFF, NO_BUDGET_US, b"\0\xff", 0, 1, 2),
    "v2-result": replace(RESULT, burst=BURST),
    "v2-result-in-one-arrival": RESULT,
    "v2-result-without-tensors": Result(7, 3, 0, 0, 0, 0, 0, Load(0, 0), ()),
    "v2-probe": Probe(9, bytes(5)),
    "v2-probe-empty": Probe(9),
    "v2-probe-reply": ProbeReply(9, 1_234_567, 0),
    "v2-goodbye": Goodbye(),
}
# Of version 3; RESULT, PROBE_REPLY and GOODBYE differ from those of version 2 in one byte only.
MESSAGES_3: dict[str, Message] = {
    "v3-welcome": Welcome(3, DIGEST, 4194304, 8),
    "v3-frame": Frame(7, 3, 80_000, b"payload", sent_us=0xFEDC_BA98),
    "v3-frame-fragment": Frame(7, 3, NO_BUDGET_US, b"\0\xff", 2, 1, 2, sent_us=1),
    "v3-frame-layers": Frame(7, 3, 80_000, b"two", 2, 0, 1, (b"three", b"4"), True, 5_000),
    "v3-ack": Ack(7, 2, 1_234_567_890_123),
    "v3-result": replace(RESULT, burst=BURST),
    "v3-probe": Probe(9, bytes(5), 5_000),
    "v3-probe-reply": ProbeReply(9, 1_234_567, 0),
    "v3-goodbye": Goodbye(),
}
VERSIONED = {(2, name): message for name, message in MESSAGES_2.items()} | {
    (3, name): message for name, message in MESSAGES_3.items()
}


def golden(name: str) -> list[bytes]:
    """Return the parts in golden/NAME.hex: one line of hexadecimal digits each."""
    lines = (GOLDEN / f"{name}.hex").read_text().split("\n")[:-1]
    return [bytes.fromhex(line) for line in lines]


@pytest.mark.parametrize("name", HANDSHAKES)
def test_the_handshake_has_exactly_the_bytes_of_the_golden_vectors(name: str) -> None:
    for version in SPOKEN_VERSIONS:
        assert encode(HANDSHAKES[name], version=version) == golden(name)
    assert decode(golden(name)) == HANDSHAKES[name]


@pytest.mark.parametrize(("version", "name"), VERSIONED)
def test_messages_have_exactly_the_bytes_of_their_versions_golden_vectors(
    version: int, name: str
) -> None:
    assert encode(VERSIONED[version, name], version=version) == golden(name)
    assert decode(golden(name)) == VERSIONED[version, name]


def test_every_golden_message_vector_is_tested() -> None:
    files = {
        path.stem
        for path in GOLDEN.glob("*.hex")
        if not path.stem.startswith(("features-", "context-"))
    }
    assert files == set(HANDSHAKES) | {name for _, name in VERSIONED}


u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
u64 = st.integers(0, 2**64 - 1)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)
arrays = st.sampled_from(["u1", "i1", "<i8", "<f2", "<f4"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
)
tensors = st.lists(
    st.builds(NamedTensor, names, arrays), max_size=4, unique_by=lambda tensor: tensor.name
)
bursts = st.just(NO_BURST) | st.integers(0, 2**32 - 1).flatmap(
    lambda spread_us: st.builds(
        Burst,
        st.integers(2, 65535),
        st.just(spread_us),
        st.integers(1, 2**32 - 1),
        st.integers(0, spread_us),
    )
)
fragment_places = st.integers(1, 1024).flatmap(
    lambda count: st.tuples(st.integers(0, count - 1), st.just(count))
)
payloads = st.binary(min_size=1, max_size=64)
slices = st.builds(
    lambda frame_id, point, budget, payload, layer, place: Frame(
        frame_id, point, budget, payload, layer, *place
    ),
    u32,
    u16,
    u32,
    payloads,
    st.integers(0, MAX_LAYERS - 1),
    fragment_places,
)
layered = st.integers(1, 16).flatmap(
    lambda num: st.builds(
        lambda frame_id, point, budget, layers, layer: Frame(
            frame_id, point, budget, layers[0], layer, more_layers=tuple(layers[1:])
        ),
        u32,
        u16,
        u32,
        st.lists(payloads, min_size=num, max_size=num),
        st.integers(0, MAX_LAYERS - num),
    )
)
frames = st.builds(
    lambda frame, last, sent_us: replace(frame, last=last, sent_us=sent_us),
    slices | layered,
    st.booleans(),
    u32,
)
messages = st.one_of(
    st.builds(
        Hello,
        st.sets(st.integers(1, 255), min_size=1, max_size=8).map(
            lambda versions: tuple(sorted(versions, reverse=True))
        ),
        digests,
        u32,
    ),
    st.builds(
        Welcome,
        st.sampled_from(SPOKEN_VERSIONS),
        digests,
        st.integers(1, 2**32 - 1),
        st.integers(1, 65535),
    ),
    frames,
    st.builds(Ack, u32, u8, u64),
    st.builds(
        Result,
        u32,
        u16,
        u64,
        u32,
        u32,
        u32,
        u32,
        st.builds(Load, u16, st.integers(0, 1000)),
        tensors.map(tuple),
        bursts,
    ),
    st.builds(
        Reject,
        st.none() | st.integers(0, 2**32 - 2),
        st.sampled_from(RejectReason),
        st.text(max_size=100),
    ),
    st.builds(Probe, u32, st.binary(max_size=64), u32),
    st.builds(ProbeReply, u32, u64, u32),
    st.just(Goodbye()),
)


@given(messages)
def test_decoding_what_was_encoded_gives_the_same_message(message: Message) -> None:
    assert decode(encode(message)) == message


@given(messages)
def test_version_2_says_the_same_but_for_layers_and_stamps(message: Message) -> None:
    if isinstance(message, Welcome | Ack):  # names its version itself; not in version 2
        return
    if isinstance(message, Frame):
        message = replace(message, more_layers=(), last=False)
    heard = decode(encode(message, version=2))
    if isinstance(message, Frame | Probe):
        message = replace(message, sent_us=0)
    assert heard == message


@pytest.mark.parametrize(
    "message",
    [Ack(7, 1, 0), Frame(7, 3, 1, b"a", more_layers=(b"b",)), Frame(7, 3, 1, b"a", last=True)],
)
def test_what_a_peer_of_version_2_cannot_know_is_never_said_to_it(message: Message) -> None:
    assert [version for version in SPOKEN_VERSIONS if supports_layers(version)] == [3]
    with pytest.raises(AssertionError):
        encode(message, version=2)


@given(st.lists(st.binary(max_size=80), max_size=6))
@example([b""])
@example([])
def test_garbage_is_a_wire_error_and_nothing_else(parts: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode([b"HDGX", *parts])
    with suppress(WireError):
        decode(parts)


@given(st.data(), messages)
def test_a_damaged_message_is_refused_or_is_another_message(
    data: st.DataObject, message: Message
) -> None:
    parts = [bytearray(part) for part in encode(message)]
    for _ in range(data.draw(st.integers(1, 3))):
        part = parts[data.draw(st.integers(0, len(parts) - 1))]
        if part:
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(u8)
            cut = data.draw(st.integers(0, len(part)) | st.just(len(part)))
            del part[cut:]
    damaged = [bytes(part) for part in parts]
    try:
        found = decode(damaged)
    except WireError:
        return
    # Whatever is understood is canonical: no two byte strings mean the same message.
    assert encode(found, version=max(2, damaged[0][4])) == damaged


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


def test_the_newest_common_version_is_chosen() -> None:
    assert negotiate((4, 3, 2)) == 3
    assert negotiate((2, 1)) == 2
    assert negotiate((1,)) is None
    assert len(SPOKEN_VERSIONS) <= 2
    assert list(SPOKEN_VERSIONS) == sorted(SPOKEN_VERSIONS, reverse=True)


def test_the_devices_stamps_are_its_clock_and_begin_anew_after_71_minutes() -> None:
    assert stamp_us(12.3456789) == 12_345_678
    assert stamp_us(4294.967295) == 0xFFFF_FFFF
    assert stamp_us(4294.967296) == 0


def test_a_long_reason_is_cut_at_a_whole_character() -> None:
    sent = Reject(1, RejectReason.BUSY, "é" * 300)
    received = decode(encode(sent))
    assert isinstance(received, Reject)
    assert received.detail == "é" * 256


def test_tensors_are_read_only_views_of_what_arrived() -> None:
    parts = encode(RESULT)
    message = decode(parts)
    assert isinstance(message, Result)
    assert not message.tensors[0].array.flags.writeable
    assert not message.tensors[0].array.flags.owndata


def test_tensors_of_any_layout_arrive_in_c_order() -> None:
    columns = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    big_endian = np.arange(3, dtype=">f4")
    result = Result(
        1, 1, 1, 1, 1, 1, 1, Load(0, 0), (NamedTensor("a", columns), NamedTensor("b", big_endian))
    )
    received = decode(encode(result))
    assert isinstance(received, Result)
    np.testing.assert_array_equal(received.tensors[0].array, columns)
    np.testing.assert_array_equal(received.tensors[1].array, [0.0, 1.0, 2.0])


def test_tensors_are_equal_only_when_name_type_shape_and_bits_are() -> None:
    one = NamedTensor("a", np.zeros(2, np.float32))
    assert one == NamedTensor("a", np.zeros(2, np.float32))
    assert hash(one) == hash(NamedTensor("a", np.zeros(2, np.float32)))
    assert one != NamedTensor("b", np.zeros(2, np.float32))
    assert one != NamedTensor("a", np.zeros(2, np.float16))
    assert one != NamedTensor("a", -np.zeros(2, np.float32))
    assert one != "a"
