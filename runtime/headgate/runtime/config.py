"""Where a setting comes from: flag, then environment, then file, then default.

A side's configuration is a frozen dataclass of sections, each a frozen dataclass of scalars with
defaults. The file is TOML with those sections; the environment variable of key `fps` of section
`source` is HEADGATE_SOURCE__FPS. Unknown keys are errors everywhere.
"""

import dataclasses
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from headgate.profiles.errors import UsageError
from headgate.profiles.parse import parse
from headgate.profiles.storage import read_toml

T = TypeVar("T")
ENVIRONMENT_PREFIX = "HEADGATE_"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class EngineSection:
    """How graphs run."""

    providers: str = "auto"  # auto, cpu, cuda or tensorrt
    threads: int = 1  # per graph run; 0 means every core


@dataclass(frozen=True, slots=True)
class SecuritySection:
    """Who may talk to whom."""

    keys: str | None = None  # a keys folder, see `headgate keygen`
    insecure: bool = False  # allow addresses beyond loopback without keys


@dataclass(frozen=True, slots=True)
class DeviceSection:
    """What the device asks for and of whom."""

    edge: str = "tcp://127.0.0.1:7700"
    sla_ms: float = 100.0  # used where the profile names none
    profile: str = "balanced"
    control: str | None = None  # default: an ipc address of its own
    skip_confident: str | None = None  # "auto" or a chance as "0.95"; default: send all frames


@dataclass(frozen=True, slots=True)
class SourceSection:
    """How pictures are played."""

    fps: float | None = None  # default: the source's own rate, or as fast as frames are taken
    frames: int | None = None  # stop after so many
    loop: bool = False  # start again at the end
    max_open: int = 4  # frames without an answer before a source that can wait has to


@dataclass(frozen=True, slots=True)
class EdgeSection:
    """How the edge serves."""

    bind: str = "tcp://127.0.0.1:7700"
    max_batch: int = 16  # pictures per tail run


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """Everything `headgate device` can be told by flag, environment or file."""

    device: DeviceSection = field(default_factory=DeviceSection)
    source: SourceSection = field(default_factory=SourceSection)
    engine: EngineSection = field(default_factory=EngineSection)
    security: SecuritySection = field(default_factory=SecuritySection)


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """Everything `headgate edge` can be told by flag, environment or file."""

    edge: EdgeSection = field(default_factory=EdgeSection)
    engine: EngineSection = field(default_factory=EngineSection)
    security: SecuritySection = field(default_factory=SecuritySection)


# What a type cannot say: lowest and highest value, and whether the lowest is one of them.
_RANGES: dict[str, tuple[float, float, bool]] = {
    "device.sla_ms": (0, 1_000_000, False),
    "source.fps": (1e-5, 100_000, True),  # a picture a day and more
    "source.frames": (1, math.inf, True),
    "source.max_open": (1, math.inf, True),
    "engine.threads": (0, 1024, True),  # onnxruntime starts them all
    "edge.max_batch": (1, 256, True),
}
# One environment may serve both sides, so a section of the other side is not a misspelt one.
_ALL_SECTIONS = {f.name for kind in (DeviceConfig, EdgeConfig) for f in dataclasses.fields(kind)}


def load_config(
    kind: type[T],
    *,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    path: Path | None = None,
) -> T:
    """Return the configuration, or raise UsageError naming the key that is wrong.

    `flags` are keyed "section.key"; a value of None means that the flag was not given.
    """
    settings = {} if path is None else read_toml(path, error=UsageError)
    where = "configuration" if path is None else str(path)
    parse(kind, settings, where=where, error=UsageError)  # the file's own mistakes come first
    for name, text in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            _set_from_environment(kind, settings, name, text)
    for name, value in flags.items():
        section, _, key = name.partition(".")
        assert key in _hints(kind, section), name
        if value is not None:
            settings.setdefault(section, {})[key] = value
    config = parse(kind, settings, where=where, error=UsageError)
    _check_ranges(config, where=where)
    return config


def _check_ranges(config: Any, *, where: str) -> None:
    """Raise UsageError for a number that no run can do anything with."""
    for name, (lowest, highest, included) in _RANGES.items():
        section, _, key = name.partition(".")
        value = getattr(getattr(config, section, None), key, None)
        if value is None or (lowest < value <= highest) or (included and value == lowest):
            continue
        expected = f"{lowest} or more" if included else f"more than {lowest}"
        if highest < math.inf:
            expected = f"{lowest} to {highest}" if included else f"{expected}, up to {highest}"
        raise UsageError(f"{where}.{name}: is {value:g}, expected {expected}")


def _set_from_environment(kind: type[Any], settings: dict[str, Any], name: str, text: str) -> None:
    section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
    own = {f.name for f in dataclasses.fields(kind)}
    if section not in own:
        if section in _ALL_SECTIONS:
            return
        raise UsageError(f"environment {name}: no section {section!r}; there are {sorted(own)}")
    hints = _hints(kind, section)
    if key not in hints:
        raise UsageError(
            f"environment {name}: no key {key!r} in {section}; there are {sorted(hints)}"
        )
    settings.setdefault(section, {})[key] = _from_text(hints[key], text, name)


def _from_text(hint: Any, text: str, name: str) -> Any:
    """Turn an environment variable's text into what TOML would have given for that key."""
    if get_origin(hint) is types.UnionType:
        (hint,) = (arm for arm in get_args(hint) if arm is not type(None))
    if hint is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UsageError(f"environment {name}: {text!r} is not true or false")
    try:
        return hint(text)
    except ValueError:
        raise UsageError(f"environment {name}: {text!r} is not a {hint.__name__}") from None


def _hints(kind: type[Any], section: str) -> dict[str, Any]:
    return get_type_hints(get_type_hints(kind)[section])
