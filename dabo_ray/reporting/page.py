"""Pictures of a report in their order, with captions that say how to read them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dabo_ray.analysis.convergence import quantity_and_unit
from dabo_ray.analysis.trial_files import Records, learned_augmenters, read_picture
from dabo_ray.analysis.trial_metrics import metric, score_in_words, select_score
from dabo_ray.augment.description import draw_samples
from dabo_ray.config.schema import ShiftConfig, StudyConfig
from dabo_ray.config.schema.search import Measure
from dabo_ray.reporting.figures import arms, distribution, epochs, objectives, settings
from dabo_ray.reporting.figures.drawing import Styles, styles_of
from dabo_ray.storage.layout import StudyFolder
from dabo_ray.trials import LEARNED, Outcome, Phase, TrialResult

MAX_SAMPLES = 8
"""Seeds of an arm whose samples are in the page; those of the others are files beside it."""

_GROUPS = {"network": "the network's weights", "log_spread": "the spreads"}
"""What the groups of an augmenter's weights are."""


@dataclass(frozen=True)
class Picture:
    """A picture of the page, with its words."""

    title: str
    caption: str
    """What is shown and how to read it; also what those hear who do not see it."""

    uri: str
    """The picture itself, as a data URI."""

    note: str = ""
    """What holds for this picture alone; pictures one after the other that share a caption show it once."""

    is_sample: bool = False


def sections(
    study_dir: Path,
    results: Sequence[TrialResult],
    records: Records,
    summary: Mapping[str, Any],
    importance: Mapping[str, float],
    study: StudyConfig,
) -> list[tuple[str, list[Picture]]]:
    """Headings, and the pictures under each; headings without a picture are left out.

    Args:
        study_dir: The folder of the study; sample pictures are read from `trials/` in it.
        results: Every trial.
        records: What the trials recorded for each epoch.
        summary: What `summarize` made of the results.
        importance: Share of each searched setting.
        study: The study file.
    """
    shift = study.data.shift
    styles = styles_of([*(result.trial.arm for result in results), *(result.trial.method for result in results)])
    learned = _distributions(study_dir, results, shift, styles) + _seeds(results, records, styles)
    found = [
        (f"{_capital(score_in_words(results))} and cost", _comparing(summary["arms"], score_in_words(results), styles)),
        ("What was learned", learned + _spreads(results, records, shift.spreads(), styles)),
        ("What the augmentation does to images", _samples(study_dir, results, summary["arms"])),
        ("What the classifier says of pixels", _predictions(study_dir, results)),
        ("Training", _training(results, records, styles)),
        (
            "What the settings do",
            _searched(results, importance, study, styles) + _interplay(results, summary["interplay"]),
        ),
    ]
    if study.question == "settings":
        found = [found[-1], *found[:-1]]
    return [(heading, pictures) for heading, pictures in found if pictures]


def _comparing(of_summary: Sequence[Mapping[str, Any]], score: str, styles: Styles) -> list[Picture]:
    front = ", ".join(arm["name"] for arm in arms.best_for_their_cost(of_summary))
    return _drawn(
        (
            f"Test {score} of every arm",
            "Mean and 95 % t-interval over seeds; the small hollow marks are the single seeds.",
            arms.score_per_arm(of_summary, styles),
        ),
        (
            f"{_capital(score)} against cost",
            f"Mean test {score} against the training time of an arm over that of the arm none. On the Pareto front, "
            f"beaten by no arm of their cost: {front}.",
            arms.score_by_cost(of_summary, styles),
        ),
    )


def _training(results: Sequence[TrialResult], records: Records, styles: Styles) -> list[Picture]:
    return _drawn(
        (
            "Learning curves",
            f"Select {score_in_words(results)} before the final phase: at each epoch, median and middle half of a "
            "method's trials.",
            epochs.learning_curves(results, records, styles),
        ),
        (
            "Training loss of the final phase",
            "Mean loss on augmented training images over an arm's seeds, and each of them faintly. "
            "Stronger augmentation makes the images harder, so a higher loss is not worse.",
            epochs.final_losses(results, records, styles),
        ),
    )


def _searched(
    results: Sequence[TrialResult], importance: Mapping[str, float], study: StudyConfig, styles: Styles
) -> list[Picture]:
    marks = "One mark per trial of the search; a pruned trial stands at its last epoch."
    traded = objectives.trade_offs(results, study.search.objective, study.search.constraints)
    first, *_ = study.search.objective
    compromise = (
        "A mark for each setting of the search that trained to its end, the mean over its seeds. Best in their way: "
        "within the constraints, and no other setting is as good in all objectives and better in one."
    )
    return _drawn(
        *((f"The best {_named(first)} for its {_named(name)}", compromise, uri) for name, uri in traded.items()),
        *(
            (f"Select {score_in_words(results)} against {key}", marks, uri)
            for key, uri in settings.score_by_setting(results, styles).items()
        ),
        (
            "Importance of the settings",
            "Share of each setting in what tells the best tenth of the complete search trials from all of them "
            "(PED-ANOVA). A setting that was hardly varied cannot matter here.",
            settings.importance_bars(importance),
        ),
        (
            "All settings at once",
            "A line per trial of the search through its value of every setting; the darker, the better. "
            "Dotted lines were pruned.",
            settings.parallel_coordinates(results),
        ),
    )


def _interplay(results: Sequence[TrialResult], pairs: Sequence[Mapping[str, Any]]) -> list[Picture]:
    caption = (
        f"Mean select {score_in_words(results)} of the complete trials of the search that have both values; the "
        "darker, the better."
    )
    return [
        Picture(
            f"{pair['first']} and {pair['second']}",
            caption,
            settings.interplay_map(results, pair["first"], pair["second"]),
        )
        for pair in pairs
    ]


