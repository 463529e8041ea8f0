"""Old rows deleted; what they come to stays in the rollup."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, Select, delete, func, select

from flask_llm.errors import ConfigError
from flask_llm.usage import marks
from flask_llm.usage.database import Database
from flask_llm.usage.models import usage

BATCH_ROWS = 1_000
"""How many rows one transaction deletes."""


class Purge:
    """Deletes the rows of calls that began before a moment and are settled.

    Rows that are still pending are left alone: they may hold a reservation.

    :param before: cut down to the hour, since that is what reports can tell apart.
    """

    def __init__(self, database: Database, before: datetime) -> None:
        self._database = database
        self.before = before.replace(minute=0, second=0, microsecond=0)
        self._settled = (
            usage.c.created_at < self.before,
            usage.c.status != "pending",
        )

    def count(self) -> int:
        """Return how many rows there are to delete.

        :raises ConfigError: where the rollup does not count them all yet.
        """
        with self._database.begin() as connection:
            whole_from = marks.read(connection).rollup
            oldest = connection.scalar(select(func.min(usage.c.created_at)))
            if whole_from is None or (oldest is not None and oldest < whole_from):
                raise ConfigError(
                    "Rows that the rollup does not count would be lost to reports; "
                    "run: flask llm rollup --rebuild"
                )
            many = select(func.count()).select_from(usage).where(*self._settled)
            return connection.scalar(many) or 0

    def run(self) -> Iterator[int]:
        """Delete the rows batch by batch; yield how many each time."""
        self._database.do(self._announce)
        oldest = (
            select(usage.c.id).where(*self._settled).order_by(usage.c.created_at)
        ).limit(BATCH_ROWS)
        while deleted := self._database.do(lambda at: self._delete(at, oldest)):
            yield deleted

    def _announce(self, connection: Connection) -> None:
        """Tell reports first, so that none takes what is being deleted for nothing."""
        # No rebuild is then under way that takes what goes for what never was.
        marks.put(connection, "upkeep", self.before)
        known = marks.read(connection).purged
        if known is None or known < self.before:
            marks.put(connection, "purged", self.before)

    def _delete(self, connection: Connection, oldest: Select[tuple[str]]) -> int:
        ids = connection.scalars(oldest).all()
        chosen = delete(usage).where(usage.c.id.in_(ids), *self._settled)
        return connection.execute(chosen).rowcount if ids else 0
