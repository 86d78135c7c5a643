"""The demo: from training to answers over a link with good and bad minutes, and a report.

    embedded pictures -> run/ -> family/ -> edge process <- link emulator <- device process
                                                                                 |
                                  report.html, summary.json <- simulator      frames.jsonl

Only the adaptive run takes place in real time. Its rivals, each operating point fixed for the
whole run, are simulated with the same session code over the same trace, and so is the adaptive
policy once more, to show how far simulator and reality are apart.

Device and edge share one machine here, so the whole network would run as fast on the device as on
the edge, and answering locally would always win. The demo's device stands for a weak one: its
profile leaves `local-full` out.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headgate.export.bench.bench_table import provenance
from headgate.export.bench.compare import RunScore, read_frames, score_run
from headgate.export.children import LOOPBACK, child, free_port, last_words, wait_for_port
from headgate.export.demo.plots import Timeline
from headgate.export.demo.report import ReportContent, write_report
from headgate.export.options import ExportOptions
from headgate.export.pipeline import export_family
from headgate.export.points.candidates import LOCAL_FULL
from headgate.profiles.errors import PeerError, UsageError
from headgate.profiles.manifest import Manifest
from headgate.profiles.profile import Profile, allowed_points, load_profile
from headgate.profiles.storage import naming, write_atomic
from headgate.profiles.trace import Trace, shared_trace
from headgate.profiles.trace_files import open_trace
from headgate.runtime.emulator.link_thread import LinkPlan
from headgate.runtime.emulator.relay import Relay
from headgate.runtime.records import FrameRecord
from headgate.runtime.simulation.simulate import Link, Pace, Scenario, simulate
from headgate.train.pictures.data import open_split
from headgate.train.recipe import PruneConfig
from headgate.train.run.progress import TrainingProgress
from headgate.train.run.prune import train_prune

SUMMARY_SCHEMA = 1
# Half the validation pictures that the embedded set has by itself: they are measured many times.
DATA = "embedded:train=6000,val=750"
LEVELS = (64, 16, 8, 4)
MAX_PICTURES = 500
SLACK_S = 30.0  # what the device may take beyond the run itself: loading, connecting, finishing
# Fewer qualities than an export of one's own would measure, and the very pictures that are played.
EXPORT = ExportOptions(
    # The beginning of DATA: the rest need not be drawn again.
    data=f"embedded:train=256,val={MAX_PICTURES}",
    levels=LEVELS,
    jpeg_qualities=(5, 15, 40, 75),
    webp_qualities=(1, 10, 40, 75),
    force=True,
)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to run; the defaults take less than five minutes on two cores."""

    out: Path
    seconds: float | None = None  # of the run in real time; None: the whole trace once
    seed: int = 0
    trace: str = "demo"
    # Of the trace's rate. The demo's pictures of 96 px take 1 to 3 kB as JPEG, which fits through
    # almost any link; on a share of it the choice matters as larger pictures would.
    share: float = 0.15
    fps: float = 15.0
    sla_s: float = 0.1
    delay_s: float = 0.01  # one way


@dataclass(frozen=True, slots=True)
class RealRun:
    """What came back from the two processes."""

    records: list[FrameRecord]
    trace_start_s: float  # the trace's zero, on the clock of `captured_s`


def training_config(options: DemoOptions) -> PruneConfig:
    """Return a family small enough to train while a reader waits.

    It is cut early, after a quarter of the work: a later cut is easier to compress, but then the
    early exit is nearly as good as the edge, and there is little left to decide. The member with
    all 16 maps is only a step on the way to the others: where it fits the link, JPEG beats it.
    """
    return PruneConfig(
        data=DATA,
        model="resnet18",
        width=0.25,
        split="stem.3",
        budgets=(4, 1),
        resolution_factor=2,
        epochs=7,
        lr=0.1,  # 0.876 after 7 epochs, where the default of 0.05 gave 0.867 after 8
        base_epochs=1,
        member_epochs=1,
        levels=LEVELS,
        seed=options.seed,
    )


def run_demo(options: DemoOptions, *, say: Say, progress: TrainingProgress) -> ReportContent:
    """Do everything and leave it in `options.out`; return what the report says."""
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    trace = shared_trace(open_trace(options.trace), share=options.share)
    seconds = options.seconds or trace.duration_s
    say("1/5 training a family on the embedded pictures")
    config = training_config(options)
    train_family(config, out / "run", progress=progress)
    say("2/5 exporting and measuring every operating point")
    manifest = export_family(out / "run", out / "family", EXPORT, lambda _: None)
    profile = write_profile(manifest, out / "profile.toml")
    write_pictures(config.data, out / "pictures.npz")
    say(f"3/5 running device and edge over {trace.name!r} for {seconds:.0f} s, in real time")
    real = run_for_real(options, trace=trace, seconds=seconds)
    say("4/5 simulating every fixed operating point over the same trace")
    content = compare(options, real, trace=trace, manifest=manifest, profile=profile)
    say("5/5 writing the report")
    write_atomic(out / "summary.json", json.dumps(summary_json(content), indent=2) + "\n")
    write_report(content, out)
    return content


def train_family(config: PruneConfig, run: Path, *, progress: TrainingProgress) -> None:
    """Train, go on with an interrupted training, or take the run that is there already.

    A run with other settings is replaced: the folder is the demo's own.
    """
    try:
        train_prune(config, run, resume=True, progress=progress)
    except UsageError:
        train_prune(config, run, force=True, progress=progress)


