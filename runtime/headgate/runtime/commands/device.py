"""`headgate device`: answer every picture of an input in time, with the help of an edge."""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from headgate.runtime.commands.settings import load_settings, setting, settings_of_both_sides
from headgate.runtime.config import DeviceConfig

if TYPE_CHECKING:
    from headgate.runtime.device.device import Device
    from headgate.runtime.device.sinks import JsonLines
    from headgate.runtime.records import FrameRecord
    from headgate.runtime.session.events import Answer
    from headgate.runtime.signals import StopWish

DEFAULT = DeviceConfig()


@click.command()
@click.argument("family", type=click.Path(path_type=Path))
@click.argument("source", metavar="INPUT")
@click.argument("output", metavar="[OUTPUT]", required=False)
@setting(DEFAULT, "device.edge", "--edge", metavar="ADDRESS", help="The edge.")
@setting(
    DEFAULT,
    "device.sla_ms",
    "--sla-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="Answer wanted so long after capture.",
)
@setting(DEFAULT, "device.profile", "--profile", metavar="NAME", help="Preset or TOML file.")
@setting(
    DEFAULT,
    "source.fps",
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="Play at this rate, newest picture first.  [default: a video's own; else one by one]",
)
@setting(
    DEFAULT,
    "source.frames",
    "--frames",
    type=click.IntRange(1),
    help="Stop after so many.  [default: all]",
)
@setting(
    DEFAULT,
    "source.loop",
    "--loop",
    help="Start again at the end, a folder with what lies there then.",
)
@setting(
    DEFAULT,
    "source.max_open",
    "--open",
    type=click.IntRange(1),
    help="One by one: take the next while fewer than so many have no answer.",
)
@setting(
    DEFAULT,
    "device.control",
    "--control",
    metavar="ADDRESS",
    help="Listen for `headgate profile`.  [default: ipc, its own]",
)
@setting(
    DEFAULT,
    "device.skip_confident",
    "--skip-confident",
    metavar="auto|CHANCE",
    help="Do not send frames that the early exit is likely right about: at least as likely as the "
    "edge (auto), or as CHANCE, 0 to 1.  [default: send them]",
)
@settings_of_both_sides(DEFAULT, side="device", graph="head")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def device(
    family: Path,
    source: str,
    output: str | None,
    config: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Answer every picture of INPUT in time.

    The edge helps where the link allows it within the SLA; else the device answers alone.
    INPUT is dir:PATH, a video file, cifar10:PATH, folder:PATH or npz:PATH (labelled: accuracy
    is reported), v4l2:///dev/video0, rtsp://..., or fake://WxH. One JSON line per frame goes to
    OUTPUT (default: standard output, unless that is the terminal with the live view, or --json
    is given), the summary to stderr at the end.
    Without an edge, frames are answered locally while the device keeps trying.
    """
    from headgate.profiles.errors import UsageError
    from headgate.runtime.commands.logs import log_to_stderr
    from headgate.runtime.sockets.listening import allow_many_sockets

    settings = load_settings(DeviceConfig, given, path=config)
    if as_json and output == "-":
        raise UsageError(
            "--json: the summary and the records cannot both go to stdout; name a file"
        )
    log_to_stderr()
    allow_many_sockets()
    if output is None and not as_json and not (_is_terminal(sys.stdout) and sys.stderr.isatty()):
        output = "-"
    play(family, source, settings, output=output, as_json=as_json)


def play(
    family: Path, source: str, settings: DeviceConfig, *, output: str | None, as_json: bool
) -> None:
    """Run one device from start to summary."""
    from headgate.runtime.signals import StopWish, stopping_on_signals

    wish = StopWish()
    with stopping_on_signals(wish.make):  # from loading to the summary, which is part of stopping
        _play(family, source, settings, output=output, as_json=as_json, wish=wish)


def _play(
    family: Path,
    source: str,
    settings: DeviceConfig,
    *,
    output: str | None,
    as_json: bool,
    wish: "StopWish",
) -> None:
    from headgate.runtime.device.aside import StoppedError
    from headgate.runtime.device.sinks import print_json, print_summary

    consumers: list[Callable[[FrameRecord], None]] = []

    def _deliver(record: "FrameRecord", answer: "Answer | None") -> None:
        for consume in consumers:
            consume(record)

    try:
        device = open_device(family, source, settings, deliver=_deliver, is_stopped=wish.is_made)
    except StoppedError:
        click.echo(f"{source}: stopped before it was open", err=True)
        return
    wish.goes_to(device.stop)
    failure = _run(device, source, settings, output=output, consumers=consumers)
    summary = device.summary()
    if as_json:
        failure = print_json(summary) or failure
    print_summary(summary, name=source)
    if failure is not None:
        raise failure


def _run(
    device: "Device",
    source: str,
    settings: DeviceConfig,
    *,
    output: str | None,
    consumers: "list[Callable[[FrameRecord], None]]",
) -> Exception | None:
    """Run a device, its records going to `output` and the live view; return what failed."""
    from headgate.runtime.device.live import LiveView
    from headgate.runtime.networks.memory import freeze_loaded

    failure: Exception | None = None
    with contextlib.ExitStack() as stack:
        stack.callback(device.close)
        lines = _opened(output, device)
        if lines is not None:
            consumers.append(lines.write)
        if sys.stderr.isatty() and not (output == "-" and _is_terminal(sys.stdout)):
            consumers.append(stack.enter_context(LiveView(title=source)).add)
        ready = {
            "event": "started",
            "control": device.control_address,
            "edge": settings.device.edge,
        }
        click.echo(json.dumps(ready), err=True)
        freeze_loaded()
        try:
            device.run()
        except Exception as reason:  # raised after the summary: what was answered still counts
            failure = reason
        finally:
            if lines is not None:
                unwritten = lines.close(is_stopped=lambda: device.stopped)
                failure = failure or unwritten
    return failure


def _opened(output: str | None, device: "Device") -> "JsonLines | None":
    """Return where records go, if anywhere; nowhere either if the device is stopped before."""
    from headgate.runtime.device.aside import StoppedError
    from headgate.runtime.device.sinks import JsonLines

    if output is None:
        return None
    try:
        return JsonLines(output, on_failure=device.stop, is_stopped=lambda: device.stopped)
    except StoppedError:
        click.echo(f"OUTPUT {output}: stopped before anybody read it", err=True)
        return None


def _is_terminal(stream: "IO[str] | None") -> bool:
    return stream is not None and stream.isatty()


def open_device(
    family: Path,
    source: str,
    settings: DeviceConfig,
    *,
    deliver: "Callable[[FrameRecord, Answer | None], None]",
    is_stopped: Callable[[], bool] = lambda: False,
) -> "Device":
    """Verify and load everything a run needs, or raise what is wrong with any of it."""
    from headgate.profiles.family import open_family
    from headgate.profiles.profile import load_profile
    from headgate.runtime.device.device import Device, DeviceSettings
    from headgate.runtime.device.playback import Playback
    from headgate.runtime.device.sources import open_source
    from headgate.runtime.networks.device_engine import DeviceEngine
    from headgate.runtime.networks.graphs import EngineOptions
    from headgate.runtime.session.skipping import skip_rule
    from headgate.runtime.sockets.keys import check_endpoint, check_exposure, load_device_keys

    asked, security = settings.device, settings.security
    keys = None if security.keys is None else load_device_keys(Path(security.keys))
    for address, option in ((asked.edge, "--edge"), (asked.control, "--control")):
        if address is not None:
            check_endpoint(address, option=option)
            check_exposure(
                address, option=option, has_keys=keys is not None, insecure=security.insecure
            )
    profile = load_profile(asked.profile)
    opened = open_family(family, roles=("device",))
    skip = None
    if asked.skip_confident is not None:
        skip = skip_rule(asked.skip_confident, opened.manifest)
    pictures = open_source(source, labels=opened.manifest.labels, is_stopped=is_stopped)
    options = EngineOptions(providers=settings.engine.providers, threads=settings.engine.threads)
    return Device(
        opened.manifest,
        DeviceEngine(opened, options=options),
        pictures,
        DeviceSettings(
            edge=asked.edge,
            profile=profile,
            sla_s=asked.sla_ms / 1000,
            playback=Playback(
                fps=settings.source.fps,
                frames=settings.source.frames,
                loop=settings.source.loop,
                max_open=settings.source.max_open,
            ),
            keys=keys,
            keys_folder=None if security.keys is None else Path(security.keys),
            control=asked.control,
            skip=skip,
        ),
        deliver=deliver,
    )
