"""Messages that are out: their order on the uplink, and which of them have not been answered.

The uplink serves in order, so an answer to one message says that all before it have arrived too,
whether or not they have been answered.
"""

from collections import deque
from dataclasses import dataclass

MAX_UNANSWERED = 4096


@dataclass(slots=True, eq=False)
class SentMessage:
    """One message that will be answered."""

    key: int
    num_bytes: int
    sent_s: float
    foreseen: tuple[tuple[float, ...], ...]  # levels of the rate, as believed then
    window_bytes: int  # what TCP's window was known to hold
    arrived: bool = False


class SentMessages:
    """All that is out, by key and in order; its length is how many are not known to have arrived.

    Keys are unique while they are out.
    """

    def __init__(self) -> None:
        self._queue: deque[SentMessage] = deque()  # not known to have arrived
        self._unanswered: dict[int, SentMessage] = {}
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def num_bytes(self) -> int:
        """Bytes not known to have arrived."""
        return self._num_bytes

    @property
    def first(self) -> SentMessage:
        """The oldest that is not known to have arrived; there must be one."""
        return self._queue[0]

    def bytes_up_to(self, key: int) -> int:
        """Return the bytes not known to have arrived, up to this message's; 0 if it has."""
        num_bytes = 0
        for message in self._queue:
            num_bytes += message.num_bytes
            if message.key == key:
                return num_bytes
        return 0

    def sent_s(self, key: int) -> float | None:
        """Return when a message was sent that has not been answered; None for unknown keys."""
        message = self._unanswered.get(key)
        return None if message is None else message.sent_s

    def add(self, message: SentMessage) -> None:
        """Note a message that is sent now, behind all others."""
        assert message.key not in self._unanswered
        self._queue.append(message)
        self._unanswered[message.key] = message
        self._num_bytes += message.num_bytes
        if len(self._unanswered) > MAX_UNANSWERED:  # answers that an edge never gave
            del self._unanswered[next(iter(self._unanswered))]

    def take_back(self, key: int) -> None:
        """Forget a message that never left."""
        message = self._unanswered.pop(key, None)
        if message is not None and not message.arrived:
            self._queue.remove(message)
            self._num_bytes -= message.num_bytes

    def answered(self, key: int) -> SentMessage | None:
        """Return the message that an answer is to, once; None for unknown keys."""
        return self._unanswered.pop(key, None)

    def arrived_up_to(self, message: SentMessage) -> int:
        """Take note that this message and all before it have arrived; return their bytes."""
        num_bytes = 0
        while True:
            first = self._queue.popleft()
            first.arrived = True
            num_bytes += first.num_bytes
            if first is message:
                break
        self._num_bytes -= num_bytes
        return num_bytes

    def clear(self) -> None:
        """Forget all: the connection is gone."""
        self._queue.clear()
        self._unanswered.clear()
        self._num_bytes = 0