def write_profile(manifest: Manifest, path: Path) -> Profile:
    """Write the demo's profile, balanced but without the whole network on the device; load it."""
    names = [point.id for point in manifest.points if point.id != LOCAL_FULL]
    listed = ",\n".join(f'    "{name}"' for name in names)
    text = (
        "# The device stands for one too weak to run the whole network.\n"
        'schema = 1\nname = "demo"\n'
        f'description = "balanced, without {LOCAL_FULL}"\npoints = [\n{listed},\n]\n'
    )
    write_atomic(path, text)
    return load_profile(str(path))


def write_pictures(data: str, path: Path) -> None:
    """Leave the first validation pictures where the device process reads them, in turns."""
    dataset = open_split(data, "val")
    shown = range(min(MAX_PICTURES, len(dataset)))
    pictures = np.stack([dataset.picture(index) for index in shown])
    labels = np.array([dataset.label(index) for index in shown])
    # A data set has two halves; the device only plays the second.
    with naming(path):
        np.savez(
            path,
            train_pictures=pictures[:1],
            train_labels=labels[:1],
            val_pictures=pictures,
            val_labels=labels,
            label_names=np.array(dataset.labels),
        )


def run_for_real(options: DemoOptions, *, trace: Trace, seconds: float) -> RealRun:
    """Run an edge process and a device process with the link between them; read the records."""
    out, port = options.out, free_port()
    frames = out / "frames.jsonl"
    for earlier in (frames, out / "summary.json", out / "report.html"):  # they tell of other frames
        earlier.unlink(missing_ok=True)
    edge_log, device_log = out / "edge.log", out / "device.log"
    edge = ["edge", str(out / "family"), "--bind", f"tcp://{LOOPBACK}:{port}"]
    plan = LinkPlan(uplink=trace, delay_s=options.delay_s)
    with child(edge, log=edge_log) as edge_process:
        wait_for_port(port, process=edge_process, log=edge_log)
        with Relay(listen=(LOOPBACK, 0), to=(LOOPBACK, port), plan=plan) as relay:
            device = device_arguments(options, edge=relay.endpoint, seconds=seconds)
            with child(device, log=device_log) as device_process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    device_process.wait(seconds + SLACK_S)
                code = device_process.returncode
            trace_start_s = relay.started_s
    if code != 0 or trace_start_s is None or not frames.exists():
        raise PeerError(
            f"headgate device: ended with {code}, expected 0 and {frames} "
            f"({last_words(device_log)}); see {device_log} and {edge_log}"
        )
    return RealRun(read_frames(frames), trace_start_s)


def device_arguments(options: DemoOptions, *, edge: str, seconds: float) -> list[str]:
    """Return the command line of the device process."""
    out = options.out
    return [
        "device",
        str(out / "family"),
        f"npz:{out / 'pictures.npz'}",
        str(out / "frames.jsonl"),
        f"--edge={edge}",
        f"--sla-ms={1000 * options.sla_s:g}",
        f"--profile={out / 'profile.toml'}",
        f"--fps={options.fps:g}",
        f"--frames={max(1, round(seconds * options.fps))}",
        # Not where `profile set` looks for the user's own device.
        f"--control=tcp://{LOOPBACK}:{free_port()}",
        "--loop",
    ]


def compare(
    options: DemoOptions, real: RealRun, *, trace: Trace, manifest: Manifest, profile: Profile
) -> ReportContent:
    """Simulate the adaptive policy and every fixed point over the trace, and score all runs."""
    duration_s = len(real.records) / options.fps
    scenario = Scenario(
        profile=profile,
        link=Link(trace, rtt_s=2 * options.delay_s),
        pace=Pace(options.fps, duration_s),
        sla_s=options.sla_s,
    )

    def simulated(name: str, fixed: str | None) -> RunScore:
        records = simulate(manifest, replace(scenario, fixed=fixed))
        return score_run(records, name=name, measured=False)

    timeline = Timeline(
        sorted(real.records, key=lambda record: record.captured_s),
        trace,
        real.trace_start_s,
        options.sla_s,
        manifest,
    )
    return ReportContent(
        timeline=timeline,
        adaptive=score_run(real.records, name="adaptive", measured=True),
        adaptive_simulated=simulated("adaptive", None),
        fixed=[simulated(point.id, point.id) for point in manifest.points],
        allowed=frozenset(point.id for point in allowed_points(profile, manifest)),
        made_with={
            "trace": f"{trace.name}, {trace_origin(options)}",
            "data": "embedded: handwritten digits on crops of two photographs",
            "device": f"stands for a weak one: its profile leaves {LOCAL_FULL} out",
            **provenance(),
        },
    )


def trace_origin(options: DemoOptions) -> str:
    """Say where the link's rates come from, and what was done to them."""
    kind = "recorded" if Path(options.trace).exists() else "synthetic, ours"
    if options.share == 1:
        return kind
    return f"{kind}; this device gets {options.share:g} of the rate, others the rest"


def summary_json(content: ReportContent) -> dict[str, object]:
    """Return what summary.json holds."""
    return {
        "schema": SUMMARY_SCHEMA,
        "sla_ms": 1000 * content.timeline.sla_s,
        "trace": content.timeline.trace.name,
        "adaptive": content.adaptive.to_json(),
        "adaptive_simulated": content.adaptive_simulated.to_json(),
        "fixed": [score.to_json() for score in content.fixed],
        "made_with": content.made_with,
    }
