"""What the device pays: each head, float and INT8, beside the whole network and picture codecs.

One core, one picture at a time. All subjects take turns, picture after picture, so that a busy
machine slows them alike: compare the columns of one table, not those of two. Taking turns also
means that each finds the caches as the others left them, which is how a device runs them.

Shapes: N pictures, H height, W width.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headgate.export.bench.bench_table import BenchResult, median, milliseconds
from headgate.export.bench.rates.rates_pictures import load_pictures
from headgate.export.graphs.int8_head import with_int8_heads
from headgate.export.graphs.onnx_files import count_macs
from headgate.export.points.measure import Engines, measure_point
from headgate.export.samples import spread
from headgate.profiles.errors import UsageError
from headgate.profiles.family import Family
from headgate.profiles.labelled import Split
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.profiles.pictures import preprocess
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from headgate.runtime.networks.family_graphs import whole_network
from headgate.runtime.networks.graphs import EngineOptions
from headgate.train.pictures.data import open_split
from headgate.train.pictures.embedded import MAX_PX, MIN_PX

Pictures = NDArray[np.uint8]
Say = Callable[[str], None]

WARM_UP_ROUNDS = 5
MAX_TIMED_PICTURES = 64  # of different content: codecs' times depend on it
ONE_CORE = EngineOptions(providers="cpu", threads=1)


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """What to measure, and how long."""

    family: Family
    data: str | None = None  # labelled pictures; None: those of the embedded data set, times only
    limit: int | None = 1000  # pictures to measure accuracy on
    num_calibration: int = 128  # training pictures that INT8 ranges are seen on
    rounds: int = 200

    def __post_init__(self) -> None:
        for option, value in (
            ("--limit", self.limit),
            ("--calibration", self.num_calibration),
            ("--rounds", self.rounds),
        ):
            if value is not None and value < 1:
                raise UsageError(f"{option}: found {value}, expected 1 or more")


@dataclass(frozen=True, slots=True)
class HeadPictures:
    """Pictures at the network's input size, uint8 NHWC; `labels` None: accuracy is not known."""

    pictures: Pictures
    labels: NDArray[np.int64] | None
    calibration: Pictures
    note: str


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one subject: medians of network and of codec, and the fastest of both together."""

    network_s: float
    codec_s: float
    fastest_s: float


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing a device may do with a picture; `run` returns seconds of network and of codec."""

    name: str
    run: Callable[[Pictures], tuple[float, float]]
    macs: int = 0  # multiply-adds; 0 where there are none
    point: OperatingPoint | None = None  # what its accuracy is measured at
    device: DeviceEngine | None = None


def bench_head(options: HeadOptions, *, say: Say) -> BenchResult:
    """Time every head and picture format in turns and, with data, measure what INT8 costs."""
    family = options.family
    say("reading pictures")
    found = load_head_pictures(family.manifest, options)
    with tempfile.TemporaryDirectory(prefix="headgate-int8-") as folder:
        say(f"quantising {len(family.manifest.members)} heads")
        int8 = with_int8_heads(family, Path(folder), calibration_NHWC=found.calibration)
        subjects = list_subjects(family, int8)
        say(f"timing {len(subjects)} subjects in {options.rounds} rounds")
        times = take_turns(subjects, found.pictures, rounds=options.rounds)
        accuracy: dict[str, tuple[float, float]] = {}
        if found.labels is not None:
            tail = EdgeEngine(family, options=ONE_CORE)
            for subject in subjects:
                if subject.point is None or subject.device is None:
                    continue
                say(f"{subject.name}: accuracy on {len(found.labels)} pictures")
                measured = measure_point(
                    subject.point,
                    Engines(subject.device, tail),
                    pictures_NHWC=found.pictures,
                    labels=found.labels,
                )
                accuracy[subject.name] = (measured.accuracy, measured.point.bytes.mean)
    return head_table(options, subjects, times, accuracy, note=found.note)


def list_subjects(family: Family, int8: Family) -> list[Subject]:
    """Return the whole network, each member's head in float and INT8, and the picture codecs."""
    manifest = family.manifest
    float_device = DeviceEngine(family, options=ONE_CORE)
    int8_device = DeviceEngine(int8, options=ONE_CORE)
    full = whole_network(family, manifest.full_graph, ONE_CORE)

    def run_whole(picture_HWC: Pictures) -> tuple[float, float]:
        started_s = time.perf_counter()
        full.run(("probabilities",), {"picture": picture_HWC[None]})
        return time.perf_counter() - started_s, 0.0

    full_macs = count_macs(family.file(manifest.full_graph).read_bytes())
    subjects = [Subject("whole network", run_whole, full_macs)]
    for member in manifest.members:
        point = best_point(manifest, member.id)
        if point is None:
            continue
        for name, device in ((f"head of {point.id}", float_device), ("in INT8", int8_device)):
            name = name if device is float_device else f"{subjects[-1].name} {name}"
            subjects.append(Subject(name, _runner(device, point), member.head_macs, point, device))
    for point in manifest.points:
        if point.kind is PointKind.OFFLOAD:
            subjects.append(Subject(point.id, _runner(float_device, point), 0, point, float_device))
    return subjects


