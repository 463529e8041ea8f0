"""How far the rollup and the rows reach."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from flask_llm.usage.models import marks

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""What stands for always."""


class Marks(NamedTuple):
    """What reports must know before they read."""

    rollup: datetime | None = None
    """From when on the rollup counts every settled row; None where it never did."""
    purged: datetime | None = None
    """Before when rows may be gone; None where none ever went."""

    @property
    def counts_all(self) -> bool:
        """Whether the rollup counts every row there is."""
        return self.rollup is not None and self.rollup <= EPOCH


def read(connection: Connection) -> Marks:
    """Return the marks as they stand."""
    found = {row.name: row.at for row in connection.execute(select(marks))}
    return Marks(found.get("rollup"), found.get("purged"))


def put(connection: Connection, name: str, at: datetime) -> None:
    """Set a mark; whoever else sets it waits for this transaction to end."""
    move = update(marks).where(marks.c.name == name).values(at=at)
    if connection.execute(move).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(marks.insert(), {"name": name, "at": at})
    except IntegrityError:  # somebody else was first
        connection.execute(move)
