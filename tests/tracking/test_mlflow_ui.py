"""Where a person finds a study in the MLflow UI."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dabo_ray.tracking.mlflow_ui import ui_command


def test_the_command_for_the_ui(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert ui_command("sqlite:///runs/mlflow.db") == "mlflow ui --backend-store-uri sqlite:///runs/mlflow.db"
    shown = ui_command("postgresql://ada:s3cret@db/mlflow")
    assert shown == "mlflow ui --backend-store-uri postgresql://USER:PASSWORD@db/mlflow"
    assert ui_command("http://ada:s3cret@server:5000").endswith("-m webbrowser http://server:5000")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ui_command("sqlite:///my runs/m.db").endswith("-m mlflow ui --backend-store-uri 'sqlite:///my runs/m.db'")
