"""Rows, what they reserve in budgets and what they add to sums: all or nothing."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.exc import IntegrityError, NoResultFound

from flask_llm.usage import rows, spend, tally
from flask_llm.usage.database import Database
from flask_llm.usage.models import usage
from flask_llm.usage.prepared import Prepared
from flask_llm.usage.rows import Reservation
from flask_llm.usage.spend import Share, Standing

SWEEP_ROWS = 500
"""How many rows one sweep settles."""


class Charge(NamedTuple):
    """What a transaction charged to a share, and where that left it."""

    nanos: int
    standing: Standing


Charges = Mapping[Share, Charge]

Change = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A row as it is to be, and what of it is new."""

logger = logging.getLogger("flask_llm")


class Writer:
    """Writes rows, each time in one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, row: Mapping[str, Any]) -> None:
        """Write and count a row that is settled and reserves nothing.

        :raises SQLAlchemyError: where it cannot be written.
        """
        self._database.do(functools.partial(_insert, row))

    def open(self, row: Mapping[str, Any], reservation: Reservation) -> None:
        """Write a row and reserve what its call may cost.

        :raises NoRoom: where a budget has no room for it; nothing is written then.
        :raises SQLAlchemyError: where it cannot be written.
        """

        def write(connection: Connection) -> None:
            _write(connection, row)

        self.reserve(write, reservation)

    def reserve(
        self, write: Callable[[Connection], object], reservation: Reservation
    ) -> None:
        """Write what is reserved for, and reserve.

        :param write: may be called again, where nothing of it was committed.
        :raises NoRoom: where a budget has no room for it; nothing is written then.
        :raises SQLAlchemyError: where it cannot be written.
        """

        def work(connection: Connection) -> list[Share]:
            write(connection)
            missing = spend.reserve(connection, reservation.holds, reservation.nanos)
            if missing:
                connection.rollback()
            return missing

        while missing := self._database.do(work):
            # Apart from the call's own transaction: two that insert the same row and
            # then wait for another one would wait for each other.
            with self._database.begin() as connection:
                spend.add_rows(connection, missing)

    def divide(self, source: str, some: Sequence[Mapping[str, Any]]) -> None:
        """Write rows that take what they reserve from one that is pending.

        :param source: its id.
        :raises SQLAlchemyError: where they cannot be written.
        """
        asked = sum(row["reserved_nanos"] or 0 for row in some)
        giving = (
            update(usage)
            .where(usage.c.id == source, usage.c.status == "pending")
            .values(reserved_nanos=usage.c.reserved_nanos - asked)
        )

        def work(connection: Connection) -> None:
            if not connection.execute(giving).rowcount:
                raise NoResultFound(source)
            connection.execute(usage.insert(), some)

        self._database.do(work)

    def settle(self, row: Mapping[str, Any], changes: Mapping[str, Any]) -> Charges:
        """Settle an open row, or insert it whole where it was never opened.

        :param row: as it is to be, changes included.
        :raises SQLAlchemyError: where it cannot be written.
        """
        closed = self._database.do(functools.partial(_close, [(row, changes)]))
        if closed is not None:
            return closed
        try:
            return self._database.do(functools.partial(_insert, row))
        except IntegrityError:
            logger.debug("Row %s was settled before.", row["id"])
            return {}

    def settle_all(self, settled: Sequence[Change]) -> Charges:
        """Settle rows that were opened, in one transaction, those settled before aside.

        :param settled: each as it is to be, and its changes.
        :raises SQLAlchemyError: where they cannot be written.
        """
        return self._database.do(functools.partial(_close, settled)) or {}

    def sweep(self, now: datetime) -> int:
        """Settle the rows of workers that died as ``abandoned``; return how many.

        What was reserved for such a call counts as spent: nobody can tell how far it
        came, and the provider bills what reached it.
        """
        expired = (usage.c.status == "pending", usage.c.expires_at < now)
        oldest = select(usage).where(*expired).order_by(usage.c.expires_at)
        abandoned = {"status": "abandoned", "finished_at": now}
        with self._database.begin() as connection:
            found = connection.execute(oldest.limit(SWEEP_ROWS)).mappings().all()
        swept = 0
        for row in map(dict[str, Any], found):
            changes = abandoned | rows.worst_case(row)
            close = functools.partial(_close, [({**row, **changes}, changes)])
            swept += self._database.do(close) is not None
        return swept


class _Closed(NamedTuple):
    """A row that is being settled, and what that does to budgets."""

    row: Mapping[str, Any]
    changes: Mapping[str, Any]
    released: int
    charged: int
    was_abandoned: bool = False


def _insert(row: Mapping[str, Any], connection: Connection) -> Charges:
    """Write a settled row whole."""
    _write(connection, row)
    charges = _charge(connection, [_Closed(row, {}, 0, _cost(row))])
    tally.add(connection, [row])
    return charges


def _close(settled: Iterable[Change], connection: Connection) -> Charges | None:
    """Settle rows and their reservations once; None where there is nothing open.

    All transactions go the same way, so that none waits for another that waits for it:
    the rows, what budgets have spent, the sums.
    """
    closed = [
        one for row, changes in settled if (one := _closed(row, changes, connection))
    ]
    if not closed:
        return None
    charges = _charge(connection, closed)
    early = [one for one in closed if one.was_abandoned]
    tally.take_back(connection, [one.row for one in early])
    for one in early:
        _execute(connection, one.row, one.changes, as_yet="abandoned")
    tally.add(connection, [one.row for one in closed])
    return charges


def _closed(
    row: Mapping[str, Any], changes: Mapping[str, Any], connection: Connection
) -> _Closed | None:
    """Settle a pending row; lock one that was swept too early, and counted so."""
    reserved = row.get("reserved_nanos") or 0
    if _execute(connection, row, changes, as_yet="pending"):
        return _Closed(row, changes, released=reserved, charged=_cost(row))
    if row["status"] == "abandoned":
        return None
    if connection.execute(_FOUND_DEAD, {"row_id": row["id"]}).first() is None:
        return None
    charged = _cost(row) - reserved
    return _Closed(row, changes, released=0, charged=charged, was_abandoned=True)


_FOUND_DEAD = (
    select(usage.c.id)
    .where(usage.c.id == bindparam("row_id"), usage.c.status == "abandoned")
    .with_for_update()
)


def _cost(row: Mapping[str, Any]) -> int:
    return row.get("cost_nanos") or 0


def _charge(connection: Connection, closed: Iterable[_Closed]) -> Charges:
    """Charge each share once, whatever the number of rows."""
    sums: dict[Share, tuple[int, int]] = {}
    for one in closed:
        for share in rows.shares(one.row):
            released, charged = sums.get(share, (0, 0))
            sums[share] = released + one.released, charged + one.charged
    charges = {}
    for share, (released, charged) in sorted(sums.items()):
        standing = spend.settle(connection, share, released=released, charged=charged)
        charges[share] = Charge(charged, standing)
    return charges


def _execute(
    connection: Connection,
    row: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    as_yet: str,
) -> bool:
    """Write the changes of a row that is still in a state."""
    values = {f"new_{name}": value for name, value in changes.items()}
    where = {"row_id": row["id"], "as_yet": as_yet}
    closing = _closing(tuple(changes))
    return closing.execute(connection, values | where).rowcount > 0


@functools.cache
def _closing(names: tuple[str, ...]) -> Prepared:
    """Return the statement that settles a row, built once for each set of names."""
    return Prepared(
        lambda _: (
            update(usage)
            .where(
                usage.c.id == bindparam("row_id"),
                usage.c.status == bindparam("as_yet"),
            )
            .values({name: bindparam(f"new_{name}") for name in names})
        )
    )


def _write(connection: Connection, row: Mapping[str, Any]) -> None:
    _writing(tuple(row)).execute(connection, row)


@functools.cache
def _writing(names: tuple[str, ...]) -> Prepared:
    """Return the statement that writes a row, built once for each set of names."""
    return Prepared(
        lambda _: usage.insert().values({name: bindparam(name) for name in names})
    )
