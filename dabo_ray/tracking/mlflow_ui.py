"""Addresses of a study in the MLflow UI, and the command that opens it."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from dabo_ray.config.addresses import redact

LOCAL_ADDRESS = "http://127.0.0.1:5000"


def ui_command(uri: str) -> str:
    """The shell command that opens the MLflow UI of a tracking URI; to be run in the folder that the study ran in.

    A password in the URI is not repeated: the place where it belongs says `USER:PASSWORD`.
    """
    if _is_server(uri):
        return f"{_python()} -m webbrowser {shlex.quote(redact(uri))}"
    shown = redact(uri)
    if "@" in uri and "@" not in shown:
        shown = shown.replace("://", "://USER:PASSWORD@", 1)
    on_path = Path(shutil.which("mlflow") or "").parent == Path(sys.executable).parent
    program = "mlflow" if on_path else f"{_python()} -m mlflow"
    return f"{program} ui --backend-store-uri {shlex.quote(shown)}"


# MLflow's pages open in the view for language models unless told otherwise.
_WORKFLOW = "workflowType=machine_learning"


def run_page(experiment_id: str, run_id: str) -> str:
    """The page of a run, from the root of the UI."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{_WORKFLOW}"


def view_page(experiment_id: str, key: str) -> str:
    """The charts of a saved view, see `mlflow_views`, from the root of the UI."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={key}&compareRunsMode=CHART&{_WORKFLOW}"


def ui_address(uri: str, page: str) -> str:
    """The address of a page of the UI of a tracking URI; for a database: while the UI runs."""
    address = redact(uri).rstrip("/") if _is_server(uri) else LOCAL_ADDRESS
    return f"{address}/{page}"


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _python() -> str:
    """This interpreter as one would type it here."""
    program = Path(sys.executable)
    return shlex.quote(str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program))
