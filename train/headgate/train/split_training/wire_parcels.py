"""Parcels of split training as the wire's bytes, and back.

With `transport` this is all of training that knows the runtime: its wire, its keys, ZeroMQ.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from headgate.profiles.train_messages import Header, PackedTensor, Part
from headgate.runtime.wire.train_parts import TrainLimits, plain_bytes
from headgate.runtime.wire.train_wire import TRAIN_VERSION, decode, encode, message_bytes
from headgate.train.split_training.payload import Parcel, Payload

LIMITS = TrainLimits()
WIRE_VERSION = TRAIN_VERSION  # of messages; sides that meet must speak the same


def to_message(header: Header, parts: Sequence[Payload], *, compress: bool) -> list[Any]:
    """Return a message's bytes; with `compress` entropy-coded, where that pays."""
    return encode(header, to_wire(parts), compress=compress)


def from_message(
    message: Sequence[Any], *, device: torch.device
) -> tuple[Header, tuple[Payload, ...]]:
    """Return a message as torch has it, or raise WireError.

    On the CPU it shares the message's memory; none of it should outlive its use, see `serve`.
    """
    header, payload = decode(message, LIMITS)
    return header, from_wire(payload, device=device)


def to_wire(parts: Sequence[Payload]) -> list[Part]:
    """Return parcels as NumPy has them; from a GPU they are copied."""
    return [part if isinstance(part, bytes) else _packed(part) for part in parts]


def from_wire(parts: Sequence[Part], *, device: torch.device) -> tuple[Payload, ...]:
    """Return parts as torch has them, on `device`; on the CPU they share the message's memory."""
    return tuple(
        part
        if isinstance(part, bytes)
        else Parcel(
            _tensor(part.values, device),
            part.bits,
            None if part.low_C is None else _tensor(part.low_C, device),
            None if part.step_C is None else _tensor(part.step_C, device),
        )
        for part in parts
    )


def wire_bytes(header: Header, parts: Sequence[Payload], *, compress: bool) -> int:
    """Return how many bytes a message takes on the wire.

    Only what is entropy-coded must be made for that; else the size follows from the shapes.
    """
    if compress:
        return sum(map(len, to_message(header, parts, compress=True)))
    sizes = [
        len(part) if isinstance(part, bytes) else plain_bytes(part.values.nbytes, bits=part.bits)
        for part in parts
    ]
    scales = [0 if isinstance(p, bytes) or p.low_C is None else len(p.low_C) for p in parts]
    return message_bytes(data_bytes=sizes, num_scales=sum(scales))


def carry(
    header: Header,
    parts: tuple[Payload, ...],
    *,
    device: torch.device,
    compress: bool,
    through_wire: bool,
) -> tuple[int, tuple[Payload, ...]]:
    """Return a message's size and what the other side gets, within one process.

    Only `through_wire` makes bytes of it and reads them again.
    """
    if not through_wire:
        return wire_bytes(header, parts, compress=compress), parts
    encoded = to_message(header, parts, compress=compress)
    _, opened = from_message([bytes(part) for part in encoded], device=device)
    return sum(map(len, encoded)), opened


def _packed(parcel: Parcel) -> PackedTensor:
    if parcel.low_C is None or parcel.step_C is None:
        return PackedTensor(_array(parcel.values))
    low_C, step_C = _array(parcel.low_C), _array(parcel.step_C)
    return PackedTensor(_array(parcel.values), parcel.bits, low_C, step_C)


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    # Detaching and moving cost some microseconds even where there is nothing to do.
    if tensor.requires_grad or not tensor.is_cpu:
        tensor = tensor.detach().cpu()
    array: np.ndarray[Any, Any] = tensor.numpy()
    return array


def _tensor(array: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    _expect_read_only()
    tensor = torch.from_numpy(native)
    return tensor if device.type == "cpu" else tensor.to(device)


@cache
def _expect_read_only() -> None:
    """Have torch warn of memory that it must not write, which it does once, and where none hears.

    A message's memory is read-only, and is only read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.from_numpy(np.frombuffer(b"0", np.uint8))
