"""The reference and the JSON schema in docs/ are those of the schema, and the schema takes and refuses what we do."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from dabo_ray.config import reference
from dabo_ray.config.file import leading_comment
from dabo_ray.config.yaml import parse

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


@pytest.mark.parametrize(
    ("name", "made"), [("reference.md", reference.markdown), ("study.schema.json", reference.json_schema)]
)
def test_docs_are_current(name, made):
    kept = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert kept == made(), "run python -m dabo_ray.config.reference"


def validate(text: str) -> None:
    jsonschema.Draft202012Validator(json.loads(reference.json_schema())).validate(parse(text, "a test"))


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_study_is_valid_for_an_editor_and_asks_its_own_question(file: Path):
    text = file.read_text(encoding="utf-8")
    validate(text)
    assert text.startswith("# yaml-language-server: $schema=../docs/study.schema.json\n")
    assert "yaml-language-server" not in leading_comment(text)


@pytest.mark.parametrize(
    "text",
    [
        "data: {name: digits}",
        "{study: a, data: {name: digit}}",
        "{study: a, data: {name: digits}, bilevel: {inner_step: 1}}",
        "{study: a, data: {name: digits}, bilevel: {truncation: 0}}",
        "{study: a, data: {name: digits}, baselines: [flipp]}",
        "{study: a b, data: {name: digits}}",
    ],
)
def test_an_editor_is_told_of_a_wrong_file(text: str):
    with pytest.raises(jsonschema.ValidationError):
        validate(text)