def _distributions(
    study_dir: Path, results: Sequence[TrialResult], shift: ShiftConfig, styles: Styles
) -> list[Picture]:
    augmenters = learned_augmenters(study_dir, results)
    draws = {
        arm: [{name: values.numpy() for name, values in draw_samples(seed).items()} for seed in seeds]
        for arm, seeds in augmenters.items()
    }
    truth = [
        (
            f"Learned and true {distribution.in_words(name)}",
            "What the augmenter draws at the end: all seeds of an arm together, and each of them faintly. Dashed: the "
            "shift of the images that are scored, which no augmenter was told.",
            uri,
        )
        for name, uri in distribution.learned_and_true(draws, shift.ranges(), styles).items()
    ]
    everything = [
        (
            f"All that {arm} draws",
            "A histogram for each quantity at the end of training, first seed; each on a scale of its own, in the "
            "middle what changes nothing.",
            distribution.all_quantities(seeds[0]),
        )
        for arm, seeds in sorted(augmenters.items(), key=lambda entry: not entry[0].startswith(LEARNED))
    ]
    return _drawn(*truth, *everything)


def _seeds(results: Sequence[TrialResult], records: Records, styles: Styles) -> list[Picture]:
    """The learning of every seed by itself."""
    caption = (
        "Outer loss, on the images that the augmenter learns from, by epoch: a line for each seed of the arm, with its "
        "number at the end."
    )
    of_arms = epochs.every_seed(results, records, styles).items()
    return [Picture(f"Every seed of {arm}", caption, uri) for arm, uri in of_arms]


def _spreads(
    results: Sequence[TrialResult], records: Records, true_spread: Mapping[str, float], styles: Styles
) -> list[Picture]:
    spreads = []
    caption = (
        "Standard deviation of the distribution that the augmenter draws from, in the final phase: mean of an arm's "
        "seeds, and each of them faintly."
    )
    for name, uri in epochs.learned_distribution(results, records, true_spread, styles).items():
        note = ""
        # stn and adversarial have a spread too, and another purpose.
        learned = (r for r in results if r.trial.phase is Phase.FINAL and r.trial.method == LEARNED)
        whole = (r for r in learned if r.outcome is Outcome.COMPLETE)
        final = [value for result in whole if (value := metric(result, name)) is not None]
        if name in true_spread and final:
            note = (
                f"At the end {np.mean(final):.1f} over all seeds; "
                f"the shift of the images that are scored: {true_spread[name]:.1f}."
            )
        spreads.append(Picture(f"Learned {quantity_and_unit(name)[0]} spread", caption, uri, note))
    evidence = [
        Picture(
            f"Signal to noise of {_GROUPS.get(group, group)}",
            "Whether the outer images say anything: mean over standard error of the hypergradients of an epoch, root "
            "mean square over the weights. At 1 it is noise alone; the augmenter moves by how far it is above.",
            uri,
        )
        for group, uri in epochs.signal_to_noise(results, records, styles).items()
    ]
    return spreads + evidence


def _samples(study_dir: Path, results: Sequence[TrialResult], of_summary: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """The sample grids of the seeds of every arm that has some; before any arm is scored, of the best trial so far."""
    final = [result for result in results if result.trial.phase is Phase.FINAL and result.outcome is Outcome.COMPLETE]
    by_seed = sorted(final, key=lambda result: result.trial.seed_index)
    groups = [[result for result in by_seed if result.trial.arm == arm["name"]] for arm in of_summary]
    caption = "Each row: an original, then augmented versions of it."
    shown = [result for group in groups or [choosing_trials(results)[:1]] for result in group[:MAX_SAMPLES]]
    folder = StudyFolder(study_dir)
    return _grids((result, folder.trial(result.trial.name).samples, caption) for result in shown)


def _predictions(study_dir: Path, results: Sequence[TrialResult]) -> list[Picture]:
    """Of the first seed of every arm that has some."""
    firsts = [r for r in results if r.trial.phase is Phase.FINAL and r.trial.seed_index == 0]
    caption = "Each row: a test image, its mask, and what the classifier says; black is class 0, grey is ignored."
    folder = StudyFolder(study_dir)
    return _grids((result, folder.trial(result.trial.name).predictions, caption) for result in firsts)


def _grids(files: Iterable[tuple[TrialResult, Path, str]]) -> list[Picture]:
    """PNGs of trials that are there, with a caption each."""
    pictures = []
    for result, path, caption in files:
        trial, content = result.trial, read_picture(path)
        if content is not None:
            uri = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
            place = f", seed {trial.seed_index}" if trial.phase is Phase.FINAL else ""
            pictures.append(Picture(f"{trial.arm}{place}", caption, uri, f"Trial {trial.name}.", is_sample=True))
    return pictures


def _named(measure: Measure) -> str:
    """A measure in words, without its unit."""
    return objectives.WORDS[measure].partition(" (")[0]


def choosing_trials(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The trials before the final phase, best select score first, those without one last."""

    def rank(result: TrialResult) -> tuple[bool, float, str]:
        score = select_score(result)
        return score is None, -(score or 0.0), result.trial.name

    return sorted((result for result in results if result.trial.phase is not Phase.FINAL), key=rank)


def _capital(words: str) -> str:
    """Words at the beginning of a title; a name such as mIoU keeps its own letters."""
    return words[0].upper() + words[1:]


def _drawn(*drawn: tuple[str, str, str | None]) -> list[Picture]:
    """Those of title, caption and picture that have a picture."""
    return [Picture(title, caption, uri) for title, caption, uri in drawn if uri is not None]
