"""Command that begins with a folder of images: python -m dabo_ray.init --images FOLDER. It writes a study file."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from dabo_ray.commands.process import ExitCode, exit_code_of
from dabo_ray.config.errors import ConfigError
from dabo_ray.storage.atomic import write_atomically
from dabo_ray.tracking.activity import Activity


def main(argv: Sequence[str] | None = None) -> int:
    """Looks, suggests, measures and writes; returns the exit code."""
    options = _parser().parse_args(argv)
    study = _study_name(options.images)
    file = options.file or Path(f"{study}.yaml")
    try:
        if file.exists():
            raise ConfigError(f"{file} is there already; give another --file, or remove it")
        if not file.absolute().parent.is_dir():
            raise ConfigError(f"the folder of {file} is not there; make it, or give another --file")
        with Activity("loading torch") as activity:
            from dabo_ray.commands.first_look import first_look

            text, told = first_look(options.images, study, activity)
        write_atomically(file, text)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    except OSError as error:
        print(f"cannot write {file}: {error.strerror or error}; give another --file", file=sys.stderr)
        return ExitCode.BAD_INPUT
    print(told)
    print(f"written     {file}; look through it, then run\n            python -m dabo_ray.study {file}")
    return ExitCode.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dabo_ray.init",
        description="Look at a folder of images and write a study file for it: which augmentation should be used on "
        "these images? The images are read once, into the cache of this node.",
        epilog="exit codes: 0 done, 2 the images cannot be used or the file is there already, 130 interrupted",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--images",
        required=True,
        metavar="FOLDER",
        help="a folder for each class, also below train/ and test/; or a zip of them, Parquet, or a CSV of file,label",
    )
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="the study file to write (default: FOLDER's name and .yaml)"
    )
    return parser


def _study_name(images: str) -> str:
    """A name that a study may have, of the images' folder or file."""
    name = Path(os.path.abspath(images)).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:64] or "study"


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
