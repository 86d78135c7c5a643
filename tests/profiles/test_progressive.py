from dataclasses import replace

import pytest

from headgate.profiles.errors import FamilyError
from headgate.profiles.manifest import FileEntry, Manifest
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from headgate.profiles.progressive import layer_bounds, maps_of_prefix, prefixes_of
from profiles.manifests import small_manifest

FILE = FileEntry("00" * 32, 4, ("device", "edge"))
PATHS = ("heads/b2r1/model.onnx", "tails/b2r1/1/model.onnx", "full/model.onnx")


def progressive_manifest(*prefixes: int, layers: tuple[int, ...] = (1, 1)) -> Manifest:
    """Return a manifest whose one member has two layers of one map each."""
    manifest = small_manifest(dict.fromkeys(PATHS, FILE))
    first, *others = manifest.points
    points = [replace(first, id=f"b2r1-l16-p{prefix}", prefix=prefix) for prefix in prefixes]
    members = (replace(manifest.members[0], layers=layers),)
    return replace(manifest, members=members, points=(*points, *others))


def read_again(manifest: Manifest) -> Manifest:
    return manifest_from_json(manifest_to_json(manifest), where="family.json")


def test_a_progressive_manifest_survives_json() -> None:
    manifest = progressive_manifest(2, 1)
    assert read_again(manifest) == manifest


def test_prefixes_of_a_point_come_by_rising_size_and_from_its_own_series_only() -> None:
    manifest = progressive_manifest(2, 1)
    other = replace(manifest.point("b2r1-l16-p1"), id="b2r1-l4-p1", levels=4)
    manifest = replace(manifest, points=(*manifest.points, other))
    large = manifest.point("b2r1-l16-p2")
    assert [point.id for point in prefixes_of(large, manifest.points)] == [
        "b2r1-l16-p1",
        "b2r1-l16-p2",
    ]
    assert prefixes_of(manifest.point("b2r1-l16-p1"), manifest.points)[-1].prefix == 1
    assert prefixes_of(manifest.point("webp-q50"), manifest.points) == ()


def test_layers_say_which_maps_they_hold() -> None:
    member = replace(progressive_manifest(1).members[0], layers=(2, 1, 3))
    assert layer_bounds(member) == (0, 2, 3, 6)
    assert maps_of_prefix(member, 2) == 3


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        (progressive_manifest(1, 2, layers=(1, 2)), "add up to its 2 maps"),
        (progressive_manifest(1, 2, layers=(2, 0)), "add up to its 2 maps"),
        (progressive_manifest(1, 2, 3), "sends 3 layers, expected 1 to 2"),
        (progressive_manifest(0), "sends 0 layers, expected 1 to 2"),
        (progressive_manifest(2), r"no point sends \[1\] layers"),
        (progressive_manifest(1, layers=()), "has prefix 1 and the member 0 layers"),
        (
            replace(
                progressive_manifest(1, 2),
                points=(replace(progressive_manifest(1).points[0], prefix=None),),
            ),
            "has prefix None and the member 2 layers",
        ),
        (
            replace(
                progressive_manifest(1, 2),
                points=(
                    progressive_manifest(1).points[0],
                    replace(progressive_manifest(2).points[0], twin="b2r1-l16-p1"),
                ),
            ),
            "goes in layers, which are never predicted",
        ),
    ],
)
def test_layers_and_prefixes_that_do_not_fit_are_refused(manifest: Manifest, fault: str) -> None:
    with pytest.raises(FamilyError, match=fault):
        read_again(manifest)
