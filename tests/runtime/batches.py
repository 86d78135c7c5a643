"""Graphs, and how long batches of them take."""

from headgate.runtime.edge.batch_times import BatchTimes, GraphKey

KEY = GraphKey("d" * 64, "b4r1")
OTHER = GraphKey("d" * 64, "full")


def known_times(sizes: dict[int, float]) -> BatchTimes:
    times = BatchTimes()
    for size, elapsed_s in sizes.items():
        times.measured(KEY, size=size, elapsed_s=elapsed_s)
    return times
