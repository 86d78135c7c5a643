"""Which of a data set's pictures are whose, where one data set stands for those of many clients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headgate.train.seeds import derive_seed

# Shapes: N training pictures


def own_pictures(
    labels_N: npt.NDArray[np.int64],
    share: tuple[int, int],
    *,
    partition: str,
    num_classes: int,
    seed: int,
) -> npt.NDArray[np.int64]:
    """Return the indices of the pictures of client `share[0]`, from 1, of `share[1]`.

    drawn     a part that is drawn, not cut: a data set may be sorted by class
    classes   those of every n-th class; with more clients than classes, those of a class are drawn
              among the clients that have it
    """
    number, of = share
    drawn_N: npt.NDArray[np.int64] = np.random.default_rng(derive_seed(seed, "shares")).permutation(
        len(labels_N)
    )
    place, num_sharing = number - 1, of
    if partition == "classes":
        # With as many clients as classes, or fewer, nobody shares a class.
        num_groups = min(of, num_classes)
        place, group = divmod(number - 1, num_groups)
        drawn_N = drawn_N[labels_N[drawn_N] % num_groups == group]
        num_sharing = len(range(group, of, num_groups))
    return drawn_N[place::num_sharing]
