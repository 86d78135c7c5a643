from pathlib import Path
from typing import Any

import pytest

from headgate.profiles.errors import FamilyError
from headgate.profiles.manifest import Manifest
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from profiles.manifests import small_manifest, write_small_family

CURVE = {"slope": 1.0, "offset": 0.0}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_small_family(tmp_path)


def test_a_manifest_survives_json_with_its_digest(manifest: Manifest) -> None:
    again = manifest_from_json(manifest_to_json(manifest), where="family.json")
    assert again == manifest
    assert again.digest == manifest.digest
    assert len(manifest.digest) == 64


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (("schema",), 2, "this version reads up to 1"),
        (("schema",), None, "this version reads up to 1"),
        (("points", 0, "member"), "b9r1", "no member 'b9r1'"),
        (("points", 0, "levels"), 1, "not within 2 to 256"),
        (("points", 0, "low"), [0.0], "one value per channel"),
        (("points", 0, "span"), [1.0, 0.0], "must be above 0"),
        (("points", 0, "codec"), None, "needs member, levels and codec"),
        (("points", 1, "id"), "b2r1-l16", "more than once"),
        (("points", 1, "picture_quality"), None, "an offload point needs"),
        (("points", 2, "graph"), "else.onnx", "not among the family's files"),
        (("points", 3, "graph"), "full/model.onnx", "either a graph or"),
        (("points", 3, "metrics"), {}, "'top1' is missing"),
        (("points",), [], "needs metrics, points and labels"),
        (("full_graph",), "../full.onnx", "not among the family's files"),
        (("outputs",), [], "outputs: is empty"),
        (("outputs", 0, "name"), "p" * 65, "has 65 characters, expected 1 to 64 of printable"),
        (("outputs", 0, "name"), "", "has 0 characters"),
        (("outputs", 0, "name"), "warm \u00e9", r"the name 'warm \\xe9' has 6 characters"),
        (("members", 0, "features", "dtype"), "float32", "expected uint8"),
        (("members", 0, "features", "shape"), [2, 10**6, 10**6], "at most 67108864 values"),
        (("members", 0, "features", "shape"), [2, 0, 8], "sizes above 0"),
        (("input", "height_px"), 10**9, "at most 67108864 values"),
        (
            ("points", 0, "bytes", "p5"),
            -1.0,
            r"bytes\.p5: found -1, expected 0 to 1e\+12",
        ),
        (("points", 0, "bytes", "p50"), 1e308, r"bytes\.p50: found 1e\+308, expected 0 to"),
        (("times", "here", "b2r1-l16", "edge_s"), 1e308, r"times\.here\.b2r1-l16\.edge_s: found"),
        (("members", 0, "confidence"), CURVE | {"slope": -1.0}, r"confidence\.slope: found -1,"),
        (("points", 0, "confidence"), CURVE | {"offset": -1e30}, r"confidence\.offset.*: found 1e"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused(
    manifest: Manifest, path: tuple[str | int, ...], new: Any, said: str
) -> None:
    value = manifest_to_json(manifest)
    *parents, key = path
    place: Any = value
    for step in parents:
        place = place[step]
    place[key] = new
    with pytest.raises(FamilyError, match=said):
        manifest_from_json(value, where="family.json")


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../b", "a\\b", "a//b"])
def test_a_path_that_leaves_the_folder_is_refused(manifest: Manifest, name: str) -> None:
    value = manifest_to_json(manifest)
    value["files"][name] = {"sha256": "0" * 64, "num_bytes": 1, "roles": ["edge"]}
    with pytest.raises(FamilyError, match="not a plain path"):
        manifest_from_json(value, where="family.json")


def test_a_manifest_that_lists_no_files_is_refused() -> None:
    with pytest.raises(FamilyError, match="not among the family's files"):
        manifest_from_json(manifest_to_json(small_manifest({})), where="family.json")
