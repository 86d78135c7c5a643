"""Which of many like complaints are worth a line of the log: a peer must not fill the disk.

Some come at once, then one a while, and it says how many were left out before it.
"""

import math

AT_ONCE = 8.0  # lines
EVERY_S = 10.0  # one more


def printable(text: str) -> str:
    """Return foreign words on one line, and without orders to a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class Complaints:
    """Decides for one kind of complaint. `now_s` never falls."""

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._now_s = -math.inf
        self._num_left_out = 0

    def may_say(self, *, now_s: float) -> bool:
        """Return whether `say` would return a line now."""
        self._left = min(AT_ONCE, self._left + (now_s - self._now_s) / EVERY_S)
        self._now_s = now_s
        return self._left >= 1

    def say(self, text: str, *, now_s: float) -> str | None:
        """Return the line to log, or None."""
        if not self.may_say(now_s=now_s):
            self._num_left_out += 1
            return None
        self._left -= 1
        left_out, self._num_left_out = self._num_left_out, 0
        return f"{text} (and {left_out} more like it before)" if left_out else text


class Changes:
    """What is so at present: said when it changes, and where that is too often, once a while.

    The last line is never an old state for good: call `look` now and then.
    """

    def __init__(self) -> None:
        self._complaints = Complaints()
        self._unsaid: str | None = None
        self._num_unsaid = 0

    def now(self, text: str, *, now_s: float) -> str | None:
        """Take note of a change; return the line to log, or None."""
        self._unsaid = text
        self._num_unsaid += 1
        return self.look(now_s=now_s)

    def look(self, *, now_s: float) -> str | None:
        """Return the line of a change that was not logged when it came, once that may be."""
        if self._unsaid is None or not self._complaints.may_say(now_s=now_s):
            return None
        text, num_before = self._unsaid, self._num_unsaid - 1
        self._unsaid, self._num_unsaid = None, 0
        self._complaints.say(text, now_s=now_s)
        return f"{text} (after {num_before} changes)" if num_before else text
