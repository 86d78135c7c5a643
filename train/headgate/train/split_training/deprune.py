"""Starts split training: the server, a client, or both in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from headgate.profiles.errors import DataError, UsageError
from headgate.profiles.storage import make_folder
from headgate.train.devices import compute_device
from headgate.train.folder.run_folder import Run, load_run, partial_folder
from headgate.train.folder.work_folder import CLIENTS, held
from headgate.train.learning.material import Pictures
from headgate.train.recipe import PruneConfig
from headgate.train.run.plan import Plan, make_plan
from headgate.train.split_training.client import EpochEnded, SplitClient
from headgate.train.split_training.client_checkpoints import has_state
from headgate.train.split_training.exchange import serve, train_as_client
from headgate.train.split_training.finished_networks import folder_of
from headgate.train.split_training.local import train_locally
from headgate.train.split_training.local_half import half_class
from headgate.train.split_training.partition import own_pictures
from headgate.train.split_training.server_run import (
    Attended,
    EpochDone,
    ServerOptions,
    agreement_of,
    finished_run,
    fresh_model,
    open_server,
)
from headgate.train.split_training.settings import MIN_BATCH, DepruneSettings, check_settings
from headgate.train.split_training.source import Source
from headgate.train.split_training.transport import (
    ClientSocket,
    Security,
    ServerSocket,
    keys_to,
)

# Shapes: N training pictures of one client

Pictures_N = npt.NDArray[np.int64]  # which of the data set's, by their number
Dealt = Callable[[Plan], Mapping[str, Pictures_N]]  # clients' names, and which are whose


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """One client: who it is and where it keeps what it is; nothing of what it trains."""

    name: str
    share: tuple[int, int] = (1, 1)  # this one, from 1, of so many
    folder: Path | None = None
    resume: bool = False  # go on with the state at `folder`
    force: bool = False  # or replace it
    checkpoint_steps: int | None = None
    give_up_s: float = 300.0
    cpu_share: float = 1.0  # of a core, to stand for a weaker device


def deprune_recipe(config: PruneConfig, settings: DepruneSettings) -> PruneConfig:
    """Return a recipe as split training reads it: one network, trained from scratch."""
    return replace(
        config,
        budgets=(),
        epochs=settings.num_epochs,
        from_scratch=True,
        select="filter",
        share="nothing",
    )


def prepare(config: PruneConfig, settings: DepruneSettings) -> Plan:
    """Check settings against each other, the data set and the network; read the pictures."""
    check_settings(settings)
    plan = make_plan(deprune_recipe(config, settings))
    num_maps = plan.blueprint.num_maps
    for phase in settings.phases:
        if phase.budget > num_maps:
            raise UsageError(
                f"--schedule: {phase} is impossible, {num_maps} maps leave the split; give "
                f"all sides the same --schedule, with budgets from 1 to {num_maps}"
            )
    return plan


def make_client(
    plan: Plan,
    settings: DepruneSettings,
    options: ClientOptions,
    *,
    device: torch.device,
    epoch_ended: EpochEnded | None = None,
    own_N: Pictures_N | None = None,
) -> SplitClient:
    """Return a client with its share of the pictures, or with those that are its own."""
    share = "{}/{}".format(*options.share)
    if own_N is None:
        own_N = _shared_out(plan, options.share, partition=settings.partition)
    else:
        share = f"{len(own_N)} of {len(plan.data.train_labels_N)} pictures"
    source = _source(plan, own_N, device=device)
    half = half_class(settings)(
        fresh_model(plan, settings, device=device),
        config=plan.config,
        settings=settings,
        name=options.name,
        num_steps=source.num_steps,
        device=device,
    )
    return SplitClient(
        half,
        source,
        name=options.name,
        agreement=agreement_of(plan, settings),
        dealt={
            "data": plan.data.digest[:12],
            "share": share,
            "batch size": source.batch_size,
            "augment": plan.augmentation is not None,
        },
        folder=options.folder,
        resume=options.resume,
        checkpoint_steps=options.checkpoint_steps,
        epoch_ended=epoch_ended,
    )


def _shared_out(plan: Plan, share: tuple[int, int], *, partition: str) -> Pictures_N:
    """Return a part of the training half, which stays a client's own in all epochs."""
    number, of = share
    if not 1 <= number <= of:
        raise UsageError(f"--share: found {number}/{of}, expected a number from 1 to {of}")
    labels_N = plan.data.train_labels_N.numpy()
    if of == 1:
        return np.arange(len(labels_N))
    own_N = own_pictures(
        labels_N,
        share,
        partition=partition,
        num_classes=plan.data.num_classes,
        seed=plan.config.seed,
    )
    if len(own_N) < MIN_BATCH:
        raise DataError(
            f"--share {number}/{of}: leaves {len(own_N)} of {len(labels_N)} pictures, expected "
            f"{MIN_BATCH} or more; use fewer clients or more pictures"
        )
    return own_N


