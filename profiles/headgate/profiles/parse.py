"""Turn JSON or TOML values into frozen dataclasses by their type hints, or say what is wrong.

Unknown keys are errors: a misspelt option must not be silently ignored. A field with a default may
be missing. Understood: dataclasses, enums, str, int, float, bool, X | None, tuple[X, ...],
tuple[X, Y] and dict[str, X].

A field that a later version added is marked ADDED: it is not written where it holds its default.
So what an earlier version wrote keeps its digest, and it can read what does not use the field.
"""

import dataclasses
import enum
import math
import types
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from headgate.profiles.errors import HeadgateError

T = TypeVar("T")

ADDED = {"headgate.added": True}  # `field(default=..., metadata=ADDED)`
_MAX_SHOWN = 8  # keys that a message names
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def parse(kind: type[T], value: Any, *, where: str, error: type[HeadgateError]) -> T:
    """Return `value` as a `kind`, or raise `error` naming the place in `value` that is wrong."""
    return _parse(kind, value, where, error)  # type: ignore[no-any-return]


def unparse(value: Any) -> Any:
    """Return the JSON form of what `parse` reads: dictionaries, lists and scalars only."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: unparse(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if f.metadata != ADDED or getattr(value, f.name) != _default(f)
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {key: unparse(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [unparse(item) for item in value]
    return value


def _default(f: dataclasses.Field[Any]) -> Any:
    return f.default if f.default_factory is dataclasses.MISSING else f.default_factory()


def _parse(kind: Any, value: Any, where: str, error: type[HeadgateError]) -> Any:
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _parse_record(kind, value, where, error)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _parse_enum(kind, value, where, error)
    if origin in (types.UnionType, Union):
        if value is None and type(None) in get_args(kind):
            return None
        (inner,) = (arm for arm in get_args(kind) if arm is not type(None))
        return _parse(inner, value, where, error)
    if origin is tuple:
        return _parse_tuple(get_args(kind), value, where, error)
    if origin is dict:
        if not isinstance(value, dict):
            raise error(f"{where}: expected an object, found {shown(value)}")
        inner = get_args(kind)[1]
        for key in value:
            _check_text(key, where, error)
        return {key: _parse(inner, item, f"{where}.{key}", error) for key, item in value.items()}
    return _parse_scalar(kind, value, where, error)


def _parse_record(kind: Any, value: Any, where: str, error: type[HeadgateError]) -> Any:
    if not isinstance(value, dict):
        raise error(f"{where}: expected an object, found {shown(value)}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = value.keys() - fields.keys()
    if unknown:
        raise error(
            f"{where}: unknown {_keys(sorted(unknown))}, known are {', '.join(sorted(fields))}; "
            "correct the names, or update Headgate where a newer one wrote them"
        )
    missing = [
        name
        for name, f in fields.items()
        if name not in value
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise error(f"{where}: misses {_keys(missing)}; add them, or have the file written again")
    hints = _hints(kind)
    parsed = {
        name: _parse(hints[name], item, f"{where}.{name}", error) for name, item in value.items()
    }
    return kind(**parsed)


def _keys(names: list[str]) -> str:
    few = ", ".join(map(shown, names[:_MAX_SHOWN]))
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return f"keys {few}{more}"


def _parse_enum(kind: Any, value: Any, where: str, error: type[HeadgateError]) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = [member.value for member in kind]
        raise error(f"{where}: {shown(value)} is not one of {known}") from None


def _parse_tuple(
    arms: tuple[Any, ...], value: Any, where: str, error: type[HeadgateError]
) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise error(f"{where}: expected a list, found {shown(value)}")
    if len(arms) == 2 and arms[1] is Ellipsis:
        arms = (arms[0],) * len(value)
    if len(arms) != len(value):
        raise error(f"{where}: expected {len(arms)} items, found {len(value)}")
    return tuple(
        _parse(arm, item, f"{where}[{index}]", error)
        for index, (arm, item) in enumerate(zip(arms, value, strict=True))
    )


def _parse_scalar(kind: Any, value: Any, where: str, error: type[HeadgateError]) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf if value > 0 else -math.inf
    if type(value) is not kind:
        raise error(f"{where}: expected {_NAMES.get(kind, kind)}, found {shown(value)}")
    if kind is float and not math.isfinite(value):
        raise error(f"{where}: expected a finite number, found {value}")
    if kind is str:
        _check_text(value, where, error)
    return value


def _check_text(value: str, where: str, error: type[HeadgateError]) -> None:
    """Refuse half a character, which JSON's escapes can write and nothing can encode."""
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise error(f"{where}: expected text, found half a character in {ascii(value)[:40]}")


def shown(value: Any) -> str:
    """Return a value as a message shows it: its beginning, where it is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
