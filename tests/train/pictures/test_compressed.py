"""Claims about headgate.train.pictures.compressed: what becomes of training pictures."""

import numpy as np
import numpy.typing as npt
import pytest

from headgate.profiles.pictures import decode_picture, encode_picture
from headgate.train.pictures.compressed import PictureMix, after_compression, compress_pictures


def smooth_pictures(num: int) -> npt.NDArray[np.uint8]:
    """Return pictures [N, 3, 24, 20] that codecs can do something with."""
    rows, columns = np.mgrid[0:24, 0:20]
    waves = [128 + 100 * np.sin(rows / (2 + n % 5) + columns / 3) for n in range(3 * num)]
    return np.array(waves).reshape(num, 3, 24, 20).astype(np.uint8)


def test_the_same_draws_give_the_same_pictures_with_any_number_of_threads() -> None:
    pictures = smooth_pictures(150)
    one = compress_pictures(pictures, draws=np.random.default_rng(3))
    two = compress_pictures(pictures, draws=np.random.default_rng(3), threads=2)
    other = compress_pictures(pictures, draws=np.random.default_rng(4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert one.shape == pictures.shape
    assert one.dtype == np.uint8


def test_shares_say_how_many_pictures_stay_clean() -> None:
    pictures = smooth_pictures(200)
    seen = compress_pictures(pictures, draws=np.random.default_rng(0))
    clean = [np.array_equal(a, b) for a, b in zip(pictures, seen, strict=True)]
    assert 0.03 < np.mean(clean) < 0.2
    untouched = compress_pictures(
        pictures, draws=np.random.default_rng(0), mix=PictureMix(jpeg_share=0, webp_share=0)
    )
    assert np.array_equal(untouched, pictures)


@pytest.mark.parametrize("fmt", ["jpeg", "webp"])
def test_a_picture_looks_as_the_edge_will_see_it(fmt: str) -> None:
    (picture_CHW,) = smooth_pictures(1)
    data = encode_picture(picture_CHW.transpose(1, 2, 0), fmt, 10)  # type: ignore[arg-type]
    expected_HWC = decode_picture(data, max_pixels=480)
    seen_CHW = after_compression(picture_CHW, fmt, 10)  # type: ignore[arg-type]
    assert np.array_equal(seen_CHW, expected_HWC.transpose(2, 0, 1))
