"""Seeds for random choices, each a function of what the choice is for."""

import hashlib


def derive_seed(*parts: object) -> int:
    """Return a seed of 63 bits that any change of any part changes."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
