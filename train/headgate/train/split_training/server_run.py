"""The server's run folder: where it begins, what it keeps after each epoch, and what it publishes.

The trained network becomes a run like any other: one member, whose client half is the one that all
share, or where each client has its own the best of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import ADDED, unparse
from headgate.profiles.train_messages import Place
from headgate.train.folder.epoch_log import append_line, keep_epochs
from headgate.train.folder.run_folder import Run, load_run
from headgate.train.folder.run_record import COMPLETE, RunRecord
from headgate.train.folder.work_folder import (
    CHECKPOINT,
    check_output,
    publish,
    replacement_rule,
    work_folder,
    write_record,
)
from headgate.train.networks.layout import lay_channels_last
from headgate.train.networks.split_model import SplitModel
from headgate.train.run.plan import Plan, check_same_run
from headgate.train.seeds import derive_seed
from headgate.train.split_training.epoch_record import DepruneEpoch, Tally
from headgate.train.split_training.finished_networks import write_networks
from headgate.train.split_training.halves import (
    is_servers,
    pack_side,
    unpack_side,
    use_selection,
)
from headgate.train.split_training.kept_halves import Half
from headgate.train.split_training.server import SplitServer
from headgate.train.split_training.server_effects import Attendance
from headgate.train.split_training.server_half import ServerHalf
from headgate.train.split_training.server_session import CLIENT_TIMEOUT_S, ServerSession
from headgate.train.split_training.settings import DepruneSettings, agreement
from headgate.train.split_training.state_files import read_state, write_state
from headgate.train.split_training.wire_parcels import WIRE_VERSION

STATE = "server"
_HALF = "half."  # and a client's name, or nothing for the half that all share
_OWED = "owed."
_VIEW = "view."  # its key, a colon and a client's name


@dataclass(frozen=True, slots=True)
class ServerState:
    """All of the server's checkpoint but its tensors; written at the end of every epoch."""

    epoch: int  # that begins
    places: dict[str, tuple[int, int]]  # of each client: epoch and step
    selections: tuple[tuple[int, ...], ...]  # of each phase so far
    num_epoch_lines: int
    total_bytes: int
    accuracies: dict[str, float] = field(default_factory=dict)
    num_at_work: int = 0  # whom to wait for; 0 (states before this field): all of `places`
    losses: dict[str, float] = field(default_factory=dict, metadata=ADDED)  # that clients last had
    labels_seen: dict[str, tuple[int, ...]] = field(default_factory=dict, metadata=ADDED)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server begins and waits; nothing of what it trains."""

    num_clients: int = 1
    client_timeout_s: float = CLIENT_TIMEOUT_S
    keeps_checkpoints: bool = True  # at the end of each epoch
    resume: bool = False  # go on where a checkpoint is
    force: bool = False  # replace a run that is there


EpochDone = Callable[[DepruneEpoch], None]
Attended = Callable[[Attendance], None]


def fresh_model(plan: Plan, settings: DepruneSettings, *, device: torch.device) -> SplitModel:
    """Return the network that both sides begin with: a function of the settings alone."""
    torch.manual_seed(derive_seed(plan.config.seed, "fresh weights", "deprune"))
    model = plan.blueprint.build_split_model(budget=settings.phases[0].budget)
    model.freeze_selection()
    model.to(device)
    lay_channels_last(model)
    return model


def agreement_of(plan: Plan, settings: DepruneSettings) -> dict[str, Any]:
    """Return what both sides must have in common."""
    return agreement(
        plan.config,
        settings,
        plan.blueprint,
        labels=plan.data.labels,
        wire_version=WIRE_VERSION,
    )


@contextmanager
def open_server(
    plan: Plan,
    settings: DepruneSettings,
    out: Path,
    *,
    options: ServerOptions,
    device: torch.device,
    epoch_done: EpochDone,
    attended: Attended = lambda _: None,
    now_s: Callable[[], float] = time.monotonic,
) -> Iterator[SplitServer]:
    """Yield the server of the run `out`, which is published when it has finished.

    Raises UsageError where `out` must not be written or was begun with other settings.
    """
    record = check_output(out, plan.config, resume=options.resume, force=options.force)
    check_resumed(plan, settings, record, where=out)
    if record is not None and record.status == COMPLETE:
        raise UsageError(f"{out}: is complete already; nothing is left to do, or use --force")
    may_replace = replacement_rule(out, resume=options.resume, force=options.force)
    plan = replace(plan, data=plan.data.to(device))
    with work_folder(out, fresh=record is None) as folder:
        if record is None:
            write_record(folder, replace(plan.record(), deprune=settings))
        model = fresh_model(plan, settings, device=device)
        half = ServerHalf(
            model,
            config=plan.config,
            settings=settings,
            num_classes=plan.data.num_classes,
            device=device,
        )
        server = _server(
            plan,
            settings,
            half,
            folder,
            options=options,
            epoch_done=epoch_done,
            attended=attended,
            now_s=now_s,
        )
        yield server
        if server.is_finished:
            record = replace(plan.record(), deprune=settings)
            entry = write_networks(server, plan.data, folder, record)
            if not options.keeps_checkpoints:  # the run may be refused its place, and then goes on
                _write_checkpoint(server, folder, num_epoch_lines=settings.num_epochs)
            publish(folder, out, replace(record, members=(entry,)), may_replace=may_replace)


def finished_run(
    plan: Plan, settings: DepruneSettings, out: Path, *, options: ServerOptions
) -> Run | None:
    """Return the run that `resume` finds complete: a kill may come when all is done."""
    record = check_output(out, plan.config, resume=options.resume, force=options.force)
    check_resumed(plan, settings, record, where=out)
    return load_run(out) if record is not None and record.status == COMPLETE else None


def check_resumed(
    plan: Plan, settings: DepruneSettings, record: RunRecord | None, *, where: Path
) -> None:
    """Refuse to go on with a run that was begun otherwise."""
    if record is None:
        return
    check_same_run(plan, record, where=where)
    if record.deprune != settings:
        raise UsageError(
            f"{where}: cannot be resumed with other settings (now {settings}, before "
            f"{record.deprune}); give the same ones, or start over with --force"
        )


def _server(
    plan: Plan,
    settings: DepruneSettings,
    half: ServerHalf,
    folder: Path,
    *,
    options: ServerOptions,
    epoch_done: EpochDone,
    attended: Attended,
    now_s: Callable[[], float],
) -> SplitServer:
    """Return a server as the checkpoint left it, or a fresh one."""
    found = read_state(folder / CHECKPOINT, STATE, ServerState)
    state = found[0] if found is not None else None
    num_lines = state.num_epoch_lines if state is not None else 0
    keep_epochs(folder, num_lines)

    def keep(server: SplitServer, record: DepruneEpoch) -> None:
        append_line(folder, json.dumps(unparse(record), allow_nan=False))
        if options.keeps_checkpoints:
            _write_checkpoint(server, folder, num_epoch_lines=record.epoch)
        epoch_done(record)

    num_clients = options.num_clients
    if state is not None:  # one that had vanished by then is not waited for
        num_clients = state.num_at_work or len(state.places)
    session = ServerSession(
        num_epochs=settings.num_epochs,
        num_clients=num_clients,
        client_sync=settings.client_sync,
        client_timeout_s=options.client_timeout_s,
        epoch=state.epoch if state is not None else 0,
        places={n: Place(*place) for n, place in state.places.items()} if state else None,
        timetable=settings.timetable,
    )
    server = SplitServer(
        plan,
        settings,
        half=half,
        session=session,
        agreement=agreement_of(plan, settings),
        tally=Tally(total_bytes=state.total_bytes if state is not None else 0),
        now_s=now_s,
        keep=keep,
        attended=attended,
    )
    if found is not None:
        _restore(server, *found)
    return server


def _write_checkpoint(server: SplitServer, folder: Path, *, num_epoch_lines: int) -> None:
    half = server.half
    tensors = pack_side(half.model, half.optimizer, belongs=is_servers)
    for name, carried_P in half.carried().items():
        tensors[_OWED + name] = carried_P
    for name, view in half.views.state().items():
        tensors |= {f"{_VIEW}{key}:{name}": tensor.cpu() for key, tensor in view.items()}
    halves = {_HALF + name: each for name, each in server.halves.latest.items()}
    if server.halves.shared is not None:
        halves[_HALF] = server.halves.shared
    for name, each in halves.items():
        tensors[name] = torch.frombuffer(bytearray(each.data), dtype=torch.uint8)
    state = ServerState(
        epoch=server.session.epoch + 1,
        places={n: (place.epoch, place.step) for n, place in server.session.roster.places.items()},
        selections=tuple(half.selections),
        num_epoch_lines=num_epoch_lines,
        total_bytes=server.tally.total_bytes,
        accuracies=server.halves.accuracies,
        num_at_work=len(server.session.roster.at_work),
        losses=server.invitations.losses,
        labels_seen={name: tuple(sorted(seen)) for name, seen in half.labels_seen.items()},
    )
    write_state(folder / CHECKPOINT, STATE, state, tensors=tensors)


def _restore(server: SplitServer, state: ServerState, tensors: dict[str, torch.Tensor]) -> None:
    half = server.half
    half.selections[:] = state.selections
    use_selection(half.model, state.selections[-1])
    unpack_side(tensors, half.model, half.optimizer)
    for name, tensor in tensors.items():
        if name.startswith(_OWED):
            half.owe(name.removeprefix(_OWED), tensor)
        if name.startswith(_VIEW):
            key, _, client = name.removeprefix(_VIEW).partition(":")
            half.views.restore(client, key, tensor)
        if name.startswith(_HALF):
            data = tensor.numpy().tobytes()
            opened = Half.opened(data, half.model)
            if name == _HALF:
                server.halves.shared = opened
            else:
                server.halves.latest[name.removeprefix(_HALF)] = opened
    server.halves.accuracies = dict(state.accuracies)
    server.invitations.losses |= state.losses
    half.labels_seen = {name: set(seen) for name, seen in state.labels_seen.items()}
