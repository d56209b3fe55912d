"""The command `dabo-ray`, or `python -m dabo_ray`: hands its arguments to the module of the subcommand's name."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec

COMMANDS = {
    "init": "look at a folder of images and write a study file for it",
    "study": "run a study from its file, to the report",
    "report": "write the report of a study, finished or not",
    "prepare": "convert a published data set to the cache",
    "bench": "measure side by side with the alternative",
}
"""Subcommand -> what it does. Each is a module of the package, with `main(argv) -> exit code`."""

STUDY = (
    *("ray", "optuna", "sqlalchemy", "mlflow", "pandas", "scipy", "sklearn", "pydantic", "psutil", "yaml", "rich"),
    *("matplotlib", "jinja2"),
)
"""What the extra `study` installs, by the names of imports."""


def main(argv: Sequence[str]) -> int:
    """Runs a subcommand with the arguments after it; returns its exit code, 2 if it is unknown or cannot run."""
    parser = argparse.ArgumentParser(
        prog="dabo-ray",
        usage="%(prog)s COMMAND ...",
        description="Studies of learned data augmentation.",
        epilog="\n".join(["commands:", *(f"  {name:9}{text}" for name, text in COMMANDS.items())])
        + "\n\ndabo-ray COMMAND --help tells of a command's arguments.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
    command = parser.parse_args(argv[:1]).command
    if missing := [name for name in STUDY if not find_spec(name)]:
        parser.error(f"{command} needs {', '.join(missing)}, not installed here: pip install 'dabo_ray[study]'")
    code: int = importlib.import_module(f"dabo_ray.{command}").main(argv[1:])
    return code


def run() -> int:
    """The command with the arguments that the process was given; it ends by Ctrl-C as each module's own does."""
    from dabo_ray.commands.process import exit_code_of

    return exit_code_of(lambda: main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(run())
