"""Export one training run: from weights to a family folder that is measured, checked and whole.

The order matters. Graphs are written into a folder that nobody sees yet, then run from there by
the runtime's own engines, so what is measured is what will be used. The parity gate comes before
the measurements: it is quick, and a family that fails it is never written. The folder is published
as the last step; a kill at any moment leaves what was there before.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headgate.export.family_writer import (
    FULL_GRAPH,
    PICTURES_GRAPH,
    list_files,
    probabilities_spec,
    write_full,
    write_manifest,
    write_member,
)
from headgate.export.graphs.deploy import Deployed, MemberReference, PlainReference, deploy
from headgate.export.graphs.graphs import FullGraph
from headgate.export.graphs.picture_network import with_picture_network
from headgate.export.graphs.whole_network import whole_network
from headgate.export.options import (
    ExportOptions,
    check_is_family,
    check_members,
    check_options,
    check_target,
)
from headgate.export.points.candidates import LOCAL_FULL, local_points, offload_points, split_points
from headgate.export.points.exit_confidence import with_confidence
from headgate.export.points.measure import Engines, machine_name, measure_points, open_engines
from headgate.export.points.parity_gate import check_full, check_member
from headgate.export.points.points import METRIC, Measured, worth_keeping
from headgate.export.points.predicted_points import with_predicted
from headgate.export.points.time_left import TimeLeft
from headgate.export.points.trained_accuracy import changed_network
from headgate.export.samples import Samples, load_samples
from headgate.export.video import Video, open_video
from headgate.profiles.family import Family, open_family
from headgate.profiles.manifest import Manifest, Member, MetricSpec, OperatingPoint, PointKind
from headgate.profiles.storage import publish_folder, refuse_existing, sha256_file
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.networks.split_model import SplitModel

TASK = "classification"
VERSIONS_OF = ("headgate", "torch", "onnx", "onnxruntime")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BuiltMember:
    """One member on its way: its entry of the manifest, its folded pair, and what was trained."""

    member: Member
    deployed: Deployed
    model: SplitModel
    order: tuple[int, ...] | None  # of sending, if it is progressive


def export_family(
    run_path: Path,
    family_path: Path,
    options: ExportOptions,
    progress: Progress,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Manifest:
    """Export a complete run to `family_path` and return the manifest that was written.

    `clock` gives seconds, and serves to foretell how long measuring takes.
    Raises GateError, with nothing written, if the exported graphs and the trained network differ.
    """
    check_options(options)
    run = load_run(run_path)
    check_members(run, options)
    check_target(family_path, run_path=run_path, force=options.force)
    plain = whole_network(run)  # first: a run from scratch, which has none, is refused at once
    video = open_video(options, run.input)
    progress(f"reading {run.record.dataset.spec if options.data is None else options.data}")
    samples = load_samples(
        run,
        data=options.data,
        num_calibration=options.num_calibration,
        limit=options.limit,
        num_confidence=options.num_confidence,
    )
    may_replace = check_is_family if options.force else refuse_existing
    with publish_folder(family_path, may_replace=may_replace) as folder:
        built = [_build_member(run, member_id, folder, progress) for member_id in run.member_ids]
        candidate = _candidate(run, plain, built, samples, options, folder, progress)
        engines = open_engines(Family(folder, candidate), threads=options.threads)
        _pass_parity(candidate, engines, built, plain, samples.some(options.num_parity), progress)
        measured = _measure(candidate, engines, samples, progress, clock)
        _say_if_changed(run, samples, options, measured, progress)
        kept = worth_keeping(measured)
        if video is not None:
            kept = with_predicted(kept, engines, video.clip, lag=video.lag, progress=progress)
        manifest = _finished(candidate, measured, kept, video, options)
        manifest = with_confidence(manifest, engines, samples.confidence, progress=progress)
        write_manifest(folder, manifest)
        open_family(folder)
    progress(f"{family_path}: {_kept_text(candidate, manifest)}")
    return manifest


def _kept_text(candidate: Manifest, manifest: Manifest) -> str:
    """Say how many points there are, and how many were measured in vain."""
    kept_ids = {point.id for point in manifest.points}
    num_dropped = sum(
        point.kind is PointKind.SPLIT and point.id not in kept_ids for point in candidate.points
    )
    dropped = f", {num_dropped} dropped that a cheaper one of their member equals"
    return f"{len(manifest.points)} points kept{dropped if num_dropped else ''}"


def _build_member(run: Run, member_id: str, folder: Path, progress: Progress) -> BuiltMember:
    progress(f"{member_id}: folding and writing its graphs")
    entry = run.entry(member_id)
    model = run.member(member_id)
    order = entry.order or None
    deployed = deploy(model, order)
    member = write_member(
        folder,
        member_id=member_id,
        budget=entry.budget,
        resolution_factor=entry.resolution_factor,
        layers=entry.layers,
        deployed=deployed,
        picture=run.input,
        num_classes=len(run.labels),
    )
    return BuiltMember(member, deployed, model, order)


def _candidate_points(
    built: Sequence[BuiltMember],
    samples: Samples,
    options: ExportOptions,
    progress: Progress,
    *,
    rate_weight: float,
) -> list[OperatingPoint]:
    points = []
    for item in built:
        progress(f"{item.member.id}: calibrating {len(options.levels)} bit depths")
        points += split_points(
            item.member,
            item.deployed,
            levels=sorted(options.levels, reverse=True),
            calibration_NHWC=samples.calibration,
            codec=options.codec,
            rate_weight=rate_weight,
        )
    points += offload_points(
        jpeg_qualities=options.jpeg_qualities, webp_qualities=options.webp_qualities
    )
    return points + local_points([item.member for item in built])


def _candidate(
    run: Run,
    plain: nn.Module,
    built: Sequence[BuiltMember],
    samples: Samples,
    options: ExportOptions,
    folder: Path,
    progress: Progress,
) -> Manifest:
    """Write the whole networks; return the manifest with nothing measured yet.

    That is enough for the engines to run from.
    """
    progress("full: writing the graph")
    write_full(folder, full=FullGraph(plain), picture=run.input)
    tuned = run.picture_network()
    if tuned is not None:
        write_full(folder, full=FullGraph(tuned), picture=run.input, name=PICTURES_GRAPH)
    points = _candidate_points(
        built, samples, options, progress, rate_weight=run.record.settings.rate_weight
    )
    candidate = Manifest(
        task=TASK,
        labels=run.labels,
        input=run.input,
        outputs=(probabilities_spec(len(run.labels)),),
        metrics=(MetricSpec(METRIC, "higher"),),
        members=tuple(item.member for item in built),
        points=tuple(points),
        full_graph=FULL_GRAPH,
        files=list_files(folder),
        provenance=_provenance(run, samples),
    )
    if tuned is None:
        return candidate
    return with_picture_network(
        candidate,
        folder,
        PlainReference(tuned),
        held_out=samples.held_out,
        parity_NHWC=samples.some(options.num_parity),
        threads=options.threads,
        progress=progress,
    )


def _pass_parity(
    candidate: Manifest,
    engines: Engines,
    built: Sequence[BuiltMember],
    plain: nn.Module,
    pictures_NHWC: NDArray[np.uint8],
    progress: Progress,
) -> None:
    reference, local_full = PlainReference(plain), candidate.point(LOCAL_FULL)
    found = check_full(local_full, reference, engines, pictures_NHWC=pictures_NHWC)
    beside = f"beside the trained network on {len(pictures_NHWC)} pictures"
    progress(f"full: {beside}: {found}")
    for item in built:
        worst = check_member(
            candidate,
            MemberReference(item.model, item.order),
            engines,
            member_id=item.member.id,
            pictures_NHWC=pictures_NHWC,
        )
        progress(f"{item.member.id}: {beside}: {worst}")


def _measure(
    candidate: Manifest,
    engines: Engines,
    samples: Samples,
    progress: Progress,
    clock: Callable[[], float],
) -> list[Measured]:
    measured = []
    time_left = TimeLeft(candidate.points, num_pictures=len(samples.labels), started_s=clock())
    for item in measure_points(
        candidate.points, engines, pictures_NHWC=samples.pictures, labels=samples.labels
    ):
        progress(
            f"{item.point.id}: {METRIC} {item.accuracy:.4f}, {item.point.bytes.mean:.0f} bytes, "
            f"device {item.time.device_s * 1e3:.2f} ms, edge {item.time.edge_s * 1e3:.2f} ms"
        )
        measured.append(item)
        note = time_left.measured(now_s=clock())
        if note is not None:
            progress(note)
    return measured


def _say_if_changed(
    run: Run,
    samples: Samples,
    options: ExportOptions,
    measured: Sequence[Measured],
    progress: Progress,
) -> None:
    """Tell of a network that answers otherwise than when it was trained, if that can be known."""
    backbone, dataset = run.record.backbone, run.record.dataset
    same = options.data in (None, dataset.spec) and len(samples.labels) == dataset.num_val
    note = changed_network(backbone.accuracy, measured) if backbone is not None and same else None
    if note is not None:
        progress(note)


def _finished(
    candidate: Manifest,
    measured: Sequence[Measured],
    kept: Sequence[Measured],
    video: Video | None,
    options: ExportOptions,
) -> Manifest:
    """Return the candidate with its measurements and only the points that were kept."""
    exit_accuracy = {
        item.point.member: item.exit_accuracy for item in measured if item.exit_accuracy is not None
    }
    members = tuple(
        replace(member, exit_metrics={METRIC: exit_accuracy[member.id]})
        for member in candidate.members
    )
    files = candidate.files
    if not options.local_full:
        kept = [item for item in kept if item.point.id != LOCAL_FULL]
        files = files | {FULL_GRAPH: replace(files[FULL_GRAPH], roles=("edge",))}
    times = {machine_name(): {item.point.id: item.time for item in kept}}
    return replace(
        candidate,
        members=members,
        points=tuple(item.point for item in kept),
        files=files,
        times=times if options.with_times else {},
        provenance=candidate.provenance | ({} if video is None else video.provenance),
    )


def _provenance(run: Run, samples: Samples) -> dict[str, str]:
    """Say what this family was made of, without a path or a name of any machine."""
    blueprint = run.blueprint
    facts = {
        "run_sha256": sha256_file(run.path / "run.json"),
        "model": blueprint.model,
        "width": f"{blueprint.width:g}",
        "split": blueprint.split,
        "seed": str(run.record.settings.seed),
        "data": run.record.dataset.spec.partition(":")[0],
        "data_sha256": samples.digest,
        "validation_pictures": str(len(samples.labels)),
        "calibration_pictures": str(len(samples.calibration)),
    }
    return facts | {f"{name}_version": version(name) for name in VERSIONS_OF}
