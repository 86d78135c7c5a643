"""Round trips of any message, and damage to any message."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headgate.profiles.errors import WireError
from headgate.runtime.wire.headers import MAX_LAYERS, SPOKEN_VERSIONS
from headgate.runtime.wire.messages import (
    NO_BURST,
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
)
from headgate.runtime.wire.wire import decode, encode

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
