"""Tables of backlogs for frames whose times are about the same, made as they are asked for."""

import math
from dataclasses import dataclass

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.link.outlook import Outlook

SIMILAR = 0.1  # nats: times and gains that differ by less share a table
STARTS_IN_PERIOD = 8  # so many times at which frames leave are told apart
MAX_TABLES = 8
# Windows of more periods than that are taken for so many. The table looks HORIZON frames ahead, and
# what a queue costs is seen where frames are late for it: a longer window would look free of cost.
MAX_PERIODS = 5


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """What is known of a frame's time before its compute starts, in seconds."""

    captured_s: float
    leaving_s: float  # when its first byte can be sent
    deadline_s: float  # when an answer must be here to count: less the guard
    edge_s: float
    period_s: float  # to the next frame

    def window_s(self, outlook: Outlook) -> float:
        """Return how long after its capture the last byte may be through the uplink."""
        through_s = self.deadline_s - outlook.delay_s - outlook.noise_s - self.edge_s
        return through_s - self.captured_s


class Backlogs:
    """The tables of one ladder of steps."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = steps
        self._best = max((step.quality for step in steps), default=0.0)
        self._tables: dict[tuple[int, ...], Backlog] = {}

    def at(
        self,
        outlook: Outlook,
        times: FrameTimes,
        *,
        fallback: float,
        longest_s: float = math.inf,
    ) -> Backlog:
        """Return the table for about these times; each is computed rate by rate as it is asked.

        `longest_s`: frames to come shall be through so soon after they could leave.
        """
        window_s = min(times.window_s(outlook), MAX_PERIODS * times.period_s)
        starts_s = times.leaving_s - times.captured_s
        window_s = min(window_s, starts_s + longest_s)
        about_starts = round(STARTS_IN_PERIOD * starts_s / max(1e-3, times.period_s))
        # By the gain, which costs are in proportion to. What answering here is worth never stays
        # quite the same where it takes longer than a period, or is late and a miss has its price.
        gain = self._best - fallback
        rounded = (*map(_about, (window_s, times.period_s, gain)), about_starts)
        backlog = self._tables.pop(rounded, None)
        if backlog is None:
            backlog = Backlog(
                self._steps,
                starts_s=starts_s,
                window_s=max(1e-3, window_s),
                period_s=times.period_s,
                fallback=fallback,
            )
        self._tables[rounded] = backlog  # the last used is the last to go
        if len(self._tables) > MAX_TABLES:
            del self._tables[next(iter(self._tables))]
        return backlog


def _about(value: float) -> int:
    return round(math.log(max(1e-3, value)) / SIMILAR)
