"""Reference of a study file: every key as Markdown, and a JSON schema for editors.

Run: python -m dabo_ray.config.reference, which writes docs/reference.md and docs/study.schema.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dabo_ray.config.schema import StudyConfig
from dabo_ray.storage.atomic import write_atomically

DOCS = Path(__file__).parents[2] / "docs"
HEAD = """# Keys of a study file

Generated from `dabo_ray/config/schema` by `python -m dabo_ray.config.reference`. Everything has a default but `study`
and `data.name`. Editors that know YAML's language server check and complete a file that begins with
`# yaml-language-server: $schema=../docs/study.schema.json`.
"""
BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
    "multipleOf": "multiple of",
}

Schema = Mapping[str, Any]


def json_schema() -> str:
    """The JSON schema of a study file."""
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema()}, indent=1) + "\n"


def markdown() -> str:
    """Every key with type, range, default and meaning, a table for each section; baselines by their names."""
    schema = _schema()
    definitions = schema["$defs"]
    sections = [("", schema), *_sections("", schema, definitions)]
    parts = [HEAD]
    for path, section in sections:
        parts.append(f"\n## {path or 'Top level'}\n\n{_line(section.get('description', ''))}\n\n{_table(section)}")
    parts.append("\n# Baselines\n\nThe sections that may stand in `baselines` and in `augmenter.base`, by `name`.\n")
    for definition in definitions.values():
        name = definition["properties"].get("name", {})
        if "label" in definition["properties"]:
            names = ", ".join(name.get("enum") or [name["const"]])
            parts.append(f"\n## {names}\n\n{_line(definition.get('description', ''))}\n\n{_table(definition)}")
    return "".join(parts)


def _schema() -> dict[str, Any]:
    return StudyConfig.model_json_schema(by_alias=True)


def _sections(path: str, section: Schema, definitions: Schema) -> Iterator[tuple[str, Schema]]:
    for key, entry in section["properties"].items():
        if (reference := entry.get("$ref")) is not None:
            inner = definitions[reference.rpartition("/")[2]]
            yield f"{path}{key}", inner
            yield from _sections(f"{path}{key}.", inner, definitions)


def _table(section: Schema) -> str:
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for key, entry in section["properties"].items():
        default = "" if "$ref" in entry or "default" not in entry else f"`{json.dumps(entry['default'])}`"
        values = _cell(_values(entry))
        lines.append(f"| `{key}` | {values} | {_cell(default)} | {_cell(_line(entry.get('description', '')))} |")
    return "\n".join(lines) + "\n"


def _values(entry: Schema) -> str:
    """Type and range in words."""
    if "$ref" in entry:
        return "section"
    for either in ("anyOf", "oneOf"):
        if either in entry:
            return " or ".join(dict.fromkeys(map(_values, entry[either])))
    if "enum" in entry or "const" in entry:
        return ", ".join(f"`{value}`" for value in entry.get("enum", [entry.get("const")]))
    if entry.get("type") == "array":
        return f"list of {_values(entry['items'])}" if "items" in entry else "list"
    words = {"object": "mapping", "integer": "whole number", "string": "text", "boolean": "true or false"}
    name = str(entry.get("type", "any value"))
    kind = words.get(name, name)
    bounds = [f"{word} {entry[key]:g}" for key, word in BOUNDS.items() if key in entry]
    return ", ".join([kind, *bounds])


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Writes both files."""
    write_atomically(DOCS / "reference.md", markdown())
    write_atomically(DOCS / "study.schema.json", json_schema())


if __name__ == "__main__":
    main()
