"""What trials left is read back; what is damaged costs only itself."""

import json

import pytest
import torch

from dabo_ray.analysis.trial_files import learned_augmenters, read_picture, read_records
from dabo_ray.augment import export
from dabo_ray.augment.affine import AffineAugmenter
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import Outcome, Phase, Trial, TrialResult


def result(name, arm="learned-1", phase=Phase.FINAL, outcome=Outcome.COMPLETE):
    trial = Trial(name=name, phase=phase, arm=arm, method="learned", seed=0, epochs=2)
    return TrialResult(trial=trial, outcome=outcome)


@pytest.fixture
def home(tmp_path):
    """Makes the folder of a trial."""

    def make(name):
        folder = tmp_path / "trials" / name
        folder.mkdir(parents=True)
        return folder

    return make


def test_records_by_trial_and_the_trials_without_readable_ones(tmp_path, home):
    (home("good") / "records.json").write_text(json.dumps([{"epoch": 1, "train_loss": 2.0}]))
    (home("cut") / "records.json").write_text('[{"epoch": 1, "tr')
    (home("strange") / "records.json").write_text("[3]")
    home("running")
    records, unreadable = read_records(tmp_path, [result(name) for name in ("good", "cut", "strange", "running")])
    assert records == {"good": [{"epoch": 1, "train_loss": 2.0}]}
    assert unreadable == ["cut", "strange"]


def test_samples_are_a_whole_png_or_none(tmp_path, home):
    (home("good") / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    (home("empty") / "samples.png").write_bytes(b"")
    assert read_picture(StudyFolder(tmp_path).trial("good").samples) == b"\x89PNG\r\n\x1a\nrest"
    assert read_picture(StudyFolder(tmp_path).trial("empty").samples) is None
    assert read_picture(StudyFolder(tmp_path).trial("missing").samples) is None


def test_augmenters_of_the_complete_final_trials_by_arm(tmp_path, home):
    results = [
        result("final-1-seed-0"),
        result("final-1-seed-1"),
        result("final-2-seed-0", arm="learned-2"),
        result("search-0", phase=Phase.SEARCH),
        result("failed", outcome=Outcome.FAIL),
        result("none-seed-0", arm="none"),
    ]
    saved = {}
    for entry in results[:5]:
        torch.manual_seed(len(saved))
        saved[entry.trial.name] = AffineAugmenter()
        export.save(saved[entry.trial.name], home(entry.trial.name) / "augmenter.safetensors")
    (tmp_path / "trials" / "final-1-seed-1" / "augmenter.safetensors").write_bytes(b"not safetensors")
    found = learned_augmenters(tmp_path, results)
    assert {arm: len(seeds) for arm, seeds in found.items()} == {"learned-1": 1, "learned-2": 1}
    for name, augmenter in (("final-1-seed-0", found["learned-1"][0]), ("final-2-seed-0", found["learned-2"][0])):
        for key, weight in saved[name].state_dict().items():
            assert torch.equal(weight, augmenter.state_dict()[key])
