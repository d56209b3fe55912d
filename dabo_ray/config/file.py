"""Reads a study file: YAML to checked values, with every problem named in one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dabo_ray.config.errors import ConfigError, Loc, problems_of, shown
from dabo_ray.config.key_paths import to_dict, with_value
from dabo_ray.config.schema import StudyConfig
from dabo_ray.config.schema.baselines import BaselineEntry, CompositionConfig
from dabo_ray.config.schema.policies import AugmenterFileConfig, PolicyFileConfig
from dabo_ray.config.space_checks import space_problems, tune_problems
from dabo_ray.config.yaml import dump, parse

MAX_PROBLEMS = 20
"""That are named; a wrong list has one for each of its values."""

MAX_SHOWN = 200
"""Letters of an override that are."""

_REQUIRED: dict[Loc, Any] = {
    ("study",): "name",
    ("data",): {"name": "digits"},
    ("data", "name"): "digits",
    ("data", "import"): "a:b",
}


def read_study(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """The checked study of a file, with `key.path=value` overrides applied.

    Raises:
        ConfigError: the file cannot be read, is not a YAML mapping, or holds wrong keys or values.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the name of the study file {str(path)!a} is not UTF-8; rename it") from None
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
        where = f"--set {override if len(override) <= MAX_SHOWN else override[:MAX_SHOWN] + '...'}"
        value = parse(text, where)
        try:
            raw = with_value(raw, path.strip(), value)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    return raw


def leading_comment(text: str) -> str:
    """The comment lines that a study file begins with, without the comment signs and what they tell an editor."""
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    words = (line.lstrip("#").strip() for line in lines)
    return "\n".join(line for line in words if not line.startswith("yaml-language-server:"))


def with_absolute_paths(study: StudyConfig) -> StudyConfig:
    """The study as processes read it that were started in another folder; addresses such as `s3://` stay."""
    data, classifier, augmenter = study.data, study.classifier, study.augmenter
    places = {name: _absolute(getattr(data, name)) for name in ("root", "cache", "fold")}
    return study.model_copy(
        update={
            "data": data.model_copy(update=places),
            "classifier": classifier.model_copy(update={"weights": _absolute(classifier.weights)}),
            "augmenter": augmenter.model_copy(update={"base": [_with_absolute_path(step) for step in augmenter.base]}),
            "baselines": [_with_absolute_path(step) for step in study.baselines],
        }
    )


def _with_absolute_path(step: BaselineEntry) -> BaselineEntry:
    if isinstance(step, PolicyFileConfig | AugmenterFileConfig):
        return step.model_copy(update={"path": _absolute(step.path)})
    if isinstance(step, CompositionConfig):
        return step.model_copy(update={"steps": [_with_absolute_path(part) for part in step.steps]})
    return step


def _absolute(place: str) -> str:
    return place if not place or "://" in place else str(Path(place).absolute())


def to_yaml(study: StudyConfig) -> str:
    """The text that `read_study` reads back as the same study."""
    return dump(to_dict(study))


def check_study(raw: Mapping[str, Any], where: str) -> StudyConfig:
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
            study = StudyConfig.model_validate(remaining)
        except ValidationError as error:
            fresh = problems_of(error, remaining)
            problems |= {".".join(map(str, loc)): text for loc, text in fresh.items()}
            for loc in fresh:
                remaining = _without(remaining, loc)
    problems |= study.contradictions() | space_problems(study) | tune_problems(study)
    if problems:
        lines = "\n".join(f"  {path}: {text}" for path, text in islice(problems.items(), MAX_PROBLEMS))
        if len(problems) > MAX_PROBLEMS:
            lines += f"\n  and {len(problems) - MAX_PROBLEMS} more"
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
