"""Which of an epoch's batches a client sends, where it trains on the others alone.

Places on the wire count the batches that cross; this maps them to lessons. With m of n crossing,
they are spread evenly, and the last of them is the epoch's last lesson.
"""

from __future__ import annotations


class LessonPlan:
    """An epoch of one client: `num_crossing` of `num_lessons` cross, `done` are trained."""

    def __init__(self, num_lessons: int, *, num_crossing: int | None = None, done: int = 0) -> None:
        self.num_lessons = num_lessons
        self.num_crossing = num_lessons if num_crossing is None else num_crossing
        self.done = done

    def crossing_of(self, num_pictures: int, *, of: int) -> int:
        """Return how many batches carry so many pictures `of` those that the client has."""
        if num_pictures <= 0 or of <= 0:
            return 0
        return min(self.num_lessons, max(1, round(self.num_lessons * num_pictures / of)))

    def enter(self, *, num_crossing: int, step: int, is_begin: bool) -> None:
        """Go on in an epoch where `step` batches have crossed; lessons of them are done."""
        self.num_crossing = num_crossing
        before = step * self.num_lessons // num_crossing if num_crossing else 0
        self.done = before if is_begin else max(self.done, before)

    def first_of(self, step: int) -> int:
        """Return how many lessons come before the one that crosses as batch `step` does.

        After the last batch that crosses it is all of them.
        """
        if step >= self.num_crossing:
            return self.num_lessons
        return (step + 1) * self.num_lessons // self.num_crossing - 1

    def lesson_of(self, step: int) -> int:
        """Return which lesson crosses as batch `step`: none that is done already."""
        return min(max(self.first_of(step), self.done), self.num_lessons - 1)

    def is_at(self, step: int) -> bool:
        """Say whether all lessons before batch `step` are done."""
        return self.done >= self.first_of(step)
