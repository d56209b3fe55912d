"""Layout of the files of a study: every name below the storage folder is given here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


class StudyFolder:
    """The files of one study, `<storage>/<study>/`.

    Args:
        path: of the folder; every process of the study sees it at this path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.study_file = path / "study.yaml"
        """The study file as it was resolved."""
        self.lock = path / "lock"
        """Held by the driver that runs the study."""
        self.plan = path / "plan.db"
        """Optuna's storage, unless `database` names another one."""
        self.provenance = path / "provenance.json"
        self.summary = path / "summary.json"
        self.results_parquet = path / "results.parquet"
        self.results_csv = path / "results.csv"
        self.report = path / "report.html"
        self.mlflow_study_id = path / "mlflow_study_id"
        """Identifies the study's runs in MLflow, whatever else bears its name there."""
        self.tune = path / "tune"
        """Of Ray Tune, while the study runs."""
        self.trials = path / "trials"

    def trial(self, name: str) -> TrialFolder:
        """The files of a trial."""
        return TrialFolder(self.trials / name)

    def records(self) -> list[Path]:
        """The records of every trial that has some, by the trial's name."""
        files = [self.trial(folder.name).records for folder in sorted(self.trials.glob("*"))]
        return [file for file in files if file.exists()]

    @property
    def was_started(self) -> bool:
        """Whether a study has begun here. Its plan may be kept elsewhere; what was started has left trials."""
        return self.study_file.is_file() and (self.plan.exists() or self.trials.exists())

    def published(self) -> list[Path]:
        """What is copied to MLflow at the end."""
        return [self.report, self.results_parquet, self.results_csv, self.summary, self.study_file]


class TrialFolder:
    """The files of one trial, `<storage>/<study>/trials/<name>/`.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = path / "records.json"
        """The records of the epochs, for people and reports."""
        self.samples = path / "samples.png"
        """Originals beside their augmented versions."""
        self.predictions = path / "predictions.png"
        """Of a segmentation: test images beside their masks and what the classifier says."""
        self.augmenter = path / "augmenter.safetensors"
        """What was learned, see `augment.export`."""
        self.checkpoint = path / "checkpoint.pt"
        self.previous_checkpoint = path / "checkpoint-previous.pt"
        self.unreadable_checkpoint = path / "checkpoint-unreadable.pt"


def study_folders(storage: Path) -> Iterator[StudyFolder]:
    """The studies below a storage folder, by name."""
    folders = map(StudyFolder, sorted(storage.glob("*")))
    return (folder for folder in folders if folder.study_file.exists())


def mlflow_database(storage: str) -> str:
    """URI of the MLflow store that the studies below a storage folder share, unless `tracking.uri` names another."""
    return f"sqlite:///{storage}/mlflow.db"
