"""What a process that loads an edge is told, and what it says in the end: plan and report."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from headgate.runtime.wire.bursts import slice_bytes
from headgate.runtime.wire.fragments import fragment
from headgate.runtime.wire.headers import DEFAULT_LIMITS
from headgate.runtime.wire.messages import Frame

SAME_BATCH_US = 20  # beginnings of frames of one batch, as rounded on the wire
LAYERS_OF_MESSAGE = DEFAULT_LIMITS.max_parts - 1  # beside the header


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What one generator does. `frames_per_s` is of one device; None means a closed loop."""

    endpoint: str
    family_digest: str
    point_index: int
    payloads: tuple[tuple[str, ...], ...]  # base64, layer by layer
    devices: int
    frames_per_s: float | None
    num_open: int  # unanswered frames of one device in a closed loop
    sla_s: float
    warm_up_s: float
    measure_s: float
    first_phase: float = 0.0  # of the devices' frames in a period, 0 to 1


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What happened to the frames that were due in the measured time.

    `began_s` and `ended_s` are of the system's monotonic clock, which processes share.
    """

    began_s: float
    ended_s: float
    offered: int  # due, whether they were sent or not
    held_back: int  # not sent: too many unanswered, or the edge had said BUSY
    in_time: tuple[int, ...]  # of each device
    late: int
    unanswered: int
    rejected: dict[str, int]
    latencies_s: tuple[float, ...]  # of all answers
    batches: int
    batched: int
    cpu_s: float


def pieces_of(first: Frame, layers: Sequence[bytes]) -> list[Frame]:
    """Return the messages of a frame: slices of one payload, or as many layers as fit in each.

    `first` is the frame with its first layer only.
    """
    if len(layers) == 1:
        return fragment(first, slice_bytes(len(first.payload)))
    return [
        replace(
            first,
            layer=start,
            payload=layers[start],
            more_layers=tuple(layers[start + 1 : start + LAYERS_OF_MESSAGE]),
        )
        for start in range(0, len(layers), LAYERS_OF_MESSAGE)
    ]


def count_batches(starts_us: Sequence[int]) -> int:
    """Return how many different times of beginning there are, rounding aside."""
    ordered = sorted(starts_us)
    gaps = itertools.pairwise(ordered)
    return bool(ordered) + sum(after - before > SAME_BATCH_US for before, after in gaps)


def plan_from_json(value: dict[str, Any]) -> LoadPlan:
    """Return the plan that `asdict` of one gave; it comes from our own parent process."""
    return LoadPlan(**{**value, "payloads": tuple(map(tuple, value["payloads"]))})


def report_from_json(value: dict[str, Any]) -> LoadReport:
    """Return the report that `asdict` of one gave."""
    lists = {key: tuple(each) for key, each in value.items() if isinstance(each, list)}
    return LoadReport(**{**value, **lists})
