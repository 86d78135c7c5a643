"""What names classes may have, and which class of a family is which of a data set: by name."""

from collections.abc import Sequence

from headgate.profiles.errors import DataError

SHOWN_NAMES = 4


def match_classes(found: Sequence[str], known: Sequence[str], *, where: str) -> list[int]:
    """Return for each class of the data its index in the family, or raise DataError.

    By name; a data set without names (0, 1, 2, ...) is taken to count as the family does. Classes
    that the data lacks are fine, classes that the family lacks are not.
    """
    index_of = {name: index for index, name in enumerate(known)}
    if all(name in index_of for name in found):
        return [index_of[name] for name in found]
    if list(found) == [str(index) for index in range(len(found))]:
        if len(found) <= len(known):
            return list(range(len(found)))
        raise DataError(
            f"{where}: labels up to {len(found) - 1}, the family has {len(known)} classes; "
            "give pictures of the family's classes"
        )
    unknown = [name for name in found if name not in index_of]
    raise DataError(
        f"{where}: {len(unknown)} of its {len(found)} classes are not the family's "
        f"({_some(unknown)}; the family has {_some(known)}); give pictures of the family's "
        "classes, in folders of their names"
    )


def check_names(names: Sequence[str], *, where: str) -> None:
    """Refuse names that tell no classes apart, or that are no text, which families need."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(
                f"{where}: two classes are called {name!r}, expected a name of its own for each; "
                "rename one of them"
            )
        seen.add(name)
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{where}: class {name!r} has a name that is not UTF-8, expected text; rename it"
            ) from None


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN_NAMES])
    return shown if len(names) <= SHOWN_NAMES else f"{shown}, ..."
