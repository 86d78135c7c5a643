"""Claims about what the sides of split training refuse, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from headgate.profiles.errors import DataError, HeadgateError, TrainingError, UsageError, WireError
from headgate.profiles.train_messages import Kind, Place, Status
from headgate.runtime.wire.train_wire import TRAIN_VERSION
from headgate.train.learning.material import Deal
from headgate.train.split_training.client import SplitClient
from headgate.train.split_training.epoch_record import DepruneEpoch
from headgate.train.split_training.growth import bottleneck_of
from headgate.train.split_training.halves import pack_half, use_selection
from headgate.train.split_training.outgoing import Outgoing
from headgate.train.split_training.payload import Parcel
from train.split_training.small import (
    NUM_STEPS,
    Table,
    differing,
    small_client,
    small_plan,
    small_server,
    small_settings,
    two_clients,
)


def first_gradient(table: Table, client: SplitClient) -> Outgoing:
    """Return what the server answers to a client's first batch, before the client has it."""
    table.connect(client)
    table.run(num_messages=1)
    (out,) = table.hand(*table.waiting.pop(), lose_answers=True)
    return out


@pytest.mark.parametrize(
    ("changes", "settings_changes", "said"),
    [
        ({"seed": 1}, {}, "seed: server 0, client 1"),
        ({"split": "features.5"}, {}, "split: server features.2, client features.5"),
        ({}, {"schedule": "3:1,6:1"}, "schedule: server 2:1,6:1, client 3:1,6:1"),
        ({"lr": 0.1}, {}, "lr: server 0.05, client 0.1"),
        ({}, {"feature_bits": 8}, "feature bits: server 32, client 8"),
    ],
)
def test_sides_with_different_settings_refuse_and_say_which(
    pictures: Path,
    tmp_path: Path,
    changes: dict[str, object],
    settings_changes: dict[str, Any],
    said: str,
) -> None:
    settings = small_settings()
    theirs = small_settings(**settings_changes)
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(small_plan(pictures, theirs, **changes), theirs)
        table.connect(client)
        table.run()
    assert isinstance(client.failure, WireError)
    assert said in str(client.failure)
    assert client.failure.exit_code == 4


