"""Bytes <-> messages: one fixed little-endian header, then payload parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from headgate.runtime.messages import (
    MAX_BUDGET_US,
    NO_BUDGET_US,
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

__all__ = [
    "MAX_BUDGET_US",
    "NO_BUDGET_US",
    "SPOKEN_VERSIONS",
    "Frame",
    "Goodbye",
    "Hello",
    "Limits",
    "Load",
    "Message",
    "NamedTensor",
    "Probe",
    "ProbeReply",
    "Reject",
    "RejectReason",
    "Result",
    "Welcome",
    "decode",
    "encode",
    "negotiate",
]

SPOKEN_VERSIONS = (1,)  # newest first: N and N-1


@dataclass(frozen=True, slots=True)
class Limits:
    """What `decode` admits, checked before anything is copied or allocated."""

    max_parts: int = 17  # of one message, header included
    max_message_bytes: int = 1 << 24  # all parts together


DEFAULT_LIMITS = Limits()


def encode(message: Message) -> list[bytes]:
    """Return the parts of one ZeroMQ message."""
    raise NotImplementedError


def decode(parts: Sequence[bytes], limits: Limits = DEFAULT_LIMITS) -> Message:
    """Return the message, or raise WireError saying what is wrong; never anything else."""
    raise NotImplementedError


def negotiate(theirs: tuple[int, ...]) -> int | None:
    """Return the newest version both sides speak, or None."""
    return max(set(theirs) & set(SPOKEN_VERSIONS), default=None)
