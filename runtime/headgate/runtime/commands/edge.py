"""`headgate edge`: serve families to devices."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headgate.runtime.commands.settings import load_settings, setting, settings_of_both_sides
from headgate.runtime.config import EdgeConfig

if TYPE_CHECKING:
    from headgate.runtime.edge.edge import EdgeServer

DEFAULT = EdgeConfig()


@click.command()
@click.argument(
    "families", metavar="FAMILY...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@setting(DEFAULT, "edge.bind", "--bind", metavar="ADDRESS", help="Listen here.")
@setting(
    DEFAULT,
    "edge.max_batch",
    "--max-batch",
    type=click.IntRange(1, 256),
    help="Most frames in one tail run.",
)
@settings_of_both_sides(DEFAULT, side="edge", graph="tail")
def edge(families: tuple[Path, ...], config: Path | None, **given: Any) -> None:
    """Serve families to devices.

    Serves each FAMILY until told to stop (SIGINT or SIGTERM). Prints one JSON line on stderr
    once it listens. Every option can also come from --config or from the environment
    (HEADGATE_EDGE__BIND, HEADGATE_ENGINE__THREADS, ...).
    """
    from headgate.runtime.commands.logs import log_to_stderr
    from headgate.runtime.networks.memory import freeze_loaded
    from headgate.runtime.signals import StopWish, stopping_on_signals
    from headgate.runtime.sockets.listening import allow_many_sockets

    settings = load_settings(EdgeConfig, given, path=config)
    log_to_stderr()
    allow_many_sockets()
    wish = StopWish()
    with stopping_on_signals(wish.make):  # loading may take long
        server = open_server(families, settings)
        wish.goes_to(server.stop)
        ready = {
            "event": "listening",
            "endpoint": server.endpoint,
            "families": [digest[:12] for digest in server.digests],
            "keys": settings.security.keys is not None,
        }
        click.echo(json.dumps(ready), err=True)
        freeze_loaded()
        server.run()


def open_server(families: tuple[Path, ...], settings: EdgeConfig) -> "EdgeServer":
    """Verify and load the families and listen, or raise what is wrong with any of it."""
    from headgate.profiles.family import open_family
    from headgate.runtime.edge.edge import EdgeServer
    from headgate.runtime.networks.edge_engine import EdgeEngine
    from headgate.runtime.networks.graphs import EngineOptions
    from headgate.runtime.sockets.keys import check_endpoint, check_exposure, load_edge_keys

    bind, security = settings.edge.bind, settings.security
    check_endpoint(bind, option="--bind")
    check_exposure(
        bind, option="--bind", has_keys=security.keys is not None, insecure=security.insecure
    )
    keys = None if security.keys is None else load_edge_keys(Path(security.keys))
    opened = [open_family(path, roles=("edge",)) for path in families]
    options = EngineOptions(providers=settings.engine.providers, threads=settings.engine.threads)
    engines = {
        family.manifest.digest: EdgeEngine(
            family, options=options, max_batch=settings.edge.max_batch
        )
        for family in opened
    }
    manifests = {family.manifest.digest: family.manifest for family in opened}
    return EdgeServer(engines, manifests, bind=bind, keys=keys)
