"""Whether all that a study may draw or try for its settings is allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import combinations, islice, product
from typing import Any

from pydantic import ValidationError

from dabo_ray.config.errors import problems_of, settings, shown, unknown_key_of, unknown_setting
from dabo_ray.config.key_paths import with_settings, with_settings_unchecked
from dabo_ray.config.schema import Choice, IntRange, StudyConfig, in_order
from dabo_ray.config.schema.arm import TunableConfig, values_of
from dabo_ray.config.schema.baselines import CompositionConfig, Settings, arm_of, combinations_of
from dabo_ray.config.schema.study import MOST_COMBINATIONS


def space_problems(study: StudyConfig) -> dict[str, str]:
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


def _enqueue_problems(study: StudyConfig) -> dict[str, str]:
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


def _first_fault(study: StudyConfig, probes: Mapping[str, Sequence[Any]]) -> str:
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
            return f"may draw {_in_words(drawn)}; {_allowed(error, with_settings_unchecked(study, drawn))}"
    return ""


def _in_words(drawn: Mapping[str, Any]) -> str:
    return " with ".join(f"{key} {shown(value)}" for key, value in drawn.items())


def _allowed(error: ValidationError, raw: Mapping[str, Any]) -> str:
    """What is allowed instead of what was drawn, without saying again what that is."""
    return "; ".join(re.sub(r"^got .*?; ", "", text) for text in problems_of(error, raw).values())


def _is_one_of(value: Any, allowed: Any) -> bool:
    return value in (allowed if isinstance(allowed, list) else [allowed])


def _one_of(allowed: Any) -> Any:
    return allowed[0] if isinstance(allowed, list) else allowed


def _probes(study: StudyConfig, key: str) -> Sequence[Any]:
    """Values that stand for all: those of a choice, the ends of a range, and of an integer one the second."""
    entry = study.search.space[key]
    if isinstance(entry, Choice):
        return entry.values
    low, high = _widest(study, key)
    return sorted({low, low + 1, high}) if isinstance(entry, IntRange) and low < high else [low, high]


def _null_bounds(study: StudyConfig, key: str) -> set[str]:
    """Keys that bound this one and have no number."""
    entry = study.search.space[key]
    bounds = () if isinstance(entry, Choice) else (bound for bound in entry.bounds if isinstance(bound, str))
    return {bound for bound in bounds if bound not in study.search.space and _value(study, bound) is None}


def _value(study: StudyConfig, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(study, section, None), name, None)


def _widest(study: StudyConfig, key: str) -> tuple[float, float]:
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


def tune_problems(study: StudyConfig) -> dict[str, str]:
    """Each setting that a baseline is tuned by must exist, and every combination that is tried be allowed."""
    problems: dict[str, str] = {}
    for place, arm in enumerate(map(arm_of, study.baselines)):
        steps = enumerate(map(arm_of, arm.steps)) if isinstance(arm, CompositionConfig) else ()
        parts = {f"baselines.{place}": arm} | {f"baselines.{place}.steps.{number}": step for number, step in steps}
        problems |= {path: text for where, part in parts.items() for path, text in _wrongly_tuned(where, part).items()}
    return problems


def _wrongly_tuned(where: str, arm: Settings) -> dict[str, str]:
    if not isinstance(arm, TunableConfig):
        return {}
    problems: dict[str, str] = {}
    for key, entry in arm.tune.items():
        if key not in arm.settings():
            problems[f"{where}.tune.{key}"] = unknown_key_of(arm.name, key, arm.settings())
        elif fault := next(filter(None, (_fault_of(arm, {key: value}) for value in values_of(entry))), ""):
            problems[f"{where}.tune.{key}"] = fault
    every = islice(combinations_of(arm), MOST_COMBINATIONS)
    if not problems and (fault := next(filter(None, (_fault_of(arm, values) for values in every)), "")):
        problems[where] = fault
    return problems


def _fault_of(arm: Settings, values: Mapping[str, Any]) -> str:
    """What is wrong with a baseline that has these values; empty if nothing is."""
    raw = {"study": "s", "data": {"name": "digits"}, "baselines": [arm.model_dump(by_alias=True) | dict(values)]}
    try:
        StudyConfig.model_validate(raw)
    except ValidationError as error:
        return f"may try {_in_words(values)}; {_allowed(error, raw)}"
    return ""
