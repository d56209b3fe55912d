"""Reads a study file: YAML to checked values, with every problem named in one message."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dabo_ray.config import Choice, FloatRange, IntRange, Section, Study

SEARCHABLE = ("classifier", "augmenter", "bilevel")
_REQUIRED = {"study": "name", "data": {"name": "digits"}, "name": "digits"}


class ConfigError(ValueError):
    """A study file or an override that cannot be used; the message names every problem."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars: `1e-3` is a number, `no`, `off` and `12:30` are text; a key given twice is an error."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, or an error if one of its keys stands twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict)):
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is not a word", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", r"^[-+]?[0-9]+$", [*"-+0123456789"]),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$", [*"-+.0123456789"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
# PyYAML's own constructor reads a leading zero as octal, which YAML 1.2 does not.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_Loader.add_constructor(
    "tag:yaml.org,2002:float", lambda _, node: float(node.value.replace(".inf", "inf").replace(".nan", "nan"))
)


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """The checked study of a file, with `key.path=value` overrides applied.

    Raises:
        ConfigError: the file cannot be read, is not a YAML mapping, or holds wrong keys or values.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the study file {path}: {reason}") from None
    raw = _parse(text, str(path))
    if raw is None:
        raise ConfigError(f"{path} is empty; a study needs at least `study: NAME` and `data: {{name: digits}}`")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, got {_shown(raw)}")
    return check_study(apply_overrides(raw, overrides), str(path))


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of the mapping with every `key.path=value` set; values are read as YAML.

    Raises:
        ConfigError: an override has no `=`, or its path leads through a value that is not a section.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set takes key.path=value, for example bilevel.inner_steps=4; got {override!r}")
        raw = with_value(raw, path.strip(), _parse(text, f"--set {override}"))
    return raw


def with_value(raw: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of nested sections with the value at a dotted path replaced."""
    head, _, rest = path.partition(".")
    if head == "space" and rest:
        return {**raw, head: {**(raw.get(head) or {}), rest: value}}
    if not rest:
        return {**raw, head: value}
    inner = raw.get(head)
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigError(f"cannot set {path!r}: {head!r} is {_shown(inner)}, not a section")
    return {**raw, head: with_value(inner or {}, rest, value)}


def with_settings(study: Study, settings: Mapping[str, Any]) -> Study:
    """The study with the settings of one trial (key path -> value) in place of its own."""
    raw: dict[str, Any] = to_dict(study)
    for path, value in settings.items():
        raw = with_value(raw, path, value)
    return Study.model_validate(raw)


def to_dict(study: Study) -> dict[str, Any]:
    """Every key with its value, defaults included, as `check_study` reads it back."""
    return study.model_dump(by_alias=True, mode="json")


def check_study(raw: Mapping[str, Any], where: str) -> Study:
    """The typed study of nested sections.

    Raises:
        ConfigError: naming each problem with key path, value and what is allowed.
    """
    problems: dict[str, str] = {}
    remaining = dict(raw)
    study = None
    # A rule over several keys is checked by pydantic only once each key is right by itself: set wrong keys aside
    # and look again, so that all problems come in one message.
    while study is None:
        try:
            study = Study.model_validate(remaining)
        except ValidationError as error:
            fresh = {path: text for path, text in map(_problem, error.errors()) if path not in problems}
            if not fresh:
                break
            problems |= fresh
            for details in error.errors():
                remaining = _without(remaining, _key_path(details["loc"]))
    if study is not None:
        problems |= study.contradictions() | _space_problems(study)
    if problems:
        lines = "\n".join(f"  {path}: {text}" for path, text in problems.items())
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{where} has {count}:\n{lines}")
    assert study is not None
    return study


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where} is not valid YAML{place}: {getattr(error, 'problem', None) or error}") from None


