"""Golden vectors of the wire, its versions, and how values are carried."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headgate.runtime.wire.headers import SPOKEN_VERSIONS, supports_layers
from headgate.runtime.wire.messages import (
    NO_BUDGET_US,
    Ack,
    Burst,
    Frame,
    Goodbye,
    Hello,
    Load,
    Message,
    NamedTensor,
    Probe,
    ProbeReply,
    Reject,
    RejectReason,
    Result,
    Welcome,
    stamp_us,
)
from headgate.runtime.wire.wire import decode, encode, negotiate

GOLDEN = Path(__file__).parents[1] / "golden"
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


@pytest.mark.parametrize(
    "message",
    [Ack(7, 1, 0), Frame(7, 3, 1, b"a", more_layers=(b"b",)), Frame(7, 3, 1, b"a", last=True)],
)
def test_what_a_peer_of_version_2_cannot_know_is_never_said_to_it(message: Message) -> None:
    assert [version for version in SPOKEN_VERSIONS if supports_layers(version)] == [3]
    with pytest.raises(AssertionError):
        encode(message, version=2)


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


@pytest.mark.parametrize(
    "frame",
    [
        Frame(7, 3, 100, b"x", fragment=1023, fragments=1024),
        Frame(7, 3, 100, b"x", layer=253, more_layers=(b"y",), last=True),
    ],
    ids=["the last of 1024 fragments", "the last of 255 layers"],
)
def test_a_frame_of_as_much_as_may_be_arrives(frame: Frame) -> None:
    assert decode(encode(frame)) == frame
