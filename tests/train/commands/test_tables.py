"""Claims about the tables of a run: all of it is there, and fits a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from headgate.train.commands.tables import (
    guessing,
    members_table,
    print_table,
    say_if_begun_anew,
    say_run,
    splits_table,
)
from headgate.train.folder.run_record import QuantisedEntry, RunRecord
from headgate.train.networks.splits import SplitPoint, list_splits
from train.tiny_runs import train_tiny, write_pictures

LEVELS = (256, 64, 16, 8, 4)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = tmp_path_factory.mktemp("tables")
    write_pictures(folder / "tiny.npz")
    found = train_tiny(folder / "tiny.npz", folder / "run", budgets=(2,)).record
    quantised = tuple(QuantisedEntry(levels, 0.875, 8e5 + levels) for levels in LEVELS)
    (member,) = found.members
    return replace(found, members=(replace(member, id="b128r2", quantised=quantised),))


def printed(table: Table) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    return out.getvalue()


def test_a_member_has_a_row_for_each_number_of_levels_in_80_columns(record: RunRecord) -> None:
    text = printed(members_table(record))
    assert "…" not in text
    rows = [line for line in text.splitlines() if "100,0" in line]
    assert [next(n for n in LEVELS if f" {n} " in row) for row in rows] == list(LEVELS)
    assert all("87.5 %" in row for row in rows)
    assert sum("b128r2" in row for row in rows) == 1


def test_a_member_trained_without_rounding_is_shown_too(record: RunRecord) -> None:
    (member,) = record.members
    bare = replace(record, members=(replace(member, quantised=()),))
    assert "b128r2" in printed(members_table(bare))


@pytest.mark.parametrize(("exit_accuracy", "warned"), [(0.5, False), (0.51, True)])
def test_an_exit_that_beats_the_backbone_is_explained_with_what_to_do(
    record: RunRecord, exit_accuracy: float, warned: bool
) -> None:
    (member,) = record.members
    assert record.backbone is not None
    odd = replace(
        record,
        labels=("a", "b", "c", "d", "e"),
        dataset=replace(record.dataset, num_val=1000),
        backbone=replace(record.backbone, accuracy=0.5),
        members=(replace(member, exit_accuracy=exit_accuracy),),
    )
    assert ("train the backbone for longer (--epochs)" in printed(members_table(odd))) == warned
    assert "--epochs" not in printed(members_table(replace(odd, backbone=None)))


@pytest.mark.parametrize(
    ("accuracy", "epochs", "said"),
    [
        (0.299, 3, "29.9 % is hardly more than guessing among 5 classes (20.0 %)"),
        (0.301, 3, None),
        (0.2, 3, "20.0 % is no more than guessing among 5 classes (20.0 %)"),
        (0.19, 3, "19.0 % is no more than guessing"),
        (0.2, 3, "a smaller --batch-size"),
        (0.2, 0, "--normalise"),
    ],
)
def test_a_network_that_guesses_is_said_to_with_what_to_do(
    record: RunRecord, accuracy: float, epochs: int, said: str | None
) -> None:
    assert record.backbone is not None
    guessing = replace(
        record,
        labels=("a", "b", "c", "d", "e"),
        dataset=replace(record.dataset, num_val=100),  # standard error of a guess: 4 points
        backbone=replace(record.backbone, accuracy=accuracy, epochs=epochs),
        members=(replace(record.members[0], exit_accuracy=0.1),),
    )
    text = " ".join(printed(members_table(guessing)).split())
    assert ("guessing" in text) == (said is not None)
    assert said is None or said in text


def test_few_pictures_of_which_most_are_right_are_not_taken_for_guesses(record: RunRecord) -> None:
    dataset = replace(record.dataset, num_val=4, num_val_commonest=2)
    few = replace(record, labels=("a", "b"), dataset=dataset)
    assert guessing(0.75, record=few) != ""
    assert guessing(0.76, record=few) == ""


def test_a_network_that_may_always_give_the_commonest_class_is_said_to(record: RunRecord) -> None:
    dataset = replace(record.dataset, num_val=100, num_val_commonest=90)
    unbalanced = replace(record, labels=("a", "b"), dataset=dataset)
    assert "the commonest of 2 classes earns if it is always given (90.0 %)" in guessing(
        0.9, record=unbalanced
    )
    assert guessing(0.91, record=unbalanced) == ""
    unknown = replace(unbalanced, dataset=replace(dataset, num_val_commonest=0))
    assert guessing(0.9, record=unknown) == ""


def test_a_finished_run_says_what_to_do_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    say_run(Path("runs/my parts"))
    said = capsys.readouterr()
    assert said.out == "run: runs/my parts\n"
    assert said.err == "next: headgate export 'runs/my parts' FAMILY\n"


def test_resume_says_so_where_there_is_nothing_to_go_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "done").mkdir()
    (tmp_path / "begun.partial").mkdir()
    for name in ("done", "begun"):
        say_if_begun_anew(tmp_path / name, resume=True)
    say_if_begun_anew(tmp_path / "mistyped", resume=False)
    assert capsys.readouterr().err == ""
    say_if_begun_anew(tmp_path / "mistyped", resume=True)
    assert (
        f"no unfinished run at {tmp_path / 'mistyped'}; a new one begins" in capsys.readouterr().err
    )


def test_brackets_in_the_path_of_a_data_set_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(Table("a column as wide as the title", title="npz:/a[/b].npz"))
    assert "npz:/a[/b].npz" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("num_refused", "said"), [(1, "1 more layer cannot"), (2, "2 more layers")]
)
def test_layers_that_cannot_be_split_after_are_counted(num_refused: int, said: str) -> None:
    picture = SplitPoint(0, "0", (3, 8, 8), 768, 0, 10, valid=True, reason="")
    flat = SplitPoint(1, "head", (10,), 40, 10, 0, valid=False, reason="flat")
    first = SplitPoint(1, "first", (4, 8, 8), 1024, 5, 5, valid=True, reason="")
    points = [picture, first, *[flat] * num_refused]
    text = printed(splits_table(points, title="x", with_refused=False))
    assert said in text
    assert "--split NAME" in text
    known = printed(splits_table(points, title="x", with_refused=False, default="first"))
    assert "cut after first" in known
    assert "--split NAME" not in known


def test_the_name_of_a_block_is_said_to_stand_for_its_last_layer() -> None:
    network = nn.Sequential()
    network.add_module("block", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    network.add_module("head", nn.Sequential(nn.Conv2d(4, 5, 6), nn.Flatten()))
    points = list_splits(network, torch.zeros(1, 3, 8, 8))
    text = " ".join(printed(splits_table(points, title="x", with_refused=False)).split())
    assert "a block's name stands for its last layer, as block for block.1" in text
    plain = [replace(point, aliases=()) for point in points]
    assert "a block's name" not in printed(splits_table(plain, title="x", with_refused=False))


class Concatenating(nn.Module):
    """Every layer sees the picture and all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(7, 5, 3, padding=1)

    def forward(self, picture_BCHW: Tensor) -> Tensor:
        seen_BCHW = torch.cat([picture_BCHW, self.first(picture_BCHW)], 1)
        logits_BK: Tensor = self.last(seen_BCHW).mean((2, 3))
        return logits_BK


def test_network_that_cannot_be_cut_is_told_why_and_what_to_change() -> None:
    picture_BCHW = torch.zeros(1, 3, 8, 8)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 5))
    text = printed(splits_table(list_splits(flat, picture_BCHW), title="flat", with_refused=False))
    assert "why not" in text  # without --all
    assert "none of its layers" in text
    assert "--split" not in text
    assert "maps are expected to have height and width" in text
    assert "shortcut" not in text
    crossed = list_splits(Concatenating(), picture_BCHW)
    text = printed(splits_table(crossed[:2], title="crossed", with_refused=False))
    assert "a module that returns one tensor" in " ".join(text.split())
    assert "height and width" not in text
    cut = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5))
    text = printed(splits_table(list_splits(cut, picture_BCHW), title="cut", with_refused=False))
    assert "none of its layers" not in text
    assert "0: the picture itself crosses" in text
