"""Runs a study: python -m dabo_ray.study FILE. Wiring only; this module runs as __main__, so it holds no classes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dabo_ray.config import Study
from dabo_ray.describe import describe_plan
from dabo_ray.exit_codes import ExitCode
from dabo_ray.service.sameness import check_extensions
from dabo_ray.study_file import ConfigError, read_study


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m dabo_ray.study",
        description="Run a study of learned data augmentation from its file, to the report.",
        epilog="examples:\n"
        "  python -m dabo_ray.study studies/digits.yaml --check\n"
        "  python -m dabo_ray.study studies/digits.yaml --set search.trials=20 --set study=digits-20\n"
        "  python -m dabo_ray.study studies/digits.yaml --resume\n"
        "  python -m dabo_ray.study studies/digits.yaml --extend search.trials=20 --extend budget.gpu_hours=2\n\n"
        "exit codes: 0 done, 1 the study failed, 2 bad input, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the study file, for example studies/digits.yaml")
    parser.add_argument("--check", action="store_true", help="check the file, show what would be run, and stop")
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
    parser.add_argument("--verbose", action="store_true", help="show the messages of Ray and MLflow")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Checks, runs and reports; returns the exit code."""
    options = arguments(argv)
    try:
        check_extensions(extended_keys(options))
        study = read_study(options.file, [*options.set, *options.extend])
        if options.check:
            print(describe_plan(study))
            return ExitCode.DONE
        return run(study, options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    except KeyboardInterrupt:
        # Before the first trial, or again while the study is being closed.
        print("Interrupted.", file=sys.stderr)
        return ExitCode.INTERRUPTED


def extended_keys(options: argparse.Namespace) -> list[str]:
    """The keys that --extend names."""
    return [extension.partition("=")[0].strip() for extension in options.extend]


def run(study: Study, options: argparse.Namespace) -> int:
    """Runs a checked study."""
    from dabo_ray.build import make_study_pools
    from dabo_ray.data.images import DataError
    from dabo_ray.report import leading_comment
    from dabo_ray.service.folder import held_folder

    try:
        pools = make_study_pools(study)
        # Too few images for a part are told now, not by the first trial.
        pools.roles(learned=True, final=False, outer_fraction=study.data.outer_fraction, seed=study.seed)
        digest = pools.labelled.digest()
    except DataError as error:
        raise ConfigError(str(error)) from None
    comment = leading_comment(options.file.read_text(encoding="utf-8"))
    extended = extended_keys(options)
    resume = options.resume or bool(extended)
    with held_folder(study, comment, resume=resume, extended=extended) as (folder, study):
        from dabo_ray.driver import Driver

        driver = Driver(study, folder, question=comment, dataset_digest=digest, verbose=options.verbose)
        overrides = [word for override in options.set for word in ("--set", override)]
        return driver.run(["python", "-m", "dabo_ray.study", str(options.file), *overrides])


if __name__ == "__main__":
    sys.exit(main())
