"""Sampling of candidates by Optuna's samplers: a function of those tried so far, with no memory of its own.

So a plan that is opened again proposes what it would have proposed, and the cost of a proposal is bounded by how many
candidates the sampler observes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning

from dabo_ray.config.schema import Choice, FloatRange, IntRange, StudyConfig, in_order
from dabo_ray.planning.candidates import Candidate, as_optuna_trial
from dabo_ray.seeds import derive

STARTUP = 5
"""First candidates, drawn at random."""

Entry = IntRange | FloatRange | Choice


def propose(study: StudyConfig, number: int, tried: Sequence[Candidate], fixed: Mapping[str, Any]) -> Candidate:
    """The candidate with a number.

    Args:
        study: the checked study file.
        number: of the candidate, from 0.
        tried: candidates before it that the sampler learns from.
        fixed: values that are not left to the sampler.
    """
    # A stream of its own for every candidate: one for all would begin again, and repeat itself, with every driver.
    sampler = _sampler(study, derive(study.seed, "sampler", number) % 2**31)
    memory = optuna.create_study(directions=list(study.search.objective.values()), sampler=sampler)
    if study.search.sampler in ("tpe", "gp"):
        memory.add_trials([as_optuna_trial(study, candidate) for candidate in tried])
    memory.enqueue_trial(dict(fixed))
    handle = memory.ask()
    values: dict[str, Any] = {}
    for key in in_order(study.search.space):
        entry = study.search.space[key]
        if entry.is_drawn(_known(study, values)):
            values[key] = _draw(handle, key, entry, _known(study, values))
    return Candidate(number, values, handle.distributions, repeats=study.search.repeats)


def grid_of(study: StudyConfig) -> list[dict[str, Any]]:
    """Every combination of the searched settings, in the order of the file."""
    return list(_combinations(study, in_order(study.search.space), {}))


def _combinations(study: StudyConfig, keys: Sequence[str], values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not keys:
        yield values
        return
    key, entry = keys[0], study.search.space[keys[0]]
    known = _known(study, values)
    if not entry.is_drawn(known):
        yield from _combinations(study, keys[1:], values)
        return
    for value in _grid_values(entry, known):
        yield from _combinations(study, keys[1:], {**values, key: value})


def _grid_values(entry: Entry, known: Mapping[str, Any]) -> Sequence[Any]:
    """The values of an entry on a grid."""
    if isinstance(entry, Choice):
        return entry.values
    return entry.grid(*_bounds(entry, known))


def _known(study: StudyConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by key path: what was drawn so far, and the study file's for the other keys that entries refer to."""
    known: dict[str, Any] = {}
    for entry in study.search.space.values():
        for key in entry.references() - values.keys():
            known[key] = _of_file(study, key)
    return known | dict(values)


def _of_file(study: StudyConfig, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(study, section), name)


def _draw(handle: optuna.trial.Trial, key: str, entry: Entry, known: Mapping[str, Any]) -> Any:
    if isinstance(entry, Choice):
        return handle.suggest_categorical(key, entry.values)
    low, high = _bounds(entry, known)
    if isinstance(entry, IntRange):
        return handle.suggest_int(key, int(low), int(high), log=entry.log)
    return handle.suggest_float(key, low, high, log=entry.log)


def _bounds(entry: IntRange | FloatRange, known: Mapping[str, Any]) -> tuple[float, float]:
    """The ends of a range; where another setting leaves no room between them, both are the end that is a number."""
    low, high = (known[bound] if isinstance(bound, str) else bound for bound in entry.bounds)
    if low > high:
        return (high, high) if isinstance(entry.bounds[0], str) else (low, low)
    return low, high


def _sampler(study: StudyConfig, seed: int) -> optuna.samplers.BaseSampler:
    name = study.search.sampler
    if name in ("random", "grid"):
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
    conditional = any(entry.when for entry in study.search.space.values())
    with warnings.catch_warnings(action="ignore"):
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=STARTUP,
            multivariate=True,
            group=conditional,
            warn_independent_sampling=False,
        )
