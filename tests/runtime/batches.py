"""Frames for a batcher, graphs, and how long batches of them take."""

from headgate.runtime.edge.batch_times import BatchTimes, GraphKey
from headgate.runtime.edge.batcher import Batcher
from headgate.runtime.edge.queued import Queued

KEY = GraphKey("d" * 64, "b4r1")
OTHER = GraphKey("d" * 64, "full")


def known_times(sizes: dict[int, float]) -> BatchTimes:
    times = BatchTimes()
    for size, elapsed_s in sizes.items():
        times.measured(KEY, size=size, elapsed_s=elapsed_s)
    return times


def frame(
    frame_id: int,
    *,
    peer: bytes = b"a",
    key: GraphKey = KEY,
    arrived_s: float = 0.0,
    deadline_s: float = 1.0,
) -> Queued:
    return Queued(key, peer, frame_id, 0, b"x", arrived_s, deadline_s)


def batcher(*frames: Queued, max_batch: int = 8, frame_s: float | None = None) -> Batcher:
    """Return a batcher with frames waiting that has seen one batch take `frame_s`, until 0 s."""
    made = Batcher(max_batch=max_batch)
    if frame_s is not None:
        made.add(frame(0, peer=b"earlier", arrived_s=-frame_s))
        made.start(now_s=-frame_s)
        made.finished(now_s=0.0)
    for one in frames:
        made.add(one)
    return made


def ids(frames: list[Queued] | None) -> list[int] | None:
    return None if frames is None else [one.frame_id for one in frames]
