"""The books of batches: a row for each batch, and one in ``llm_usage`` per prompt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, or_, select, update

from flask_llm.chat import OVER, Batch, Question
from flask_llm.usage import rows
from flask_llm.usage.batch_rows import PREFIX_LENGTH, SHOWN, as_batch, parts, place_of
from flask_llm.usage.database import named_errors
from flask_llm.usage.ledger import Ledger
from flask_llm.usage.models import batches, usage
from flask_llm.usage.rows import Outcome, Reservation, new_id
from flask_llm.usage.writer import Charges, Writer

OPERATION = "batch"

GRACE_SECONDS = 72 * 3600.0
"""How long after the provider's window results may be fetched before the worst case is
written down: a cron job may stand still for a weekend."""

LOST_SECONDS = 3600.0
"""How long after its deadline a batch that no provider knows counts as never sent."""

SETTLED_ROWS = 100
"""Rows that are settled in one transaction, and budgets locked for."""

WRITTEN_ROWS = 1_000
"""Rows that are written in one transaction: SQLite lets nobody else write meanwhile."""

PAUSE_SECONDS = 0.01
"""Between two transactions on SQLite."""


_SHARED = ("provider", "model", "created_at", "expires_at")
"""What a batch and the rows of its prompts both say."""


class BatchLedger:
    """Opens batches, notes how they go, and settles their rows.

    :param now: the time of day, in UTC.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._database = ledger.database
        self._writer = Writer(ledger.database)
        self._now = now
        self._sleep = sleep

    def new_id(self) -> str:
        """Return an id for a batch."""
        return new_id(self._now().timestamp())

    def open(
        self,
        batch_id: str,
        prompt: Question,
        nanos: Sequence[int],
        reservation: Reservation,
        *,
        protocol: str,
        window_seconds: float,
    ) -> Batch:
        """Write a batch and its rows, and reserve what all of it may cost.

        All of that is reserved at once, in the first row, and handed on to the others
        as they are written, so that rows and budgets agree whenever this breaks off.

        :param prompt: any of its prompts: they differ in what they say alone.
        :param nanos: what each of them may cost.
        :raises NoRoom: where a budget has no room for all of it; nothing is written.
        :raises LLMError: where the database fails; some of it may be written.
        """
        opened = self._opened(batch_id, prompt, reservation, window_seconds)
        lost_at = opened["created_at"] + timedelta(
            seconds=prompt.timeout + LOST_SECONDS
        )
        batch: dict[str, Any] = {
            "id": batch_id,
            "status": "preparing",
            "protocol": protocol,
            "prompts": len(nanos),
            "lost_at": lost_at,
            **{name: opened[name] for name in _SHARED},
        }
        self._write(batch, parts(opened, batch_id, nanos, WRITTEN_ROWS), reservation)
        shown = {name: value for name, value in batch.items() if name in SHOWN}
        return Batch(**shown)

    def _write(
        self,
        batch: Mapping[str, Any],
        written: Iterator[list[dict[str, Any]]],
        reservation: Reservation,
    ) -> None:
        first, *others = next(written)
        if reservation.holds:
            kept = sum(row["reserved_nanos"] for row in others)
            first["reserved_nanos"] = reservation.nanos - kept

        def begin(connection: Connection) -> None:
            connection.execute(batches.insert(), batch)
            connection.execute(usage.insert(), [first, *others])

        with named_errors():
            self._writer.reserve(begin, reservation)
            for some in written:
                self._pause()
                self._writer.divide(first["id"], some)

    def _opened(
        self,
        batch_id: str,
        prompt: Question,
        reservation: Reservation,
        window_seconds: float,
    ) -> dict[str, Any]:
        """Return what the rows of all prompts have in common."""
        now = self._now()
        opened = rows.opened(
            prompt, now, reservation, request_id=batch_id, streamed=False
        )
        expires_at = now + timedelta(seconds=window_seconds + GRACE_SECONDS)
        return opened | {"operation": OPERATION, "expires_at": expires_at}

    def refuse(self, batch_id: str, prompt: Question, outcome: Outcome) -> None:
        """Write down a batch that a limit stopped: one row for all of it."""
        entry = self._ledger.entry(prompt, request_id=batch_id)
        entry.row |= {"id": batch_id, "operation": OPERATION}
        self._ledger.settle(entry, outcome)

    def find(self, batch_id: str) -> Row[Any] | None:
        """Return the row of a batch.

        :raises LLMError: where the database fails.
        """
        with named_errors(), self._database.begin() as connection:
            statement = select(batches).where(batches.c.id == batch_id)
            return connection.execute(statement).first()

    def listed(self, limit: int, *, unsettled: bool = False) -> list[Batch]:
        """Return the newest batches.

        :param unsettled: those alone whose results have not been fetched.
        :raises LLMError: where the database fails.
        """
        statement = select(batches).order_by(batches.c.id.desc()).limit(limit)
        if unsettled:
            statement = statement.where(batches.c.settled_at.is_(None))
        with named_errors(), self._database.begin() as connection:
            return [as_batch(row) for row in connection.execute(statement)]

    def knows(self, provider: str, provider_id: str) -> bool:
        """Tell whether one of our batches is a provider's."""
        statement = select(batches.c.id).where(
            batches.c.provider_id == provider_id, batches.c.provider == provider
        )
        with named_errors(), self._database.begin() as connection:
            return connection.execute(statement).first() is not None

    def note(
        self, batch_id: str, changes: Mapping[str, Any], *, as_yet: str | None = None
    ) -> bool:
        """Note how a batch stands; one that is over stays so.

        :param as_yet: the state that it must still be in.
        :return: whether it was noted.
        :raises LLMError: where the database fails.
        """
        ends = {"ended_at": self._now()} if changes["status"] in OVER else {}
        statement = (
            update(batches)
            .where(batches.c.id == batch_id, batches.c.status.not_in(OVER))
            .values(**ends | dict(changes))
        )
        if as_yet is not None:
            statement = statement.where(batches.c.status == as_yet)
        with named_errors(), self._database.begin() as connection:
            return connection.execute(statement).rowcount > 0

    def settle(
        self,
        batch_id: str,
        outcome: Callable[[int], Outcome | None],
        *,
        charged: Callable[[Charges], object] = lambda _charges: None,
    ) -> bool:
        """Settle what is not settled yet, some rows at a time, and the batch at last.

        Several may do so at once: a row is settled by one of them.

        :param outcome: how each prompt ended, by its place; None where that is not
            known yet: then the batch is not settled either.
        :param charged: told what budgets have been charged, some rows at a time.
        :return: whether this settled the batch.
        :raises LLMError: where the database fails; the rest can be settled later.
        """
        after, is_whole = batch_id[:PREFIX_LENGTH], True
        while found := self._page(batch_id, after):
            settled = []
            for row in found:
                if row["status"] not in _OPEN:
                    continue
                ended = outcome(place_of(batch_id, row["id"]) or 0)
                if ended is None:
                    is_whole = False
                    continue
                changes = rows.settled(row, ended, self._now())
                settled.append(({**row, **changes}, changes))
            with named_errors():
                charges = self._writer.settle_all(settled)
            charged(charges)
            after = found[-1]["id"]
            self._pause()
        return is_whole and self._close(batch_id)

    def _page(self, batch_id: str, after: str) -> list[dict[str, Any]]:
        """Return the next rows: along the primary key, whatever their number."""
        statement = (
            select(usage)
            .where(*_is_of(batch_id), usage.c.id > after)
            .order_by(usage.c.id)
            .limit(SETTLED_ROWS)
        )
        with named_errors(), self._database.begin() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _pause(self) -> None:
        """Let others in: who waits for SQLite's lock looks for it every 100 ms only."""
        if self._database.engine.dialect.name == "sqlite":
            self._sleep(PAUSE_SECONDS)

    def _close(self, batch_id: str) -> bool:
        used = or_(usage.c.status == "ok", usage.c.input_tokens > 0)
        unpriced = and_(usage.c.cost_nanos.is_(None), used)
        totals = select(
            func.coalesce(func.sum(usage.c.cost_nanos), 0),
            func.count(case((unpriced, 1))),
        ).where(*_is_of(batch_id))
        with named_errors(), self._database.begin() as connection:
            nanos, unknown = connection.execute(totals).one()
            cost = None if unknown else int(nanos)
            settled = (
                update(batches)
                .where(batches.c.id == batch_id, batches.c.settled_at.is_(None))
                .values(settled_at=self._now(), cost_nanos=cost)
            )
            return connection.execute(settled).rowcount > 0


_OPEN = {"pending", "abandoned"}
"""How rows stand that may be settled; those that were given up are put right."""


def _is_of(batch_id: str) -> tuple[Any, ...]:
    prefix = batch_id[:PREFIX_LENGTH]
    ours = usage.c.id.between(prefix, f"{prefix}g")  # which is behind all hex digits
    return ours, usage.c.operation == OPERATION
