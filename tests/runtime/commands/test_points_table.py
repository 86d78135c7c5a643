import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from headgate.profiles.family import Family
from headgate.profiles.manifest import Manifest
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from headgate.runtime.cli import main
from headgate.runtime.commands.points_table import (
    PointCost,
    dominated_by,
    family_to_json,
    points_table,
)
from runtime.tiny_family import write_tiny_family


def cost(name: str, quality: float, num_bytes: float, device_s: float, edge_s: float) -> PointCost:
    return PointCost(name, quality, num_bytes, device_s, edge_s)


def test_a_point_that_is_nowhere_better_and_somewhere_worse_is_dominated() -> None:
    good = cost("good", 0.9, 100, 0.001, 0.001)
    assert dominated_by([good, cost("larger", 0.9, 101, 0.001, 0.001)]) == {"larger": "good"}
    assert dominated_by([good, cost("worse", 0.8, 100, 0.001, 0.001)]) == {"worse": "good"}


def test_a_point_that_is_better_anywhere_is_not_dominated() -> None:
    points = [
        cost("accurate", 0.9, 100, 0.001, 0.001),
        cost("small", 0.5, 1, 0.001, 0.001),
        cost("light", 0.5, 100, 0.0001, 0.001),
        cost("kind to the edge", 0.5, 100, 0.001, 0.0001),
    ]
    assert dominated_by(points) == {}


def test_equal_points_do_not_dominate_each_other() -> None:
    twins = [cost("one", 0.9, 100, 0.001, 0.001), cost("two", 0.9, 100, 0.001, 0.001)]
    assert dominated_by(twins) == {}


def test_the_table_names_every_point_and_by_which_it_is_dominated(tiny_family: Family) -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(points_table(tiny_family.manifest))
    ids = {point.id for point in tiny_family.manifest.points}
    rows = {line.split()[0]: line.split() for line in out.getvalue().splitlines() if line.split()}
    assert ids <= rows.keys()
    assert rows["jpeg-q50"][-1] == "b3r1-l16"


def test_the_table_fits_80_columns_with_ids_whole(tiny_family: Family) -> None:
    points = [replace(p, id=f"b128r2-l256x{i}") for i, p in enumerate(tiny_family.manifest.points)]
    out = io.StringIO()
    Console(file=out, width=80).print(
        points_table(replace(tiny_family.manifest, points=tuple(points)))
    )
    assert "…" not in out.getvalue()
    words = {word for line in out.getvalue().splitlines() for word in line.split()}
    assert {point.id for point in points} <= words
    assert max(map(len, out.getvalue().splitlines())) <= 80


def progressive(manifest: Manifest) -> Manifest:
    """Return the manifest with b3r1 cut into layers of 1 and 2 maps, both prefixes at 16 levels."""
    members = tuple(
        replace(member, layers=(1, 2) if member.id == "b3r1" else ()) for member in manifest.members
    )
    points = [
        replace(point, id=f"{point.id}-p{prefix}", prefix=prefix)
        for point in manifest.points
        if point.id == "b3r1-l16"
        for prefix in (1, 2)
    ]
    points += [p for p in manifest.points if p.member != "b3r1" or p.levels is None]
    changed = replace(manifest, members=members, points=tuple(points), times={})
    return manifest_from_json(manifest_to_json(changed), where="family.json")


def test_prefixes_say_how_many_maps_they_send_and_a_line_ends_their_series(
    tiny_family: Family,
) -> None:
    table = points_table(progressive(tiny_family.manifest))
    out = io.StringIO()
    Console(file=out, width=120).print(table)
    lines = out.getvalue().splitlines()
    first = next(n for n, line in enumerate(lines) if line.split()[:1] == ["b3r1-l16-p1"])
    assert lines[first].split()[3] == "1/3"
    assert lines[first + 1].split()[3] == "3/3"
    assert lines[first + 2].strip() == ""
    assert "in the order of sending" in " ".join(out.getvalue().split())
    narrow = io.StringIO()
    Console(file=narrow, width=80).print(table)
    assert max(map(len, narrow.getvalue().splitlines())) <= 80
    ids = {point.id for point in progressive(tiny_family.manifest).points}
    assert ids <= {word for line in narrow.getvalue().splitlines() for word in line.split()}


