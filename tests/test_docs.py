"""README and docs: short enough to be read, and nothing in them points nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_the_readme_is_short_and_has_its_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 1500
    commands = {
        "pip install -r requirements.txt && python -m dabo_ray.study studies/digits.yaml",
        "pip install -r tests/requirements.txt && python -m pytest",
    }
    assert commands <= set(text.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_names_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    paths = re.findall(r"(?<![\w/])(?:dabo_ray|studies|examples|cluster|docker)/[\w./]*\w", text)
    modules = re.findall(r"python -m (dabo_ray(?:\.\w+)*)", text)
    assert not [link for link in links if not (page.parent / link).exists()]
    assert not [path for path in paths if not (ROOT / path).exists()]
    names = [module.replace(".", "/") for module in modules]
    assert not [name for name in names if not ((ROOT / f"{name}.py").exists() or (ROOT / name).is_dir())]
