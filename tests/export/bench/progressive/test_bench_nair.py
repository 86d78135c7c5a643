"""Claims about `headgate bench nair`: what its rows say, and what they are made of."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from headgate.export.bench.progressive.bench_nair import (
    PAPER_TIMES_S,
    NairOptions,
    bench_nair,
    early_notes,
    telling_times_s,
)
from headgate.export.bench.progressive.bench_nair_command import nair
from headgate.export.bench.progressive.nair_codec import codec_layer_bytes
from headgate.export.bench.progressive.nair_lines import (
    Line,
    Sent,
    answers_of_device,
    float_line,
    importance_shares,
    layer_values,
    line_name,
    progressive_entry,
)
from headgate.export.samples import load_samples
from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import Run
from headgate.train.progressive import PENALTY, ProgressiveConfig, WeightSource
from train.tiny_runs import train_tiny, write_pictures

PURE = ProgressiveConfig(bottleneck=False, penalty=PENALTY, epochs=1)
CLIO = replace(PURE, method="clio", order="natural", prefix_weights=(0.2, 0.3, 0.5))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    data = write_pictures(folder / "tiny.npz")
    configs = {
        "pure": PURE,
        "original": replace(PURE, order="natural", epochs=0, quantise=False),
        "many": replace(CLIO, many_tails=True, quantise=False),
    }
    made = {
        name: train_tiny(
            data, folder / name, budgets=(), rate_weight=0.0, progressive=config, epochs=1
        )
        for name, config in configs.items()
    }
    made["narrow"] = train_tiny(
        data,
        folder / "narrow",
        budgets=(4,),
        epochs=1,
        member_epochs=1,
        resolution_factor=2,
        progressive=ProgressiveConfig(slice_maps=1, epochs=1),
    )
    return made


def say(line: str) -> None:
    pass


def options(*chosen: Run, **changes: object) -> NairOptions:
    made = NairOptions(
        tuple(run.path for run in chosen), pictures=8, codec_pictures=8, times_s=(0.005, 1.0)
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_best_that_crosses_in_time_is_shown_and_nothing_where_nothing_does() -> None:
    line = Line("line", (Sent(100, 0.5), Sent(200, 0.4), Sent(300, 0.9)))
    assert line.best(seconds=0.0007, rate_bps=1e6) is None
    for seconds, accuracy in ((0.0008, 0.5), (0.0016, 0.5), (0.0024, 0.9), (9.0, 0.9)):
        best = line.best(seconds=seconds, rate_bps=1e6)
        assert best is not None
        assert best.accuracy == accuracy
    quickest = line.quickest(accuracy=0.5)
    assert quickest is not None
    assert quickest.num_bytes == 100
    assert line.quickest(accuracy=0.95) is None
    assert [each.num_bytes for each in line.front] == [100, 300]


def test_a_table_whose_columns_are_all_the_same_says_which_times_tell_more() -> None:
    line = Line("line", (Sent(100, 0.5), Sent(300, 0.9)))
    assert early_notes([line], (0.0025, 1.0), rate_bps=1e6) == [
        "all of it is through after 2.4 ms; see earlier: --times-ms 0.24,0.6,1.2"
    ]
    assert early_notes([line], (0.002, 1.0), rate_bps=1e6) == []


def test_times_follow_from_what_the_runs_send() -> None:
    small, large = (Line(str(size), (Sent(size, 0.9),)) for size in (864, 65_536))
    times_s = telling_times_s([small], rate_bps=250e3)  # 27.648 ms
    assert times_s == pytest.approx((0.0035, 0.007, 0.0104, 0.0139, 0.0208, 0.0277))
    of_paper_s = telling_times_s([small, large], rate_bps=250e3)
    assert of_paper_s == pytest.approx((0.27, 0.53, 0.79, 1.05, 1.58, 2.1))


def test_columns_of_small_runs_differ_without_an_option(runs: dict[str, Run]) -> None:
    wanted = options(runs["pure"], times_s=None)
    result = bench_nair(wanted, say=say).result
    assert len(result.columns) == 1 + 6 + 3
    assert not any("see earlier" in note for note in result.notes)
    by_paper = bench_nair(replace(wanted, times_s=PAPER_TIMES_S), say=say).result
    assert any("see earlier" in note for note in by_paper.notes)
    assert result.rows[0][6] == result.rows[0][7]  # all of it is after the last time


def test_float_prefixes_cost_four_bytes_a_number(runs: dict[str, Run]) -> None:
    assert layer_values(runs["pure"], runs["pure"].record.members[0]) == [72, 72, 72]
    assert [each.num_bytes for each in float_line(runs["pure"]).sent] == [288, 576, 864]
    # r = 2 makes 4 x 4 of 6 x 6, one map at a time.
    assert [each.num_bytes for each in float_line(runs["narrow"]).sent] == [64, 128, 192, 256]
    entry = runs["pure"].record.members[0].progressive
    assert entry is not None
    accuracies = [each.accuracy for each in float_line(runs["pure"]).sent]
    assert accuracies == [prefix.accuracy for prefix in entry.prefixes]


def test_runs_are_named_after_what_was_done(runs: dict[str, Run]) -> None:
    assert {name: line_name(run) for name, run in runs.items()} == {
        "pure": "NAIR",
        "original": "original order, untrained",
        "many": "CLIO, many tails",
        "narrow": "NAIR, no penalty, bottleneck, r = 2",
    }
    many = runs["many"]
    for traces, words in (
        (("walk",), "weights of walk"),
        (("a", "b"), "weights of 2 recorded links"),
    ):
        config = replace(CLIO, weights_of_link=WeightSource(traces, 1.0, 32))
        record = replace(many.record, settings=replace(many.record.settings, progressive=config))
        assert line_name(replace(many, record=record)) == f"CLIO, single tail, {words}"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (ProgressiveConfig(order="principal"), "NAIR of mixtures, bottleneck, r = 2"),
        (
            ProgressiveConfig(order="principal", penalty=PENALTY),
            "NAIR of mixtures, penalty 0.3, bottleneck, r = 2",
        ),
        (
            ProgressiveConfig(order="principal", epochs=0),
            "mixtures by worth, untrained, bottleneck, r = 2",
        ),
        (
            ProgressiveConfig(order="importance", epochs=0),
            "importance order, untrained, bottleneck, r = 2",
        ),
        (
            ProgressiveConfig(order="natural", penalty=PENALTY),
            "NAIR in original order, bottleneck, r = 2",
        ),
        (
            ProgressiveConfig(order="principal", w_non=0.5),
            "NAIR of mixtures, weights to the 0.5, bottleneck, r = 2",
        ),
        (
            ProgressiveConfig(order="principal", w_non=0.0),
            "NAIR of mixtures, no weight, bottleneck, r = 2",
        ),
    ],
)
def test_a_run_is_named_after_the_order_in_which_it_sends(
    runs: dict[str, Run], config: ProgressiveConfig, name: str
) -> None:
    narrow = runs["narrow"]
    record = replace(narrow.record, settings=replace(narrow.record.settings, progressive=config))
    assert line_name(replace(narrow, record=record)) == name


def test_layers_are_coded_one_by_one_and_cost_less_at_fewer_levels(runs: dict[str, Run]) -> None:
    run = runs["narrow"]
    pictures = load_samples(run, data=None, num_calibration=0, limit=8).pictures
    found = codec_layer_bytes(run, pictures)
    assert list(found) == [256, 8]
    for levels, bits in ((256, 8), (8, 3)):
        assert len(found[levels]) == 4
        assert 0 < max(found[levels]) <= 16 * bits / 8 + 1
    assert sum(found[8]) < sum(found[256])


def test_the_table_has_a_row_for_every_way_and_pictures_beside_them(runs: dict[str, Run]) -> None:
    told: list[str] = []
    bench = bench_nair(options(*runs.values(), pictures=5000), say=told.append)
    num_pictures = runs["pure"].record.dataset.num_val  # as many as there are, not as were asked
    assert f"WebP: {num_pictures} pictures through the plain network" in told
    assert bench.result.notes[0].startswith("below times: accuracy, %,")
    assert [row[0] for row in bench.result.rows] == [
        "NAIR, quantised and coded",
        "original order, untrained",
        "CLIO, many tails",
        "NAIR, no penalty, bottleneck, r = 2, quantised and coded",
        "picture, WebP",
    ]
    by_name = dict(zip((row[0] for row in bench.result.rows), bench.result.rows, strict=True))
    assert by_name["CLIO, many tails"][1] == ""  # 288 bytes take 9 ms at 250 kbit/s
    assert by_name["picture, WebP"][2] != ""
    assert bench.pictures["nair.png"].startswith(b"\x89PNG")
    assert any("3 tails" in note and "33.3 %" in note for note in bench.result.notes)
    json.loads(bench.result.to_json())


def test_importance_shares_are_in_the_order_of_sending(runs: dict[str, Run]) -> None:
    before, after = importance_shares(runs["pure"])
    assert before == sorted(before, reverse=True)
    assert sum(before) == pytest.approx(1.0)
    assert sum(after) == pytest.approx(1.0)


def test_a_run_without_its_weights_keeps_its_float_row(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_bytes((runs["pure"].path / "run.json").read_bytes())
    bench = bench_nair(NairOptions((tmp_path,), times_s=(1.0,)), say=say)
    assert [row[0] for row in bench.result.rows] == ["NAIR"]
    assert any("weights are not here" in note for note in bench.result.notes)
    assert any("no WebP line" in note for note in bench.result.notes)


def test_the_command_writes_table_json_and_pictures(runs: dict[str, Run], tmp_path: Path) -> None:
    arguments = [str(runs["original"].path), str(runs["pure"].path), "--kbps", "100"]
    arguments += ["--times-ms", "10,50", "--pictures", "4", "--codec-pictures", "4"]
    result = CliRunner().invoke(nair, [*arguments, "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "nair.json").read_text())
    assert found["bench"] == "NAIR"
    assert {line["name"] for line in found["details"]["lines"]} >= {
        "NAIR, quantised and coded",
        "picture, WebP",
    }
    assert (tmp_path / "nair.png").exists()
    assert (tmp_path / "nair-importance-2.png").exists()
    assert not (tmp_path / "nair-importance-1.png").exists()  # untrained: nothing moved


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_bps": 0.0}, "--kbps: found 0"),
        ({"times_s": ()}, "--times-ms: expected times above 0"),
        ({"times_s": (-1.0,)}, "--times-ms: expected times above 0"),
        ({"codec_pictures": 1}, "--codec-pictures: found 1"),
        ({"runs": ()}, "no run is given"),
    ],
)
def test_impossible_options_are_refused(
    changes: dict[str, object], message: str, runs: dict[str, Run]
) -> None:
    with pytest.raises(UsageError, match=message):
        options(runs["pure"], **changes)


def test_a_run_of_train_prune_is_refused(tmp_path: Path) -> None:
    run = train_tiny(write_pictures(tmp_path / "t.npz"), tmp_path / "run", budgets=(6,), epochs=1)
    with pytest.raises(UsageError, match="has no progressive member"):
        bench_nair(options(run), say=say)


def test_the_picture_also_shows_what_the_device_answers_without_sending(
    runs: dict[str, Run],
) -> None:
    exits = [progressive_entry(run)[0].exit_accuracy for run in runs.values()]
    found = answers_of_device(list(runs.values()))
    assert found["early exit on the device"] == max(exits)
    best = max(run.record.backbone.accuracy for run in runs.values() if run.record.backbone)
    assert found["whole network on the device"] == best
