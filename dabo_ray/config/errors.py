"""Errors of a study file, in words: where, what was given, what is allowed."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dabo_ray.config.schema import Baseline, Section, StudyConfig
from dabo_ray.config.schema.baselines import ARM, ARMS, PLAIN, BaselineEntry
from dabo_ray.config.schema.section import TIMM_NAME

Loc = tuple[int | str, ...]

SPACE_FORMS = "{int: [low, high]}, {float: [low, high]} (both may have log: true) or {choice: [...]}"
TUNE_FORMS = "{int: [low, high]}, {float: [low, high], steps: NUMBER} or {choice: [...]}"
_SEARCHABLE = ("classifier", "augmenter", "bilevel")
_KINDS = {str: "text", bool: "true/false", int: "a number", float: "a number", list: "a list", dict: "a section"}
_NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a section"}
_LIMITS = {"ge": "of at least {}", "gt": "over {}", "le": "at most {}", "lt": "under {}"}
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlevel = 3


class ConfigError(ValueError):
    """A study file or an override that cannot be used; the message names every problem."""


def problems_of(error: ValidationError, raw: Mapping[str, Any]) -> dict[Loc, str]:
    """Place in the file -> what is wrong there, one text for each place.

    Args:
        error: pydantic's.
        raw: what was checked.
    """
    found: dict[Loc, str] = {}
    for details in error.errors():
        loc = _in_schema(details["loc"])
        found.setdefault(_in_file(loc), _text(loc, details, raw))
    return found


def shown(value: Any) -> str:
    """A value of a study file with its kind."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else _short.repr(value)
    return f"{text} ({_KINDS.get(type(value), type(value).__name__)})"


def unknown_setting(key: str) -> str:
    """Says of a key of `search.space` that it cannot be searched, and what can."""
    known = settings()
    near = [path for path in known if path.endswith(f".{key}")] or difflib.get_close_matches(key, known, n=1)
    return f"not a setting that can be searched; {_did_you_mean(near)}settings: {', '.join(known)}"


def unknown_key_of(name: str, key: str, known: Sequence[str]) -> str:
    """Says of a key of `tune` that the baseline has no such setting, and which it has."""
    near = difflib.get_close_matches(key, known, n=1)
    return f"not a setting of {name}; {_did_you_mean(near)}settings: {', '.join(known)}"


def settings() -> list[str]:
    """Key paths that may stand in `search.space`."""
    return [
        path for path in _every_key(StudyConfig) if path.startswith(tuple(f"{section}." for section in _SEARCHABLE))
    ]


def _in_schema(loc: Loc) -> Loc:
    """Where it is in the schema: what has keys of its own as a whole, a baseline by its kind, without other unions."""
    if size := _length_of_space(loc):
        return tuple(part for part in loc[: size + 1] if part != PLAIN)
    if loc[:2] in {("search", "objective"), ("search", "constraints"), ("search", "enqueue")}:
        return loc[:2]
    if loc[0] == "baselines" or loc[:2] == ("augmenter", "base"):
        loc = tuple(part for part in loc if part != PLAIN)
        # The numbers of an interval are one value; baselines and steps are not.
        return loc[:-1] if isinstance(loc[-1], int) and loc[-2] not in ("baselines", "steps", "base") else loc
    return loc[:2] if loc[0] in ("resources", "augmenter") or loc[:2] == ("classifier", "name") else loc


def _length_of_space(loc: Loc) -> int:
    """How many parts of a place lead to the entries it is among, of the search or of a baseline; 0 if to none."""
    if loc[:2] == ("search", "space"):
        return 2
    if ARM not in loc or "tune" not in loc:
        return 0
    size = loc.index("tune") + 1
    arm = _section_at(loc[: size - 1])
    return size if arm and "tune" in arm.model_fields else 0


def _in_file(loc: Loc) -> Loc:
    """Where the reader wrote it."""
    return tuple(part for part, before in zip(loc, (None, *loc), strict=False) if ARM not in (part, before))


