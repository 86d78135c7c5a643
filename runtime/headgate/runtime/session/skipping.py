"""Which split frames need not be sent, because the device's early exit is sure enough by itself.

The exit's answer and the payload are at hand together, so the choice is made when the frame has
been computed. Sending earns at best the chance that the edge is right about a frame on which the
exit is so sure, which differs from the edge's accuracy over all frames: what is easy for the exit
is easy for the edge. Both chances come from curves over the exit's evidence, see
`headgate.profiles.confidence`. A frame is skipped where the exit's is neither below the edge's nor
below the point's accuracy: the second bound matters where few pictures placed the curves (over 40
draws of 300 pictures the curves alone lost up to 5.7 points, both bounds together 0.3).
"""

from dataclasses import dataclass

from headgate.profiles.confidence import Curve
from headgate.profiles.errors import FamilyError, UsageError
from headgate.profiles.manifest import Manifest, OperatingPoint, PointKind
from headgate.runtime.session.events import Answer

AUTO = "auto"
SKIPPED = "skipped: confident"  # the reason in the frame's record


@dataclass(frozen=True, slots=True)
class SkipRule:
    """When a frame is not sent: from this chance that the exit is right; None: see above."""

    at_least: float | None = None


@dataclass(frozen=True, slots=True)
class Chances:
    """How likely either side is right about one frame, 0 to 1, by how sure the exit is."""

    exit: float
    edge: float
    enough: bool  # the exit's answer is delivered, and nothing is sent


def skip_rule(text: str, manifest: Manifest) -> SkipRule:
    """Return the rule that `--skip-confident` names, or refuse what cannot be obeyed."""
    rule = SkipRule() if text == AUTO else SkipRule(_chance(text))
    split = [point for point in manifest.points if point.kind is PointKind.SPLIT]
    if not split:
        raise FamilyError(
            f"--skip-confident: family {manifest.digest[:12]} has no split points, so no early "
            "exits; leave the option out"
        )
    if any(point.confidence is None or _exit_curve(manifest, point) is None for point in split):
        raise FamilyError(
            f"--skip-confident: family {manifest.digest[:12]} does not say how often its early "
            "exits are right when they are sure; export it with --confidence-pictures 300"
        )
    return rule


def weigh(
    rule: SkipRule | None, manifest: Manifest, point: OperatingPoint, answer: Answer | None
) -> Chances | None:
    """Weigh the exit's answer on a frame against sending it; None: the frame is sent, unweighed.

    Without a threshold the exit is enough where it is worth no less than an edge in time.
    """
    if rule is None or answer is None or point.kind is not PointKind.SPLIT:
        return None
    exit_curve = _exit_curve(manifest, point)
    if exit_curve is None or point.confidence is None:
        return None
    by_exit, by_edge = exit_curve.chance(answer.score), point.confidence.chance(answer.score)
    needed = rule.at_least
    if needed is None:
        needed = max(manifest.quality(point), by_edge)
    return Chances(by_exit, by_edge, enough=by_exit >= needed)


def _exit_curve(manifest: Manifest, point: OperatingPoint) -> Curve | None:
    assert point.member is not None
    return manifest.member(point.member).confidence


def _chance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise UsageError(
            f"--skip-confident: found {text!r}, expected {AUTO} or a chance above 0 to 1"
        )
    return value
