"""A saved augmenter: what comes back, and files that are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.export import FORMAT_VERSION, HEADER_KEY, load, load_augmenter, save
from dabo_ray.augment.registry import AUGMENTERS, name_of


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(name: str, **options) -> Augmenter:
    torch.manual_seed(0)
    made = AUGMENTERS[name](hidden=8, **options)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=seeded(3)))
    return made


@pytest.mark.parametrize("conditioning", ["none", "class", "image"])
@pytest.mark.parametrize("name", AUGMENTERS)
def test_what_is_loaded_does_what_was_saved(name, conditioning, tmp_path) -> None:
    made = shaken(name, dropout=0.2, conditioning=conditioning, num_classes=3, depth=2)
    path = tmp_path / "a.safetensors"
    save(made, path, description={"study": "digits", "accuracy": 97.5})
    again = load_augmenter(path)
    assert name_of(again) == name
    assert again.arguments == made.arguments
    images = torch.rand(6, 3, 9, 9, generator=seeded())
    params = (*made.draw(6, seeded(2)), *made.context(images, torch.tensor([0, 1, 2, 0, 1, 2])))
    assert torch.equal(again(images, *params), made(images, *params))
    assert load(path).description == {"study": "digits", "accuracy": 97.5}
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_saving_again_replaces_the_file_and_a_failure_leaves_it(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    save(shaken("affine"), path)
    save(shaken("affine_matrix"), path)
    assert name_of(load_augmenter(path)) == "affine_matrix"
    with pytest.raises(ValueError, match="JSON"):
        save(shaken("affine"), path, description={"x": object()})
    broken = shaken("affine")
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="log_spread"):
        save(broken, path)
    assert name_of(load_augmenter(path)) == "affine_matrix"
    assert os.listdir(tmp_path) == ["a.safetensors"]


def header_of(path: Path):
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"][HEADER_KEY])


def rewritten(path: Path, **changes):
    made = load_augmenter(path)
    header = {HEADER_KEY: json.dumps({**header_of(path), **changes})}
    save_file(dict(made.state_dict()), path, metadata=header)
    return path


def test_files_that_are_refused(tmp_path) -> None:
    path = tmp_path / "a.safetensors"

    def fresh():
        save(shaken("affine"), path)
        return path

    whole = fresh().read_bytes()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged"):
            load(path)
    path.write_bytes(b"\x80\x04 not a file of ours at all, but rather long, so that there is a header to read")
    with pytest.raises(ValueError, match="damaged, or no safetensors"):
        load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no learned augmenter"):
        load(path)
    with pytest.raises(ValueError, match=rf"version {FORMAT_VERSION + 1}.*update"):
        load(rewritten(fresh(), version=FORMAT_VERSION + 1))
    with pytest.raises(ValueError, match="'gan'; known are affine"):
        load(rewritten(fresh(), name="gan"))
    with pytest.raises(ValueError, match="do not fit"):
        load(rewritten(fresh(), arguments={"noise": 6, "hidden": [9]}))
    with pytest.raises(ValueError, match="do not fit"):
        load(rewritten(fresh(), arguments={"noise": 6, "hidden": [10**12]}))
    with pytest.raises(ValueError, match="do not fit"):
        load(rewritten(fresh(), arguments={"noise": "six"}))
    with pytest.raises(ValueError, match="damaged header"):
        load(rewritten(fresh(), description=3))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "missing")


def test_a_process_that_uses_one_needs_nothing_of_the_service(tmp_path) -> None:
    save(shaken("affine"), tmp_path / "a.safetensors")
    program = f"""
import sys, torch
from dabo_ray.augment.export import load
transform = load({str(tmp_path / "a.safetensors")!r})
transform(torch.zeros(3, 8, 8)), transform.describe()
heavy = ["ray", "optuna", "mlflow", "pydantic", "yaml", "pyarrow", "sklearn", "pandas", "matplotlib"]
print([name for name in heavy if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.strip() == "[]"
