"""An app with everything on, and what it leaves behind."""

import socket
import tempfile
import threading
from pathlib import Path

import redis
from conftest import MODELS
from sqlalchemy import select

from endings import table
from flask_llm.usage.models import metadata, spend

USER = "ada"


def settings(cell, url, folder):
    """Return the settings of one cell's app: every guard that there is takes part."""
    provider = table.PROTOCOLS[cell.protocol]
    row = {"api_key": cell.key, "base_url": url}
    if cell.protocol == "responses":
        row["protocol"] = "responses"
    return {
        "LLM_PROVIDERS": {provider: row},
        "LLM_DATABASE_URI": f"sqlite:///{folder / 'books.sqlite'}",
        "LLM_QUOTAS": ["100/minute per user", "100/minute"],
        "LLM_BUDGETS": ["$1/day per user", "$5/month"],
        "LLM_MAX_CONCURRENT": 1,
        "LLM_CONNECT_TIMEOUT": table.CONNECT_SECONDS,
        "LLM_MAX_RETRIES": table.RETRIES,
        "LLM_BACKOFF": table.BACKOFF_SECONDS,
        "LLM_MAX_RESPONSE_BYTES": table.LARGEST_BYTES,
        "LLM_HEARTBEAT": 0.1,
        "LLM_LOG_CONTENT": True,
    }


def options(cell):
    """Return the options of one cell's call."""
    return {
        "model": MODELS[table.PROTOCOLS[cell.protocol]],
        "timeout": cell.ending.timeout,
        "user": USER,
        "cache": True,
    }


class Remains:
    """What an app holds, once its call is over."""

    def __init__(self, app):
        self._app = app
        self._state = app.extensions["llm"]
        self._gate = self._state.client._gate

    @property
    def tables(self):
        """All rows of all tables, by the table's name."""
        with self._state.database.begin() as connection:
            return {
                name: connection.execute(select(every)).mappings().all()
                for name, every in metadata.tables.items()
            }

    @property
    def spent(self):
        """What budgets have spent and still hold, in nano-USD."""
        with self._state.database.begin() as connection:
            found = connection.execute(select(spend)).all()
        return [(row.spent_nanos, row.reserved_nanos) for row in found]

    @property
    def slots(self):
        """Slots that are held, and callers who wait for one."""
        lines = self._gate._pacing._lines.values()
        return [ticket for line in lines for ticket in (*line._held, *line._waiting)]

    @property
    def flights(self):
        """Questions that others would wait for."""
        return len(self._gate._cache._flights)

    @property
    def kept_connections(self):
        """Open connections to providers that wait in the pool for the next call."""
        adapters = self._state.client._transport.session.adapters.values()
        pools = [
            pool
            for manager in {id(one): one.poolmanager for one in adapters}.values()
            for pool in manager.pools._container.values()
        ]
        kept = [connection for pool in pools for connection in pool.pool.queue]
        return [one for one in kept if one is not None and one.sock is not None]

    def close(self):
        """Let go of all that is kept for the next call."""
        self._state.close()

    @property
    def files(self):
        """What was written beside the books: a journal, temporary files."""
        folders = Path(self._app.instance_path), Path(tempfile.gettempdir())
        return [path for folder in folders for path in folder.glob("*")]


def descriptors():
    """Return the numbers of all files and sockets that this process has open."""
    return {path.name for path in Path("/dev/fd").iterdir()}


def threads():
    """Return the threads that run."""
    return set(threading.enumerate())


def connections_to(port):
    """Count the connections that this process has to a port."""
    return sum(_leads_to(int(number), port) for number in descriptors())


def _leads_to(number, port):
    try:
        line = socket.socket(fileno=number)
    except OSError:
        return False
    try:
        return line.getpeername()[1] == port
    except OSError:
        return False
    finally:
        line.detach()


def in_redis(url):
    """Return all that a Redis database holds, by name."""
    with redis.Redis.from_url(url) as client:
        return {name.decode(): _value(client, name) for name in client.scan_iter()}


def _value(client, name):
    match client.type(name):
        case b"zset":
            return client.zrange(name, 0, -1)
        case b"hash":
            return client.hgetall(name)
    return client.get(name)
