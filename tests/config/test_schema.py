"""The schema by itself: every key is documented, values are strict and fixed, and rules over sections hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from dabo_ray.config.schema import Choice, ClassifierConfig, FloatRange, IntRange, ResourcesConfig, Section, StudyConfig

MINIMAL: dict[str, Any] = {"study": "s", "data": {"name": "digits"}}


def sections(base: type[Section] = Section) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from sections(section)


SECTIONS = sorted(sections(), key=lambda section: section.__name__)


def test_all_sections_are_looked_at():
    assert {"StudyConfig", "DataConfig", "ShiftConfig", "IntRange", "ResourcesConfig", "PrunerConfig"} <= {
        section.__name__ for section in SECTIONS
    }
    assert all(section.__module__.startswith("dabo_ray.config.schema.") for section in SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_says_what_it_is_for(section: type[Section]):
    assert section.__doc__ and section.__doc__ != Section.__doc__
    undocumented = [name for name, field in section.model_fields.items() if not (field.description or "").strip()]
    assert not undocumented


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_refuse_unknown_keys_and_changes(section: type[Section]):
    assert section.model_config.get("extra") == "forbid"
    assert section.model_config.get("frozen")
    assert section.model_config.get("strict")


@pytest.mark.parametrize("section", [s for s in SECTIONS if all(not f.is_required() for f in s.model_fields.values())])
def test_defaults_are_allowed(section: type[Section]):
    default = section()
    assert section.model_validate(default.model_dump(by_alias=True)) == default


@pytest.mark.parametrize(
    ("key", "value"),
    [("epochs", 3.0), ("epochs", "3"), ("epochs", True), ("lr", "0.1"), ("lr", float("nan")), ("nesterov", 1)],
)
def test_no_value_is_converted(key: str, value: object):
    with pytest.raises(ValidationError):
        ClassifierConfig.model_validate({key: value})


def test_a_whole_number_serves_as_number():
    assert ClassifierConfig(lr=1).lr == 1.0


@pytest.mark.parametrize(("workers", "gpus"), [("local", 0.5), (1, 0.25), (2, 0), (2, 1), (4, 2), (1, 2)])
def test_gpus_that_workers_can_have(workers: Any, gpus: float):
    assert ResourcesConfig(workers=workers, gpus_per_worker=gpus).workers == workers


@pytest.mark.parametrize(("workers", "gpus"), [(2, 0.5), (1, 1.5), ("local", 2.5), (8, 3.1)])
def test_gpus_that_workers_cannot_have(workers: Any, gpus: float):
    with pytest.raises(ValidationError, match="part of a GPU"):
        ResourcesConfig(workers=workers, gpus_per_worker=gpus)


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        (IntRange, {"int": [5, 4]}),
        (FloatRange, {"float": [0.2, 0.1]}),
        (IntRange, {"int": [0, 4], "log": True}),
        (FloatRange, {"float": [0.0, 1.0], "log": True}),
        (FloatRange, {"float": [-1.0, 1.0], "log": True}),
        (Choice, {"choice": []}),
        (Choice, {"choice": [8, 32, 8]}),
    ],
)
def test_ranges_and_choices_without_sense(kind: type[Section], entry: dict[str, Any]):
    with pytest.raises(ValidationError):
        kind.model_validate(entry)


def test_one_and_true_are_two_values():
    assert Choice.model_validate({"choice": [1, True]}).values == [1, True]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"baselines": ["none", "flip", "none"]}, "baselines"),
        ({"baselines": ["flip", {"name": "flip", "vertical": True}]}, "baselines"),
        ({"baselines": [{"name": "flip", "label": "learned-2"}]}, "baselines"),
        ({"baselines": [{"name": "flip", "label": "none"}]}, "baselines"),
        ({"baselines": ["mixup"], "resources": {"workers": 2}}, "resources.workers"),
        ({"storage": "s3://bucket/runs"}, "storage"),
        ({"storage": "~/runs"}, "storage"),
        ({"data": {"name": "digits", "root": "~/data"}}, "data.root"),
        ({"question": "settings"}, "question"),
        ({"final": {"top": 2}}, "final.top"),
        ({"final": {"top": 0}, "baselines": []}, "final.top"),
    ],
)
def test_contradictions_name_the_key_to_change(changes: dict[str, Any], key: str):
    assert list(StudyConfig.model_validate(MINIMAL | changes).contradictions()) == [key]


def test_a_minimal_study_has_no_contradictions():
    assert not StudyConfig.model_validate(MINIMAL).contradictions()


@pytest.mark.parametrize(
    ("name", "groups", "words"),
    [
        (
            "digits",
            "(.)",
            "groups is for .*, image_folder, csv, parquet, segmentation_folder; remove it for digits",
        ),
        ("image_folder", "patient", r"regular expression with one \(\.\.\.\) around what names the group, not 0"),
        ("image_folder", "(p[0-9]+)_(.)", r"one \(\.\.\.\) around what names the group, not 2"),
        ("bach", "(p[0-9+", "which is no regular expression: "),
    ],
)
def test_groups_that_cannot_be(name: str, groups: str, words: str):
    with pytest.raises(ValidationError, match=words):
        StudyConfig.model_validate(MINIMAL | {"data": {"name": name, "groups": groups}})


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("image_folder", "(?:train|test)/(p[0-9]+)_"),
        ("imagenet", "people (1).CSV"),
        ("parquet", "patient"),
        ("parquet", "p (id"),
    ],
)
def test_groups_that_can_be(name: str, groups: str):
    assert StudyConfig.model_validate(MINIMAL | {"data": {"name": name, "groups": groups}}).data.groups == groups
