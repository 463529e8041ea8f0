"""Rows and what they reserve in budgets, written together or not at all."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Update, bindparam, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, NoResultFound

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


class Charge(NamedTuple):
    """What a transaction charged to a share, and where that left it."""

    nanos: int
    standing: Standing


Charges = Mapping[Share, Charge]


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

        self._do(work)

    def settle(self, row: Mapping[str, Any], changes: Mapping[str, Any]) -> Charges:
        """Settle an open row, or insert it whole where it was never opened.

        :param row: as it is to be, changes included.
        :raises SQLAlchemyError: where it cannot be written.
        """
        charges = self._do(functools.partial(_settle, row, changes))
        if charges is not None:
            return charges
        try:
            with self._database.begin() as connection:
                connection.execute(usage.insert(), row)
                moved = _Moved(charged=row.get("cost_nanos") or 0)
                return _book(connection, dict.fromkeys(rows.shares(row), moved))
        except IntegrityError:
            logger.debug("Row %s was settled before.", row["id"])
            return {}

    def settle_all(
        self, settled: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    ) -> Charges:
        """Settle rows that were opened, in one transaction, those settled before aside.

        :param settled: each as it is to be, and its changes.
        :raises SQLAlchemyError: where they cannot be written.
        """

        def work(connection: Connection) -> Charges:
            moved: dict[Share, _Moved] = {}
            for row, changes in settled:
                closed = _close(row, changes, connection)
                if closed is not None:
                    for share in rows.shares(row):
                        moved[share] = moved.get(share, _Moved()).plus(closed)
            return _book(connection, moved)

        return self._do(work)

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
            settle = functools.partial(_settle, {**row, **changes}, changes)
            swept += self._do(settle) is not None
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


class _Moved(NamedTuple):
    """What settling rows takes from what is reserved, and adds to what is spent."""

    released: int = 0
    charged: int = 0

    def plus(self, other: _Moved) -> _Moved:
        return _Moved(self.released + other.released, self.charged + other.charged)


def _settle(
    row: Mapping[str, Any], changes: Mapping[str, Any], connection: Connection
) -> Charges | None:
    """Settle a row and its reservation once; None where there is nothing open."""
    moved = _close(row, changes, connection)
    if moved is None:
        return None
    return _book(connection, dict.fromkeys(rows.shares(row), moved))


def _close(
    row: Mapping[str, Any], changes: Mapping[str, Any], connection: Connection
) -> _Moved | None:
    """Close a row and tell what that moves in its budgets; None where none is open.

    A row that was swept too early may still be settled; a settled one may not.
    """
    statement = _closing(tuple(changes))
    values = {f"new_{name}": value for name, value in changes.items()}
    values["row_id"] = row["id"]
    reserved, cost = row.get("reserved_nanos") or 0, row.get("cost_nanos") or 0
    if connection.execute(statement, values | {"as_yet": "pending"}).rowcount:
        return _Moved(released=reserved, charged=cost)
    if row["status"] == "abandoned":
        return None
    if connection.execute(statement, values | {"as_yet": "abandoned"}).rowcount:
        return _Moved(charged=cost - reserved)  # which the sweep has charged
    return None


def _book(connection: Connection, moved: Mapping[Share, _Moved]) -> Charges:
    """Book what rows have moved, share by share."""
    charges = {}
    for share, (released, charged) in sorted(moved.items()):
        standing = spend.settle(connection, share, released=released, charged=charged)
        charges[share] = Charge(charged, standing)
    return charges


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
