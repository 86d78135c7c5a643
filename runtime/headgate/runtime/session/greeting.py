"""When a device says HELLO, when it says it again, and what a WELCOME tells of the path.

A WELCOME does not say which HELLO it answers. Where the round trip is longer than the first wait,
that of the first comes soon after the second was sent, and would show a path that is hardly longer
than nothing (the ambiguity of Karn and Partridge, SIGCOMM 1987): for the ten seconds that the least
delay is remembered, every message would seem to crawl. So a WELCOME after several HELLOs counts
from the first of them, which is too long rather than too short, and only while nothing better is
known; the probes that follow it are exact.
"""

from dataclasses import dataclass
from enum import Enum

from headgate.runtime.complaints import printable

FIRST_RETRY_S, MAX_RETRY_S = 0.5, 4.0


class State(Enum):
    """Where the conversation stands."""

    NOWHERE = "nowhere"
    GREETING = "greeting"
    READY = "ready"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The edge will not have us: which reason it gave (`wrong_family`), and its words."""

    reason: str
    detail: str

    @property
    def words(self) -> str:
        """The edge's words as they may be logged: on one line, and no orders to a terminal."""
        return printable(self.detail)


class Greeting:
    """The HELLOs of one conversation, up to the WELCOME that answers them."""

    def __init__(self) -> None:
        self._retry_s = FIRST_RETRY_S
        self._first_s = 0.0  # when the first HELLO since `begin` was said
        self._num_said = 0
        self.due_s: float | None = None  # the next one

    @property
    def is_repeated(self) -> bool:
        """Whether a WELCOME that comes now may answer any of several HELLOs."""
        return self._num_said > 1

    @property
    def first_s(self) -> float:
        """When the first of them was said."""
        return self._first_s

    def begin(self) -> None:
        """Greet anew, on a connection where nothing has been said yet."""
        self._retry_s, self._num_said, self.due_s = FIRST_RETRY_S, 0, None

    def wait(self, *, now_s: float) -> None:
        """Say the next HELLO in a while; each time that takes longer."""
        self.due_s = now_s + self._retry_s
        self._retry_s = min(MAX_RETRY_S, 2 * self._retry_s)

    def said(self, *, now_s: float) -> None:
        """Note that a HELLO is being sent; it is repeated unless it is answered."""
        if self._num_said == 0:
            self._first_s = now_s
        self._num_said += 1
        self.wait(now_s=now_s)
