"""Addresses of what a study is kept in, and texts without the passwords in them."""

from __future__ import annotations

import os
import re

from dabo_ray.config.schema import StudyConfig
from dabo_ray.storage.layout import StudyFolder, mlflow_database

TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
"""Of the environment; MLflow's own name for it."""

SECRET_NAME = (
    r"[\w.\-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api_?-?key|access_?-?key|signature|credential)[\w.\-]*"
)
# The first form also takes a password with a bare slash, which SQLAlchemy accepts; a port (digits, slash) is not one.
_USER_INFO = re.compile(r"(?<=://)(?:[^\s:/@]+:(?!\d+/)[^\s@]*@(?:[^\s/@]*@)*|[^\s/?#]*@)")
_SECRET_VALUE = re.compile(rf"(?i)\b({SECRET_NAME}|sig)(\s*[=:]\s*)(?!//)[^&;,\s'\"]+")


def redact(text: str) -> str:
    """The text without user names and passwords in its URLs and without the values of secret-looking names.

    `postgresql://ada:s3cret@host/db` becomes `postgresql://host/db`, `?token=abc` becomes `?token=***`.
    """
    return _SECRET_VALUE.sub(r"\1\2***", _USER_INFO.sub("", text))


def database_url(study: StudyConfig, folder: StudyFolder) -> str:
    """The Optuna storage that the plan of a study is kept in: its own, or SQLite in its folder."""
    return study.database or f"sqlite:///{folder.plan}"


def tracking_uri(study: StudyConfig) -> str:
    """The MLflow tracking URI of a study: its own, that of the environment, or SQLite beside the studies."""
    return study.tracking.uri or os.environ.get(TRACKING_VARIABLE) or mlflow_database(study.storage)
