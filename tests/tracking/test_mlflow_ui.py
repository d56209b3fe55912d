"""Where a person finds a study in the MLflow UI."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dabo_ray.tracking.mlflow_ui import run_page, ui_address, ui_command, view_page


def test_the_command_for_the_ui(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert ui_command("sqlite:///runs/mlflow.db") == "mlflow ui --backend-store-uri sqlite:///runs/mlflow.db"
    shown = ui_command("postgresql://ada:s3cret@db/mlflow")
    assert shown == "mlflow ui --backend-store-uri postgresql://USER:PASSWORD@db/mlflow"
    assert ui_command("http://ada:s3cret@server:5000").endswith("-m webbrowser http://server:5000")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ui_command("sqlite:///my runs/m.db").endswith("-m mlflow ui --backend-store-uri 'sqlite:///my runs/m.db'")


def test_pages_of_the_ui():
    page = run_page("3", "0abc")
    assert ui_address("sqlite:///runs/mlflow.db", page).startswith("http://127.0.0.1:5000/#/experiments/3/runs/0abc?")
    assert ui_address("https://ada:s3cret@server/", page).startswith("https://server/#/experiments/3/runs/0abc?")
    assert "viewStateShareKey=arms-1&compareRunsMode=CHART" in view_page("3", "arms-1")
    # The UI opens in its part for language models unless told otherwise.
    assert all(address.endswith("workflowType=machine_learning") for address in (page, view_page("3", "arms-1")))
