"""What a finished split training leaves: the network of all clients, or one of each.

A run has one network, which exports like any other. Where clients differ in more than their halves
it is that of the client whose answers are best, and each client's own lies beside it, as a run too:

    OUT/networks/NAME
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from headgate.profiles.storage import sha256_file
from headgate.train.folder.checkpoints import write_tensors
from headgate.train.folder.run_record import COMPLETE, MemberEntry, RunRecord
from headgate.train.folder.work_folder import NETWORKS, WEIGHTS, write_record
from headgate.train.pictures.data import TrainingData
from headgate.train.split_training.evaluation import evaluate, evaluate_levels
from headgate.train.split_training.kept_halves import Half
from headgate.train.split_training.server import SplitServer
from headgate.train.stages import member_id

_MAX_FOLDER_NAME = 255  # of file systems; a name of 64 characters may have more when it is quoted
_NUM_SHOWN = 60  # characters of such a name


def write_networks(
    server: SplitServer, data: TrainingData, folder: Path, record: RunRecord
) -> MemberEntry:
    """Write the weights of what was trained, and measure it; return the run's own member.

    `record` is the run's, without members.
    """
    halves = server.halves
    if not halves.are_personal:
        return _write(server, folder, record, half=halves.best(), data=data)
    networks = folder / NETWORKS
    shutil.rmtree(networks, ignore_errors=True)  # of an earlier try that was killed
    for name in sorted(halves.accuracies):
        own = networks / folder_of(name)
        entry = _write_of(server, own, record, name)
        write_record(own, replace(record, members=(entry,), status=COMPLETE))
    return _write_of(server, folder, record, halves.best_client())


def folder_of(name: str) -> str:
    """Return a client's name as that of a folder; of a long one the begin, and its digest."""
    quoted = quote(name, safe=" ").replace(".", "%2E")
    if len(quoted) <= _MAX_FOLDER_NAME:
        return quoted
    return f"{quoted[:_NUM_SHOWN]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _write_of(server: SplitServer, folder: Path, record: RunRecord, name: str) -> MemberEntry:
    with server.half.views.folded(name):
        half, data = server.halves.of(name), server.data_of(name)
        return _write(server, folder, record, half=half, data=data)


def _write(
    server: SplitServer, folder: Path, record: RunRecord, *, half: Half, data: TrainingData
) -> MemberEntry:
    model, config, settings = server.half.model, record.settings, record.deprune
    assert settings is not None
    half.put_into(model)
    id_ = member_id(settings.phases[-1].budget, config.resolution_factor)
    file = f"{WEIGHTS}/{id_}.safetensors"
    (folder / WEIGHTS).mkdir(parents=True, exist_ok=True)
    write_tensors(folder / file, model.state_dict())
    accuracy, exit_accuracy = evaluate(model, data)
    return MemberEntry(
        id=id_,
        budget=len(half.selected),
        resolution_factor=config.resolution_factor,
        selected=half.selected,
        file=file,
        sha256=sha256_file(folder / file),
        accuracy=accuracy,
        exit_accuracy=exit_accuracy,
        quantised=evaluate_levels(model, data, levels=config.levels),
        epochs=settings.num_epochs,
    )
