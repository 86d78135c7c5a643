"""Which of the frames of one graph make the next batch: as many as are in time, or pass some over.

Early drop after Shen et al., "Nexus" (SOSP 2019): where some frames are lost anyway, those that
would force a small batch are passed over.
"""

from collections.abc import Sequence
from math import inf

from headgate.runtime.edge.batch_times import BatchTimes, GraphKey
from headgate.runtime.edge.queued import Queued

ANSWER_S = 0.0001  # to write one answer of a batch (measured: 0.05 to 0.1 ms)
WORTH_PASSING_OVER = 1.1  # times the frames per second, to leave a hurried frame behind


def choose_batch(
    ordered: Sequence[Queued], *, times: BatchTimes, max_batch: int, now_s: float
) -> list[Queued]:
    """Return the batch to run of frames of one graph, given in order; at least the first."""
    key = ordered[0].key
    batch: list[Queued] = []
    earliest_s = inf
    for frame in ordered[:max_batch]:
        earliest_s = min(earliest_s, frame.deadline_s)
        if batch and _ends_s(key, len(batch) + 1, times=times, now_s=now_s) > earliest_s:
            break
        batch.append(frame)
    if len(batch) == min(max_batch, len(ordered)) or not times.has_measured(key):
        return batch
    if _saves_all(ordered, len(batch), times=times, now_s=now_s):
        return batch
    least_rate = WORTH_PASSING_OVER * len(batch) / max(1e-9, times.predict_s(key, size=len(batch)))
    for size in range(min(max_batch, len(ordered)), len(batch), -1):
        ends_s = _ends_s(key, size, times=times, now_s=now_s)
        patient = [frame for frame in ordered if frame.deadline_s >= ends_s]
        if len(patient) >= size and size >= least_rate * times.predict_s(key, size=size):
            return patient[:size]
    return batch


def _saves_all(
    ordered: Sequence[Queued], num_first: int, *, times: BatchTimes, now_s: float
) -> bool:
    """Return whether the others can still be in time if the first so many run now."""
    key = ordered[0].key
    ends_s = now_s + times.predict_s(key, size=num_first)
    frame_s = times.frame_s(key)
    deadlines_s = sorted(frame.deadline_s for frame in ordered[num_first:])
    return all(
        ends_s + place * frame_s <= deadline_s for place, deadline_s in enumerate(deadlines_s, 1)
    )


def _ends_s(key: GraphKey, size: int, *, times: BatchTimes, now_s: float) -> float:
    """Return when a batch that starts now has all its answers written, at the latest likely."""
    return now_s + times.likely_s(key, size=size) + size * ANSWER_S
