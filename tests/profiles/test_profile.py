from pathlib import Path

import pytest

from headgate.profiles.errors import ProfileError
from headgate.profiles.manifest import Manifest
from headgate.profiles.profile import Profile, allowed_points, list_presets, load_profile
from profiles.manifests import write_small_family


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_small_family(tmp_path)


def write_profile(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(f'name = "mine"\n{text}\n')
    return str(path)


def test_the_four_presets_load_and_admit_points_of_a_small_family(manifest: Manifest) -> None:
    names = [profile.name for profile in list_presets()]
    assert names == ["balanced", "low-bandwidth", "low-latency", "max-accuracy"]
    for name in names:
        assert allowed_points(load_profile(name), manifest)


def test_a_profile_narrows_points_by_kind_pattern_accuracy_and_bytes(
    manifest: Manifest, tmp_path: Path
) -> None:
    def ids(text: str) -> list[str]:
        profile = load_profile(write_profile(tmp_path, text))
        return [point.id for point in allowed_points(profile, manifest)]

    assert ids('kinds = ["split"]') == ["b2r1-l16"]
    assert ids('points = ["webp-*", "local-exit"]') == ["webp-q50", "local-exit"]
    assert ids("max_bytes = 100") == ["b2r1-l16", "local-full", "local-exit"]
    assert ids("min_accuracy = 0.85") == ["webp-q50", "local-full", "local-exit"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sla = 3", r"unknown keys 'sla'"),
        ("sla_ms = 0", "must be above 0"),
        ("sla_ms = -3", "not within 0"),
        ("miss_rate = 1.5", "not within 0 to 1"),
        ('prefer = "speed"', "'speed' is not one of"),
        ("kinds = []", "name at least one"),
        ("schema = 2", "reads up to 1"),
        ("= 3", "not TOML"),
        ("sla_ms = " + 5000 * "1", "not TOML .*4300"),
        ("sla_ms = " + 400 * "1", "sla_ms: expected a finite number"),
        ("max_bytes = " + 400 * "9", r"max_bytes: 9{37}\.\.\. is not within"),
        (
            f'description = "{1001 * "x"}"',
            "description: has 1001 characters, expected at most 1000",
        ),
        ("points = [" + 501 * '"b*",' + "]", "points: has 501 patterns, expected at most 500"),
        (
            'points = ["b*", "' + 51 * "[a" + '"]',
            r"points\[1\]: has 102 characters, expected at most",
        ),
        ("points = " + 3000 * "[" + 3000 * "]", "not TOML .*recursion"),
    ],
)
def test_a_malformed_profile_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        load_profile(write_profile(tmp_path, text))


def test_a_profile_that_begins_with_a_mark_of_its_encoding_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "mine"\r\nsla_ms = 80\r\n')
    assert load_profile(str(path)) == Profile(name="mine", sla_ms=80.0)


def test_an_unknown_profile_lists_the_presets() -> None:
    with pytest.raises(ProfileError, match=r"'fast': neither a preset \(balanced, .* in .toml$"):
        load_profile("fast")
    with pytest.raises(ProfileError, match=r"fast\.toml: no such file, .*; check the path$"):
        load_profile("fast.toml")


def test_a_profile_that_names_points_the_family_lacks_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ProfileError, match=r"'b99\*' matches no point.*b2r1-l16"):
        allowed_points(Profile(name="mine", points=("b2*", "b99*")), manifest)


def test_a_profile_that_allows_nothing_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ProfileError, match="allows no point"):
        allowed_points(Profile(name="mine", points=("webp-*",), max_bytes=10), manifest)
