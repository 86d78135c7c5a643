"""Makes the data set that needs no download: handwritten digits on crops of two photographs.

Both come with scikit-learn. The digits are 1,797 pictures of 8 x 8 from the UCI "Optical
Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0). The photographs, both
CC BY 2.0, are china.jpg by danielbuechele and flower.jpg by vultilion, from Flickr.

A picture is a crop of a photograph, some strokes that mean nothing, and one digit, moved, turned,
scaled, in ink whose colour and polarity vary and whose contrast may be low. Training and
validation share neither a handwritten digit nor a region of a photograph.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from headgate.profiles.errors import UsageError
from headgate.profiles.labelled import ArrayDataset, Labels, Picture, Split
from headgate.profiles.storage import canonical_json

# Shapes: N pictures, B of them in one block, H height, W width, P photograph crops, C colours

VERSION = 1  # of the generator: the same specification makes other pictures after a change
_SPLITS: tuple[Split, Split] = ("train", "val")
NAMES = tuple(str(digit) for digit in range(10))
PREFIX = "embedded"
MIN_PX, MAX_PX = 96, 512

_BLOCK = 64  # pictures drawn from one random stream: a shorter set is a longer one's beginning
_VAL_SHARE = 5  # every fifth digit
# Upright strips of the photographs, as shares of their width. The middle has the roof and the
# flower, so that validation is not all sky.
_STRIPS: dict[Split, tuple[tuple[float, float], ...]] = {
    "train": ((0.0, 0.4), (0.65, 1.0)),
    "val": ((0.4, 0.65),),
}
_ZOOMS = (1.0, 1.4, 2.0)  # of the photograph; at 1 the narrowest strip just covers the picture
_FINE_PX = 32  # side of a digit after smoothing
_NUM_STROKES = 2
# How hard it is. Harder than this, and a small network needs minutes to begin to learn.
_CONTRASTS = (0.35, 0.8)  # of the photographs
_SIZES = (0.5, 0.85)  # of the digits, shares of the picture
_REACH = 0.7  # of the digits' moves; 1 reaches the border
_STRENGTHS = (0.7, 1.0)  # of the ink; 1 covers
_TINT = 0.3  # of the ink, around near-white and near-black


@dataclass(frozen=True, slots=True)
class EmbeddedSpec:
    """Everything that decides which pictures are made."""

    px: int = 96  # height and width
    train: int = 6000  # pictures
    val: int = 1500
    seed: int = 0

    @property
    def digest(self) -> str:
        """Identify the pictures by how they are made: rounding may differ between machines."""
        return hashlib.sha256(canonical_json({"version": VERSION, **asdict(self)})).hexdigest()


@dataclass(frozen=True, slots=True)
class _Draws:
    """The random choices for one block, one entry or row per picture."""

    photo: npt.NDArray[np.int64]
    place: npt.NDArray[np.float64]  # [B, 2] of the crop, 0 to 1
    mirrored: npt.NDArray[np.bool_]
    contrast: npt.NDArray[np.float64]  # of the photograph, 1 as it is, 0 all of one colour
    digit: npt.NDArray[np.int64]
    size: npt.NDArray[np.float64]  # of the digit, share of the picture
    turn: npt.NDArray[np.float64]  # radians
    slant: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64]  # [B, 2] x and y, -1 to 1
    bright_below: npt.NDArray[np.float64]  # ink is bright where the mean beneath is darker
    tint: npt.NDArray[np.float64]  # [B, 3] of the ink
    strength: npt.NDArray[np.float64]  # of the ink, 1 covers
    strokes: npt.NDArray[np.float64]  # [B, S, 4] end points, -1 to 1
    stroke_ink: npt.NDArray[np.float64]  # [B, S, 3]
    stroke_width: npt.NDArray[np.float64]  # [B, S], -1 for no stroke


def parse_embedded(spec: str) -> EmbeddedSpec:
    """Read `embedded`, `embedded:128` or `embedded:px=128,train=4000,val=1000,seed=1`."""
    kind, _, options = spec.partition(":")
    if kind != PREFIX:
        raise UsageError(f"data set {spec!r}: not the embedded one; write embedded or embedded:128")
    chosen: dict[str, int] = {}
    known = [field.name for field in fields(EmbeddedSpec)]
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if not equals:
            name, value = "px", option
        if name not in known or name in chosen or not value.isascii() or not value.isdigit():
            raise UsageError(
                f"data set {spec!r}: option {option!r}, expected each of {', '.join(known)} at "
                "most once, with a whole number; write it like embedded:px=128,train=4000"
            )
        chosen[name] = int(value)
    parsed = EmbeddedSpec(**chosen)
    if not MIN_PX <= parsed.px <= MAX_PX:
        raise UsageError(
            f"data set {spec!r}: {parsed.px} px, expected {MIN_PX} to {MAX_PX}; choose a size there"
        )
    if not (1 <= parsed.train <= 1_000_000 and 1 <= parsed.val <= 1_000_000):
        raise UsageError(
            f"data set {spec!r}: {parsed.train} and {parsed.val} pictures, expected 1 to 1000000 "
            "of each; choose a number there"
        )
    return parsed


def make_embedded(spec: EmbeddedSpec, split: Split, *, limit: int | None = None) -> ArrayDataset:
    """Make one split, or its first `limit` pictures; the same ones every time."""
    count = spec.train if split == "train" else spec.val
    count = count if limit is None else min(limit, count)
    digits_NHW, labels_N = _load_digits(split)
    photos = _load_photographs(split, px=spec.px)
    pictures_NHWC = np.empty((count, spec.px, spec.px, 3), dtype=np.uint8)
    chosen_N: Labels = np.empty(count, dtype=np.int64)
    for block, begin in enumerate(range(0, count, _BLOCK)):
        stream = np.random.default_rng([spec.seed, split == "val", block])
        draws = _draw(stream, num_photos=len(photos), num_digits=len(digits_NHW))
        size = min(_BLOCK, count - begin)
        pictures_BHWC = _compose(draws, digits_NHW=digits_NHW, photos=photos, px=spec.px)
        pictures_NHWC[begin : begin + size] = pictures_BHWC[:size]
        chosen_N[begin : begin + size] = labels_N[draws.digit[:size]]
    digest = hashlib.sha256(f"{spec.digest} {split} {count}".encode()).hexdigest()
    return ArrayDataset(pictures_NHWC=pictures_NHWC, labels_N=chosen_N, names=NAMES, digest=digest)


def _load_digits(split: Split) -> tuple[Tensor, Labels]:
    """Return the digits of one split, smoothed to 32 x 32 and 0 to 1, and what they are."""
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    found: Any = load_digits()
    # The set lists its writers one after the other, with the digits cycling: a fixed shuffle
    # gives both sides every digit.
    order = np.random.default_rng(0).permutation(len(found.target))
    is_val = np.arange(len(order)) % _VAL_SHARE == 0
    mine = np.sort(order[is_val if split == "val" else ~is_val])
    coarse = torch.from_numpy(found.images[mine].astype(np.float32) / 16)
    padded = torch.nn.functional.pad(coarse, (1, 1, 1, 1))
    fine = torch.nn.functional.interpolate(
        padded[:, None], size=(_FINE_PX, _FINE_PX), mode="bicubic", align_corners=False
    )
    # Ink has edges: without this a digit is a blur that any crop hides.
    return ((fine[:, 0] - 0.25) * 2.5).clamp(0, 1), found.target[mine].astype(np.int64)


def _load_photographs(split: Split, *, px: int) -> list[Picture]:
    """Return this split's strips of each photograph at each zoom, none smaller than a picture."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    found: Any = load_sample_images()
    narrowest = min(right - left for strips in _STRIPS.values() for left, right in strips)
    regions = []
    for photo_HWC in found.images:
        photo_height, photo_width, _ = photo_HWC.shape
        for left, right in _STRIPS[split]:
            strip_HWC = photo_HWC[:, int(left * photo_width) : int(right * photo_width)]
            for zoom in _ZOOMS:
                scale = zoom * px / (narrowest * photo_width)
                width_px = max(px, round(strip_HWC.shape[1] * scale))
                height_px = max(px, round(photo_height * scale))
                strip = Image.fromarray(np.ascontiguousarray(strip_HWC))
                resized = strip.resize((width_px, height_px), Image.Resampling.BILINEAR)
                regions.append(np.array(resized, dtype=np.uint8))
    return regions


