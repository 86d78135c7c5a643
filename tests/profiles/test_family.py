import json
import os
from pathlib import Path

import pytest

from headgate.profiles.errors import FamilyError
from headgate.profiles.family import manifest_text, open_family
from profiles.manifests import FILES, write_small_family


def test_an_intact_folder_opens_with_the_digest_it_was_written_with(tmp_path: Path) -> None:
    manifest = write_small_family(tmp_path)
    assert open_family(tmp_path).manifest.digest == manifest.digest


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_flipped_bit_in_any_file_is_found(tmp_path: Path, name: str) -> None:
    write_small_family(tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    content[1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FamilyError, match=r"sha256 is \w{12}, the manifest says \w{12}; export"):
        open_family(tmp_path)


@pytest.mark.parametrize("role", ["device", "edge"])
def test_a_family_that_is_replaced_while_it_is_loaded_is_refused(role: str, tmp_path: Path) -> None:
    write_small_family(tmp_path)
    family = open_family(tmp_path, roles=(role,))
    family.check_unchanged()
    name = next(name for name in FILES if name in family.stamps)
    (tmp_path / name).chmod(0o600)  # and the same content
    family.check_unchanged()
    (tmp_path / "fresh").write_bytes(b"x" * len(FILES[name]))
    os.replace(tmp_path / "fresh", tmp_path / name)
    with pytest.raises(FamilyError, match="was changed while it was loaded; start again"):
        family.check_unchanged()
    (tmp_path / name).unlink()
    with pytest.raises(FamilyError, match="was changed while it was loaded; start again"):
        family.check_unchanged()


def test_a_device_may_hold_its_own_files_only(tmp_path: Path) -> None:
    write_small_family(tmp_path)
    (tmp_path / "tails/b2r1/1/model.onnx").unlink()
    open_family(tmp_path, roles=("device",))
    with pytest.raises(FamilyError, match="is missing; export or copy"):
        open_family(tmp_path, roles=("edge",))


def test_a_truncated_file_is_told_by_its_size(tmp_path: Path) -> None:
    write_small_family(tmp_path)
    (tmp_path / "full/model.onnx").write_bytes(b"fu")
    with pytest.raises(FamilyError, match="has 2 bytes, the manifest says 4"):
        open_family(tmp_path)


def test_a_file_nothing_vouches_for_is_refused(tmp_path: Path) -> None:
    write_small_family(tmp_path)
    (tmp_path / "heads/b2r1/model.onnx.data").write_bytes(b"x")
    with pytest.raises(FamilyError, match="not in the manifest"):
        open_family(tmp_path)


@pytest.mark.parametrize("name", [".DS_Store", "heads/._b2r1", "heads/b2r1/Thumbs.db"])
def test_what_a_desktop_leaves_is_passed_over_unless_it_is_a_link(
    name: str, tmp_path: Path
) -> None:
    write_small_family(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    open_family(tmp_path)
    (tmp_path / name).unlink()
    os.symlink(tmp_path / "family.json", tmp_path / name)
    with pytest.raises(FamilyError, match="is a link"):
        open_family(tmp_path)


def test_a_link_is_refused_even_when_it_points_to_the_right_bytes(tmp_path: Path) -> None:
    write_small_family(tmp_path / "family")
    path = tmp_path / "family/full/model.onnx"
    path.rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(FamilyError, match="is a link"):
        open_family(tmp_path / "family")


def test_a_run_given_as_a_family_is_told_from_one(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FamilyError, match=r"is a training run, no family; export it with"):
        open_family(tmp_path)


def test_a_folder_without_a_manifest_is_no_family(tmp_path: Path) -> None:
    with pytest.raises(FamilyError, match=r"family\.json: no such file"):
        open_family(tmp_path)
    with pytest.raises(FamilyError, match="no such folder"):
        open_family(tmp_path / "nowhere")


def test_a_file_given_as_a_family_is_not_said_to_be_missing(tmp_path: Path) -> None:
    write_small_family(tmp_path)
    with pytest.raises(FamilyError, match=r"family\.json: is a file, expected a family's folder"):
        open_family(tmp_path / "family.json")


def test_a_manifest_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_small_family(tmp_path)
    value = json.loads((tmp_path / "family.json").read_text())
    value["colour"] = "blue"
    (tmp_path / "family.json").write_text(json.dumps(value))
    with pytest.raises(FamilyError, match=r"unknown keys 'colour'"):
        open_family(tmp_path)


def test_a_manifest_that_states_no_digest_is_refused(tmp_path: Path) -> None:
    write_small_family(tmp_path)
    value = json.loads((tmp_path / "family.json").read_text())
    del value["digest"]
    (tmp_path / "family.json").write_text(json.dumps(value))
    with pytest.raises(FamilyError, match=r"family\.json\.digest: is missing"):
        open_family(tmp_path)


def test_any_change_of_the_manifest_is_found_by_the_digest_it_states(tmp_path: Path) -> None:
    manifest = write_small_family(tmp_path)
    path = tmp_path / "family.json"
    text = manifest_text(manifest)
    path.write_text(text)
    assert open_family(tmp_path).manifest == manifest
    path.write_text(text.replace('"top1": 0.91', '"top1": 0.92'))
    with pytest.raises(FamilyError, match=r"digest is \w{12}, it says \w{12}; export or copy"):
        open_family(tmp_path)
    path.write_text(text.replace(manifest.digest[:4], "####"))
    with pytest.raises(FamilyError, match="it says ####"):
        open_family(tmp_path)


def test_a_family_opens_from_inside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_small_family(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert open_family(Path(".")).manifest == manifest
