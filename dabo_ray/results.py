"""What a study has found, for Python: tables of its trials and arms, and its augmenters as transforms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dabo_ray.storage.layout import StudyFolder

if TYPE_CHECKING:
    from pandas import DataFrame

    from dabo_ray.augment.transform import LearnedTransform
    from dabo_ray.config.schema import StudyConfig
    from dabo_ray.trials import TrialResult


def load(path: str | os.PathLike[str]) -> Any:
    """A study, by its folder; or what was learned, by its file, as a transform of torchvision.

    Args:
        path: a study's folder, `<storage>/<study>`, or a file of `save`.

    Returns:
        `StudyResults`, or `LearnedTransform`: which of them is for the caller to know.

    Raises:
        ValueError: it is neither, or damaged.
        FileNotFoundError: there is nothing at the path.
    """
    if Path(path).is_dir():
        return StudyResults(path)
    from dabo_ray.augment import export

    return export.load(path)


class StudyResults:
    """The results of a study, finished or not, as they stand in its folder when they are asked for.

    Args:
        folder: `<storage>/<study>`, as in `runs/digits`.

    Raises:
        ValueError: it is not the folder of a study.
        ImportError: what studies need is not installed: `pip install 'dabo_ray[study]'`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not StudyFolder(self.folder).was_started:
            raise ValueError(f"{self.folder} is not the folder of a study; give <storage>/<study>, as in runs/digits")

    @property
    def study(self) -> StudyConfig:
        """The study file, with all defaults."""
        from dabo_ray.config.file import read_study

        return read_study(StudyFolder(self.folder).study_file)

    def trials(self) -> DataFrame:
        """A row per trial: name, phase, arm, seed, outcome, scores (%), settings, metrics of its last epoch."""
        from dabo_ray.analysis.results import results_table

        return results_table(self._results()).to_pandas()

    def arms(self) -> DataFrame:
        """A row per arm that was scored on test, best mean first.

        Columns: `arm`, `method`, `seeds`, `score` (what arms are judged by, as in `accuracy`), `test_score` (mean, %),
        `low`, `high` (95 % interval, %), `select_score`, `seconds` of a training, `cost_ratio` to the arm `none`.
        """
        from pandas import DataFrame

        from dabo_ray.analysis.statistics import interval_95

        rows = []
        for arm in self._arms():
            low, high = interval_95(arm["test_score"]) or (None, None)
            rows.append(
                {
                    "arm": arm["name"],
                    "method": arm["method"],
                    "seeds": len(arm["seeds"]),
                    "score": arm["score"],
                    "test_score": arm["test_score"]["mean"],
                    "low": low,
                    "high": high,
                    **{key: arm[key] for key in ("select_score", "seconds", "cost_ratio")},
                }
            )
        columns = ["arm", "method", "seeds", "score", "test_score", "low", "high", "select_score", "seconds"]
        return DataFrame(rows, columns=[*columns, "cost_ratio"])

    def recommendation(self) -> dict[str, str] | None:
        """The arm to use, how sure that is, its file and its code, see `use_this`; None before any is scored."""
        from dabo_ray.reporting.use_this import use_this

        return use_this(self.folder, self.study, self._results(), self._arms())

    def augmenter(self, arm: str, seed: int | None = None) -> LearnedTransform:
        """What an arm has learned, as a transform of torchvision.

        Args:
            arm: one with a network, such as `learned-1`; `frozen-1` is augmented with what `learned-1` has learned.
            seed: which of its seeds, from 0; None: the one with the least loss on the outer images.

        Raises:
            ValueError: the arm has no such file; the message says which there are.
        """
        from dabo_ray.augment import export
        from dabo_ray.reporting.use_this import best_seed, kept_networks

        results = self._results()
        if seed is None:
            chosen = best_seed(self.folder, results, arm)
        else:
            kept = kept_networks(self.folder, results, arm)
            chosen = next((result for result in kept if result.trial.seed_index == seed), None)
        if chosen is None:
            raise ValueError(self._without_file(results, arm, seed))
        return export.load(StudyFolder(self.folder).trial(chosen.trial.name).augmenter)

    def _without_file(self, results: Sequence[TrialResult], arm: str, seed: int | None) -> str:
        from dabo_ray.reporting.use_this import kept_networks

        names = sorted({result.trial.arm for result in results})
        seeds = {name: [r.trial.seed_index for r in kept_networks(self.folder, results, name)] for name in names}
        having = "; ".join(f"{name}: seeds {', '.join(map(str, sorted(of)))}" for name, of in seeds.items() if of)
        wanted = arm if seed is None else f"{arm}, seed {seed}"
        return f"there is no augmenter file of {wanted} in {self.folder}; it has {having or 'none'}"

    def _arms(self) -> list[dict[str, Any]]:
        from dabo_ray.analysis.results import summarize

        arms: list[dict[str, Any]] = summarize(self.folder.name, self._results(), None, {})["arms"]
        return arms

    def _results(self) -> list[TrialResult]:
        from dabo_ray.planning.plan import read_results

        return read_results(self.folder)

    def __repr__(self) -> str:
        return f"StudyResults({str(self.folder)!r})"
