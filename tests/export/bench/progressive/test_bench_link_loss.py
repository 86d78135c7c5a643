"""Claims about `headgate bench link-loss`: what is lost, where, and what it costs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.export.bench.progressive.bench_link_loss import LinkLossOptions, bench_link_loss
from headgate.export.bench.progressive.bench_nair_command import link_loss
from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import Run
from headgate.train.progressive import ProgressiveConfig
from train.tiny_runs import train_tiny, write_pictures


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    return train_tiny(
        write_pictures(folder / "tiny.npz", num_val=40),
        folder / "run",
        budgets=(),
        rate_weight=0.0,
        link_loss=0.5,
        progressive=ProgressiveConfig(bottleneck=False, epochs=2),
    )


def say(line: str) -> None:
    pass


def test_without_loss_members_keep_their_accuracy_and_with_all_lost_they_guess(run: Run) -> None:
    options = LinkLossOptions((run.path,), shares=(0.0, 1.0), splits=("features.5",))
    result = bench_link_loss(options, say=say)
    assert [row[:2] for row in result.rows] == [
        ("n6r1 of run, trained with link loss 0.5", "maps"),
        ("n6r1 of run, trained with link loss 0.5", "bits"),
        ("plain network cut after features.5", "maps"),
        ("plain network cut after features.5", "bits"),
    ]
    (entry,) = run.record.members
    assert run.record.backbone is not None
    whole = f"{100 * entry.quantised[0].accuracy:.1f}"
    assert [row[2] for row in result.rows[:2]] == [whole, whole]
    assert float(result.rows[2][2]) == pytest.approx(100 * run.record.backbone.accuracy, abs=5)
    # Without any map all pictures look the same, and half of them are of either class.
    assert [result.rows[place][3] for place in (0, 2)] == ["50.0", "50.0"]


def test_the_same_seed_loses_the_same(run: Run) -> None:
    options = LinkLossOptions((run.path,), shares=(0.5,), seed=3)
    first, second = (bench_link_loss(options, say=say) for _ in range(2))
    assert first.rows == second.rows


def test_the_command_writes_a_table_and_json(run: Run, tmp_path: Path) -> None:
    arguments = [str(run.path), "--shares", "0,10", "--pictures", "8", "--out", str(tmp_path)]
    result = CliRunner().invoke(link_loss, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "link-loss.json").read_text())
    assert found["details"]["shares"] == [0.0, 0.1]
    assert len(found["details"]["rows"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": (1.5,)}, "--shares: found 150"),
        ({"levels": 1}, "--levels: 1 is impossible"),
        ({"pictures": 0}, "--pictures: found 0"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LinkLossOptions((Path("run"),), **changes)  # type: ignore[arg-type]


def test_a_split_that_is_none_is_refused(run: Run) -> None:
    options = LinkLossOptions((run.path,), splits=("nowhere",))
    with pytest.raises(UsageError, match="the model has no such layer"):
        bench_link_loss(options, say=say)
