"""YAML as version 1.2 has it: text to plain values and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from dabo_ray.config.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars: `1e-3` is a number, `no`, `off` and `12:30` are text; a key given twice is an error."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, or an error if one of its keys stands twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is not a word", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes that either this file's reader or one of YAML 1.1 would take for something else."""


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", r"^[-+]?[0-9]+$", [*"-+0123456789"]),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$", [*"-+.0123456789"]),
):
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
# PyYAML's own constructor reads a leading zero as octal, which YAML 1.2 does not.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_Loader.add_constructor(
    "tag:yaml.org,2002:float", lambda _, node: float(node.value.replace(".inf", "inf").replace(".nan", "nan"))
)


def parse(text: str, where: str) -> Any:
    """The values of a text.

    Raises:
        ConfigError: it is not YAML; `where` says whose text it is.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        problem = str(getattr(error, "problem", None) or getattr(error, "reason", error))
        hint = "; indent with spaces, not tabs" if r"'\t'" in problem else ""
        if "'<" in problem:
            # The parser's own words for where a text ends or a part of it begins.
            hint = "; close what is open, and put a text with signs of YAML (% [ { : #) in quotes"
        raise ConfigError(f"{where} is not valid YAML{place}: {problem}{hint}") from None
    except RecursionError:
        raise ConfigError(f"{where} cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{where} cannot be read: {error}") from None


def dump(values: Mapping[str, Any]) -> str:
    """The text that `parse` reads back as the same values."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text
