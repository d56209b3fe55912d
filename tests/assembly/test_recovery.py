"""Recovery of the quickstart's shift by seeds that were lost before, as far as it shows in a third of a training."""

from __future__ import annotations

import pytest

from dabo_ray.assembly import make_study_pools, make_training
from dabo_ray.benchmarks.recovery import QUICKSTART
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.trials import LEARNED, Phase, Trial

LOST_SEEDS = (100, 111, 112, 120)
"""Their augmenters learned shear in the place of rotation and ended at 74 to 85 % of the test images. After 14 epochs
the outer loss was 0.88 to 1.10, now it is 0.34 to 0.53; rotation spread by 2 to 9 degrees, now by 19 to 22. Which seeds
are lost depends on the last bits of the arithmetic: with another one 111 was not, the others were."""


@pytest.fixture(scope="module")
def quickstart() -> tuple[StudyConfig, Pools]:
    study = StudyConfig.model_validate(QUICKSTART)
    return study, make_study_pools(study)


@pytest.mark.parametrize("seed", LOST_SEEDS)
def test_a_seed_that_was_lost_finds_the_rotation(seed: int, quickstart: tuple[StudyConfig, Pools]) -> None:
    study, pools = quickstart
    trial = Trial(
        name="t", phase=Phase.FINAL, arm="learned-1", method=LEARNED, seed=seed, epochs=study.classifier.epochs
    )
    record = next(record for record in make_training(study, trial, pools).epochs() if record["epoch"] == 14)
    assert record["outer_loss"] < 0.73
    assert record["rotation_spread_deg"] > 11.5
