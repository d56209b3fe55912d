"""Command that benchmarks side by side with the alternative: `python -m dabo_ray.bench WHAT [--json FILE]`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from dabo_ray.commands.process import ExitCode, exit_code_of
from dabo_ray.reporting.terminal_table import Justify, make_table, print_table

SUBJECTS: dict[str, str] = {
    "augment": "batched augmentation against torchvision's image by image, and kornia's",
    "transform": "a learned transform image by image against torchvision's RandomAffine",
    "gpu": "steps on a GPU, with kernels and waits, beside PyTorch's own loops (--device cuda)",
    "step": "a bilevel step with a plain step of SGD, and ways to a hypergradient through several updates",
    "memory": "peak memory of these steps",
    "plan": "the next trial, at the start of a search and after ten thousand trials",
    "overhead": "what a study costs beside its training: seconds per trial, and until its first epoch",
    "data": "batches from the cache against a torch DataLoader; memory of ten processes",
    "stream": "batches of encoded photos, decoded ahead of time, against a DataLoader over the files, and Ray Data",
    "recovery": "test accuracy of the quickstart's learned arm over many seeds, with and without its augmentation",
}
"""Subject -> what is compared. Each has a module of its name in `dabo_ray.benchmarks`, with `run(options)`."""

_FORMATS = {"seconds": "{:.4g} s", "per_second": "{:.0f}/s", "mib": "{:.0f} MiB", "percent": "{:.2f} %"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures one subject and shows a table; 0 when every budget is met, 1 when not, 2 for bad input."""
    options = _parser().parse_args(arguments)
    import torch

    from dabo_ray.benchmarks import measure

    if options.json is not None and not options.json.parent.is_dir():
        return _refuse(f"--json {options.json}: there is no folder {options.json.parent}; make it first")
    try:
        device = torch.device(options.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        return _refuse(f"--device {options.device} cannot be used: {str(error).splitlines()[0]}")
    torch.set_num_threads(options.threads)
    subject = importlib.import_module(f"dabo_ray.benchmarks.{options.what}")
    # Without a thread that draws while something is measured, and before others are forked.
    screen = Live(
        console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    )
    with screen:
        settings = measure.BenchmarkOptions(
            device,
            options.repeats,
            options.threads,
            seeds=options.seeds,
            show_progress=lambda text: screen.update(text, refresh=True),
        )
        result = subject.run(settings)
    if options.json is not None:
        measure.write_json(result, settings, options.json)
    _show(result)
    return ExitCode.DONE if all(budget.met for budget in result.budgets) else ExitCode.FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dabo_ray.bench",
        description="Compares what this package does with the alternative, side by side in one run.",
        epilog="\n".join(f"{name:10}{text}" for name, text in SUBJECTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=SUBJECTS, metavar="WHAT", help=", ".join(SUBJECTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write rows, budgets and environment to FILE")
    parser.add_argument("--device", default="cpu", help="where to compute, such as cpu or cuda (default: %(default)s)")
    parser.add_argument("--repeats", type=_count, default=7, help="measurements of each case (default: %(default)s)")
    parser.add_argument("--threads", type=_count, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=range(20),
        metavar="N or A-B",
        help="of recovery: the first N seeds, or those from A to B (default: 20)",
    )
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _seeds(text: str) -> range:
    first, dash, last = text.partition("-")
    seeds = range(int(first), int(last) + 1) if dash else range(int(first))
    if not seeds:
        raise argparse.ArgumentTypeError(f"must name a seed at least, as 20 or 100-119, got {text}")
    return seeds


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return ExitCode.BAD_INPUT


def _show(result: object) -> None:
    from dabo_ray.benchmarks.measure import BenchmarkResult

    assert isinstance(result, BenchmarkResult)
    details = list(dict.fromkeys(name for row in result.rows for name in row.details))
    rows = [
        (
            *(row.name, _FORMATS[row.unit].format(row.value), f"{row.ratio:.2f}", f"{100 * row.spread:.0f} %"),
            *(f"{row.details[name]:.4g}" if name in row.details else "" for name in details),
        )
        for row in result.rows
    ]
    columns: dict[str, Justify] = {"case": "left", "median": "right", "ratio": "right", "spread": "right"}
    columns |= dict.fromkeys((name.replace("_", " ") for name in details), "right")
    console = Console()
    print_table(make_table(columns, rows, title=f"bench {result.what}"), console)
    for budget in result.budgets:
        sign = ">=" if budget.at_least else "<="
        word = "met" if budget.met else "MISSED"
        console.print(f"{word}: {budget.name} {budget.measured:.2f} {sign} {budget.budget:g}", highlight=False)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
