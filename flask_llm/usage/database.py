"""The way to the tables: one engine per process, and are they there."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import TypeVar

from sqlalchemy import Connection, Engine, inspect, select, table, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.sql import column

from flask_llm.errors import ConfigError, LLMError
from flask_llm.forks import after_fork
from flask_llm.usage.conflicts import TRIES, described, is_given_up
from flask_llm.usage.engines import apart, maker
from flask_llm.usage.models import REVISION, VERSION_TABLE

CURE = "run: flask llm db upgrade"

TURN_SECONDS = 1.0
"""How long a thread waits for its turn, before SQLite is asked all the same."""

Result = TypeVar("Result")

_NOW = {
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
}
"""How to ask for the time of day in UTC."""


@contextmanager
def named_errors(consequence: str = "") -> Iterator[None]:
    """Turn a database's error into one of ours, where there is nothing else to do.

    :param consequence: what becomes of it, if that is not plain.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise LLMError(
            f"The database failed ({described(error)}){consequence}; "
            "see LLM_DATABASE_URI.",
            error,
            code="database_failed",
            http_status=503,
            is_retryable=True,
        ) from error


class Database:
    """Short transactions of our own, on connections of our own.

    Nothing is opened before the first use, and a forked worker opens its own.

    :param source: an SQLAlchemy URL, or a function that returns the host's engine, of
        which we make one like it.
    :param auto_migrate: create and upgrade the tables at first use.
    """

    def __init__(
        self, source: str | Callable[[], Engine], *, auto_migrate: bool = False
    ) -> None:
        self._make = apart(source) if callable(source) else maker(source)
        self._auto_migrate = auto_migrate
        self._lock = threading.Lock()
        self._turns = threading.Lock()
        self._engine: Engine | None = None
        self._ready = False
        after_fork(self.renew)

    def renew(self) -> None:
        """Begin anew, as a forked worker must.

        A thread of the parent may hold the locks, and the connections are the parent's:
        they are left alone, not closed.
        """
        self._lock = threading.Lock()
        self._turns = threading.Lock()
        if self._engine is not None:
            self._engine.dispose(close=False)
            self._engine = None

    @property
    def engine(self) -> Engine:
        """The engine of this process."""
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = self._make()
        return self._engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction that is committed at the end.

        :raises ConfigError: where the tables are missing or of another version.
        :raises SQLAlchemyError: where the database cannot be reached.
        """
        if not self._ready:
            self.prepare()
        with self.engine.begin() as connection:
            yield connection

    def do(self, work: Callable[[Connection], Result]) -> Result:
        """Do work in a transaction, again where the database gave it up for another's.

        :raises ConfigError: where the tables are missing or of another version.
        :raises SQLAlchemyError: where it fails.
        """
        if not self._ready:
            self.prepare()
        for left in reversed(range(TRIES)):
            try:
                with self._turn(), self.engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not left or not is_given_up(error):
                    raise
        raise AssertionError  # the last turn returns or raises

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let the threads of a process write to SQLite one after the other.

        It lets in one at a time anyway, and those that it keeps waiting sleep for up to
        a tenth of a second before they look again.
        """
        if self.engine.dialect.name != "sqlite":
            yield
            return
        turns = self._turns
        is_mine = turns.acquire(timeout=TURN_SECONDS)
        try:
            yield
        finally:
            if is_mine:
                turns.release()

    def prepare(self) -> None:
        """See that the tables are there, and make them if that is wanted.

        Newer ones will do: a migration only adds, so that a release can be taken back.

        :raises ConfigError: where they are not, and how to get them.
        """
        found = self.revision()
        if (found is None or found < REVISION) and self._auto_migrate:
            self.migrations().upgrade(self.engine)
            found = self.revision()
        if found is None or found < REVISION:
            state = f"are at revision {found}" if found else "do not exist"
            raise ConfigError(f"The llm_ tables {state}; {CURE}", code="not_migrated")
        self._ready = True

    def revision(self) -> str | None:
        """Return the migration that the tables are at, None without tables."""
        version = table(VERSION_TABLE, column("version_num"))
        with self.engine.connect() as connection:
            if not inspect(connection).has_table(VERSION_TABLE):
                return None
            return connection.scalar(select(version.c.version_num))

    def now(self) -> datetime | None:
        """Return the server's time; None for SQLite, whose clock is ours."""
        asked = _NOW.get(self.engine.dialect.name)
        if asked is None:
            return None
        with self.engine.connect() as connection:
            found: datetime = connection.execute(text(asked)).scalar_one()
        return found.replace(tzinfo=UTC)

    def migrations(self) -> ModuleType:
        """Load Alembic, which costs more than the rest of the package together."""
        return importlib.import_module("flask_llm.usage.migrate")

    def close(self) -> None:
        """Close our connections."""
        if self._engine is not None:
            self._engine.dispose()
