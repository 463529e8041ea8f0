"""Run this package's own migrations; they never touch the host's."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from flask_llm.errors import ConfigError

_LOCK = 7_105_536
"""The advisory lock's number: any, as long as all workers use the same one."""

_NAME = f"CONCAT('llm_{_LOCK}_', DATABASE())"
"""The lock's name on MySQL, where locks are the whole server's."""

_one = threading.Lock()


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables up to a revision, one process at a time.

    :raises ConfigError: where there is no such revision.
    """
    with _locked(engine) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the tables down to a revision; ``base`` drops them.

    :raises ConfigError: where there is no such revision.
    """
    with _locked(engine) as connection:
        command.downgrade(_config(connection), revision)


def sql(engine: Engine, revision: str = "head") -> str:
    """Return the statements of an upgrade from nothing, for a hand to run.

    :raises ConfigError: where there is no such revision.
    """
    output = io.StringIO()
    config = _config(None)
    config.output_buffer = output
    config.attributes["dialect"] = engine.dialect.name
    with _alone():
        command.upgrade(config, revision, sql=True)
    return output.getvalue()


def directory() -> Path:
    """Return where the scripts are: in the package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    for place in (package / "migrations", package.parent / "migrations"):
        if (place / "env.py").is_file():
            return place
    raise ConfigError("The migrations are missing; install flask-llm again.")


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    """Hold the database's own lock, so that workers that start together take turns."""
    with _alone(), engine.connect() as connection:
        match engine.dialect.name:
            case "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            case "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            case "mysql" | "mariadb":
                connection.execute(text(f"SELECT GET_LOCK({_NAME}, 60)"))
        try:
            yield connection
            connection.commit()
        finally:
            # The others end with the transaction; this one stays with the connection.
            if engine.dialect.name in {"mysql", "mariadb"}:
                connection.execute(text(f"SELECT RELEASE_LOCK({_NAME})"))


@contextmanager
def _alone() -> Iterator[None]:
    """Run Alembic in one thread at a time: its context is the whole process's."""
    try:
        with _one:
            yield
    except CommandError as error:
        raise ConfigError(f"The migrations cannot be run: {error}") from error
