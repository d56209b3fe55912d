"""Reads a study file: YAML to checked values, with every problem named in one message."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dabo_ray.config import Choice, IntRange, Study, in_order
from dabo_ray.config.baselines import Composition, Step
from dabo_ray.config.policies import PolicyFile
from dabo_ray.problems import ConfigError, Loc, problems_of, settings, shown, unknown_setting
from dabo_ray.yaml_text import dump, parse

_REQUIRED: dict[Loc, Any] = {("study",): "name", ("data",): {"name": "digits"}, ("data", "name"): "digits"}


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
    raw = parse(text, str(path))
    if raw is None:
        raise ConfigError(f"{path} is empty; a study needs at least `study: NAME` and `data: {{name: digits}}`")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, got {shown(raw)}")
    where = " ".join([str(path), *(["with"] if overrides else []), *(f"--set {override}" for override in overrides)])
    return check_study(apply_overrides(raw, overrides), where)


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of the mapping with every `key.path=value` set; values are read as YAML.

    Raises:
        ConfigError: an override has no `=`, or its path leads through a value that is not a section.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set takes key.path=value, for example bilevel.inner_steps=4; got {override!r}")
        value = parse(text, f"--set {override}")
        try:
            raw = with_value(raw, path.strip(), value)
        except ConfigError as error:
            raise ConfigError(f"--set {override}: {error}") from None
    return raw


def with_value(raw: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of nested sections with the value at a dotted path replaced."""
    head, _, rest = path.partition(".")
    if not rest:
        return {**raw, head: value}
    inner = raw.get(head)
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigError(f"{head!r} is {shown(inner)}, not a section that could have a key {rest!r}")
    if head == "space":
        return {**raw, head: {**(inner or {}), rest: value}}
    return {**raw, head: with_value(inner or {}, rest, value)}


def with_settings(study: Study, settings: Mapping[str, Any]) -> Study:
    """The study with the settings of one trial (key path -> value) in place of its own."""
    return Study.model_validate(_with_settings(study, settings))


def with_absolute_paths(study: Study) -> Study:
    """The study as processes read it that were started in another folder; addresses such as `s3://` stay."""
    data, classifier = study.data, study.classifier
    places = {name: _absolute(getattr(data, name)) for name in ("root", "cache", "fold")}
    return study.model_copy(
        update={
            "data": data.model_copy(update=places),
            "classifier": classifier.model_copy(update={"weights": _absolute(classifier.weights)}),
            "baselines": [_with_absolute_path(step) for step in study.baselines],
        }
    )


def _with_absolute_path(step: Step) -> Step:
    if isinstance(step, PolicyFile):
        return step.model_copy(update={"path": _absolute(step.path)})
    if isinstance(step, Composition):
        return step.model_copy(update={"steps": [_with_absolute_path(part) for part in step.steps]})
    return step


def _absolute(place: str) -> str:
    return place if not place or "://" in place else str(Path(place).absolute())


def to_dict(study: Study) -> dict[str, Any]:
    """Every key with its value, defaults included, as `check_study` reads it back."""
    return study.model_dump(by_alias=True, mode="json")


def _with_settings(study: Study, settings: Mapping[str, Any]) -> dict[str, Any]:
    raw = to_dict(study)
    for path, value in settings.items():
        raw = with_value(raw, path, value)
    return raw


def to_yaml(study: Study) -> str:
    """The text that `read_study` reads back as the same study."""
    return dump(to_dict(study))


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
            fresh = problems_of(error, remaining)
            problems |= {".".join(map(str, loc)): text for loc, text in fresh.items()}
            for loc in fresh:
                remaining = _without(remaining, loc)
    problems |= study.contradictions() | _space_problems(study)
    if problems:
        lines = "\n".join(f"  {path}: {text}" for path, text in problems.items())
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{where} has {count}:\n{lines}")
    return study


def _without(raw: Mapping[str, Any], loc: Loc, depth: int = 1) -> dict[str, Any]:
    """The sections without the value at a place; a key that a study must have gets a harmless value."""
    place = loc[:depth]
    head = str(place[-1])
    inner = raw.get(head)
    if depth < len(loc) and isinstance(inner, Mapping):
        return {**raw, head: _without(inner, loc, depth + 1)}
    rest = {key: value for key, value in raw.items() if key != head}
    return rest | ({head: _REQUIRED[place]} if place in _REQUIRED else {})


