"""Maps on a grid, as split training sends them: noise, and maps whose neighbours are alike."""

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def noise(shape: tuple[int, ...], *, bits: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 1 << bits, shape).astype(np.uint8)


def smooth(shape: tuple[int, ...], *, bits: int, seed: int = 0) -> Bytes:
    """Return maps of planes with little noise: each value follows from its neighbours."""
    source = np.random.default_rng(seed)
    slopes = source.uniform(-1, 1, (2, *shape[:2], 1, 1))
    rows, columns = np.mgrid[: shape[2], : shape[3]]
    values = (1 << bits) / 2 + slopes[0] * rows + slopes[1] * columns
    values += source.normal(0, 0.3, shape)
    on_grid: Bytes = values.round().clip(0, (1 << bits) - 1).astype(np.uint8)
    return on_grid
