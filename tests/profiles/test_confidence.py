"""Claims about headgate.profiles.confidence."""

import json
from dataclasses import replace

import numpy as np
import pytest

from headgate.profiles.confidence import Curve, picture_fingerprint
from headgate.profiles.manifest_json import manifest_from_json, manifest_to_json
from profiles.manifests import small_manifest


def _manifest_json() -> dict[str, object]:
    from headgate.profiles.manifest import FileEntry
    from profiles.manifests import FILES

    entries = {name: FileEntry("0" * 64, 1, roles) for name, (_, roles) in FILES.items()}
    manifest = small_manifest(entries)
    value = json.loads(json.dumps(manifest_to_json(manifest)))
    assert isinstance(value, dict)
    return value


def test_a_curve_rises_with_the_probability_and_bears_0_and_1() -> None:
    curve = Curve(slope=0.5, offset=0.2)
    chances = [curve.chance(probability) for probability in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert chances == sorted(chances)
    assert 0 < chances[0] < chances[-1] < 1
    assert Curve(slope=1.0, offset=0.0).chance(0.8) == pytest.approx(0.8)


@pytest.mark.parametrize("slope", [0.0, 1e4, 1e308])
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4, 1e308, -1e308])
def test_a_curve_however_steep_gives_a_chance(slope: float, offset: float) -> None:
    curve = Curve(slope, offset)
    chances = [curve.chance(probability) for probability in (0.0, 0.4, 0.5, 0.6, 1.0)]
    assert chances == sorted(chances)
    assert 0 <= chances[0] <= chances[-1] <= 1


def test_pictures_of_other_pixels_have_other_fingerprints() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    other = picture.copy()
    other[1, 2, 0] = 1
    assert picture_fingerprint(picture) == picture_fingerprint(picture.copy())
    assert picture_fingerprint(picture) != picture_fingerprint(other)


def test_a_family_without_curves_keeps_its_digest_and_one_with_them_is_read_back() -> None:
    value = _manifest_json()
    assert "confidence" not in json.dumps(value)
    plain = manifest_from_json(value, where="test")
    curve = Curve(0.4, -0.1)
    calibrated = replace(
        plain,
        members=tuple(replace(member, confidence=curve) for member in plain.members),
        confidence_pictures=("0123456789ab",),
    )
    again = manifest_from_json(manifest_to_json(calibrated), where="test")
    assert again == calibrated
    assert again.digest != plain.digest
