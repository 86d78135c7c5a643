"""Ladders of points in TOML files."""

from pathlib import Path

import pytest

from headgate.profiles.errors import UsageError
from headgate.profiles.ladder import read_ladder
from headgate.profiles.manifest import PointKind, PointTime

EXAMPLE = Path(__file__).parents[2] / "examples" / "ladder.toml"
LOCAL = '[[points]]\nid = "l"\nkind = "local"\naccuracy = 0.6\n'


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
        (LOCAL.replace("local", "split") + "bytes_quantiles = [3, 2, 1]\n", "rising"),
        (LOCAL + "device_ms = -1\n", "below 0"),
        (LOCAL + "exit_accuracy = 0.5\n", "only split"),
        (LOCAL + 'picture_format = "jpeg"\n', "only offload"),
        (LOCAL + "colour = 1\n", "unknown keys"),
    ],
)
def test_malformed_ladder_is_one_clear_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_ladder(write(tmp_path, text))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_ladder(tmp_path / "none.toml")