def _space_problems(study: Study) -> dict[str, str]:
    """Each searched key must exist, and whatever may be drawn for it be allowed, with what is drawn for the others."""
    space, known = study.search.space, settings()
    problems = {key: unknown_setting(key) for key in space if key not in known}
    for key, entry in space.items():
        for other in sorted(entry.references() - set(known)):
            problems.setdefault(key, f"refers to {other}: {unknown_setting(other)}")
        for other in sorted(_null_bounds(study, key) & set(known)):
            problems.setdefault(key, f"is bounded by {other}, which is null; give that a number, or search it too")
    try:
        in_order(space)
    except ValueError as error:
        return {"search.space": str(error)}
    for key in [key for key in space if not (space[key].references() | {key}) & problems.keys()]:
        if fault := _first_fault(study, {key: _probes(study, key)}):
            problems[key] = fault
    # The rules over several keys are those of a section.
    sound = [key for key in space if not (space[key].references() | {key}) & problems.keys()]
    for one, other in combinations(sound, 2):
        if one.split(".")[0] == other.split(".")[0]:
            fault = _first_fault(study, {one: _probes(study, one), other: _probes(study, other)})
            if fault:
                problems[other] = fault
    found = {f"search.space.{key}": problems[key] for key in space if key in problems}
    return found or _enqueue_problems(study)


def _enqueue_problems(study: Study) -> dict[str, str]:
    """Settings to try first must be ones that could be drawn."""
    problems, space = {}, study.search.space
    for index, setting in enumerate(study.search.enqueue):
        texts = [f"{key} is not in search.space" for key in setting if key not in space]
        for key in setting.keys() & space.keys():
            entry, value = space[key], setting[key]
            if isinstance(entry, Choice):
                allowed = value in entry.values
            else:
                low, high = _widest(study, key)
                allowed = isinstance(value, (int, float)) and low <= value <= high
            if not allowed:
                texts.append(f"{key} {shown(value)} is not among what may be drawn for it")
        if not texts and (fault := _first_fault(study, {key: [value] for key, value in setting.items()})):
            texts.append(fault)
        if texts:
            problems[f"search.enqueue.{index}"] = "; ".join(texts)
    return problems


def _first_fault(study: Study, probes: Mapping[str, Sequence[Any]]) -> str:
    """What is wrong with the first draw that is not allowed; empty when all are."""
    for values in product(*probes.values()):
        drawn = dict(zip(probes, values, strict=True))
        conditions = [study.search.space[key].when for key in probes]
        if any(
            key in drawn and not _is_one_of(drawn[key], allowed) for when in conditions for key, allowed in when.items()
        ):
            continue
        # What a condition asks for is so whenever the setting is drawn.
        drawn = {key: _one_of(allowed) for when in conditions for key, allowed in when.items()} | drawn
        try:
            with_settings(study, drawn)
        except ValidationError as error:
            words = " with ".join(f"{key} {shown(value)}" for key, value in drawn.items())
            # The value given stands in `words`.
            texts = problems_of(error, _with_settings(study, drawn)).values()
            return f"may draw {words}; " + "; ".join(re.sub(r"^got .*?; ", "", text) for text in texts)
    return ""


def _is_one_of(value: Any, allowed: Any) -> bool:
    return value in (allowed if isinstance(allowed, list) else [allowed])


def _one_of(allowed: Any) -> Any:
    return allowed[0] if isinstance(allowed, list) else allowed


def _probes(study: Study, key: str) -> Sequence[Any]:
    """Values that stand for all: those of a choice, the ends of a range, and of an integer one the second."""
    entry = study.search.space[key]
    if isinstance(entry, Choice):
        return entry.values
    low, high = _widest(study, key)
    return sorted({low, low + 1, high}) if isinstance(entry, IntRange) and low < high else [low, high]


def _null_bounds(study: Study, key: str) -> set[str]:
    """Keys that bound this one and have no number."""
    entry = study.search.space[key]
    bounds = () if isinstance(entry, Choice) else (bound for bound in entry.bounds if isinstance(bound, str))
    return {bound for bound in bounds if bound not in study.search.space and _value(study, bound) is None}


def _value(study: Study, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(study, section, None), name, None)


def _widest(study: Study, key: str) -> tuple[float, float]:
    """The ends of a range; one that another key decides is taken where it leaves the most room."""
    entry = study.search.space[key]
    if isinstance(entry, Choice):
        numbers = [value for value in entry.values if isinstance(value, (int, float))]
        return min(numbers, default=math.nan), max(numbers, default=math.nan)
    ends = []
    for bound, side in zip(entry.bounds, (0, 1), strict=True):
        if not isinstance(bound, str):
            ends.append(bound)
        elif bound in study.search.space:
            ends.append(_widest(study, bound)[side])
        else:
            ends.append(_value(study, bound))
    return ends[0], ends[1]