def _key_path(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The place in the file: pydantic adds the names of union members, which no reader wrote."""
    if loc[:2] == ("search", "space"):
        return tuple(part for part in loc[:3]) + tuple(loc[4:])
    if loc[:2] in {("resources", "workers"), ("resources", "concurrent_trials")}:
        return loc[:2]
    return loc


def _without(raw: Mapping[str, Any], loc: tuple[int | str, ...]) -> dict[str, Any]:
    """The sections without the value at a place; a key that a study must have gets a harmless value."""
    if not loc:
        return dict(raw)
    head, rest = str(loc[0]), loc[1:]
    inner = raw.get(head)
    if rest and isinstance(inner, Mapping):
        return {**raw, head: _without(inner, rest)}
    return {key: value for key, value in raw.items() if key != head} | (
        {head: _REQUIRED[head]} if head in _REQUIRED else {}
    )


def _problem(details: ErrorDetails) -> tuple[str, str]:
    """Key path, and what is wrong there in words."""
    loc = _key_path(details["loc"])
    path, kind, given = ".".join(map(str, loc)), details["type"], _shown(details["input"])
    if kind == "extra_forbidden":
        return path, _unknown_key(loc)
    if kind == "missing":
        return path, f"missing; {_documentation(loc)}"
    if kind == "value_error":
        return path, str(details["ctx"]["error"])
    if kind.startswith("union_tag"):
        return path, f"got {given}; give {{int: [low, high]}}, {{float: [low, high]}} or {{choice: [...]}}"
    if path == "resources.workers" or path == "resources.concurrent_trials":
        word = "local" if path.endswith("workers") else "auto"
        return path, f"got {given}; give {word!r} or a whole number of at least 1"
    if kind in {"model_type", "model_attributes_type"}:
        return path, f"got {given}; give a section with the keys {_keys(_section_at(loc))}"
    if kind == "string_pattern_mismatch":
        return path, f"got {given}; give up to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"
    message = details["msg"].replace("Input should be", "must be").replace("a valid integer", "a whole number")
    return path, f"got {given}; {message[0].lower()}{message[1:]}"


def _unknown_key(loc: tuple[int | str, ...]) -> str:
    section = _section_at(loc[:-1])
    known = [field.alias or name for name, field in section.model_fields.items()] if section else []
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown key; {hint}Known keys: {', '.join(known)}"


def _keys(section: type[BaseModel] | None) -> str:
    return ", ".join(section.model_fields) if section else "(none)"


def _section_at(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The section of the schema at a key path, or None."""
    section: type[BaseModel] | None = Study
    for part in loc:
        field = section.model_fields.get(str(part)) if section else None
        if field is None:
            return None
        options = (field.annotation, *get_args(field.annotation))
        section = next((o for o in options if isinstance(o, type) and issubclass(o, Section)), None)
    return section


def _documentation(loc: tuple[int | str, ...]) -> str:
    section = _section_at(loc[:-1])
    field = section.model_fields.get(str(loc[-1])) if section else None
    return (field.description if field and field.description else f"give the section `{loc[-1]}`").replace("\n", " ")


def _shown(value: Any) -> str:
    kinds = {str: "text", bool: "true/false", int: "a number", float: "a number", list: "a list", dict: "a section"}
    if value is None:
        return "nothing"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kinds.get(type(value), type(value).__name__)})"


def _space_problems(study: Study) -> dict[str, str]:
    """Each searched key must exist, and each end of its range must be allowed for that key."""
    problems = {}
    for key, space in study.search.space.items():
        place = f"search.space.{key}"
        section, _, name = key.partition(".")
        if section not in SEARCHABLE or name not in (known := _section_at((section,)).model_fields):  # type: ignore[union-attr]
            every = [f"{s}.{n}" for s in SEARCHABLE for n in _section_at((s,)).model_fields]  # type: ignore[union-attr]
            near = difflib.get_close_matches(key, every, n=1)
            problems[place] = (
                f"no such setting; {f'did you mean {near[0]!r}? ' if near else ''}Settings: {', '.join(every)}"
            )
            continue
        assert known
        for value in _ends(space):
            try:
                with_settings(study, {key: value})
            except ValidationError as error:
                problems[place] = f"{value!r} is not allowed there: " + "; ".join(
                    _problem(e)[1] for e in error.errors()
                )
                break
    return problems


def _ends(space: IntRange | FloatRange | Choice) -> Sequence[Any]:
    return space.values if isinstance(space, Choice) else space.bounds
