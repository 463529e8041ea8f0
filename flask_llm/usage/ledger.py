"""The only writer of the books: a row before each call, settled after it.

Each write is a short transaction of its own, and no connection is held while the
provider thinks. A database that is down costs nobody an answer: the row waits in the
journal. Only where a budget applies is nobody asked for what cannot be reserved.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import CompileError, DataError, SQLAlchemyError

from flask_llm.chat import Question
from flask_llm.errors import ConfigError
from flask_llm.forks import after_fork
from flask_llm.usage import rows, spend
from flask_llm.usage.conflicts import described
from flask_llm.usage.database import Database, named_errors
from flask_llm.usage.journal import Journal
from flask_llm.usage.rows import NOTHING, Entry, Outcome, Reservation
from flask_llm.usage.spend import Hold, NoRoom, Share, Standing
from flask_llm.usage.writer import Writer

REPLAY_SECONDS = 1.0
"""How long a call may be held up by rows that the journal kept."""

SWEEP_SECONDS = 60.0
"""How often a process looks for abandoned rows."""

SWEEP_REFUSED_SECONDS = 1.0
"""How often it does where a budget seems to be full."""

_SHUT = ", and a budget that cannot be looked at has no room: nobody was asked"

logger = logging.getLogger("flask_llm")


class Ledger:
    """Opens rows and settles them.

    :param now: the time of day, in UTC.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database = database
        self.journal = journal
        self._writer = Writer(database)
        self._now = now
        self._sweep_lock = threading.Lock()
        self._swept_at: datetime | None = None
        after_fork(self.renew)

    def renew(self) -> None:
        """Renew the lock, which a thread of the parent may hold after a fork."""
        self._sweep_lock = threading.Lock()

    def entry(
        self,
        prompt: Question,
        reservation: Reservation = NOTHING,
        *,
        request_id: str | None = None,
        streamed: bool = False,
    ) -> Entry:
        """Return a row that is yet to be written."""
        row = rows.opened(
            prompt,
            self._now(),
            reservation,
            request_id=request_id,
            streamed=streamed,
        )
        return Entry(row, reservation)

    def open(self, entry: Entry) -> None:
        """Write a pending row, and reserve what the call may cost.

        However this ends, the entry is to be settled: where a database fails, nobody
        knows whether it has written the row.

        :raises ConfigError: where the tables are missing.
        :raises NoRoom: where a budget has no room for the call; nothing is written.
        :raises LLMError: where a budget applies and the database fails.
        """
        entry.is_written = True
        try:
            self._reserve(entry)
        except (NoRoom, ConfigError):
            entry.is_written = False
            raise
        except SQLAlchemyError as error:
            if entry.reservation.holds:
                with named_errors(_SHUT):
                    raise
            _warn("opened", error)
        else:
            self._housekeep(entry.row["created_at"], SWEEP_SECONDS)

    def settle(self, entry: Entry, outcome: Outcome) -> Mapping[Hold, Standing]:
        """Write how the call ended; the second time does nothing.

        Nothing is raised: an answer that is paid for reaches its caller.

        :return: where that leaves the budgets that had room for it.
        """
        if entry.is_settled:
            return {}
        entry.is_settled = True
        changes = rows.settled(entry.row, outcome, self._now())
        if not entry.is_written:
            changes |= rows.UNRESERVED
        entry.row |= changes
        try:
            if not entry.is_written:
                self._writer.insert(entry.row)
                return {}
            charges = self._writer.settle(entry.row, changes)
        except Exception as error:  # noqa: BLE001 - any driver, any failure
            _warn("settled", error)
            self.journal.append(entry.row)
            return {}
        holds = {hold.share: hold for hold in entry.reservation.holds}
        return {holds[share]: charge.standing for share, charge in charges.items()}

    def standing(self, share: Share) -> Standing:
        """Return what a budget's share has spent and holds.

        :raises LLMError: where the database fails.
        """
        with named_errors(), self.database.begin() as connection:
            return spend.standing(connection, share)

    def standings(
        self, scope: str, period: str, *, subjects: Sequence[str] = (), most: int
    ) -> list[tuple[str, Standing]]:
        """Return what subjects have spent in a period and hold, largest sums first.

        :raises LLMError: where the database fails.
        """
        with named_errors(), self.database.begin() as connection:
            return spend.standings(
                connection, scope, period, subjects=subjects, most=most
            )

    def replay(self) -> int:
        """Write what the journal kept and return how many rows it were.

        A row that no database would take is logged, so that it is in nobody's way.

        :raises SQLAlchemyError: where the database cannot be reached.
        """
        return self.journal.replay(self._rewrite)

    def sweep(self, now: datetime | None = None) -> int:
        """Settle the rows of workers that died as ``abandoned``; return how many.

        What was reserved for such a call counts as spent: nobody can tell how far it
        came, and the provider bills what reached it.
        """
        return self._writer.sweep(now or self._now())

    def _reserve(self, entry: Entry) -> None:
        try:
            self._writer.open(entry.row, entry.reservation)
        except NoRoom as refusal:
            # A worker that died may hold what is missing.
            held = refusal.standing.reserved_nanos
            if not held or not self._housekeep(self._now(), SWEEP_REFUSED_SECONDS):
                raise
            self._writer.open(entry.row, entry.reservation)

    def _housekeep(self, now: datetime, every: float) -> bool:
        """Sweep and replay now and then; another thread's turn is not waited for."""
        last = self._swept_at
        if last and (now - last).total_seconds() < every:
            return False
        if not self._sweep_lock.acquire(blocking=False):
            return False
        try:
            self._swept_at = now
            self.sweep(now)
            self._replay_some()
        except (SQLAlchemyError, OSError) as error:
            _warn("swept", error)
            return False
        finally:
            self._sweep_lock.release()
        return True

    def _replay_some(self) -> None:
        """Replay for as long as a user may be kept waiting; the rest stays kept."""
        ends = time.monotonic() + REPLAY_SECONDS

        def write(row: dict[str, Any]) -> None:
            if time.monotonic() > ends:
                raise TimeoutError
            self._rewrite(row)

        with contextlib.suppress(TimeoutError):
            self.journal.replay(write)

    def _rewrite(self, row: dict[str, Any]) -> None:
        try:
            self._writer.settle(row, row)
        except _UNFIT as error:
            logger.error(  # noqa: TRY400 - what matters is the row
                "A usage row cannot be written (%s); lost: %s",
                type(error).__name__,
                row,
            )


_UNFIT = (DataError, CompileError, ArithmeticError, LookupError, TypeError, ValueError)
"""How a row fails that is none, or that no database would take."""


def _warn(done: str, error: Exception) -> None:
    logger.warning("A usage row could not be %s: %s", done, described(error))
