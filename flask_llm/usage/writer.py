"""Rows and what they reserve in budgets, written together or not at all."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Update, bindparam, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from flask_llm.usage import rows, spend
from flask_llm.usage.database import Database
from flask_llm.usage.models import usage
from flask_llm.usage.rows import Reservation
from flask_llm.usage.spend import Share, Standing

SWEEP_ROWS = 500
"""How many rows with reservations one sweep settles."""

TRIES = 5
"""How often a transaction is begun that the database gives up for another's sake."""

_GIVEN_UP = {"40001", "40P01", 1020, 1213}
"""Serialization failures and deadlocks: SQLSTATE, and numbers of MySQL and MariaDB."""

Standings = Mapping[Share, Standing]

Result = TypeVar("Result")

logger = logging.getLogger("flask_llm")


class Writer:
    """Writes rows, each time in one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, row: Mapping[str, Any]) -> None:
        """Write a row that reserves nothing.

        :raises SQLAlchemyError: where it cannot be written.
        """
        with self._database.begin() as connection:
            connection.execute(usage.insert(), row)

    def open(self, row: Mapping[str, Any], reservation: Reservation) -> None:
        """Write a row and reserve what its call may cost.

        :raises NoRoom: where a budget has no room for it; nothing is written then.
        :raises SQLAlchemyError: where it cannot be written.
        """

        def write(connection: Connection) -> None:
            connection.execute(usage.insert(), row)

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

        while missing := self._do(work):
            # Apart from the call's own transaction: two that insert the same row and
            # then wait for another one would wait for each other.
            with self._database.begin() as connection:
                spend.add_rows(connection, missing)

    def settle(self, row: Mapping[str, Any], changes: Mapping[str, Any]) -> Standings:
        """Settle an open row, or insert it whole where it was never opened.

        :param row: as it is to be, changes included.
        :raises SQLAlchemyError: where it cannot be written.
        """
        standings = self._do(functools.partial(_close, row, changes))
        if standings is not None:
            return standings
        try:
            with self._database.begin() as connection:
                connection.execute(usage.insert(), row)
                return _charge(connection, row, released=0)
        except IntegrityError:
            logger.debug("Row %s was settled before.", row["id"])
            return {}

    def settle_all(
        self, settled: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    ) -> None:
        """Settle rows that were opened, in one transaction, those settled before aside.

        :param settled: each as it is to be, and its changes.
        :raises SQLAlchemyError: where they cannot be written.
        """

        def work(connection: Connection) -> None:
            for row, changes in settled:
                _close(row, changes, connection)

        self._do(work)

    def sweep(self, now: datetime) -> int:
        """Settle the rows of workers that died as ``abandoned``; return how many.

        What was reserved for such a call counts as spent: nobody can tell how far it
        came, and the provider bills what reached it.
        """
        expired = (usage.c.status == "pending", usage.c.expires_at < now)
        free = update(usage).where(*expired, usage.c.reserved_nanos.is_(None))
        held = select(usage).where(*expired, usage.c.reserved_nanos.is_not(None))
        abandoned = {"status": "abandoned", "finished_at": now}
        with self._database.begin() as connection:
            swept = connection.execute(free.values(abandoned)).rowcount
        with self._database.begin() as connection:
            found = connection.execute(held.limit(SWEEP_ROWS)).mappings().all()
        for row in map(dict[str, Any], found):
            changes = abandoned | rows.worst_case(row)
            close = functools.partial(_close, {**row, **changes}, changes)
            swept += self._do(close) is not None
        return swept

    def _do(self, work: Callable[[Connection], Result]) -> Result:
        """Do work in a transaction, again where the database gave it up."""
        for left in reversed(range(TRIES)):
            try:
                with self._database.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not left or not _GIVEN_UP & _codes(error):
                    raise
        raise AssertionError  # the last turn returns or raises


def _close(
    row: Mapping[str, Any], changes: Mapping[str, Any], connection: Connection
) -> Standings | None:
    """Settle a row and its reservation once; None where there is nothing open.

    A row that was swept too early may still be settled; a settled one may not.
    """
    statement = _closing(tuple(changes))
    values = {f"new_{name}": value for name, value in changes.items()}
    values["row_id"] = row["id"]
    reserved = row.get("reserved_nanos") or 0
    if connection.execute(statement, values | {"as_yet": "pending"}).rowcount:
        return _charge(connection, row, released=reserved)
    if row["status"] == "abandoned":
        return None
    if connection.execute(statement, values | {"as_yet": "abandoned"}).rowcount:
        return _charge(connection, row, released=0, charged_before=reserved)
    return None


def _charge(
    connection: Connection,
    row: Mapping[str, Any],
    *,
    released: int,
    charged_before: int = 0,
) -> Standings:
    charged = (row.get("cost_nanos") or 0) - charged_before
    shares = sorted(rows.shares(row))
    standings = spend.settle(connection, shares, released=released, charged=charged)
    return dict(zip(shares, standings, strict=True))


@functools.cache
def _closing(names: tuple[str, ...]) -> Update:
    """Return the statement that settles a row, built once for each set of names."""
    return (
        update(usage)
        .where(usage.c.id == bindparam("row_id"), usage.c.status == bindparam("as_yet"))
        .values({name: bindparam(f"new_{name}") for name in names})
    )


def _codes(error: DBAPIError) -> set[object]:
    """Return the codes that a driver gives an error, each driver its own way."""
    names = ("sqlstate", "pgcode")
    codes = {getattr(error.orig, name, None) for name in names}
    arguments = getattr(error.orig, "args", ())
    return codes | {code for code in arguments[:1] if isinstance(code, int)}
