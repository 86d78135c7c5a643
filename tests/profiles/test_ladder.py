"""Ladders of points in TOML files."""

from pathlib import Path

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.ladder import read_ladder
from headgate.profiles.manifest import PointKind, PointTime

EXAMPLE = Path(__file__).parents[2] / "examples" / "ladder.toml"
LOCAL = '[[points]]\nid = "l"\nkind = "local"\naccuracy = 0.6\n'


def prefix(number: int, num_bytes: int, *, member: str = "m") -> str:
    return (
        f'[[points]]\nid = "p{number}"\nkind = "split"\naccuracy = 0.7\nbytes = {num_bytes}\n'
        f'member = "{member}"\nprefix = {number}\n'
    )


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ladder.toml"
    path.write_text(text)
    return path


def test_example_is_the_ladder_of_two_to_a_hundred_kilobytes() -> None:
    manifest = read_ladder(EXAMPLE)
    split = [point for point in manifest.points if point.kind is PointKind.SPLIT]
    assert [point.bytes.mean for point in split] == [2e3, 5e3, 1e4, 2e4, 5e4, 1e5]
    assert manifest.quality(split[-1]) == 0.786
    assert manifest.quality(manifest.point("local")) == 0.6
    assert manifest.member("s5").exit_metrics == {"top1": 0.55}
    assert manifest.times["ladder"]["s5"] == PointTime(0.003, 0.002)
    assert {p.picture_format for p in manifest.points if p.kind is PointKind.OFFLOAD} == {"jpeg"}


def test_progressive_example_has_the_same_points_as_prefixes_of_one_member() -> None:
    plain, progressive = read_ladder(EXAMPLE), read_ladder(EXAMPLE.with_name("progressive.toml"))
    prefixes = [point for point in progressive.points if point.prefix is not None]
    assert [point.prefix for point in prefixes] == [1, 2, 3, 4, 5, 6]
    assert len({point.series for point in prefixes}) == 1
    assert len(progressive.members) == 1
    assert progressive.members[0].layers == (1,) * 6
    assert progressive.members[0].exit_metrics == {"top1": 0.55}
    for a, b in zip(plain.points, progressive.points, strict=True):
        assert (a.bytes, a.metrics, a.kind) == (b.bytes, b.metrics, b.kind)
        assert plain.times["ladder"][a.id] == progressive.times["ladder"][b.id]


def test_prefixes_may_come_in_any_order(tmp_path: Path) -> None:
    manifest = read_ladder(write(tmp_path, prefix(2, 300) + prefix(1, 100)))
    assert [point.prefix for point in manifest.points] == [2, 1]
    assert len(manifest.points[0].low) == 2


def test_sizes_may_be_given_as_quantiles(tmp_path: Path) -> None:
    text = (
        '[[points]]\nid = "a"\nkind = "split"\naccuracy = 0.7\nbytes_quantiles = [80, 100, 160]\n'
    )
    stats = read_ladder(write(tmp_path, text)).point("a").bytes
    assert (stats.p5, stats.p50, stats.p95, stats.mean) == (80, 100, 160, 110)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("points = 1", "expected a list"),
        ("points = []", "has no points"),
        ("=", "not TOML"),
        ("schema = 9\n" + LOCAL, "reads 1"),
        (LOCAL + LOCAL, "more than once"),
        (LOCAL + "bytes = 3\n", "neither bytes"),
        (LOCAL.replace("0.6", "60.0"), "not within 0 to 1"),
        (LOCAL.replace("local", "split"), "needs bytes"),
        (LOCAL.replace("local", "offload") + "bytes = -1\n", "above 0"),
        (LOCAL.replace("local", "split") + "bytes = 0\n", "above 0"),
        (LOCAL.replace("local", "split") + "bytes = 99999999999999999999\n", "at most 67108864"),
        (LOCAL.replace("local", "split") + "bytes_quantiles = [3, 2, 1]\n", "rising"),
        (LOCAL + "device_ms = -1\n", "must be 0 to 1000000 ms; correct their unit"),
        (LOCAL + "edge_ms = 1e300\n", "must be 0 to 1000000 ms; correct their unit"),
        (LOCAL.replace('"l"', '""'), "id: is empty"),
        (
            LOCAL.replace("local", "offload") + 'bytes = 9\npicture_format = "jpg"\n',
            "'jpg' is not one of jpeg, webp",
        ),
        (LOCAL + "exit_accuracy = 0.5\n", "only split"),
        (LOCAL + 'picture_format = "jpeg"\n', "only offload"),
        (LOCAL + "colour = 1\n", "unknown keys"),
        (LOCAL + "prefix = 1\n", "go together"),
        (LOCAL + 'member = "m"\nprefix = 1\n', "only split points may be prefixes"),
        (prefix(1, 100) + prefix(3, 300), r"prefixes \[1, 3\], expected each from 1 to 2 once"),
        (prefix(1, 100) + prefix(2, 100), "larger than the one before"),
        (prefix(1, 100) + "exit_accuracy = 0.5\n" + prefix(2, 300), "different exit_accuracy"),
        (prefix(1, 100, member="l") + LOCAL, "is a point and a member"),
    ],
)
def test_malformed_ladder_is_one_clear_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_ladder(write(tmp_path, text))


def test_a_picture_is_a_jpeg_where_the_ladder_does_not_say(tmp_path: Path) -> None:
    ladder = read_ladder(write(tmp_path, LOCAL.replace("local", "offload") + "bytes = 900\n"))
    assert [point.picture_format for point in ladder.points] == ["jpeg"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_ladder(tmp_path / "none.toml")
