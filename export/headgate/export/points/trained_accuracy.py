"""Hold what an export measures against what the training measured on the same pictures.

The parity gate cannot see that the code of a user's network changed since it was trained: while
the weights still fit, both sides of its comparison are then the changed network.
"""

from collections.abc import Sequence

from headgate.export.points.candidates import LOCAL_FULL
from headgate.export.points.points import Measured

TOLERANCE = 0.03  # another machine or precision moves a few answers, another network far more


def changed_network(trained: float, measured: Sequence[Measured]) -> str | None:
    """Return what to say if the plain network is not as right as when it was trained, else None.

    `trained` is its top-1, 0 to 1, on the very pictures that were measured on.
    """
    for item in measured:
        if item.point.id == LOCAL_FULL and abs(item.accuracy - trained) > TOLERANCE:
            return (
                f"{LOCAL_FULL}: top1 is {item.accuracy:.3f}, and was {trained:.3f} on the same "
                "pictures after the training; did the code of the network change since? Then "
                "export with the code that trained it, or train again"
            )
    return None