def test_sides_whose_labels_mean_other_things_refuse(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings()
    plan = small_plan(pictures, settings)
    other = replace(plan, data=replace(plan.data, labels=("1", "0")))
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(other, settings)
        table.connect(client)
        table.run()
    assert isinstance(client.failure, WireError)
    assert "labels: server 0, 1, client 1, 0" in str(client.failure)


def test_another_wire_version_is_refused_at_the_handshake(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings()
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        client._agreement["wire version"] = TRAIN_VERSION - 1
        table.connect(client)
        table.run()
    assert f"wire version: server {TRAIN_VERSION}, client {TRAIN_VERSION - 1}" in str(
        client.failure
    )


def test_a_label_out_of_range_is_refused_and_nothing_is_trained(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        table.run(num_messages=1)
        before = {n: t.clone() for n, t in server.half.model.state_dict().items()}
        peer, header, (maps, filter_C, labels) = table.waiting.pop()
        assert isinstance(labels, Parcel)
        bad = Parcel(torch.full_like(labels.values, 2))
        table.hand(peer, header, (maps, filter_C, bad))
        assert differing(server.half.model.state_dict(), before) == []
    assert "label 2 is out of range, expected 0 to 1" in str(client.failure)


def test_a_client_with_a_bad_number_of_its_own_stops_and_says_goodbye(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        client = small_client(plan, settings)
        out = first_gradient(Table(server), client)
        maps, filter_gradient = out.parts
        before = [p.clone() for p in client.half.model.parameters()]
        said = client.received(out.header, (not_finite(maps), filter_gradient), now_s=0.0)
    assert [h.kind for h, _ in said] == [Kind.GOODBYE]
    assert isinstance(client.failure, TrainingError)
    assert all(map(torch.equal, before, client.half.model.parameters()))


def spoil_head(client: SplitClient, factor: float) -> None:
    with torch.no_grad():
        weight = next(p for n, p in client.half.model.named_parameters() if n.startswith("head."))
        weight.mul_(factor)


def test_features_that_only_batch_norm_makes_finite_are_refused_and_leave_no_trace(
    pictures: Path, tmp_path: Path
) -> None:
    """Their variance is beyond float32, the code is 0, and no gradient shows it."""
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        spoil_head(client, 1e25)
        before = {n: t.clone() for n, t in client.half.model.state_dict().items()}
        table.connect(client)
        with pytest.raises(TrainingError, match="client ann, epoch 1, batch 1: it has a number"):
            table.run()
    assert isinstance(client.failure, TrainingError)
    assert "a gradient or average is not a finite number" in str(client.failure)
    assert differing(before, client.half.model.state_dict()) == []


def test_with_skip_a_client_without_finite_weights_leaves_and_the_other_goes_on(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1", on_nan="skip")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run", num_clients=2) as server:
        table = Table(server)
        ann, bo = two_clients(plan, settings)
        spoil_head(ann, float("nan"))
        table.connect(ann)
        table.connect(bo)
        table.run()
        assert server.is_finished
    assert isinstance(ann.failure, TrainingError)
    assert "at the end of epoch 1 its weights are not finite numbers any more" in str(ann.failure)
    assert bo.failure is None


def test_a_server_without_finite_weights_ends_at_the_end_of_the_epoch(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:2", on_nan="skip")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings))
        with torch.no_grad():
            bottleneck_of(server.half.model).decoder.weight.mul_(float("inf"))
        with pytest.raises(TrainingError, match="end of epoch 1 the server's weights are not"):
            table.run()


def test_a_gradient_of_another_shape_is_refused(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        client = small_client(plan, settings)
        out = first_gradient(Table(server), client)
        maps, filter_gradient = out.parts
        assert isinstance(maps, Parcel)
        for wrong in ((), (Parcel(maps.values[:-1]), filter_gradient)):
            with pytest.raises(
                WireError, match=r"GRADIENT at epoch 1, batch 1: (it holds none|of)"
            ):
                client.received(out.header, wrong, now_s=0.0)


def not_finite(parcel: object) -> Parcel:
    assert isinstance(parcel, Parcel)
    values = parcel.values.clone()
    values.view(-1)[0] = float("nan")
    return Parcel(values)


def test_a_number_that_is_not_finite_stops_the_run(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings))
        table.run(num_messages=1)
        peer, header, (maps, *others) = table.waiting.pop()
        with pytest.raises(TrainingError, match="not a finite number"):
            table.hand(peer, header, (not_finite(maps), *others))


def test_with_skip_its_step_is_refused_the_client_told_and_training_goes_on(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1", on_nan="skip")
    plan = small_plan(pictures, settings)
    records: list[DepruneEpoch] = []
    with small_server(plan, settings, tmp_path / "run", records=records) as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        table.run(num_messages=1)
        own = {n: p.clone() for n, p in client.half.model.named_parameters()}
        theirs = {n: t.clone() for n, t in server.half.model.state_dict().items()}
        peer, header, (maps, *others) = table.waiting.pop()
        (out,) = table.hand(peer, header, (not_finite(maps), *others))
        assert (out.header.status, out.parts) == (Status.NOT_FINITE, ())
        assert differing(own, dict(client.half.model.named_parameters())) == []
        assert differing(theirs, server.half.model.state_dict()) == []  # averages too
        table.run()
        assert server.is_finished
    (record,) = records
    assert record.refused == 1
    assert record.num_batches == NUM_STEPS - 1


@pytest.mark.parametrize(
    ("place", "answered"),
    [(Place(0, 0), Kind.GRADIENT), (Place(0, 3), Kind.REFUSE), (Place(1, 0), Kind.REFUSE)],
)
def test_a_replayed_batch_gets_its_old_answer_and_one_out_of_order_is_refused(
    pictures: Path, tmp_path: Path, place: Place, answered: Kind
) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        table.connect(small_client(plan, settings))
        table.run(num_messages=1)
        peer, header, parts = table.waiting.pop()
        (first,) = table.hand(peer, header, parts)
        before = {n: t.clone() for n, t in server.half.model.state_dict().items()}
        (again,) = table.hand(peer, replace(header, place=place), parts)
        assert again.header.kind is answered
        if answered is Kind.GRADIENT:
            assert again.parts is first.parts
        assert differing(server.half.model.state_dict(), before) == []


@pytest.mark.parametrize("dry_at", [0, 2])
def test_a_source_that_runs_dry_ends_the_epoch_or_the_client(
    pictures: Path, tmp_path: Path, dry_at: int
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        whole = client._source.material

        class Dry:
            def deal(self, deal: Deal):  # type: ignore[no-untyped-def]
                return iter(list(whole.deal(deal))[: max(0, dry_at - deal.first_step)])

        client._source = replace(client._source, material=Dry())
        table.connect(client)
        table.run()
        assert server.is_finished == bool(dry_at)
    if dry_at:
        assert client.failure is None
    else:
        assert isinstance(client.failure, DataError)
        assert "the data source ran dry" in str(client.failure)


def test_more_clients_than_pictures_are_refused(pictures: Path) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with pytest.raises(
        DataError, match="--share 17/17: leaves 1 of 32 pictures, expected 2 or more"
    ):
        small_client(plan, settings, share=(17, 17))


def test_a_batch_of_one_picture_is_refused_and_the_server_goes_on(
    pictures: Path, tmp_path: Path
) -> None:
    settings = small_settings("2:1")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        table.run(num_messages=1)
        peer, header, parts = table.waiting.pop()
        assert all(isinstance(part, Parcel) for part in parts)
        maps, filter_C, labels = (part for part in parts if isinstance(part, Parcel))
        alone = (Parcel(maps.values[:1]), filter_C, Parcel(labels.values[:1]))
        (out, *_) = table.hand(peer, replace(header, num_pictures=1), alone)
    assert out.header.kind is Kind.REFUSE
    assert "1 pictures, expected 2 or more" in str(client.failure)


@pytest.mark.parametrize("sync", ["none", "fedavg"])
def test_a_half_that_sends_other_maps_is_refused_and_the_server_goes_on(
    pictures: Path, tmp_path: Path, sync: str
) -> None:
    settings = small_settings("2:1", client_sync=sync)
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run") as server:
        table = Table(server)
        client = small_client(plan, settings)
        table.connect(client)
        while not any(header.kind is Kind.EPOCH_END for _, header, _ in table.waiting):
            table.run(num_messages=1)
        peer, header, _ = table.waiting.pop()
        other = small_client(plan, settings, "eve").half.model
        use_selection(other, (0, 1, 2))
        table.hand(peer, header, (pack_half(other),))
        assert not server.is_finished
        table.connect(small_client(plan, settings, "bo"))
        table.run()
        assert server.is_finished
    assert "the half sends maps [0, 1, 2], expected" in str(client.failure)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "2:1,9:1"}, "9:1 is impossible, 6 maps leave the split"),
        ({"client_sync": "gossip"}, "--client-sync: 'gossip' is not one of"),
        ({"feature_bits": 9}, "--feature-bits: found 9"),
        ({"on_nan": "pray"}, "--on-nan: 'pray'"),
    ],
)
def test_impossible_settings_are_refused(
    pictures: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        small_plan(pictures, small_settings(**changes))


def test_a_run_is_not_continued_with_other_settings(pictures: Path, tmp_path: Path) -> None:
    settings = small_settings("2:2")
    plan = small_plan(pictures, settings)
    with small_server(plan, settings, tmp_path / "run"):
        pass
    other = replace(settings, client_sync="relay")
    with (
        pytest.raises(HeadgateError, match="cannot be resumed with other settings"),
        small_server(plan, other, tmp_path / "run", resume=True),
    ):
        pass