def _draw(stream: np.random.Generator, *, num_photos: int, num_digits: int) -> _Draws:
    """Make all random choices of a whole block, also when fewer pictures are wanted."""
    size = stream.uniform(*_SIZES, _BLOCK)
    present = stream.random((_BLOCK, _NUM_STROKES)) < 0.5
    stroke_width = stream.uniform(0.015, 0.04, (_BLOCK, _NUM_STROKES))
    return _Draws(
        photo=stream.integers(0, num_photos, _BLOCK),
        place=stream.random((_BLOCK, 2)),
        mirrored=stream.random(_BLOCK) < 0.5,
        contrast=stream.uniform(*_CONTRASTS, _BLOCK),
        digit=stream.integers(0, num_digits, _BLOCK),
        size=size,
        turn=stream.uniform(-0.2, 0.2, _BLOCK),
        slant=stream.uniform(-0.2, 0.2, _BLOCK),
        centre=stream.uniform(-_REACH, _REACH, (_BLOCK, 2)) * (1 - size)[:, None],
        bright_below=stream.uniform(0.35, 0.65, _BLOCK),
        tint=stream.uniform(-_TINT, _TINT, (_BLOCK, 3)),
        strength=stream.uniform(*_STRENGTHS, _BLOCK),
        strokes=stream.uniform(-1, 1, (_BLOCK, _NUM_STROKES, 4)),
        stroke_ink=stream.random((_BLOCK, _NUM_STROKES, 3)),
        stroke_width=np.where(present, stroke_width, -1.0),
    )


