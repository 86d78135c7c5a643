"""The one way pictures are read, brought to size and compressed, in training, export and on device.

A network sees what it was trained on only if every stage resizes and decodes alike, so all of them
come here. Pictures are RGB uint8 HWC arrays, 0 to 255.
"""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from headgate.profiles.errors import DataError
from headgate.profiles.plain_files import read_plain

if TYPE_CHECKING:
    from headgate.profiles.manifest import InputSpec

Picture = npt.NDArray[np.uint8]
PictureFormat = Literal["jpeg", "webp"]

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
UNREAD_SUFFIXES = frozenset({".heic", ".heif", ".avif", ".jp2", ".jxl"})  # pictures too
MAX_FILE_PX = 100_000_000  # of a local file: more than any camera, less than memory
MAX_FILE_BYTES = 1 << 30  # more than so many pixels take in any of the formats

WEBP_METHOD = 4  # what a device spends on a picture; 6 is the most libwebp can

_WIRE_FORMATS = ("JPEG", "WEBP")
_FILE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_RESIZES = ("stretch", "crop")
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MAX_SIDE_PX = {"jpeg": 65_535, "webp": 16_383}
_TURNS = {  # by the EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = (5, 6, 7, 8)
# What Pillow's decoders raise for data that is cut, damaged or too large.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def preprocess(picture_HWC: Picture, spec: InputSpec) -> Picture:
    """Bring one picture to the size of the network's input.

    `crop` scales until the picture covers the input, shorter side first, and takes the centre;
    `stretch` gives up the aspect. A picture of the right size is returned as it is.
    """
    height_px, width_px, _ = picture_HWC.shape
    if spec.resize not in _RESIZES or spec.filter not in _FILTERS:
        raise DataError(
            f"input: resize {spec.resize!r} with filter {spec.filter!r}, expected one of "
            f"{', '.join(_RESIZES)} with one of {', '.join(_FILTERS)}; train or export again"
        )
    if (height_px, width_px) == (spec.height_px, spec.width_px):
        return picture_HWC
    left, top, right, bottom = 0.0, 0.0, float(width_px), float(height_px)
    if spec.resize == "crop":
        # The part that is kept, in pixels of the source: what is cropped is never computed.
        scale = max(spec.height_px / height_px, spec.width_px / width_px)
        kept_width_px = min(spec.width_px / scale, width_px)
        kept_height_px = min(spec.height_px / scale, height_px)
        left, top = (width_px - kept_width_px) / 2, (height_px - kept_height_px) / 2
        right, bottom = left + kept_width_px, top + kept_height_px
    resized = Image.fromarray(np.ascontiguousarray(picture_HWC)).resize(
        (spec.width_px, spec.height_px), _FILTERS[spec.filter], box=(left, top, right, bottom)
    )
    return np.array(resized, dtype=np.uint8)


def encode_picture(
    picture_HWC: Picture, fmt: PictureFormat, quality: int, *, webp_method: int = WEBP_METHOD
) -> bytes:
    """Compress one picture as JPEG (4:2:0, own Huffman tables) or WebP.

    `quality` is 1 to 100. JPEG tables are optimised because the default ones would make a rival
    that is 6 to 23 % larger than it needs to be. `webp_method` is libwebp's effort, 0 to 6.
    """
    if fmt not in _MAX_SIDE_PX:
        raise DataError(f"picture format {fmt!r}: not one of jpeg, webp; name one of these")
    if not 1 <= quality <= 100:
        raise DataError(f"{fmt} quality {quality}: expected 1 to 100; choose one in that range")
    if max(picture_HWC.shape[:2]) > _MAX_SIDE_PX[fmt]:
        raise DataError(
            f"picture of {_size_text(picture_HWC.shape)}: {fmt} allows {_MAX_SIDE_PX[fmt]} px a "
            "side; make it smaller first"
        )
    image = Image.fromarray(np.ascontiguousarray(picture_HWC))
    out = BytesIO()
    if fmt == "jpeg":
        image.save(out, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
    else:
        image.save(out, "WEBP", quality=quality, method=webp_method)
    return out.getvalue()


def decode_picture(data: bytes, *, max_pixels: int) -> Picture:
    """Decode one JPEG or WebP picture of at most `max_pixels`.

    The size is read and compared before anything of that size is allocated: the data may come
    from a peer. Raises DataError for anything else than one whole picture.
    """
    return _decode(data, formats=_WIRE_FORMATS, max_pixels=max_pixels, where="picture")


def load_picture(path: Path, *, max_pixels: int = MAX_FILE_PX) -> Picture:
    """Read one picture file, upright as its camera meant it."""
    try:
        data = read_plain(path, max_bytes=MAX_FILE_BYTES)
    except OSError as error:
        raise DataError(
            f"picture {path}: {error.strerror or error}, expected a readable file of at most "
            f"{MAX_FILE_BYTES >> 20} MiB; check the path and its permissions"
        ) from None
    return _decode(data, formats=_FILE_FORMATS, max_pixels=max_pixels, where=f"picture {path}")


def picture_size_px(path: Path) -> tuple[int, int]:
    """Return height and width of a picture file, upright, from its header alone."""
    try:
        if not path.is_file():
            raise OSError("is no file")  # to open a pipe would wait for its other end
        with Image.open(path, formats=_FILE_FORMATS) as image:
            width_px, height_px = image.size
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) in _QUARTER_TURNS
    except _BROKEN:
        height_px, width_px, _ = load_picture(path).shape  # which says what is wrong with it
        return height_px, width_px
    return (width_px, height_px) if lies else (height_px, width_px)


def _decode(data: bytes, *, formats: tuple[str, ...], max_pixels: int, where: str) -> Picture:
    # Pillow's WebP reader allocates the whole canvas when it opens the data.
    webp_size_px = _webp_size_px(data)
    if webp_size_px is not None:
        _check_pixels(webp_size_px, max_pixels=max_pixels, where=where)
    try:
        image = Image.open(BytesIO(data), formats=formats)
        _check_pixels(image.size, max_pixels=max_pixels, where=where)
        return _rgb(_upright(image))
    except _BROKEN as broken:
        reason = (str(broken).splitlines() or [""])[0]
        if "BytesIO" in reason or not reason:
            reason = "no picture"
        remedy = "make it again" if formats is _WIRE_FORMATS else "make it again, or remove it"
        raise DataError(
            f"{where}: {len(data)} bytes, {reason[:100]}, expected one whole "
            f"{' or '.join(formats)}; {remedy}"
        ) from None


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says.

    Pillow's own function writes the EXIF anew, and ends in errors of all kinds where that holds
    values that are not of their tags' types: a peer could end an edge.
    """
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Picture:
    if image.mode == "F":
        raise ValueError("its pixels are no whole numbers")
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would make white of all above 255
        deep_HW = np.asarray(image)
        if deep_HW.min() < 0 or deep_HW.max() >> 16:
            raise ValueError("its pixels have more than 16 bits")
        grey_HW = (deep_HW >> 8).astype(np.uint8)
        return np.repeat(grey_HW[:, :, None], 3, axis=2)
    # Pillow would print a warning that it leaves out how transparent the colours of a palette are.
    image.info.pop("transparency", None)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _check_pixels(size_px: tuple[int, int], *, max_pixels: int, where: str) -> None:
    width_px, height_px = size_px
    if width_px * height_px > max_pixels:
        raise DataError(
            f"{where}: {width_px} x {height_px} px, expected at most {max_pixels} pixels; "
            "make it smaller"
        )


def _webp_size_px(data: bytes) -> tuple[int, int] | None:
    """Return width and height of WebP data from its first chunk, or None if it is not WebP.

    Layouts: RFC 9649, sections 2.5 (VP8), 2.6 (VP8L) and 2.7 (VP8X).
    """
    if len(data) < 30 or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        width_px = int.from_bytes(data[24:27], "little") + 1
        return width_px, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width_px, height_px = struct.unpack_from("<HH", data, 26)
        return width_px & 0x3FFF, height_px & 0x3FFF
    return None


def _size_text(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} px"
