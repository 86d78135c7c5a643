"""Use an exported family from Python: both sides in this process, and the controller on a link.

    python examples/from_python.py families/cifar picture.jpg recorded/walk.csv

Answers one picture in every way that the family has, then plays 10 s of frames over the link on a
virtual clock and counts what a device with this SLA would choose. Python modules are no interface
that stays as it is: pin the version you wrote for. The commands and their JSON lines do stay.
"""

import sys
from collections import Counter
from pathlib import Path

from headgate.profiles.errors import HeadgateError, UsageError
from headgate.profiles.family import Family, open_family
from headgate.profiles.manifest import OperatingPoint
from headgate.profiles.pictures import Picture, load_picture
from headgate.profiles.profile import load_profile
from headgate.profiles.trace_files import open_trace
from headgate.runtime.edge.edge_events import BatchItem
from headgate.runtime.edge.edge_rules import graph_key
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate

USAGE = "usage: python examples/from_python.py FAMILY PICTURE TRACE"


def answer(
    point: OperatingPoint, picture_HWC: Picture, *, device: DeviceEngine, edge: EdgeEngine
) -> tuple[int, int]:
    """Return the class that `point` answers, and how many bytes cross for it."""
    done = device.compute(point, picture_HWC)
    if done.payload is None:  # a local point: nothing crosses
        assert done.answer is not None
        return done.answer.label, 0
    item = BatchItem(b"me", 0, point, done.payload, layers=done.layers)
    key = graph_key(point, full_graph=edge.manifest.full_graph)
    (outcome,) = edge.infer(key, [item])
    if outcome.tensors is None:
        raise RuntimeError(outcome.error)
    return int(outcome.tensors[0].array.argmax()), len(done.payload)


def choices(family: Family, trace: str, *, sla_s: float) -> Counter[str]:
    """Return how often a device with the default profile would choose each point on that link."""
    link = Link(trace=open_trace(trace), rtt_s=0.02)
    scenario = Scenario(load_profile("balanced"), link, Pace(fps=30, duration_s=10), sla_s=sla_s)
    return Counter(str(record.point) for record in simulate(family.manifest, scenario))


def main(folder: str, picture: str, trace: str) -> None:
    """Print what every point answers for the picture, and which ones the link would let through."""
    family = open_family(Path(folder))
    device, edge = DeviceEngine(family), EdgeEngine(family)
    for point in family.manifest.points:
        label, num_bytes = answer(point, load_picture(Path(picture)), device=device, edge=edge)
        print(f"{point.id:14} {num_bytes:6} bytes  {family.manifest.labels[label]}")
    print(dict(choices(family, trace, sla_s=0.1)))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(f"error: found {len(sys.argv) - 1} arguments, expected 3; {USAGE}", file=sys.stderr)
        sys.exit(UsageError.exit_code)
    try:
        main(*sys.argv[1:])
    except HeadgateError as error:
        print(f"error: {error}; {USAGE}", file=sys.stderr)
        sys.exit(error.exit_code)
