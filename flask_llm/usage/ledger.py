"""The only writer of the books: a row before each call, settled after it.

Each write is a short transaction of its own, and no connection is held while the
provider thinks. A database that is down costs nobody an answer: the row waits in the
journal.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Update, bindparam, update
from sqlalchemy.exc import CompileError, DataError, IntegrityError, SQLAlchemyError

from flask_llm.chat import Prompt, Usage
from flask_llm.usage.database import Database
from flask_llm.usage.journal import Journal
from flask_llm.usage.models import usage

GRACE_SECONDS = 60.0
"""How long after its deadline a pending row is taken for abandoned."""

REPLAY_SECONDS = 1.0
"""How long a call may be held up by rows that the journal kept."""

SWEEP_SECONDS = 60.0
"""How often a process looks for abandoned rows."""

logger = logging.getLogger("flask_llm")


def new_id(now: float | None = None) -> str:
    """Return 32 hex digits that sort by time: milliseconds, then 80 random bits."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    return f"{milliseconds:012x}{os.urandom(10).hex()}"


@dataclass(slots=True)
class Entry:
    """An open row."""

    row: dict[str, Any]
    settled: bool = False

    @property
    def request_id(self) -> str:
        """What all tries of one call have in common."""
        return str(self.row["request_id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended."""

    status: str
    """``ok cached failed cancelled refused``."""
    usage: Usage | None = None
    cost_nanos: int | None = None
    saved_nanos: int | None = None
    cost_source: str | None = None
    served_model: str | None = None
    service_tier: str | None = None
    duration_ms: int | None = None
    first_token_ms: int | None = None
    attempts: int = 0
    finish_reason: str | None = None
    error_code: str | None = None
    error_status: int | None = None
    provider_request_id: str | None = None


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
        self._now = now
        self._sweep_lock = threading.Lock()
        self._swept_at: datetime | None = None

    def open(
        self,
        prompt: Prompt,
        *,
        request_id: str | None = None,
        streamed: bool = False,
        operation: str = "complete",
    ) -> Entry:
        """Write a pending row.

        :raises ConfigError: where the tables are missing.
        """
        entry = self._entry(prompt, request_id, streamed=streamed, operation=operation)
        try:
            with self.database.begin() as connection:
                connection.execute(usage.insert(), entry.row)
        except SQLAlchemyError as error:
            _warn("opened", error)
        else:
            self._housekeep(entry.row["created_at"])
        return entry

    def record(
        self, prompt: Prompt, outcome: Outcome, *, streamed: bool = False
    ) -> Entry:
        """Write a row that is settled from the start: no provider is asked."""
        entry = self._entry(prompt, None, streamed=streamed, operation="complete")
        entry.settled = True
        now = entry.row["created_at"]
        entry.row |= _columns(outcome) | {"finished_at": now}
        try:
            with self.database.begin() as connection:
                connection.execute(usage.insert(), entry.row)
        except SQLAlchemyError as error:
            _warn("written", error)
            self.journal.append(entry.row)
        return entry

    def settle(self, entry: Entry, outcome: Outcome) -> None:
        """Write how the call ended; the second time does nothing.

        Nothing is raised: an answer that is paid for reaches its caller.
        """
        if entry.settled:
            return
        entry.settled = True
        changes = _columns(outcome) | {"finished_at": self._now()}
        entry.row |= changes
        try:
            self._write(entry.row, changes)
        except Exception as error:  # noqa: BLE001 - any driver, any failure
            _warn("settled", error)
            self.journal.append(entry.row)

    def replay(self) -> int:
        """Write what the journal kept and return how many rows it were.

        A row that no database would take is logged, so that it is in nobody's way.

        :raises SQLAlchemyError: where the database cannot be reached.
        """
        return self.journal.replay(self._rewrite)

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
            self._write(row, row)
        except (DataError, CompileError, ArithmeticError, ValueError) as error:
            logger.error(  # noqa: TRY400 - what matters is the row
                "A usage row cannot be written (%s); lost: %s",
                type(error).__name__,
                row,
            )

    def sweep(self, now: datetime | None = None) -> int:
        """Mark the rows of workers that died as ``abandoned``; return how many."""
        now = now or self._now()
        statement = (
            update(usage)
            .where(usage.c.status == "pending", usage.c.expires_at < now)
            .values(status="abandoned", finished_at=now)
        )
        with self.database.begin() as connection:
            return connection.execute(statement).rowcount

    def _entry(
        self, prompt: Prompt, request_id: str | None, *, streamed: bool, operation: str
    ) -> Entry:
        now = self._now()
        row_id = new_id(now.timestamp())
        return Entry(
            {
                "id": row_id,
                "request_id": request_id or row_id,
                "created_at": now,
                "expires_at": now + timedelta(seconds=prompt.timeout + GRACE_SECONDS),
                "status": "pending",
                "operation": operation,
                "provider": _fit("provider", prompt.provider),
                "model": _fit("model", prompt.full_model),
                "streamed": streamed,
                "user_id": prompt.user,
                "tenant": prompt.tenant,
                "feature": prompt.feature,
                "tags": dict(prompt.tags) or None,
            }
        )

    def _write(self, row: dict[str, Any], changes: dict[str, Any]) -> None:
        """Settle the open row, or insert it whole where it was never opened."""
        values = {f"new_{name}": value for name, value in changes.items()}
        values["row_id"] = row["id"]
        with self.database.begin() as connection:
            found = connection.execute(_settling(tuple(changes)), values)
        if found.rowcount:
            return
        try:
            with self.database.begin() as connection:
                connection.execute(usage.insert(), row)
        except IntegrityError:
            logger.debug("Row %s was settled before.", row["id"])

    def _housekeep(self, now: datetime) -> None:
        """Sweep and replay now and then; another thread's turn is not waited for."""
        last = self._swept_at
        if last and (now - last).total_seconds() < SWEEP_SECONDS:
            return
        if not self._sweep_lock.acquire(blocking=False):
            return
        try:
            self._swept_at = now
            self.sweep(now)
            self._replay_some()
        except (SQLAlchemyError, OSError) as error:
            _warn("swept", error)
        finally:
            self._sweep_lock.release()


@functools.cache
def _settling(names: tuple[str, ...]) -> Update:
    """Return the statement that settles a row once, built once for each set of names.

    A row that was swept too early may still be settled; a settled one may not.
    """
    return (
        update(usage)
        .where(
            usage.c.id == bindparam("row_id"),
            usage.c.status.in_(["pending", "abandoned"]),
        )
        .values({name: bindparam(f"new_{name}") for name in names})
    )


def _columns(outcome: Outcome) -> dict[str, Any]:
    used = outcome.usage
    return {
        "status": outcome.status,
        "served_model": _fit("served_model", outcome.served_model),
        "service_tier": _fit("service_tier", outcome.service_tier),
        "input_tokens": used and used.input_tokens,
        "cache_read_tokens": used and used.cache_read_tokens,
        "cache_write_tokens": used and used.cache_write_tokens,
        "output_tokens": used and used.output_tokens,
        "reasoning_tokens": used and used.reasoning_tokens,
        "usage_source": used and used.source,
        "cost_nanos": outcome.cost_nanos,
        "saved_nanos": outcome.saved_nanos,
        "cost_source": outcome.cost_source,
        "duration_ms": outcome.duration_ms,
        "first_token_ms": outcome.first_token_ms,
        "attempts": outcome.attempts,
        "finish_reason": _fit("finish_reason", outcome.finish_reason),
        "error_code": _fit("error_code", outcome.error_code),
        "error_status": outcome.error_status,
        "provider_request_id": _fit("provider_request_id", outcome.provider_request_id),
    }


def _fit(column: str, value: str | None) -> str | None:
    """Cut a text to its column, and leave out what some databases refuse to hold."""
    width: int | None = getattr(usage.c[column].type, "length", None)
    if not value:
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:width]


def _warn(done: str, error: Exception) -> None:
    logger.warning("A usage row could not be %s: %s", done, type(error).__name__)
