"""Command that runs a study: python -m dabo_ray.study FILE. It runs as __main__, so this module holds no classes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dabo_ray.commands.process import ExitCode, exit_code_of
from dabo_ray.config.describe import describe_plan
from dabo_ray.config.errors import ConfigError
from dabo_ray.config.feasible import check_feasible
from dabo_ray.config.file import leading_comment, read_study
from dabo_ray.config.schema import StudyConfig
from dabo_ray.execution import signals
from dabo_ray.planning.resume import check_extensions

EXAMPLES = """examples:
  python -m dabo_ray.study studies/digits.yaml --check
  python -m dabo_ray.study studies/digits.yaml --dry-run
  python -m dabo_ray.study studies/digits.yaml --set search.trials=20 --set study=digits-20
  python -m dabo_ray.study studies/digits.yaml --resume
  python -m dabo_ray.study studies/digits.yaml --extend search.trials=20 --extend budget.gpu_hours=2
  python -m dabo_ray.study studies/digits.yaml --report-only
  python -m dabo_ray.study --list
  python -m dabo_ray.study --show digits search-0003

exit codes: 0 done, 1 the study failed or a fault of the machine stopped it, 2 bad input, 130 interrupted"""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m dabo_ray.study",
        description="Run a study of learned data augmentation from its file, to the report.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="the study file, for example studies/digits.yaml"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_true", help="check the file, show what would be run, and stop")
    instead.add_argument(
        "--dry-run",
        action="store_true",
        help="train a few batches of every arm, show what the whole study would take, and stop",
    )
    instead.add_argument(
        "--report-only", action="store_true", help="write the report of the study as it stands, and stop"
    )
    instead.add_argument("--list", action="store_true", help="show the studies below the storage folder")
    instead.add_argument("--show", nargs=2, metavar=("STUDY", "TRIAL"), help="show a trial of a study in full")
    parser.add_argument("--resume", action="store_true", help="go on with the study if it was started before")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="use another value for a key of the file"
    )
    parser.add_argument(
        "--extend",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="go on with a study, also a finished one, with a larger value of search.trials, final.top, final.seeds or "
        "a key of budget",
    )
    parser.add_argument(
        "--storage", type=Path, default=Path("runs"), metavar="DIR", help="folder of --list and --show (default: runs)"
    )
    parser.add_argument("--verbose", action="store_true", help="show the messages of Ray and MLflow")
    options = parser.parse_args(argv)
    if options.file is None and not options.list and not options.show:
        parser.error("the following arguments are required: FILE")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Checks, runs and reports; returns the exit code."""
    options = arguments(argv)
    try:
        if options.list or options.show:
            from dabo_ray.commands.listing import list_studies, show_trial

            print(show_trial(options.storage, *options.show) if options.show else list_studies(options.storage))
            return ExitCode.DONE
        check_extensions(extended_keys(options))
        study = read_study(options.file, [*options.set, *options.extend])
        check_feasible(study)
        if options.check:
            print(describe_plan(study), flush=True)
            print(look_at_data(study))
            return ExitCode.DONE
        if options.report_only:
            from dabo_ray.report import main as report

            return report([str(Path(study.storage) / study.study)])
        return run(study, options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT


def extended_keys(options: argparse.Namespace) -> list[str]:
    """The keys that --extend names."""
    return [extension.partition("=")[0].strip() for extension in options.extend]


def look_at_data(study: StudyConfig) -> str:
    """What is found of a study's data, over several lines; nothing is written."""
    from dabo_ray.tracking.activity import Activity

    with Activity("loading torch") as activity:
        from dabo_ray.commands.data_words import describe_images
        from dabo_ray.commands.read_data import read_data

        pools, counts = read_data(study, activity, convert=False)
    return describe_images(pools, counts)


def run(study: StudyConfig, options: argparse.Namespace) -> int:
    """Runs a checked study, or a few batches of each of its arms."""
    from dabo_ray.tracking.activity import Activity

    with Activity("loading torch") as activity:
        from dabo_ray.commands.read_data import read_data

        if not options.dry_run:
            from dabo_ray.execution.cluster import check_cluster

            try:
                check_cluster()
            except ConnectionError as error:
                raise ConfigError(str(error)) from None
        pools, _ = read_data(study, activity)
        if options.dry_run:
            from dabo_ray.commands.dry_run import dry_run

            told = dry_run(study, pools, activity)
        else:
            activity.now("looking for changes of the data")
            digest = pools.labelled.digest()
    if options.dry_run:
        print(told)
        return ExitCode.DONE
    signals.check()
    comment = leading_comment(options.file.read_text(encoding="utf-8"))
    extended = extended_keys(options)
    resume = options.resume or bool(extended)
    from dabo_ray.commands.open_folder import held_folder, held_plan

    with held_folder(study, comment, resume=resume, extended=extended) as (folder, study):
        with Activity("loading Ray"):
            from dabo_ray.commands.run import Driver

        overrides = [word for override in options.set for word in ("--set", override)]
        with held_plan(study, folder):
            driver = Driver(study, folder, question=comment, dataset_digest=digest, verbose=options.verbose)
            return driver.run(["python", "-m", "dabo_ray.study", str(options.file), *overrides])


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
