"""Training pictures as an offloading device would send them: JPEG or WebP of mixed quality.

Each picture gets a format and a quality of its own, drawn from a generator of the caller's. Low
qualities come more often than high ones: they are where a network that never saw blocks loses
most, and where a network that did must tell more pictures apart.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate.profiles.pictures import PictureFormat, decode_picture, encode_picture

# Shapes: N pictures, C = 3 colours, H height, W width

BLOCK = 64  # pictures that a thread takes at a time


@dataclass(frozen=True, slots=True)
class PictureMix:
    """What becomes of pictures: shares of each format, the rest stays clean; qualities 1 to 100."""

    jpeg_share: float = 0.45
    webp_share: float = 0.45
    jpeg_range: tuple[int, int] = (5, 90)
    webp_range: tuple[int, int] = (1, 90)


DEFAULT_MIX = PictureMix()


def compress_pictures(
    pictures_NCHW: npt.NDArray[np.uint8],
    *,
    draws: np.random.Generator,
    mix: PictureMix = DEFAULT_MIX,
    threads: int = 1,
) -> npt.NDArray[np.uint8]:
    """Return the pictures as they look after compression; some, by the mix, as they are.

    The same draws give the same pictures, whatever the number of threads.
    """
    num = len(pictures_NCHW)
    kind_N, depth_N = draws.random(num), draws.random(num) ** 2
    out_NCHW = pictures_NCHW.copy()

    def fill(begin: int) -> None:
        for index in range(begin, min(begin + BLOCK, num)):
            chosen = _choose(mix, kind=float(kind_N[index]), depth=float(depth_N[index]))
            if chosen is not None:
                out_NCHW[index] = after_compression(pictures_NCHW[index], *chosen)

    if threads <= 1:
        for begin in range(0, num, BLOCK):
            fill(begin)
        return out_NCHW
    with ThreadPoolExecutor(threads) as pool:  # Pillow's codecs let go of Python's lock
        list(pool.map(fill, range(0, num, BLOCK)))
    return out_NCHW


def after_compression(
    picture_CHW: npt.NDArray[np.uint8], fmt: PictureFormat, quality: int
) -> npt.NDArray[np.uint8]:
    """Return what the other end sees of one picture."""
    picture_HWC = picture_CHW.transpose(1, 2, 0)
    data = encode_picture(picture_HWC, fmt, quality)
    seen_HWC = decode_picture(data, max_pixels=picture_HWC.shape[0] * picture_HWC.shape[1])
    return seen_HWC.transpose(2, 0, 1)


def _choose(mix: PictureMix, *, kind: float, depth: float) -> tuple[PictureFormat, int] | None:
    """Turn two draws in 0..1 into a format and a quality, or None for a clean picture."""
    if kind < mix.jpeg_share:
        return "jpeg", _within(mix.jpeg_range, depth)
    if kind < mix.jpeg_share + mix.webp_share:
        return "webp", _within(mix.webp_range, depth)
    return None


def _within(bounds: tuple[int, int], depth: float) -> int:
    low, high = bounds
    return low + round(depth * (high - low))
