"""The way to the tables: one engine per process, and are they there."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql import column

from flask_llm.errors import ConfigError, LLMError
from flask_llm.forks import after_fork
from flask_llm.usage.conflicts import TRIES, is_given_up
from flask_llm.usage.models import REVISION, VERSION_TABLE

CURE = "run: flask llm db upgrade"

PATIENCE_SECONDS = 5
"""How long a database that does not answer may hold up a call, each time."""

SILENCE_SECONDS = 60
"""How long a connection may be silent within one statement; migrations take theirs."""

Result = TypeVar("Result")

_POSTGRES = {
    "connect_timeout": PATIENCE_SECONDS,
    "tcp_user_timeout": PATIENCE_SECONDS * 1000,
    "keepalives_idle": PATIENCE_SECONDS,
}
_MYSQL = {"connect_timeout": PATIENCE_SECONDS, "read_timeout": SILENCE_SECONDS}

_PATIENCE: dict[str, dict[str, int]] = {
    "psycopg": _POSTGRES,
    "psycopg2": _POSTGRES,
    "pymysql": _MYSQL,
    "mysqldb": _MYSQL,
}
"""What drivers call their time-outs, so that a line that is cut is noticed."""


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn a database's error into one of ours, where there is nothing else to do."""
    try:
        yield
    except SQLAlchemyError as error:
        raise LLMError(
            f"The database failed ({type(error).__name__}); see LLM_DATABASE_URI.",
            error,
            code="database_failed",
            http_status=503,
            is_retryable=True,
        ) from error


class Database:
    """Short transactions of our own, on our own engine or on one that we are lent.

    Nothing is opened before the first use, and a forked worker opens its own.

    :param source: an SQLAlchemy URL, or a function that returns the host's engine.
    :param auto_migrate: create and upgrade the tables at first use.
    """

    def __init__(
        self, source: str | Callable[[], Engine], *, auto_migrate: bool = False
    ) -> None:
        self._make = source if callable(source) else _maker(source)
        self._lent = callable(source)
        self._auto_migrate = auto_migrate
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._ready = False
        after_fork(self.renew)

    def renew(self) -> None:
        """Begin anew, as a forked worker must.

        A thread of the parent may hold the lock, and the connections are the parent's,
        in a host's pool too: they are left alone, not closed.
        """
        self._lock = threading.Lock()
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
        for left in reversed(range(TRIES)):
            try:
                with self.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not left or not is_given_up(error):
                    raise
        raise AssertionError  # the last turn returns or raises

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
        """Close our connections; a host's engine is its own business."""
        if self._engine is not None and not self._lent:
            self._engine.dispose()


def _maker(uri: str) -> Callable[[], Engine]:
    try:
        url = make_url(uri)
    except ArgumentError:
        raise ConfigError(
            "LLM_DATABASE_URI is no SQLAlchemy URL; one looks like "
            "postgresql+psycopg://user:password@host/database."
        ) from None
    try:
        url.get_dialect().import_dbapi()
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"LLM_DATABASE_URI needs a driver that is not installed ({error}); write "
            "postgresql+psycopg:// and pip install 'flask-llm[postgres]', "
            "or mysql+pymysql:// and pip install 'flask-llm[mysql]'."
        ) from error

    def make() -> Engine:
        if url.get_backend_name() == "sqlite":
            return _sqlite(url)
        options = _PATIENCE.get(url.get_driver_name(), {})
        patience = {
            name: seconds for name, seconds in options.items() if name not in url.query
        }
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=PATIENCE_SECONDS,
            # Anything stricter makes MySQL lock gaps between rows, and calls of
            # different users wait for each other.
            isolation_level="READ COMMITTED",
            connect_args=patience,
        )
        if url.get_backend_name() in _BOUND_WAITS:
            event.listen(engine, "connect", _bound_waits(url.get_backend_name()))
        return engine

    return make


_NOW = {
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
}
"""How to ask for the time of day in UTC."""

_BOUND_WAITS = {
    "postgresql": f"SET lock_timeout = '{PATIENCE_SECONDS}s'",
    "mysql": f"SET innodb_lock_wait_timeout = {PATIENCE_SECONDS}",
    "mariadb": f"SET innodb_lock_wait_timeout = {PATIENCE_SECONDS}",
}
"""How to wait no longer for a row that a stopped worker has locked."""


def _bound_waits(backend: str) -> Callable[[Any, object], None]:
    def execute(connection: Any, record: object) -> None:
        del record
        cursor = connection.cursor()
        cursor.execute(_BOUND_WAITS[backend])
        cursor.close()
        connection.commit()

    return execute


def _sqlite(url: URL) -> Engine:
    if url.database in {None, "", ":memory:"}:
        # One connection holds the whole database: threads take turns with it.
        return create_engine(
            url,
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            connect_args={"check_same_thread": False},
        )
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder of the SQLite file cannot be made ({error}); "
            "set LLM_DATABASE_URI to a place that can be written."
        ) from error
    engine = create_engine(url, connect_args={"timeout": PATIENCE_SECONDS})
    event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, record: object) -> None:
    """Let readers and one writer work side by side, and wait for the lock."""
    del record
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
