"""Description of a study file, in words: the answer to --check."""

from __future__ import annotations

from collections.abc import Iterator

from dabo_ray.config.addresses import redact, tracking_uri
from dabo_ray.config.schema import Choice, ClassifierConfig, FloatRange, IntRange, StudyConfig
from dabo_ray.config.schema.baselines import label_of, tuned


def describe_plan(study: StudyConfig) -> str:
    """Phases, trials, resources and places of a checked study, over several lines."""
    resources, final, search = study.resources, study.final, study.search
    baselines = sum(len(study.settings_to_try(label)) for label in study.arms)
    searches = search.trials if final.top else 0
    arms = [f"{final.top} best settings", *([f"the same {final.top} frozen"] if final.frozen and final.top else [])]
    arms += [f"{len(study.arms)} baselines", *(f"{name} at equal cost" for name in final.equal_cost)]
    finals = study.num_final_trials
    workers = (
        "in the trial's own process" if resources.workers == "local" else f"{resources.workers} Ray Train worker(s)"
    )
    each = f"{resources.cpus_per_worker} CPU(s)"
    if resources.gpus_per_worker:
        each += f" and {resources.gpus_per_worker:g} GPU(s)"
    lines = [
        f"study       {study.study}, seed {study.seed}",
        f"data        {study.data.label}{_data_words(study)}",
        f"training    {study.classifier.label}, {study.classifier.epochs} epochs, "
        f"batches of {study.classifier.batch_size}; learning rate {_schedule_words(study.classifier)}",
        f"augmenter   {_augmenter_words(study)}; "
        f"inner_steps {study.bilevel.inner_steps or 'by length'}, truncation {study.bilevel.truncation}",
        f"baselines   {baselines} trials: {', '.join(study.arms) or 'none'}",
        *_tuning_words(study),
        f"search      {searches} trials by {search.sampler}, pruner {search.pruner.name}",
        *(f"              {key}: {_space_words(space)}" for key, space in search.space.items()),
        f"final       {finals} trials: {', '.join(arms)}; {final.seeds} seeds each",
        f"in all      {baselines + searches + finals} trials, "
        f"{(baselines + searches + finals) * study.classifier.epochs} epochs",
        f"resources   {workers}, {each} each; trials at once: {resources.concurrent_trials}",
        f"results     {study.storage}/{study.study}/ (report.html, results.csv, results.parquet, summary.json)",
        f"plan        {redact(study.database) if study.database else f'sqlite, {study.storage}/{study.study}/plan.db'}",
        f"MLflow      {redact(tracking_uri(study))}",
    ]
    return "\n".join(lines)


def _schedule_words(config: ClassifierConfig) -> str:
    words = f"{config.lr:g}"
    if config.schedule == "step":
        words += f", times {config.decay:g} at {', '.join(f'{100 * part:.4g} %' for part in config.milestones)}"
    elif config.schedule == "cosine":
        words += ", cosine to zero"
    return f"{words}, after {config.warmup_epochs} epochs of warm-up" if config.warmup_epochs else words


def _augmenter_words(study: StudyConfig) -> str:
    config = study.augmenter
    if isinstance(config.hidden, list):
        words = f"{config.name}, {' + '.join(map(str, config.hidden))} hidden units"
    else:
        words = f"{config.name}, {config.depth or 1} x {config.hidden} hidden units"
    if config.operations:
        words += f", {', '.join(config.operations)} alone"
    if config.conditioning != "none":
        words += f", by the {config.conditioning}"
    return f"{words}, after {', '.join(map(label_of, config.base))}" if config.base else words


def _data_words(study: StudyConfig) -> str:
    data = study.data
    words = [f"outer {data.outer_fraction:g}, select {data.select_fraction:g} of the labelled images"]
    if data.num_labels:
        words.insert(0, f"{data.num_labels} labelled images")
    if data.shift.rotation:
        words.append(f"outer, select and test turned by up to {data.shift.rotation:g} degrees")
    if data.shift.translation:
        words.append(f"outer, select and test moved by up to {data.shift.translation:g} of the side")
    if data.shift.zoom_in or data.shift.zoom_out:
        words.append(
            f"outer, select and test magnified {1 - data.shift.zoom_out:g} to {1 + data.shift.zoom_in:g} times"
        )
    return ", " + ", ".join(words)


def _tuning_words(study: StudyConfig) -> Iterator[str]:
    """A line for each baseline that is tuned."""
    for label, arm in study.arms.items():
        if tried := tuned(arm):
            words = "; ".join(f"{key} {_space_words(entry)}" for key, entry in tried.items())
            yield f"              {label}: best of {len(study.settings_to_try(label))}, {words}"


def _space_words(space: IntRange | FloatRange | Choice) -> str:
    if isinstance(space, Choice):
        words = "one of " + ", ".join(map(str, space.values))
    else:
        low, high = (bound if isinstance(bound, str) else f"{bound:.12g}" for bound in space.bounds)
        words = f"{low} to {high}{' (log)' if space.log else ''}"
        if isinstance(space, FloatRange) and space.steps:
            words += f", {space.steps} values"
    conditions = " and ".join(f"{key} is {value}" for key, value in space.when.items())
    return f"{words} when {conditions}" if conditions else words
