"""What a client says of itself in its HELLO, and in what it differs from its server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from headgate.profiles.errors import WireError

MAX_NAME = 64
MAX_GREETING_BYTES = 1 << 14
MAX_PICTURES = 1 << 53  # that a float counts exactly
MAX_SHOWN = 80  # characters of what a peer said


@dataclass(frozen=True, slots=True)
class Greeting:
    """A HELLO's text; `instance` is drawn anew by each process, to tell two of one name apart."""

    name: str
    instance: str
    is_fresh: bool  # it holds no state: the server says where it begins
    num_pictures: int
    agreement: dict[str, Any]

    def to_bytes(self) -> bytes:
        return json.dumps(
            {
                "name": self.name,
                "instance": self.instance,
                "is_fresh": self.is_fresh,
                "num_pictures": self.num_pictures,
                "agreement": self.agreement,
            }
        ).encode()


def is_name(name: str) -> bool:
    """Say whether a client may be called so."""
    return 0 < len(name) <= MAX_NAME and name.isprintable()


def greeting_from_bytes(data: bytes) -> Greeting:
    """Read a HELLO's text, or raise WireError."""
    if len(data) > MAX_GREETING_BYTES:
        raise WireError(f"HELLO: {len(data)} bytes, at most {MAX_GREETING_BYTES} are taken")
    try:
        found = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise WireError("HELLO: the text is not JSON") from None
    kinds = {
        "name": str,
        "instance": str,
        "is_fresh": bool,
        "num_pictures": int,
        "agreement": dict,
    }
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        raise WireError(f"HELLO: expected the keys {list(kinds)}; update the older side")
    for key, kind in kinds.items():
        if type(found[key]) is not kind:
            raise WireError(f"HELLO.{key}: expected {kind.__name__}")
    if not is_name(found["name"]):
        raise WireError(f"HELLO.name: expected 1 to {MAX_NAME} printable characters")
    if not 0 <= found["num_pictures"] <= MAX_PICTURES:
        raise WireError(f"HELLO.num_pictures: expected 0 to {MAX_PICTURES}")
    return Greeting(**found)


def disagreements(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Name each thing in which a client differs, as `model: server vgg11, client lenet`."""
    names = [*ours, *(name for name in theirs if name not in ours)]
    return [
        f"{_shown(name)}: server {ours.get(name, 'nothing')}, "
        f"client {_shown(theirs.get(name, 'nothing'))}"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def _shown(said: Any) -> str:
    """Return what a peer said as one may print it: it goes to a log, and back to the peer."""
    text = str(said)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
