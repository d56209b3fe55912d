"""A study goes on only with what its trials were made with; how far it goes may grow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dabo_ray.config.errors import ConfigError
from dabo_ray.config.schema import StudyConfig
from dabo_ray.planning.plan import Plan
from dabo_ray.planning.resume import check_extensions, continued, digest

StudyMaker = Callable[..., StudyConfig]


@pytest.mark.parametrize(
    "extension", ["search.trials=9", "final.seeds=4", "final.top=2", "budget.gpu_hours=3", "budget.trials=null"]
)
def test_what_may_grow(make_study: StudyMaker, extension: str):
    key = extension.partition("=")[0]
    before = make_study("budget={gpu_hours: 2, trials: 50}")
    assert continued(before, make_study("budget={gpu_hours: 2, trials: 50}", extension), [key]) != before


@pytest.mark.parametrize("extension", ["search.trials=1", "budget.gpu_hours=1.5"])
def test_what_would_shrink_is_refused(make_study: StudyMaker, extension: str):
    before = make_study("budget.gpu_hours=2")
    key = extension.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}: was 2(\.0)?, is 1"):
        continued(before, make_study("budget.gpu_hours=2", extension), [key])


def test_a_larger_value_in_the_file_needs_to_be_said(make_study: StudyMaker):
    with pytest.raises(ConfigError, match=r"search.trials: was 2, is 9\n.*--extend KEY=VALUE"):
        continued(make_study(), make_study("search.trials=9"))


def test_an_extended_study_is_gone_on_with_by_the_file_it_began_with(make_study: StudyMaker):
    extended = make_study("search.trials=9", "budget.gpu_hours=5")
    assert continued(extended, make_study("budget.gpu_hours=2")) == extended


@pytest.mark.parametrize("key", ["classifier.lr", "search.sampler", "budget.price_per_gpu_hour", "studyy"])
def test_what_cannot_grow_is_refused(key: str):
    with pytest.raises(ConfigError, match=rf"--extend {key}: .*what may grow: search.trials"):
        check_extensions(["search.trials", key])


def test_the_digest_is_of_what_trials_depend_on(make_study: StudyMaker):
    before = digest(make_study())
    assert digest(make_study("search.trials=9", "storage=elsewhere", "resources.workers=2")) == before
    assert digest(make_study("classifier.lr=0.2")) != before


def test_another_study_of_the_same_name_in_a_shared_database_is_refused(make_study: StudyMaker, tmp_path):
    url = f"sqlite:///{tmp_path}/shared.db"
    Plan(make_study(), url)
    Plan(make_study("search.trials=9"), url)
    with pytest.raises(ValueError, match=r"holds a study 'tiny' with other settings; use another name"):
        Plan(make_study("classifier.lr=0.2"), url)
