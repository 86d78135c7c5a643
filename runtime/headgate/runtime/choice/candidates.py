"""Which of the points judged for a frame it gets: the best by what its profile prefers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headgate.profiles.manifest import OperatingPoint
from headgate.profiles.profile import Preference, Profile
from headgate.runtime.choice.layer_worth import LayerPlan

STICKINESS = 0.002  # credit by which another point must beat the last one
SIMILAR = 0.02  # credit given up where a profile prefers fewer bytes or less latency
FALLBACK_CHANCE = 0.5  # local under the accuracy floor only if nothing else has this chance


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point as judged for one frame: its expected credit, chance to be on time, and latency."""

    point: OperatingPoint
    credit: float
    on_time: float
    latency_s: float
    layers: LayerPlan | None = None
    hope: float = 0.0  # credit that it has more where the choice is whether to send at all


def pick(
    sending: Sequence[Candidate],
    local: Sequence[Candidate],
    *,
    profile: Profile,
    quality: Mapping[str, float],
    last: OperatingPoint | None,
) -> Candidate | None:
    """Return the candidate to take, or None if there are none.

    `quality` is by point id; `last` is the point of the frame before, which is kept to where
    another is hardly better.
    """
    floor = profile.min_accuracy
    if floor is not None and any(each.on_time >= FALLBACK_CHANCE for each in sending):
        local = [each for each in local if quality[each.point.id] >= floor]
    candidates = [*local, *sending]
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    if profile.prefer is Preference.ACCURACY:
        best = min(candidates, key=lambda each: (-_sticky(each, last), each.point.bytes.mean))
        hoped = max(sending, key=lambda each: each.credit + each.hope, default=best)
        return hoped if best in local and hoped.credit + hoped.hope > best.credit else best
    most = max(each.credit for each in candidates)
    near = [each for each in candidates if each.credit >= most - SIMILAR]
    if floor is not None:  # all that are left keep it: any that is likely on time will do
        needed = 1 - max(profile.miss_rate, 0.02)  # chance, as far as it is known
        near = [each for each in candidates if each.on_time >= needed] or near
    if profile.prefer is Preference.BYTES:
        return min(near, key=lambda each: (each.point.bytes.mean, -each.credit))
    return min(near, key=lambda each: (each.latency_s, -each.credit))


def _sticky(candidate: Candidate, last: OperatingPoint | None) -> float:
    return candidate.credit + (STICKINESS if candidate.point is last else 0.0)
