"""Python's driver of a database, which SQLAlchemy does not bring along."""

from __future__ import annotations

PACKAGES = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mariadb": "mariadb",
    "pymysql": "pymysql",
    "oracledb": "oracledb",
    "pyodbc": "pyodbc",
}
"""Module of a driver -> what pip installs."""


def missing_driver(url: str) -> str:
    """What has to be installed before the database of a URL can be opened; empty if nothing."""
    # SQLite comes with Python; SQLAlchemy takes a third of a second.
    if url.startswith("sqlite"):
        return ""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        make_url(url).get_dialect().import_dbapi()
    except NoSuchModuleError:
        return "names a driver that SQLAlchemy does not know; postgresql:// and mysql:// need none to be named"
    except ImportError as error:
        module = error.name or "its driver"
        return f"needs {module}, not installed here: pip install '{PACKAGES.get(module, module)}'"
    except ArgumentError:
        return "cannot be read as the URL of a database; give postgresql://HOST/NAME"
    return ""
