"""A whole study file."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from dabo_ray.config.schema.arm import values_of
from dabo_ray.config.schema.baselines import (
    ARMS,
    BaselineEntry,
    NetworkConfig,
    Settings,
    arm_of,
    combinations_of,
    label_of,
    mixes_images,
    numbered,
    tuned,
)
from dabo_ray.config.schema.data import DataConfig
from dabo_ray.config.schema.search import SELECT, BudgetConfig, FinalConfig, SearchConfig
from dabo_ray.config.schema.section import Count, NotNegative, Section
from dabo_ray.config.schema.space import FloatRange
from dabo_ray.config.schema.task import contradictions_of_the_task
from dabo_ray.config.schema.training import AugmenterConfig, BilevelConfig, ClassifierConfig

WILCOXON_REPEATS = 5
"""Of four pairs that all agree, the signed-rank test says p = 1/16; of fewer, nothing below its usual limit of 0.1."""

MOST_COMBINATIONS = 1000
"""Of one baseline that are tried."""

RESERVED = ("learned", "frozen")
EQUAL_COST = "-equal-cost"


class ResourcesConfig(Section):
    """What a trial runs on."""

    workers: Annotated[int, Field(ge=1, le=1024)] | Literal["local"] = "local"
    """Ray Train workers of a trial, which share its batches; `local`: the trial's own process, no worker group."""

    cpus_per_worker: Count = 1
    """CPUs of each worker, and its threads."""

    gpus_per_worker: NotNegative = 0.0
    """GPUs of each worker; a part of one (0.5) for single workers."""

    concurrent_trials: Count | Literal["auto"] = "auto"
    """Trials at the same time; `auto`: as many as fit on the cluster when the study starts."""

    @model_validator(mode="after")
    def _whole_gpus_for_groups(self) -> Self:
        whole = float(self.gpus_per_worker).is_integer()
        if not whole and (self.gpus_per_worker > 1 or self.workers not in ("local", 1)):
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker} with workers {self.workers}: a part of a GPU is for single "
                "workers; give a whole number or set workers to 1"
            )
        return self


class TrackingConfig(Section):
    """Where MLflow keeps the runs."""

    uri: str = ""
    """MLflow tracking URI; empty: that of `MLFLOW_TRACKING_URI` in the environment, or SQLite in the storage folder
    (`sqlite:///<storage>/mlflow.db`)."""


