"""Command that converts a published data set: python -m dabo_ray.prepare NAME --root FOLDER [--download]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from dabo_ray.commands.process import ExitCode, exit_code_of
from dabo_ray.config.schema import DataConfig
from dabo_ray.tracking.activity import Activity

DOWNLOADS: dict[str, Callable[[Any, str], object]] = {
    "mnist": lambda sets, root: sets.MNIST(root, download=True),
    "fashion_mnist": lambda sets, root: sets.FashionMNIST(root, download=True),
    "cifar10": lambda sets, root: sets.CIFAR10(root, download=True),
    "cifar100": lambda sets, root: sets.CIFAR100(root, download=True),
}
"""Data sets that torchvision gets, into the places where this package looks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Downloads if asked to, converts, and prints what was found; returns the exit code."""
    options = _parser().parse_args(argv)
    with Activity("loading torch"):
        from dabo_ray.data.images import DataError

    try:
        if options.download:
            with Activity(f"downloading {options.name}"):
                _download(options.name, options.root)
        _prepare(options)
    except DataError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    return ExitCode.DONE


def _parser() -> argparse.ArgumentParser:
    names = [name for name in get_args(DataConfig.model_fields["name"].annotation) if name != "imported"]
    parser = argparse.ArgumentParser(
        prog="python -m dabo_ray.prepare",
        description="Convert a published data set to the cache of this node. A study does so itself when it needs to.",
        epilog="exit codes: 0 done, 2 the data set is missing or damaged, 130 interrupted",
        allow_abbrev=False,
    )
    parser.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--root", default="data", help="folder with the published files (default: %(default)s)")
    parser.add_argument("--cache", default="", help="folder of caches, as data.cache in a study file")
    parser.add_argument("--image-size", type=_size, metavar="PIXELS", help="side of the images, as data.image_size")
    parser.add_argument(
        "--streaming", choices=("auto", "always", "never"), default="auto", help="as data.streaming (default: auto)"
    )
    parser.add_argument("--download", action="store_true", help=f"get the files first ({', '.join(DOWNLOADS)})")
    return parser


def _size(text: str) -> int:
    if not text.isdigit() or not 8 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"must be from 8 to 1024, got {text}")
    return int(text)


def _download(name: str, root: str) -> None:
    from torchvision import datasets

    from dabo_ray.data.images import DataError

    if name not in DOWNLOADS:
        raise DataError(f"--download knows {', '.join(DOWNLOADS)}; without it, the message tells where to get {name}")
    try:
        DOWNLOADS[name](datasets, root)
    except (OSError, RuntimeError) as error:
        raise DataError(f"the download of {name} to {root} failed: {error}") from None


def _prepare(options: argparse.Namespace) -> None:
    from dabo_ray.data.sources import Reading, default_cache, load

    console = Console(highlight=False)
    with Activity(f"reading {options.name}") as activity:
        streaming = None if options.streaming == "auto" else options.streaming == "always"
        reading = Reading(
            cache=options.cache,
            image_size=options.image_size,
            streaming=streaming,
            progress=activity.count,
        )
        source = load(options.name, options.root, reading)
    for note in source.notes:
        print(note, file=sys.stderr)
    channels, height, width = source.labelled.shape
    test = "no published test set" if source.test is None else f"{len(source.test):,} test images"
    console.print(f"{options.name}: {len(source.labelled):,} labelled images, {test}")
    console.print(f"images    {width}x{height}, {'colour' if channels == 3 else 'grey'}; {source.num_classes} classes")
    if options.name != "digits":
        place = options.cache or default_cache()
        size = "" if "://" in place else f", {_mebibytes(Path(place), options.name):,.1f} MiB"
        console.print(f"cache     {place}{size}", soft_wrap=True)


def _mebibytes(folder: Path, name: str) -> float:
    """Size of what the cache holds of a data set."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and name in str(file)) / 2**20


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