def _text(loc: Loc, details: ErrorDetails, raw: Mapping[str, Any]) -> str:
    kind = details["type"]
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind == "extra_forbidden" and not _length_of_space(loc):
        return _unknown_key(loc)
    if kind == "missing" and not _length_of_space(loc):
        example = ", for example `data: {name: digits}`" if loc == ("data",) else ""
        return f"missing; give {_allowed_at(loc)}{example}"
    given = _value_at(raw, _in_file(loc))
    if loc[-1] == ARM:
        name = f"got the name {shown(given['name'])}" if "name" in given else "has no name"
        return f"{name}; give one of {', '.join(ARMS)}"
    hint = ""
    if isinstance(given, str) and kind in {"int_type", "float_type"} and _NUMBER.fullmatch(given):
        hint = ", without quotes"
    if kind == "string_type" and isinstance(given, (bool, int, float)):
        hint = ", in quotes"
    if kind == "finite_number":
        hint = " that is finite"
    if given is None and _section_at(loc) and not _field_at(loc).is_required():
        hint = ", or remove the key to have the defaults"
    return f"got {shown(given)}; give {_allowed_at(loc)}{hint}"


def _allowed_at(loc: Loc) -> str:
    """What may stand at a place."""
    if size := _length_of_space(loc):
        forms, keys = (SPACE_FORMS, "key paths") if loc[0] == "search" else (TUNE_FORMS, "settings")
        return forms if len(loc) > size else f"a section of {keys}, each with {forms}"
    if section := _section_at(loc):
        return f"a section with the keys {', '.join(_fields(section))}"
    if isinstance(loc[-1], int):
        return _allowed(get_args(_field_at(loc[:-1]).annotation)[0], ())
    field = _field_at(loc)
    return _allowed(field.annotation, field.metadata)


def _allowed(annotation: Any, metadata: Sequence[Any]) -> str:
    """The values of a type in words, with their limits."""
    if annotation == BaselineEntry:
        return f"{', '.join(map(repr, get_args(Baseline)))}, or {{name: ..., and settings}}"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _allowed(args[0], [m for extra in args[1:] for m in getattr(extra, "metadata", [extra])])
    if origin in (Union, UnionType):
        return " or ".join(_allowed(arg, ()) for arg in args)
    if origin is Literal:
        *others, last = map(repr, args)
        return f"{', '.join(others)} or {last}" if others else last
    if annotation is NoneType:
        return "null"
    if origin is dict:
        return f"a section whose keys are from {_allowed(args[0], ())} and whose values are {_allowed(args[1], ())}"
    if origin is tuple:
        return "a pair of numbers, [low, high]"
    if origin is list:
        return f"a list with items from {_allowed(args[0], ())}"
    if annotation is Any:
        return "any value"
    limits = {key: getattr(m, key) for m in metadata for key in _LIMITS if hasattr(m, key)}
    words = " and ".join(_LIMITS[key].format(limit) for key, limit in limits.items())
    if limits.keys() == {"ge", "le"}:
        words = f"from {limits['ge']} to {limits['le']}"
    text = f"{_NOUNS[origin or annotation]} {words}".strip()
    for extra in metadata:
        if hasattr(extra, "multiple_of"):
            text += f", a multiple of {extra.multiple_of}"
        if hasattr(extra, "min_length"):
            text += ", not empty"
        if getattr(extra, "pattern", None) == TIMM_NAME:
            text = "'timm/NAME'"
        elif getattr(extra, "pattern", None):
            text += ": up to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"
    return text


def _unknown_key(loc: Loc) -> str:
    section = _section_at(loc[:-1])
    assert section
    known = list(_fields(section))
    if not str(loc[-1]):
        return f"a key has no name; write section.key: value with one of the keys {', '.join(known)}"
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if not near:
        near = [path for path in _every_key(StudyConfig) if path.endswith(f".{loc[-1]}")]
    return f"unknown key; {_did_you_mean(near)}known keys: {', '.join(known)}"


def _did_you_mean(near: Sequence[str]) -> str:
    return f"did you mean {' or '.join(near)}? " if near else ""


def _every_key(section: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in _fields(section).items():
        inner = _section_of(field)
        if inner:
            yield from _every_key(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def _fields(section: type[Section]) -> dict[str, FieldInfo]:
    """By the keys of the file: `import` is no name that Python allows."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _section_of(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _section_at(loc: Loc) -> type[Section] | None:
    """The section of the schema at a key path, or None."""
    section: type[Section] | None = StudyConfig
    if ARM in loc:
        after = len(loc) - loc[::-1].index(ARM)
        section, loc = (ARMS[str(loc[after])], loc[after + 1 :]) if after < len(loc) else (None, ())
    for part in loc:
        field = _fields(section).get(str(part)) if section else None
        section = _section_of(field) if field else None
    return section


def _field_at(loc: Loc) -> FieldInfo:
    section = _section_at(loc[:-1])
    assert section, loc
    return _fields(section)[str(loc[-1])]


def _value_at(raw: Any, loc: Loc) -> Any:
    for part in loc:
        raw = raw[part]
    return raw