class StudyConfig(Section):
    """A whole study file."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Name of the study: of its folder, its MLflow experiment and its Optuna studies."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Everything random follows from it."""

    task: Literal["classification", "segmentation"] = "classification"
    """What the classifier tells: the class of an image, or of each of its pixels."""

    question: Literal["augmentation", "settings"] = "augmentation"
    """What the answer is about: `augmentation`: whether what was learned beats the baselines; `settings`: what each
    searched setting does to the score on the select images."""

    data: DataConfig
    """Images and splits."""

    classifier: ClassifierConfig = ClassifierConfig()
    """What is trained, and how."""

    augmenter: AugmenterConfig = AugmenterConfig()
    """What learns to augment."""

    bilevel: BilevelConfig = BilevelConfig()
    """Schedule of the two problems."""

    search: SearchConfig = SearchConfig()
    """Settings to look for."""

    budget: BudgetConfig = BudgetConfig()
    """What the study may use up."""

    baselines: list[BaselineEntry] = ["none"]
    """Arms that the learned augmentation is compared with: names, such as `trivialaugment`, or sections with settings,
    such as `{name: randaugment, num_ops: 1, label: ra-1}` or, for the best of several,
    `{name: randaugment, tune: {num_ops: {int: [1, 3]}}}`. `random_augmenter` is the untrained network; `stn` and
    `adversarial` learn from the training loss, down and up it."""

    final: FinalConfig = FinalConfig()
    """The comparison on the test images."""

    resources: ResourcesConfig = ResourcesConfig()
    """CPUs, GPUs and workers."""

    tracking: TrackingConfig = TrackingConfig()
    """MLflow."""

    storage: Annotated[str, Field(min_length=1)] = "runs"
    """Folder for the study's results; on a cluster one that every node sees at the same path."""

    database: str = ""
    """Optuna storage URL of the plan; empty: SQLite in the study's folder."""

    @model_validator(mode="before")
    @classmethod
    def _judge_by_the_task(cls, values: Any) -> Any:
        """What settings are judged by, where the study file does not say."""
        if not isinstance(values, dict) or values.get("task") != "segmentation":
            return values
        search = values.get("search") or {}
        if not isinstance(search, dict) or "objective" in search:
            return values
        return values | {"search": search | {"objective": {"select_mean_iou": "maximize"}}}

    @property
    def score(self) -> str:
        """What settings and arms are judged by, without the part of the images that it is of."""
        return next(name for name in self.search.objective if name.startswith(SELECT)).removeprefix(SELECT)

    @property
    def arms(self) -> dict[str, Settings]:
        """The baselines with their settings, by the names of their arms."""
        return {label_of(step): arm_of(step) for step in self.baselines}

    @property
    def num_final_trials(self) -> int:
        """Trials of the final phase, unless arms fail before it: every arm on every seed."""
        learned = self.final.top * (2 if self.final.frozen else 1)
        return (len(self.arms) + len(self.final.equal_cost) + learned) * self.final.seeds

    def method_of(self, label: str) -> str:
        """The method of a baseline's trials: that of its network, or its label, which leads to its settings."""
        arm = self.arms[label]
        return arm.name if isinstance(arm, NetworkConfig) else label

    def settings_to_try(self, label: str) -> list[dict[str, Any]]:
        """By key paths, for each trial of a baseline before the final phase; those of one that is not tuned: `[{}]`."""
        combinations = combinations_of(self.arms[label])
        return [{f"baselines.{label}.{key}": value for key, value in values.items()} for values in combinations]

    def contradictions(self) -> dict[str, str]:
        """Rules over several sections: key path -> what is wrong and what to change; empty when all hold."""
        found = self._contradictions_of_labels()
        labels = [label_of(step) for step in self.baselines]
        mixing = [label for label, step in zip(labels, self.baselines, strict=True) if mixes_images(step)]
        if mixing and self.resources.workers not in ("local", 1):
            found["resources.workers"] = (
                f"is {self.resources.workers}, and {', '.join(mixing)} mixes images of a whole batch, which workers "
                "would share; set workers to local or 1, or remove the baseline"
            )
        if "://" in self.storage:
            found["storage"] = f"must be a folder, got {self.storage!r}; mount shared storage on every node instead"
        for key, folder in (
            ("storage", self.storage),
            ("data.root", self.data.root),
            ("data.cache", self.data.cache),
            ("data.fold", self.data.fold),
        ):
            if folder.startswith("~"):
                found[key] = f"got {folder!r}, and `~` is not the home folder here; give the path in full"
        if self.final.top > self.search.trials:
            found["final.top"] = f"is {self.final.top}, more than search.trials ({self.search.trials}); lower it"
        missing = [name for name in self.final.equal_cost if name not in labels]
        if missing:
            found["final.equal_cost"] = (
                f"names {', '.join(missing)}, not among the baselines; add it there or remove it"
            )
        elif self.final.equal_cost and self.final.top == 0:
            found["final.equal_cost"] = "needs a learned arm whose cost counts; raise final.top or remove it"
        if self.budget.money is not None and self.budget.price_per_gpu_hour is None:
            found["budget.money"] = "needs budget.price_per_gpu_hour; add it, or limit budget.gpu_hours"
        found |= self._contradictions_of_the_search()
        found |= contradictions_of_the_task(
            self.task, self.data, self.classifier, self.augmenter, self.search.objective, self.baselines
        )
        if not self.baselines and self.final.top == 0:
            found["final.top"] = "is 0 and there are no baselines, so nothing is compared; raise it or name baselines"
        return found

    def _contradictions_of_labels(self) -> dict[str, str]:
        found = {}
        labels = [label_of(step) for step in self.baselines]
        if len(set(labels)) < len(labels):
            found["baselines"] = f"names an arm twice: {', '.join(labels)}; name each once, or give one a label"
        if reserved := [label for label in labels if label.startswith(RESERVED) or label.endswith(EQUAL_COST)]:
            found["baselines"] = (
                f"has the label {', '.join(reserved)}; labels must not begin with {' or '.join(RESERVED)} nor end with "
                f"{EQUAL_COST}, the names of other arms"
            )
        if misleading := [label for label, arm in self.arms.items() if label in ARMS and label != arm.name]:
            found["baselines"] = f"has the label {', '.join(misleading)}, the name of another baseline; give another"
        for label, arm in self.arms.items():
            count = math.prod(map(len, map(values_of, tuned(arm).values())))
            if count > MOST_COMBINATIONS:
                found["baselines"] = f"has {count} combinations to try for {label}; give {MOST_COMBINATIONS} at most"
            elif tuned(arm) and (taken := {numbered(label, number) for number in range(count)} & set(labels)):
                found["baselines"] = f"has the label {', '.join(taken)}, the name of a trial of {label}; give another"
        return found

    def _contradictions_of_the_search(self) -> dict[str, str]:
        search, found = self.search, {}
        scores = [name for name in search.objective if name.startswith(SELECT)]
        if len(scores) != 1 or search.objective[scores[0]] != "maximize":
            found["search.objective"] = (
                "must have one score, as in select_accuracy: maximize; the time, the cost and the memory may stand "
                "beside it"
            )
        if len(search.objective) > 1 and search.pruner.name != "none":
            found["search.pruner"] = (
                f"{search.pruner.name} goes by the score alone and would end the trials that are good at "
                f"{', '.join(search.objective.keys() - {*scores})}; set search.pruner.name to none"
            )
        if search.pruner.name == "wilcoxon" and search.repeats < WILCOXON_REPEATS:
            found["search.repeats"] = (
                f"is {search.repeats}; pruner wilcoxon compares seeds, and cannot tell anything from fewer than "
                f"{WILCOXON_REPEATS}: raise it or choose another pruner"
            )
        if self.question == "settings" and not search.space:
            found["question"] = "is settings, and search.space has none to try; add some, or set question: augmentation"
        if len(search.enqueue) > search.trials:
            found["search.enqueue"] = f"has {len(search.enqueue)} settings, search.trials is {search.trials}; raise it"
        for key, entry in search.space.items():
            if search.sampler == "grid" and isinstance(entry, FloatRange) and entry.steps is None:
                found[f"search.space.{key}"] = "a grid needs to know how many values to try; add steps: NUMBER"
        return found