def _source(plan: Plan, own_N: Pictures_N, *, device: torch.device) -> Source:
    """Return a client's pictures, in the order of the data set."""
    config, data = plan.config, plan.data
    if len(own_N) < len(data.train_labels_N):
        mine_N = torch.from_numpy(own_N)
        data = replace(
            data,
            train_pictures_NCHW=data.train_pictures_NCHW[mine_N],
            train_labels_N=data.train_labels_N[mine_N],
        )
    return Source(
        Pictures(data.to(device), plan.augmentation),
        num_pictures=len(own_N),
        batch_size=config.batch_size,
        seed=config.seed,
    )


def deprune_locally(
    config: PruneConfig,
    settings: DepruneSettings,
    out: Path,
    *,
    num_clients: int = 1,
    keeps_checkpoints: bool = True,
    resume: bool = False,
    force: bool = False,
    through_wire: bool = False,
    dealt: Dealt | None = None,
    epoch_done: EpochDone = lambda _: None,
) -> Run:
    """Train with all sides in this process, and return the run `out`.

    Pictures are shared out to `num_clients` alike, or `dealt` says which clients have which.
    """
    plan = prepare(config, settings)
    num_train = len(plan.data.train_labels_N)
    owners = None if dealt is None else dealt(plan)
    num_clients = num_clients if owners is None else len(owners)
    if owners is None and num_train // num_clients < MIN_BATCH:  # before there is a folder
        raise UsageError(
            f"--clients: found {num_clients} for {num_train} training pictures, expected "
            f"{MIN_BATCH} pictures each at least; use fewer clients or more pictures"
        )
    options = ServerOptions(
        num_clients, keeps_checkpoints=keeps_checkpoints, resume=resume, force=force
    )
    done = finished_run(plan, settings, out, options=options)
    if done is not None:
        return done
    device = compute_device(plan.config)
    with (
        threads_of(config),
        open_server(
            plan,
            settings,
            out,
            options=options,
            device=device,
            epoch_done=epoch_done,
        ) as server,
    ):
        kept = partial_folder(out) / CLIENTS
        names = owners or [f"client{number}" for number in range(1, num_clients + 1)]
        clients = [
            make_client(
                plan,
                settings,
                ClientOptions(
                    name=name,
                    share=(number, num_clients),
                    folder=kept / folder_of(name) if keeps_checkpoints else None,
                    resume=resume,
                ),
                device=device,
                own_N=None if owners is None else owners[name],
            )
            for number, name in enumerate(names, start=1)
        ]
        if not server.is_finished:
            train_locally(
                server,
                clients,
                device=device,
                compress=settings.compress,
                through_wire=through_wire,
            )
    return load_run(out)


def deprune_as_server(
    config: PruneConfig,
    settings: DepruneSettings,
    out: Path,
    *,
    bind: str,
    security: Security,
    options: ServerOptions,
    epoch_done: EpochDone = lambda _: None,
    listening: Callable[[str], None] = lambda _: None,
    attended: Attended = lambda _: None,
) -> Run:
    """Serve one run to its end, and return it.

    `listening` hears the endpoint, `attended` of clients that come and go.
    """
    plan = prepare(config, settings)
    done = finished_run(plan, settings, out, options=options)
    if done is not None:
        return done
    device = compute_device(plan.config)
    socket = ServerSocket(bind, security)  # first: what is wrong with it leaves no folder
    with (
        closing(socket),
        threads_of(config),
        open_server(
            plan,
            settings,
            out,
            options=options,
            device=device,
            epoch_done=epoch_done,
            attended=attended,
        ) as server,
    ):
        listening(socket.endpoint)
        serve(server, socket, device=device, compress=settings.compress)
    return load_run(out)


def deprune_as_client(
    config: PruneConfig,
    settings: DepruneSettings,
    options: ClientOptions,
    *,
    endpoint: str,
    security: Security,
    epoch_ended: EpochEnded | None = None,
    say: Callable[[str], None] = lambda _: None,
    dealt: Dealt | None = None,
) -> SplitClient:
    """Train one client to the end of the run; `say` is told of a connection that is missing.

    With `dealt` its pictures are those that this says of its name.
    """
    folder = options.folder
    if folder is not None and has_state(folder) and not (options.resume or options.force):
        raise UsageError(
            f"{folder}: a client's state is here already; --resume goes on with it, --force "
            "replaces it"
        )
    keys_to(endpoint, security)  # before the data: loading it takes a while
    plan = prepare(config, settings)
    device = compute_device(plan.config)
    with threads_of(config), _holding(folder):
        client = make_client(
            plan,
            settings,
            options,
            device=device,
            epoch_ended=epoch_ended,
            own_N=None if dealt is None else dealt(plan)[options.name],
        )
        with closing(ClientSocket(endpoint, security)) as socket:
            train_as_client(
                client,
                socket,
                device=device,
                compress=settings.compress,
                give_up_s=options.give_up_s,
                endpoint=endpoint,
                cpu_share=options.cpu_share,
                say=say,
            )
    return client


@contextmanager
def _holding(folder: Path | None) -> Iterator[None]:
    """Hold a client's folder: of two that write there each would remove what the other keeps."""
    if folder is None:
        yield
        return
    make_folder(folder)
    with held(folder, what="client keeps its state here", option="--state"):
        yield


@contextmanager
def threads_of(config: PruneConfig) -> Iterator[None]:
    """Use as many CPU threads as a recipe says, while in it."""
    before = torch.get_num_threads()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
