"""When a frame is better not sent, though nothing else answers it: so that the next is in time.

Where a profile allows no local point every frame is sent, whatever its chances. On a link hardly
too slow for all of them a queue then builds up until each is late by a little, for good; without
every tenth the others would be in time. So a frame is held back that will likely be late and costs
those after it more than it may earn.

"Likely" is the estimate's word, and on some links it is wrong: one that stands still for a tenth of
a second, again and again, seems too slow each time and makes up for it. So what came of frames that
were thought lost and were sent all the same is learned, and while many of them are in time none is
held back. Now and then one is sent as a trial, or nothing would be learned.

What came of them also corrects the chance that is weighed against that cost. After a link has
become slow the forecast hopes for a while that it will be as before, and two frames that stand in a
queue for good, each with a chance of a fifth by that hope, would go on to keep each other late.
"""

LIKELY_LATE = 0.5  # chance to be on time
PRIOR_SHARE, GAIN = 0.5, 0.2
LEAST_FORETOLD = 0.001  # there may have been none but hopeless ones
PROVEN_WRONG = 0.3  # such a share of frames thought lost in time: the estimate is no guide
TRIAL_EVERY = 8


class Restraint:
    """Learns what comes of frames that will likely be late."""

    def __init__(self) -> None:
        self._share = PRIOR_SHARE  # of them that were in time
        self._foretold = PRIOR_SHARE  # that would be
        self._num_asked = 0

    def learn(self, *, on_time: float, by_edge: bool) -> None:
        """Take whether the edge answered a frame in time that was sent with such a chance."""
        if on_time < LIKELY_LATE:
            self._share += GAIN * (float(by_edge) - self._share)
            self._foretold += GAIN * (on_time - self._foretold)

    def holds_back(self, *, on_time: float, gain: float, at_stake: float) -> bool:
        """Return whether a frame with this chance is not to be sent.

        `gain` is what sending it is worth by that chance, less its cost to those after it, and
        `at_stake` what it earns more in time than late.
        """
        if on_time >= LIKELY_LATE or self._share >= PROVEN_WRONG:
            return False
        overrated = on_time * max(0.0, 1 - self._share / max(LEAST_FORETOLD, self._foretold))
        if gain > overrated * at_stake:
            return False
        self._num_asked += 1
        return self._num_asked % TRIAL_EVERY != 0