def best_point(manifest: Manifest, member_id: str) -> OperatingPoint | None:
    """Return a member's most accurate split point; its head costs the same at all of them.

    Predicted points are left out: what they pack depends on the frame before.
    """
    points = [
        point
        for point in manifest.points
        if point.kind is PointKind.SPLIT and point.member == member_id and point.twin is None
    ]
    return max(points, key=manifest.quality, default=None)


def take_turns(
    subjects: Sequence[Subject], pictures_NHWC: Pictures, *, rounds: int
) -> dict[str, Spent]:
    """Return what each subject took, by name."""
    taken: dict[str, list[tuple[float, float]]] = {subject.name: [] for subject in subjects}
    num = min(len(pictures_NHWC), MAX_TIMED_PICTURES)
    for number in range(WARM_UP_ROUNDS + rounds):
        picture_HWC = pictures_NHWC[number % num]
        for subject in subjects:
            spent = subject.run(picture_HWC)
            if number >= WARM_UP_ROUNDS:
                taken[subject.name].append(spent)
    return {
        name: Spent(
            median([network_s for network_s, _ in all_spent]),
            median([codec_s for _, codec_s in all_spent]),
            min(map(sum, all_spent)),
        )
        for name, all_spent in taken.items()
    }


COLUMNS = (
    "what",
    "multiply-adds, M",
    "of the whole, %",
    "network, ms",
    "codec, ms",
    "together, ms",
    "fastest, ms",
    "JPEGs",
    "accuracy, %",
    "mean bytes",
)


def head_table(
    options: HeadOptions,
    subjects: Sequence[Subject],
    times: Mapping[str, Spent],
    accuracy: Mapping[str, tuple[float, float]],
    *,
    note: str,
) -> BenchResult:
    """Lay out what was measured; the first subject is the whole network."""
    jpegs = [s.name for s in subjects if s.point and s.point.picture_format == "jpeg"]
    jpeg_s = median([times[name].codec_s for name in jpegs]) if jpegs else None
    rows = tuple(
        _row(
            subject,
            times[subject.name],
            accuracy.get(subject.name),
            whole_macs=subjects[0].macs,
            jpeg_s=jpeg_s,
        )
        for subject in subjects
    )
    size = options.family.manifest.input
    return BenchResult(
        name="Head",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"medians of {options.rounds} rounds in turns, one thread, input "
            f"{size.width_px} x {size.height_px} px",
            "fastest: of all rounds; far below the median, the machine was busy: measure again",
            "a head's graph holds the early exit and the maps' quantiser; its codec packs the maps",
            "JPEGs: the time in units of the median JPEG encoding of this table",
            "INT8: convolutions of the same head quantised after training (static ranges from "
            f"{options.num_calibration} pictures), its maps sent through the same codec and tail",
            note,
        ),
    )


def _row(
    subject: Subject,
    spent: Spent,
    found: tuple[float, float] | None,
    *,
    whole_macs: int,
    jpeg_s: float | None,
) -> tuple[str, ...]:
    """Return one row under COLUMNS; `found` are its accuracy and mean bytes, if measured."""
    together_s = spent.network_s + spent.codec_s
    return (
        subject.name,
        f"{subject.macs / 1e6:.1f}" if subject.macs else "",
        f"{100 * subject.macs / whole_macs:.0f}" if subject.macs else "",
        milliseconds(spent.network_s) if subject.macs else "",
        milliseconds(spent.codec_s) if spent.codec_s else "",
        milliseconds(together_s),
        milliseconds(spent.fastest_s),
        "" if jpeg_s is None else f"{together_s / jpeg_s:.2f}",
        "" if found is None else f"{100 * found[0]:.1f}",
        "" if found is None else f"{found[1]:.0f}",
    )


def load_head_pictures(manifest: Manifest, options: HeadOptions) -> HeadPictures:
    """Read the pictures to encode and those to calibrate with."""
    spec = options.data
    size = manifest.input
    if spec is None:
        px = min(MAX_PX, max(MIN_PX, size.height_px, size.width_px))
        num = MAX_TIMED_PICTURES
        spec = f"embedded:px={px},train={options.num_calibration},val={num}"
        note = f"{num} pictures of the embedded data set; without --data accuracy is not measured"
        return HeadPictures(
            _read(manifest, spec, "val", num),
            None,
            _read(manifest, spec, "train", options.num_calibration),
            note,
        )
    found = load_pictures(manifest, spec, limit=options.limit)
    calibration = _read(manifest, spec, "train", options.num_calibration)
    return HeadPictures(found.pictures, found.labels, calibration, "; ".join(found.notes))


def _read(manifest: Manifest, spec: str, split: Split, num: int) -> Pictures:
    """Return so many pictures from all over a split."""
    dataset = open_split(spec, split)
    picks = [int(index) for index in spread(len(dataset), num)]
    return np.stack([preprocess(dataset.picture(index), manifest.input) for index in picks])


def _runner(
    device: DeviceEngine, point: OperatingPoint
) -> Callable[[Pictures], tuple[float, float]]:
    def run(picture_HWC: Pictures) -> tuple[float, float]:
        computed = device.compute(point, picture_HWC)
        return computed.head_s, computed.encode_s

    return run
