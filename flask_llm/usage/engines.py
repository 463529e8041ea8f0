"""Engines of our own, by the address of a database, and how long each may be silent."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from flask_llm.errors import ConfigError
from flask_llm.usage.conflicts import is_locked

PATIENCE_SECONDS = 5
"""How long a database that does not answer may hold up a call, each time."""

SILENCE_SECONDS = 60
"""How long a connection may be silent within one statement; migrations take theirs."""

AGAIN_SECONDS = 0.01
"""After how long a lock of SQLite is tried again that it does not wait for itself."""

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


def maker(uri: str) -> Callable[[], Engine]:
    """Return what makes the engine of an address.

    :param uri: an SQLAlchemy URL.
    :raises ConfigError: where it is none, its driver is not installed, or (when the
        engine is made) an SQLite file has no place.
    """
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

    if url.get_backend_name() == "sqlite":
        return functools.partial(_sqlite, url)
    return functools.partial(_server, url)


def apart(lend: Callable[[], Engine]) -> Callable[[], Engine]:
    """Return what makes an engine that connects as a host's does, but apart from it.

    In its own pool we would wait for the connections that the host's requests hold
    while they wait for us.
    """

    def make() -> Engine:
        lent = lend()
        pool = lent.pool.recreate()
        if lent.dialect.name == "sqlite":
            return create_engine(lent.url, pool=pool)
        engine = _served(lent.url, pool=pool)
        event.listen(engine, "checkout", _look)
        return engine

    return make


def _look(connection: Any, record: object, proxy: object) -> None:
    """See that a connection still works, as pools with ``pool_pre_ping`` do.

    :raises DisconnectionError: where it does not; the pool makes another one.
    """
    del record, proxy
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        cursor.close()
    except Exception as error:
        raise DisconnectionError from error


def _server(url: URL) -> Engine:
    options = _PATIENCE.get(url.get_driver_name(), {})
    return _served(
        url,
        pool_pre_ping=True,
        pool_timeout=PATIENCE_SECONDS,
        connect_args={
            name: seconds for name, seconds in options.items() if name not in url.query
        },
    )


def _served(url: URL, **options: Any) -> Engine:
    """Make an engine for a database that is a server."""
    # Anything stricter makes MySQL lock gaps between rows, and calls of different
    # users wait for each other.
    engine = create_engine(url, isolation_level="READ COMMITTED", **options)
    backend = url.get_backend_name()
    if backend in _BOUND_WAITS:
        event.listen(engine, "connect", _bound_waits(backend))
    return engine


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
    patience = {} if "timeout" in url.query else {"timeout": PATIENCE_SECONDS}
    engine = create_engine(url, connect_args=patience)
    event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, record: object) -> None:
    """Let readers and one writer work side by side, and wait for the lock."""
    del record
    cursor = connection.cursor()
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Turn to a write-ahead log, which stays in use for good.

    Of several connections that would do so at once, all but one are told that the file
    is locked, however long they are ready to wait.
    """
    cursor.execute("PRAGMA busy_timeout")
    ends = time.monotonic() + cursor.fetchone()[0] / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except Exception as error:
            if not is_locked(error) or time.monotonic() >= ends:
                raise
            time.sleep(AGAIN_SECONDS)
        else:
            return
