"""Recovery of the quickstart's shift by seeds that were lost before, as far as half a training shows it."""

from __future__ import annotations

import pytest

from dabo_ray.assembly import make_study_pools, make_training
from dabo_ray.benchmarks.recovery import QUICKSTART
from dabo_ray.config.schema import StudyConfig
from dabo_ray.data.splits import Pools
from dabo_ray.trials import LEARNED, Phase, Trial

LOST_SEEDS = (100, 111, 112, 120)
"""Their augmenters learned shear in the place of rotation and ended at 74 to 85 % of the test images, at an outer loss
of 0.73 with rotation spread by 6 to 8 degrees. Now the outer loss is 0.22 to 0.47 after 18 epochs, and rotation spreads
by 15 to 20 degrees. Which seeds are lost depends on the last bits of the arithmetic: with another one 111 was not, the
others were."""


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
    record = next(record for record in make_training(study, trial, pools).epochs() if record["epoch"] == 18)
    assert record["outer_loss"] < 0.73
    assert record["rotation_spread_deg"] > 11.5
