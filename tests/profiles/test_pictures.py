"""Tests of reading, resizing and compressing pictures."""

from __future__ import annotations

import os
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from headgate.profiles.errors import DataError
from headgate.profiles.manifest import InputSpec
from headgate.profiles.pictures import (
    Picture,
    PictureFormat,
    decode_picture,
    encode_picture,
    load_picture,
    preprocess,
)


def make_picture(height_px: int, width_px: int, *, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def smooth_picture(height_px: int, width_px: int) -> Picture:
    rows, columns = np.mgrid[0:height_px, 0:width_px]
    planes = [rows * 255 // height_px, columns * 255 // width_px, rows * 0 + 128]
    return np.stack(planes, axis=2).astype(np.uint8)


@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize("filter_name", ["bilinear", "bicubic", "lanczos"])
def test_a_picture_of_the_right_size_is_returned_untouched(resize: str, filter_name: str) -> None:
    picture = make_picture(7, 5)
    assert preprocess(picture, InputSpec(7, 5, resize, filter_name)) is picture


@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize("source", [(1, 1), (9, 200), (200, 9), (97, 96), (33, 64)])
def test_every_source_size_is_brought_to_the_input_size(
    resize: str, source: tuple[int, int]
) -> None:
    resized = preprocess(make_picture(*source), InputSpec(32, 48, resize, "bicubic"))
    assert resized.shape == (32, 48, 3)
    assert resized.dtype == np.uint8


def test_crop_takes_the_centre_and_stretch_takes_all() -> None:
    picture = np.zeros((10, 30, 3), dtype=np.uint8)
    picture[:, 10:20] = 200
    cropped = preprocess(picture, InputSpec(5, 5, "crop", "bilinear"))
    stretched = preprocess(picture, InputSpec(5, 6, "stretch", "bilinear"))
    assert (cropped[:, 1:-1] == 200).all()
    assert (stretched[:, 0] == 0).all()
    assert (stretched[:, -1] == 0).all()


def test_crop_without_scaling_is_a_plain_cut() -> None:
    picture = make_picture(8, 12)
    cropped = preprocess(picture, InputSpec(8, 8, "crop", "bilinear"))
    np.testing.assert_array_equal(cropped, picture[:, 2:10])


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(DataError, match=r"filter 'nearest'.*expected one of stretch, crop"):
        preprocess(make_picture(4, 4), InputSpec(8, 8, "crop", "nearest"))


@pytest.mark.parametrize("fmt", ["jpeg", "webp"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 1), (96, 96), (101, 67)])
def test_encoded_pictures_of_any_size_decode_to_their_size(
    fmt: PictureFormat, size: tuple[int, int]
) -> None:
    decoded = decode_picture(encode_picture(make_picture(*size), fmt, 50), max_pixels=10_000)
    assert decoded.shape == (*size, 3)


@pytest.mark.parametrize("fmt", ["jpeg", "webp"])
def test_high_quality_is_close_and_low_quality_is_small(fmt: PictureFormat) -> None:
    picture = smooth_picture(64, 80)
    fine, coarse = encode_picture(picture, fmt, 95), encode_picture(picture, fmt, 5)
    error = decode_picture(fine, max_pixels=5120).astype(int) - picture
    assert np.abs(error).mean() < 3
    assert len(coarse) < len(fine)


@pytest.mark.parametrize("quality", [60, 94, 95, 100])
def test_jpeg_of_noise_fits_its_buffer(quality: int) -> None:
    # The optimised encoder needs the whole picture in one buffer; noise is its worst case.
    picture = make_picture(600, 601)
    assert decode_picture(encode_picture(picture, "jpeg", quality), max_pixels=400_000).shape == (
        600,
        601,
        3,
    )


def test_jpeg_is_subsampled_with_tables_of_its_own() -> None:
    picture = smooth_picture(64, 64)
    data = encode_picture(picture, "jpeg", 50)
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == 0x22  # luma sampled 2 x 2 as often as chroma
    standard_dc_table = b"\xff\xc4\x00\x1f\x00\x00\x01\x05\x01\x01\x01\x01\x01\x01"
    assert standard_dc_table not in data


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_impossible_quality_is_refused(quality: int) -> None:
    with pytest.raises(DataError, match="expected 1 to 100"):
        encode_picture(make_picture(4, 4), "jpeg", quality)


def test_sides_that_the_format_lacks_are_refused() -> None:
    with pytest.raises(DataError, match="webp allows 16383 px a side"):
        encode_picture(np.zeros((1, 16_384, 3), dtype=np.uint8), "webp", 50)


@pytest.mark.parametrize("fmt", ["jpeg", "webp"])
def test_a_picture_larger_than_allowed_is_refused_by_its_size(fmt: PictureFormat) -> None:
    data = encode_picture(make_picture(20, 30), fmt, 50)
    assert decode_picture(data, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(DataError, match=r"30 x 20 px, expected at most 599 pixels"):
        decode_picture(data, max_pixels=599)


def test_a_webp_header_of_a_huge_canvas_is_refused_before_it_is_opened() -> None:
    extended = struct.pack("<4sI4s4sI", b"RIFF", 30, b"WEBP", b"VP8X", 10)
    claimed = extended + bytes(4) + (16_382).to_bytes(3, "little") * 2
    with pytest.raises(DataError, match="16383 x 16383 px"):
        decode_picture(claimed, max_pixels=1_000_000)


def test_lossless_webp_is_measured_too() -> None:
    out = BytesIO()
    Image.fromarray(make_picture(21, 34)).save(out, "WEBP", lossless=True)
    with pytest.raises(DataError, match="34 x 21 px"):
        decode_picture(out.getvalue(), max_pixels=700)


@pytest.mark.parametrize("fmt", ["jpeg", "webp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.95])
def test_truncated_pictures_are_refused(fmt: PictureFormat, share: float) -> None:
    data = encode_picture(make_picture(64, 64), fmt, 80)
    with pytest.raises(DataError, match="expected one whole JPEG or WEBP"):
        decode_picture(data[: int(len(data) * share)], max_pixels=10_000)


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"RIFF\0\0\0\0WEBPVP8 " + bytes(30), b"\xff\xd8\xff\xe0" * 9]
)
def test_what_is_no_picture_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(DataError) as refused:
        decode_picture(data, max_pixels=10_000)
    assert "\n" not in str(refused.value)
    assert "BytesIO" not in str(refused.value)


def test_damaged_bytes_decode_or_are_refused_and_nothing_else() -> None:
    random = np.random.default_rng(5)
    for fmt in ("jpeg", "webp"):
        data = encode_picture(make_picture(16, 16), fmt, 70)
        for _ in range(150):
            damaged = bytearray(data)
            damaged[int(random.integers(len(data)))] ^= int(random.integers(1, 256))
            try:
                decoded = decode_picture(bytes(damaged), max_pixels=4096)
            except DataError:
                continue
            assert decoded.shape[0] * decoded.shape[1] <= 4096


def test_peers_may_send_jpeg_and_webp_only(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    Image.fromarray(make_picture(4, 4)).save(file)
    assert load_picture(file).shape == (4, 4, 3)
    with pytest.raises(DataError, match="JPEG or WEBP"):
        decode_picture(file.read_bytes(), max_pixels=100)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_files_of_every_mode_are_read_as_rgb(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.fromarray(smooth_picture(6, 9)).convert(mode).save(file)
    assert load_picture(file).shape == (6, 9, 3)


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparent_colours_is_read_without_a_warning(tmp_path: Path) -> None:
    picture = Image.fromarray(smooth_picture(6, 9)).quantize(4)
    picture.save(tmp_path / "a.png", transparency=bytes([0, 128, 255, 255]))
    np.testing.assert_array_equal(load_picture(tmp_path / "a.png"), picture.convert("RGB"))


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    Image.fromarray(make_picture(10, 20)).save(file, exif=exif)
    assert load_picture(file).shape == (20, 10, 3)


@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_is_turned_as_pillow_would_turn_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    Image.fromarray(smooth_picture(10, 20)).save(file, "JPEG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(file))
    picture_HWC = decode_picture(file.getvalue(), max_pixels=200)
    assert np.array_equal(picture_HWC, np.asarray(upright))


@pytest.mark.parametrize("kind", [5, 10])  # fractions, where the maker's name should be
def test_what_is_written_about_a_picture_may_be_nonsense(kind: int) -> None:
    tags = struct.pack("<H2HI2H", 2, 0x0112, 3, 1, 6, 0)  # two of them; the first turns it
    tags += struct.pack("<2HII", 0x010F, kind, 1, 38) + bytes(4)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + tags + struct.pack("<II", 1, 2)
    file = BytesIO()
    Image.fromarray(make_picture(10, 20)).save(file, "JPEG", exif=exif)
    assert decode_picture(file.getvalue(), max_pixels=200).shape == (20, 10, 3)


def test_a_missing_picture_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jpg: No such file"):
        load_picture(tmp_path / "nowhere.jpg")


def test_a_link_to_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.png").symlink_to(tmp_path / "pipe")  # nobody will ever write into it
    (tmp_path / "b.png").symlink_to("/dev/zero")  # and this one never ends
    (tmp_path / "c.png").symlink_to(tmp_path)
    for name in "abc":
        with pytest.raises(DataError, match=rf"{name}\.png: [Ii]s a (pipe|dir).*, expected"):
            load_picture(tmp_path / f"{name}.png")


def test_a_file_larger_than_any_picture_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate((1 << 30) + 1)  # it takes no room on the disk
    with pytest.raises(DataError, match=r"a\.png: has 1024 MiB, expected .* at most 1024 MiB"):
        load_picture(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "ppm"])
def test_sixteen_bits_of_grey_keep_their_shades(tmp_path: Path, suffix: str) -> None:
    shades_HW = np.array([[0, 255, 256, 32_768, 65_535]], dtype=np.uint16)
    Image.fromarray(shades_HW).save(tmp_path / f"deep.{suffix}")
    picture_HWC = load_picture(tmp_path / f"deep.{suffix}")
    assert picture_HWC.shape == (1, 5, 3)
    assert picture_HWC[0, :, 1].tolist() == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("suffix", ["gif", "tiff", "pgm"])
def test_pictures_of_scanners_and_of_the_web_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.full((5, 6), 77, np.uint8)).save(path)
    picture = load_picture(path)
    assert picture.shape == (5, 6, 3)
    assert set(picture.ravel().tolist()) == {77}


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [(np.float32, 0.5, "no whole numbers"), (np.int32, 70_000, "more than 16 bits")],
)
def test_pixels_that_are_no_brightness_are_refused(
    dtype: type, value: float, message: str, tmp_path: Path
) -> None:
    Image.fromarray(np.full((2, 2), value, dtype)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=message):
        load_picture(tmp_path / "a.tiff")
