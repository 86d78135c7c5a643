"""Tables of frequencies in a manifest: what is refused before anyone codes with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headgate.profiles.context_table import ContextTable, make_table, table_fault
from headgate.profiles.errors import FamilyError
from headgate.profiles.manifest import Manifest
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from profiles.manifests import write_small_family

TABLE = make_table(
    neighbours=("left", "up"),
    bins=2,
    assignment=(0, 0, 1, 0, 1, 1, 0, 1, 1),
    frequencies=((200, 40, 16), (16, 40, 200)),
)


def test_a_table_gives_back_what_it_was_made_of() -> None:
    assert table_fault(TABLE, levels=3) is None
    assert TABLE.frequencies == ((200, 40, 16), (16, 40, 200))
    assert TABLE.assignment == (0, 0, 1, 0, 1, 1, 0, 1, 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"neighbours": ()}, "left first"),
        ({"neighbours": ("up", "left")}, "left first"),
        ({"neighbours": ("left", "left")}, "none twice"),
        ({"neighbours": ("left", "right")}, "known are"),
        ({"bins": 0}, "expected 1 to 3"),
        ({"bins": 4}, "expected 1 to 3"),
        ({"bins": 3}, "9 letters, 2 neighbours of 3 bins need 16"),
        ({"contexts": "00101101"}, "8 letters, 2 neighbours of 2 bins need 9"),
        ({"contexts": "001011012"}, "found '2', expected letters of the 2 rows"),
        ({"contexts": "00101101A"}, "found 'A', expected letters of the 2 rows"),
        ({"rows": ("200 40 16",)}, "found '1', expected letters of the 1 rows"),
        ({"rows": ("200 40 16", "16 40 201")}, r"sum to \[256, 257\]"),
        ({"rows": ("200 40 16",) * 37}, "37 of them, expected 36 at most"),
        ({"rows": ("100 20 8", "100 20 8")}, r"sum to \[128\]"),
        ({"rows": ("200 40 16", "200  40 16")}, r"rows\[1\]: found .*, expected 3 whole numbers"),
        ({"rows": ("200 40 16", "240 16")}, r"rows\[1\]: found '240 16', expected 3 whole numbers"),
        ({"rows": ("200 40 16", "200 56 0")}, r"rows\[1\]: found a frequency of 0, expected 1"),
        ({"rows": ("200 40 16", "-1 257 0")}, r"rows\[1\]: found .*, expected 3 whole numbers"),
        ({"rows": ("200 40 16", "٢00 40 16")}, r"rows\[1\]: found .*, expected 3 whole numbers"),
        (
            {"rows": ("200 40 16", "9" * 5000 + " 1 1")},
            r"rows\[1\]: found .*, expected 3 whole numbers",
        ),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(changes: dict[str, Any], sentence: str) -> None:
    fault = table_fault(replace(TABLE, **changes), levels=3)
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(fault)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_small_family(tmp_path)


def with_codec(manifest: Manifest, codec: str, table: ContextTable | None) -> Manifest:
    first, *rest = manifest.points
    changed = replace(first, levels=3, codec=codec, table=table)
    return replace(manifest, points=(changed, *rest))


def test_a_point_with_a_table_survives_json(manifest: Manifest) -> None:
    changed = with_codec(manifest, "context", TABLE)
    again = manifest_from_json(manifest_to_json(changed), where="family.json")
    assert again == changed
    assert again.digest == changed.digest != manifest.digest
    assert "table" not in manifest_to_json(manifest)["points"][0]


@pytest.mark.parametrize(
    ("codec", "table", "sentence"),
    [
        ("context", None, "go together, found 'context' without a table"),
        ("zstd", TABLE, "go together, found 'zstd' with a table"),
        ("brotli", None, "codec: 'brotli' is not one of zstd, raw, context"),
        (
            "context",
            replace(TABLE, bins=3),
            "table.contexts: 9 letters.*export or copy the family again",
        ),
        ("context", replace(TABLE, neighbours=("left", "before")), "known are"),
    ],
)
def test_a_point_whose_codec_cannot_be_meant_is_refused(
    manifest: Manifest, codec: str, table: ContextTable | None, sentence: str
) -> None:
    value = manifest_to_json(with_codec(manifest, codec, table))
    with pytest.raises(FamilyError, match=sentence):
        manifest_from_json(value, where="family.json")
