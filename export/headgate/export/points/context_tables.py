"""Fit the tables of the codec "context" to integers of real pictures.

For every combination of a value's neighbours the values that follow are counted; combinations with
like distributions then share a row, so that the manifest stays small and rare combinations borrow
from common ones. Rows are found by k-means with code length as the distance: a combination moves
to the row that writes its values with the fewest bits.

Shapes: N pictures, C sent feature maps, h w their size, K contexts, G rows, L levels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headgate.profiles.context_table import ContextTable, make_table

# Left and up are worth 25 to 30 % of the bytes, the corner another 3 (see the log).
NEIGHBOURS = ("left", "up", "corner")
MAX_BINS = 8
MAX_ROWS = 32
# A row costs its error of estimation: with fewer values than this there are fewer rows.
MIN_VALUES_PER_ROW = 512
PRECISION_BITS = 10
MORE_PRECISION_BITS, MANY_LEVELS = 12, 16  # above that many levels
ROUNDS = 40
# Every value is counted this often more than it was seen, shared out as in all contexts.
PRIOR_COUNT = 1.0


def fit_table(
    q_NCHW: NDArray[np.uint8],
    *,
    levels: int,
    neighbours: tuple[str, ...] = NEIGHBOURS,
) -> ContextTable:
    """Return the table for integers 0 .. levels - 1 like these."""
    bins = min(levels, MAX_BINS)
    context_NCHW = contexts_of(q_NCHW, levels=levels, bins=bins, neighbours=neighbours)
    num_contexts = (bins + 1) ** len(neighbours)
    joint = context_NCHW.reshape(-1) * levels + q_NCHW.reshape(-1)
    counts_KL = np.bincount(joint, minlength=num_contexts * levels).reshape(num_contexts, levels)
    most = int(np.clip(q_NCHW.size // MIN_VALUES_PER_ROW, 1, MAX_ROWS))
    assignment_K = _cluster(counts_KL, num_rows=most)
    used, assignment_K = np.unique(assignment_K, return_inverse=True)
    rows_GL = _row_counts(counts_KL, assignment_K, num_rows=len(used))
    bits = MORE_PRECISION_BITS if levels > MANY_LEVELS else PRECISION_BITS
    return make_table(
        neighbours=neighbours,
        bins=bins,
        assignment=tuple(assignment_K.tolist()),
        frequencies=tuple(whole_frequencies(row_L, total=1 << bits) for row_L in rows_GL),
    )


def contexts_of(
    q_NCHW: NDArray[np.uint8],
    *,
    levels: int,
    bins: int,
    neighbours: Sequence[str],
) -> NDArray[np.int64]:
    """Return each value's context [N,C,h,w], as `headgate.profiles.context_table` numbers them."""
    num, maps, height, width = q_NCHW.shape
    padded = np.full((num, maps, height + 1, width + 1), bins, dtype=np.int64)
    padded[:, :, 1:, 1:] = q_NCHW.astype(np.int64) * bins // levels
    planes = {
        "left": padded[:, :, 1:, :-1],
        "up": padded[:, :, :-1, 1:],
        "corner": padded[:, :, :-1, :-1],
    }
    context_NCHW = np.zeros(q_NCHW.shape, dtype=np.int64)
    for name in neighbours:
        context_NCHW = context_NCHW * (bins + 1) + planes[name]
    return context_NCHW


def whole_frequencies(counts_L: NDArray[np.float64], *, total: int) -> tuple[int, ...]:
    """Return whole numbers of at least 1 in the ratio of the counts, with that sum."""
    share_L = counts_L / counts_L.sum() * (total - len(counts_L))
    whole_L = np.floor(share_L).astype(np.int64)
    missing = total - len(counts_L) - int(whole_L.sum())
    most_cut = np.argsort(whole_L - share_L, kind="stable")[:missing]
    whole_L[most_cut] += 1
    return tuple((whole_L + 1).tolist())


def _cluster(counts_KL: NDArray[np.int64], *, num_rows: int) -> NDArray[np.int64]:
    """Return the row of every context; those never seen go where all values together fit best."""
    weight_K = counts_KL.sum(axis=1)
    used = np.flatnonzero(weight_K)
    seen_UL = counts_KL[used].astype(np.float64)
    marginal_L = _marginal(counts_KL)
    # Start: contexts in the order of their mean value, cut into parts of equal weight.
    mean_U = (seen_UL + marginal_L) @ np.arange(counts_KL.shape[1]) / (weight_K[used] + 1.0)
    order = np.argsort(mean_U, kind="stable")
    reached = np.cumsum(weight_K[used][order])
    row_U = np.empty(len(used), dtype=np.int64)
    row_U[order] = (reached - 1) * num_rows // reached[-1]
    for _ in range(ROUNDS):
        length_GL = _code_lengths(seen_UL, row_U, marginal_L, num_rows=num_rows)
        better_U = (seen_UL @ length_GL.T).argmin(axis=1)
        if np.array_equal(better_U, row_U):
            break
        row_U = better_U
    length_GL = _code_lengths(seen_UL, row_U, marginal_L, num_rows=num_rows)
    present = np.unique(row_U)
    row_K = np.full(len(counts_KL), present[(length_GL[present] @ marginal_L).argmin()])
    row_K[used] = row_U
    return row_K


def _code_lengths(
    seen_UL: NDArray[np.float64],
    row_U: NDArray[np.int64],
    marginal_L: NDArray[np.float64],
    *,
    num_rows: int,
) -> NDArray[np.float64]:
    counts_GL = np.zeros((num_rows, seen_UL.shape[1]))
    np.add.at(counts_GL, row_U, seen_UL)
    counts_GL += PRIOR_COUNT * len(marginal_L) * marginal_L
    lengths: NDArray[np.float64] = np.log2(counts_GL.sum(axis=1, keepdims=True) / counts_GL)
    return lengths


def _row_counts(
    counts_KL: NDArray[np.int64], assignment_K: NDArray[np.int64], *, num_rows: int
) -> NDArray[np.float64]:
    levels = counts_KL.shape[1]
    rows_GL = np.zeros((num_rows, levels))
    np.add.at(rows_GL, assignment_K, counts_KL.astype(np.float64))
    rows_GL += PRIOR_COUNT * levels * _marginal(counts_KL)
    return rows_GL


def _marginal(counts_KL: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how often each value occurs at all; never 0."""
    counts_L = counts_KL.sum(axis=0) + PRIOR_COUNT
    shares_L: NDArray[np.float64] = counts_L / counts_L.sum()
    return shares_L
