import hashlib
from pathlib import Path

import pytest

from headgate.profiles.errors import FamilyError
from headgate.profiles.manifest import FileEntry, Manifest
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from profiles.manifests import FILES, small_manifest, write_small_family


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_small_family(tmp_path)


def test_the_digest_is_what_version_0_1_computed() -> None:
    # Mark new fields as ADDED (`profiles.parse`), or families of earlier versions are refused.
    files = {
        name: FileEntry(hashlib.sha256(content).hexdigest(), len(content), roles)
        for name, (content, roles) in FILES.items()
    }
    digest = small_manifest(files).digest
    assert digest == "0ab3acceafafc99e47eef35ab34d6550999c07328bbd4979f7f9edacb37067cb"


def test_any_change_of_a_point_changes_the_digest(manifest: Manifest) -> None:
    changed = manifest_to_json(manifest)
    changed["points"][0]["low"][0] = 0.001
    assert manifest_from_json(changed, where="f").digest != manifest.digest


def test_points_are_found_by_id_and_by_their_number_on_the_wire(manifest: Manifest) -> None:
    index = manifest.index_of("webp-q50")
    assert manifest.points[index].id == "webp-q50"
    with pytest.raises(FamilyError, match=r"no operating point 'b9'.*b2r1-l16"):
        manifest.point("b9")