def test_json_says_what_layers_a_member_has_and_which_prefix_a_point_sends(
    tiny_family: Family,
) -> None:
    shown = family_to_json(progressive(tiny_family.manifest))
    assert shown["layers"] == {"b3r1": [1, 2]}
    prefixes = {point["id"]: point["prefix"] for point in shown["points"]}
    assert (prefixes["b3r1-l16-p1"], prefixes["b3r1-l16-p2"], prefixes["jpeg-q50"]) == (1, 2, None)


def test_inspect_prints_json_with_digest_points_and_dominance(tiny_family: Family) -> None:
    result = CliRunner().invoke(main, ["inspect", str(tiny_family.path), "--json"])
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown["digest"] == tiny_family.manifest.digest
    points = {point["id"]: point for point in shown["points"]}
    assert points["jpeg-q50"]["dominated_by"] == "b3r1-l16"
    assert points["b3r1-l16"]["dominated_by"] is None
    assert points["b3r1-l16"]["bytes"]["mean"] == 100.0


def test_inspect_refuses_one_flipped_byte_with_exit_code_4(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    path = family.file("tails/b1r1/1/model.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    result = CliRunner().invoke(main, ["inspect", str(family.path)])
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "sha256 is" in result.stderr


@pytest.mark.parametrize(
    ("absent", "said"), [("tails", "what an edge needs"), ("heads", "what a device needs")]
)
def test_a_part_that_was_copied_for_one_side_is_inspected_as_that(
    tmp_path: Path, absent: str, said: str
) -> None:
    family = write_tiny_family(tmp_path / "family")
    shutil.rmtree(family.path / absent)
    result = CliRunner().invoke(main, ["inspect", str(family.path)])
    assert result.exit_code == 0
    assert said in result.stdout
    shown = json.loads(CliRunner().invoke(main, ["inspect", str(family.path), "--json"]).stdout)
    assert shown["roles"] == ["device" if absent == "tails" else "edge"]
    assert shown["num_files"] == sum(path.is_file() for path in family.path.rglob("*")) - 1


def test_a_part_that_lacks_a_file_is_refused_and_so_is_a_family_with_neither(
    tmp_path: Path,
) -> None:
    family = write_tiny_family(tmp_path / "family")
    shutil.rmtree(family.path / "tails" / "b1r1")
    refused = CliRunner().invoke(main, ["inspect", str(family.path)])
    assert refused.exit_code == 4
    assert "tails/b1r1/1/model.onnx: is missing" in refused.stderr
    shutil.rmtree(family.path / "tails")
    shutil.rmtree(family.path / "heads")
    assert CliRunner().invoke(main, ["inspect", str(family.path)]).exit_code == 4


def test_the_table_says_what_goes_in_what_comes_out_and_what_ids_mean(
    tiny_family: Family,
) -> None:
    labels = ("a name that is much longer", "b\x1b[2J", "c", "d", "e", "f", "g")
    caption = str(points_table(replace(tiny_family.manifest, labels=labels)).caption)
    assert "7 classes: a name that is …, b?[2J, c, d, e and 2 more" in caption
    assert "split    b3r1-l16: 3 feature maps, 16 levels a number" in caption
    assert "offload  jpeg-q50: a picture of quality 50" in caption
    assert "local-exit: the head and its early exit" in caption


def test_a_point_that_is_shrunk_says_by_how_much(tiny_family: Family) -> None:
    members = tuple(replace(m, resolution_factor=2) for m in tiny_family.manifest.members)
    caption = str(points_table(replace(tiny_family.manifest, members=members)).caption)
    assert "3 feature maps, shrunk by 2 each way" in caption


@pytest.mark.parametrize("counted", ["", "0", "many", "9" * 5000])
def test_accuracy_says_what_it_leaves_to_chance_where_pictures_were_counted(
    tiny_family: Family, counted: str
) -> None:
    points = [replace(point, metrics={"top1": 0.9}) for point in tiny_family.manifest.points]
    manifest = replace(tiny_family.manifest, points=tuple(points))
    known = points_table(replace(manifest, provenance={"validation_pictures": "225"}))
    assert "top1: of 225 validation pictures, standard error up to 0.020\n" in str(known.caption)
    unknown = points_table(replace(manifest, provenance={"validation_pictures": counted}))
    assert "standard error" not in str(unknown.caption)
