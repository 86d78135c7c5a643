"""How many bytes come through together, on a link where messages wait for their turns.

A turn (a cellular grant, an access of Wi-Fi) carries whatever waits for it, up to so many bytes. A
frame that fits into the turn of those before it holds up nobody. How much fits is seen where
messages come at once: that much did. What came while others were left waiting was all that fitted;
what left nothing behind may have had no more to carry, and only makes what is believed fade.
"""

import math

TOGETHER_S = 0.002  # what comes within that came at once
FULL_GAIN = 0.3  # of a group that left others waiting
FADE_GAIN = 0.01  # of one that did not


class Turns:
    """Learns from messages in the order in which the uplink served them."""

    def __init__(self) -> None:
        self._at_s = -math.inf  # when the last message was served
        self._group_bytes = 0  # that came together with it
        self._believed = 0.0  # of the groups before

    @property
    def num_bytes(self) -> float:
        """Bytes that a turn is believed to carry; 0 before anything was served."""
        return max(self._believed, self._group_bytes)

    def served(self, num_bytes: int, *, sent_s: float, at_s: float) -> None:
        """Learn that bytes sent at `sent_s` were through at `at_s`."""
        if at_s - self._at_s > TOGETHER_S:
            was_waiting = sent_s < self._at_s - TOGETHER_S
            gain = FULL_GAIN if was_waiting else FADE_GAIN
            less = max(0.0, self._believed - self._group_bytes)
            self._believed = self.num_bytes - gain * less
            self._group_bytes = 0
        self._at_s = at_s
        self._group_bytes += num_bytes
