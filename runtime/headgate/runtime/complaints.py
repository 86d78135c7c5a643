"""Which of many like complaints are worth a line of the log: a peer must not fill the disk.

Some come at once, then one a while, and it says how many were left out before it.
"""

import math

AT_ONCE = 8.0  # lines
EVERY_S = 10.0  # one more


class Complaints:
    """Decides for one kind of complaint. `now_s` never falls."""

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._now_s = -math.inf
        self._num_left_out = 0

    def say(self, text: str, *, now_s: float) -> str | None:
        """Return the line to log, or None."""
        self._left = min(AT_ONCE, self._left + (now_s - self._now_s) / EVERY_S)
        self._now_s = now_s
        if self._left < 1:
            self._num_left_out += 1
            return None
        self._left -= 1
        left_out, self._num_left_out = self._num_left_out, 0
        return f"{text} (and {left_out} more like it before)" if left_out else text