def _compose(draws: _Draws, *, digits_NHW: Tensor, photos: list[Picture], px: int) -> Picture:
    """Put strokes and digits on the photograph crops: uint8 [B, H, W, 3]."""
    picture_BCHW = torch.from_numpy(_crop_photographs(draws, photos=photos, px=px)).float() / 255
    contrast = torch.from_numpy(draws.contrast).float()[:, None, None, None]
    picture_BCHW.sub_(0.5).mul_(contrast).add_(0.5)
    for stroke in range(_NUM_STROKES):
        cover_BHW = _stroke_cover(draws, stroke, px=px)
        _paint(picture_BCHW, cover_BHW, draws.stroke_ink[:, stroke])
    cover_BHW = _digit_cover(draws, digits_NHW, px=px)
    _paint(picture_BCHW, cover_BHW, _readable_ink(draws, picture_BCHW, cover_BHW))
    pictures_BHWC = (picture_BCHW * 255 + 0.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return np.ascontiguousarray(pictures_BHWC.numpy())


def _crop_photographs(draws: _Draws, *, photos: list[Picture], px: int) -> Picture:
    """Return one crop per picture, uint8 [B, 3, H, W]."""
    crops_BCHW = np.empty((_BLOCK, 3, px, px), dtype=np.uint8)
    for index, photo_HWC in enumerate(photos):
        mine = np.flatnonzero(draws.photo == index)
        windows = np.lib.stride_tricks.sliding_window_view(photo_HWC, (px, px), axis=(0, 1))
        places = (draws.place[mine] * windows.shape[:2]).astype(np.int64)
        crops_BCHW[mine] = windows[places[:, 0], places[:, 1]]
    crops_BCHW[draws.mirrored] = crops_BCHW[draws.mirrored][..., ::-1]
    return crops_BCHW


def _digit_cover(draws: _Draws, digits_NHW: Tensor, *, px: int) -> Tensor:
    """Return how far the digit's ink covers each pixel, 0 to 1, [B, H, W]."""
    turn, size = torch.from_numpy(draws.turn), torch.from_numpy(draws.size)
    slant, centre = torch.from_numpy(draws.slant), torch.from_numpy(draws.centre)
    # Rows of the map from places in the picture to places in the digit.
    xx, xy = torch.cos(turn) / size, torch.sin(turn) / size
    yx, yy = -xy, xx
    xx, xy = xx + slant * yx, xy + slant * yy
    x_move = -(xx * centre[:, 0] + xy * centre[:, 1])
    y_move = -(yx * centre[:, 0] + yy * centre[:, 1])
    rows = torch.stack([torch.stack([xx, xy, x_move], 1), torch.stack([yx, yy, y_move], 1)], 1)
    grid = torch.nn.functional.affine_grid(rows.float(), [_BLOCK, 1, px, px], align_corners=False)
    chosen = digits_NHW[torch.from_numpy(draws.digit)][:, None]
    cover = torch.nn.functional.grid_sample(chosen, grid, align_corners=False)[:, 0]
    return cover * torch.from_numpy(draws.strength).float()[:, None, None]


def _stroke_cover(draws: _Draws, stroke: int, *, px: int) -> Tensor:
    """Return how far one straight stroke covers each pixel, 0 to 1, [B, H, W]."""
    ends = torch.from_numpy(draws.strokes[:, stroke]).float()[:, :, None, None]
    width = torch.from_numpy(draws.stroke_width[:, stroke]).float()[:, None, None]
    axis = (torch.arange(px) + 0.5) * (2 / px) - 1
    x, y = axis[None, None, :] - ends[:, 0], axis[None, :, None] - ends[:, 1]
    along_x, along_y = ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]
    square = along_x**2 + along_y**2 + 1e-6
    # In place from here on: these are the only steps over whole pictures.
    share = (x * (along_x / square) + y * (along_y / square)).clamp_(0, 1)
    off_x, off_y = x - share * along_x, y - share * along_y
    distance = off_x.square_().add_(off_y.square_()).sqrt_()
    edge = 1.5 / px  # soft over a pixel and a half
    return distance.mul_(-1 / edge).add_(width / edge + 0.5).clamp_(0, 1)


def _readable_ink(
    draws: _Draws, picture_BCHW: Tensor, cover_BHW: Tensor
) -> npt.NDArray[np.float64]:
    """Return bright ink over what is dark and dark ink over what is bright, tinted."""
    grey_BHW = picture_BCHW.mean(1)
    beneath_B = (grey_BHW * cover_BHW).sum((1, 2)) / cover_BHW.sum((1, 2)).clamp(min=1)
    bright_B = beneath_B.numpy() < draws.bright_below
    ink_B3 = np.where(bright_B, 0.9, 0.1)[:, None] + draws.tint
    return np.asarray(np.clip(ink_B3, 0, 1))


def _paint(picture_BCHW: Tensor, cover_BHW: Tensor, ink_B3: npt.NDArray[Any]) -> None:
    """Move the picture's colours towards the ink where it covers, in place."""
    ink = torch.from_numpy(ink_B3).float()[:, :, None, None]
    picture_BCHW.lerp_(ink.expand_as(picture_BCHW), cover_BHW[:, None])
