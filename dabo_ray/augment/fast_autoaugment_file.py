"""Policies from a file, in the form in which Fast AutoAugment publishes its own. Read as data, never run."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dabo_ray.augment.fast_autoaugment import KINDS, SubPolicy

MAX_BYTES = 10_000_000
MAX_PROBLEMS = 5
"""So many are named; a file of the wrong kind would have thousands."""

FORM = "a list of sub-policies, each a list of [operation, probability, level]"


class PolicyFileError(ValueError):
    """A policy file that cannot be used; the message names what is wrong."""


def read_policy(path: Path) -> list[SubPolicy]:
    """The sub-policies of a file: JSON, or a Python literal, such as `[[("Invert", 0.1, 0.5), ("Color", 0.9, 0.2)]]`.

    Raises:
        PolicyFileError: the file cannot be read, is neither, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PolicyFileError(f"the policy {path} has over {MAX_BYTES} bytes; give {FORM}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyFileError(f"cannot read the policy {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PolicyFileError(f"cannot read the policy {path}: it is not UTF-8 text") from None
    content = _parsed(text, path)
    if not isinstance(content, list | tuple) or not content:
        raise PolicyFileError(f"the policy {path} holds no sub-policies; give {FORM}")
    problems = [problem for number, sub in enumerate(content) for problem in _problems_of(sub, f"sub-policy {number}")]
    if problems:
        more = f"\n  and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        shown = "".join(f"\n  {problem}" for problem in problems[:MAX_PROBLEMS])
        raise PolicyFileError(f"the policy {path} cannot be used; give {FORM}:{shown}{more}")
    return [[(name, float(probability), float(level)) for name, probability, level in sub] for sub in content]


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PolicyFileError(f"the policy {path} is neither JSON nor a Python literal: {reason}") from None


def _problems_of(sub: Any, where: str) -> Iterator[str]:
    if not isinstance(sub, list | tuple) or not sub:
        yield f"{where}: {sub!r:.60} is not a list of operations"
        return
    for number, step in enumerate(sub):
        place = f"{where}, operation {number}"
        if not isinstance(step, list | tuple) or len(step) != 3:
            yield f"{place}: {step!r:.60} is not [operation, probability, level]"
            continue
        name, *numbers = step
        if not isinstance(name, str) or name not in KINDS:
            yield f"{place}: no operation {name!r:.60}; known: {', '.join(KINDS)}"
        for kind, value in zip(("probability", "level"), numbers, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                yield f"{place}: the {kind} {value!r:.60} is not a number from 0 to 1"
