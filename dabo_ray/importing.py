"""Objects of a user's own code by their names, package.module:name."""

from __future__ import annotations

import importlib
import os
import sys

NAME = r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)?$"
"""What such a name looks like; empty: none is given."""


class ImportedError(ValueError):
    """Something of a user's own that cannot be imported, or is not what it should be."""


def imported(name: str, key: str) -> object:
    """The object that a study file names.

    Modules are looked for in the folder that the command was started in, too.

    Args:
        name: as `package.module:name`.
        key: of the study file that has the name, for messages.

    Raises:
        ImportedError: there is no such module or no such name in it, or the module fails.
    """
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not module_name.startswith(missing):
            raise ImportedError(f"{key}: {module_name} needs {missing}, which is not installed here") from None
        raise ImportedError(
            f"{key}: there is no module {missing}; start the command in the folder that has it, install it, or set "
            "PYTHONPATH to the folder"
        ) from None
    except Exception as error:
        raise ImportedError(f"{key}: the module {module_name} fails: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        near = ", ".join(each for each in vars(module) if not each.startswith("_"))
        raise ImportedError(f"{key}: {module_name} has no {attribute}; it has {near or 'no public names'}")
    return getattr(module, attribute)
