"""How many of a frame's small layers the next message should hold.

Layers that share a message are in time together or not at all. On a slow link one of a thousand
bytes may take as long as the frame has, so that layers in it are lost which alone would have come.
A message for each has its header, and each waits for those before it. So for each number of layers
the message is weighed over the rates that the link may have, with the best that one more message
after it can still bring. That one leaves at once where messages are small: nothing is learnt
between the two, and what it brings is judged by the same doubts.

    worth(k) = max over j >= k of  E_rate[ quality of k if they are in time, of j if those are too
                                           + cost to the next frames - price if some are late ]
"""

from collections.abc import Sequence

from headgate.runtime.choice.backlog import Backlog, Step
from headgate.runtime.choice.layer_worth import EDGE_MARGIN_S, LATE_PRICE, Rate
from headgate.runtime.wire.bursts import MESSAGE_OVERHEAD_BYTES

# Credit by which fewer layers must be better. Rates are believed to vary more from message to
# message than they do, so that small gains are none, and each message has its header.
SPLIT_GAIN = 0.05


def layers_together(
    steps: Sequence[Step],
    rates: Sequence[Rate],
    *,
    quality: float,
    leaving_s: float,
    by_s: float,
    next_s: float,
    backlog: Backlog,
    begun: bool,
) -> int:
    """Return how many of these steps should share a message: all, unless fewer are clearly better.

    The arguments are those of `plan_steps`; all of `steps` would fit into the message.
    """
    worths = [[0.0] * len(steps) for _ in steps]  # of so many in it, and so many after another
    price = LATE_PRICE * backlog.window_s
    margin_by_s = by_s - EDGE_MARGIN_S
    needed_s = margin_by_s if begun else by_s
    gains = [step.quality - quality for step in steps]
    busies = backlog.at_each([rate.rate_bps for rate in rates])
    for rate, busy in zip(rates, busies, strict=True):
        starts_s = max(leaving_s, rate.free_s)
        header_s = 8 * MESSAGE_OVERHEAD_BYTES / rate.rate_bps
        ends_s = [starts_s + 8 * step.num_bytes / rate.rate_bps for step in steps]
        costs_of_two = [busy.cost(end_s + header_s - next_s) for end_s in ends_s]
        for one, row in enumerate(worths):
            in_time = ends_s[one] <= needed_s
            earned = gains[one] if in_time else -price
            row[one] += rate.weight * (earned + busy.cost(ends_s[one] - next_s))
            for two in range(one + 1, len(steps)):
                if in_time:
                    more = ends_s[two] + header_s <= margin_by_s
                    earned = gains[two] if more else gains[one] - price
                row[two] += rate.weight * (earned + costs_of_two[two])
    best = [max(row[one:]) for one, row in enumerate(worths)]
    if max(best) <= best[-1] + SPLIT_GAIN:
        return len(steps)
    return 1 + max(range(len(best)), key=lambda index: (best[index], index))
