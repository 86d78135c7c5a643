"""How much more of a frame is worth sending, over what the link may do.

A frame whose layers go best first earns what has arrived by its deadline. Sending more of it gains
the quality of each further layer times the chance that it comes in time, and costs what the frames
after it lose while the uplink is busy (see `backlog`). Both depend on the rate, and both at once: a
slow link makes the layer late and the queue long. So they are weighed per rate, over a handful of
rates that the link may have. Besides, what is late was sent in vain, and may have held up frames of
other devices that we know nothing of: that has a price of its own, LATE_PRICE for each second of
the frame's window.

    plan = max over k of  E_rate[ quality after k more layers, those that are late left out
                                  + cost to the next frames - price if the last is late ]

The edge waits for layers only until EDGE_MARGIN_S before it must begin. Where little time is left,
the margin may cost a layer that a message with all of them would bring: then the first k layers go
as one message, in time together or not at all, if that is worth clearly more (TOGETHER_GAIN).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from headgate.runtime.choice.backlog import Backlog, Busy, Step
from headgate.runtime.link.outlook import Outlook

NUM_SCENARIOS = 7  # rates to weigh over; more changed nothing
LATE_PRICE = 1.0  # credit per second of the window: the longer, the more frames are held up
# The edge waits for layers until so long before it must begin. What comes later is used only if it
# is the first that it has of the frame.
EDGE_MARGIN_S = 0.0035
TOGETHER_GAIN = 0.03  # credit; for less, layers that can still be left out are the safer bet


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What a frame's layers are worth while they are sent one by one.

    `qualities` are those of its prefixes, from one layer to all that may be sent; `quality` is what
    it earns with none. Frames follow at `period_s`. `num_steps` layers were worth sending when this
    was planned.
    """

    qualities: tuple[float, ...]
    quality: float
    period_s: float
    backlog: Backlog
    num_steps: int

    @property
    def is_vain(self) -> bool:
        """Whether no prefix, on whatever link, is worth more than the device's own answer."""
        return max(self.qualities) <= self.quality


@dataclass(frozen=True, slots=True)
class Plan:
    """So many steps are worth sending; `credit` is what that gains, less its cost, over none."""

    num_steps: int
    credit: float
    on_time: float  # the chance that the first of them is, 0 where there are none
    together: bool = False  # they go as one message, and none after it


class Rate(NamedTuple):
    """One of the rates that the link may have, and when it would be free of what is on it."""

    rate_bps: float
    weight: float
    free_s: float


def through_by_s(outlook: Outlook, *, deadline_s: float, edge_s: float) -> float:
    """Return when bytes must have left the uplink, on our clock, for the answer to be in time.

    `deadline_s` is when the answer must be here: the frame's deadline less the guard. Layers after
    the first must be there by EDGE_MARGIN_S earlier.
    """
    return deadline_s - outlook.noise_s - outlook.delay_s - edge_s


def rates_of(outlook: Outlook) -> tuple[Rate, ...]:
    """Return the rates to weigh over, with the time at which each drains what is ahead."""
    scenarios = outlook.forecast.scenarios(NUM_SCENARIOS)
    return tuple([Rate(bps, weight, free_at(outlook, bps)) for bps, weight in scenarios])


def free_at(outlook: Outlook, rate_bps: float) -> float:
    """Return when the uplink is free of what goes before, at this rate."""
    sent_s = outlook.now_s
    if outlook.ahead_bytes:
        sent_s = max(sent_s, outlook.busy_since_s + 8 * outlook.ahead_bytes / rate_bps)
    return sent_s + 8 * outlook.unsent_bytes / rate_bps


def plan_steps(
    steps: Sequence[Step],
    rates: Sequence[Rate],
    *,
    quality: float,
    leaving_s: float,
    by_s: float,
    next_s: float,
    backlog: Backlog,
    begun: bool = False,
    recallable: bool = True,
    released_bytes: float = 0.0,
) -> Plan:
    """Return how many of these steps are worth sending.

    `steps` hold the bytes from the first that would be sent now to the end of each. `quality` is
    what the frame earns without them. They leave from `leaving_s` and must be through the uplink at
    `by_s`; the next frame is captured at `next_s`. `begun`: the edge has some of the frame, or will
    have. What is not `recallable` stays on the uplink though it is late; of what
    is, `released_bytes` do: they are put on it now.
    """
    credits = [0.0] * len(steps)
    first_on_time, margin_costs = 0.0, False
    price = LATE_PRICE * backlog.window_s
    busies = backlog.at_each([rate.rate_bps for rate in rates])
    for rate, busy in zip(rates, busies, strict=True):
        starts_s = max(leaving_s, rate.free_s)
        idle = busy.cost(rate.free_s - next_s)
        released_s = starts_s + 8 * released_bytes / rate.rate_bps
        # What is late is not sent, but for what is on the uplink by then.
        stops_s = max(starts_s, by_s, released_s) if recallable else math.inf
        needed_s = by_s - EDGE_MARGIN_S if begun else by_s
        earned, price_now = quality, 0.0
        for index, step in enumerate(steps):
            finish_s = starts_s + 8 * step.num_bytes / rate.rate_bps
            if finish_s > needed_s:
                margin_costs |= finish_s <= by_s
                price_now, needed_s = price, -math.inf  # nor are those behind it in time
            else:
                earned, needed_s = step.quality, by_s - EDGE_MARGIN_S
                if index == 0:
                    first_on_time += rate.weight
            busy_until_s = min(max(released_s, finish_s), stops_s)
            cost = busy.cost(busy_until_s - next_s) - idle
            credit = rate.weight * (earned - quality + cost - price_now)
            credits[index] += credit
            if price_now and finish_s >= stops_s:
                for later in range(index + 1, len(steps)):
                    credits[later] += credit  # no more is sent
                break
    best = max(range(len(steps)), key=credits.__getitem__, default=None)
    if best is None:
        return Plan(0, 0.0, first_on_time)
    plan = Plan(best + 1 if credits[best] > 0 else 0, credits[best], first_on_time)
    if begun or not recallable or not margin_costs:
        return plan
    times = _Times(leaving_s=leaving_s, by_s=by_s, next_s=next_s)
    gains = [Step(step.num_bytes, step.quality - quality) for step in steps]
    together = _together(gains, list(zip(rates, busies, strict=True)), times, price=price)
    return together if together.credit > max(0.0, plan.credit) + TOGETHER_GAIN else plan


class _Times(NamedTuple):
    """When bytes can leave, must be through, and when the next frame is captured."""

    leaving_s: float
    by_s: float
    next_s: float


def _together(
    gains: Sequence[Step], rates: Sequence[tuple[Rate, Busy]], times: _Times, *, price: float
) -> Plan:
    """Return the best plan whose layers go as one message; `gains` are over sending none."""
    credits, chances = [0.0] * len(gains), [0.0] * len(gains)
    for rate, busy in rates:
        starts_s = max(times.leaving_s, rate.free_s)
        idle = busy.cost(rate.free_s - times.next_s)
        for index, step in enumerate(gains):
            finish_s = starts_s + 8 * step.num_bytes / rate.rate_bps
            earned = -price
            if finish_s <= times.by_s:
                earned = step.quality
                chances[index] += rate.weight
            credits[index] += rate.weight * (earned + busy.cost(finish_s - times.next_s) - idle)
    best = max(range(len(gains)), key=credits.__getitem__)
    return Plan(best + 1, credits[best], chances[best], together=True)
