"""What a row of the books holds: when it is opened, and when it is settled."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask_llm.chat import Question, Usage
from flask_llm.usage.models import usage
from flask_llm.usage.spend import Hold, Share

GRACE_SECONDS = 30.0
"""How long after its deadline a pending row is taken for abandoned."""


def new_id(now: float | None = None) -> str:
    """Return 32 hex digits that sort by time: milliseconds, then 80 random bits."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    return f"{milliseconds:012x}{os.urandom(10).hex()}"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call may cost, and the budgets that must have room for it."""

    nanos: int = 0
    """The worst case."""
    holds: tuple[Hold, ...] = ()


NOTHING = Reservation()


@dataclass(slots=True)
class Entry:
    """A call's row, from before it is written until it is settled."""

    row: dict[str, Any]
    reservation: Reservation = NOTHING
    is_written: bool = False
    """Whether it stands in the table, or may: a database that failed did not say."""
    is_settled: bool = False

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
    may_be_billed: bool = False
    """Whether a provider may bill it though nobody knows how much: then what was
    reserved counts as spent."""
    saved_nanos: int | None = None
    """What an answer from our own cache would have cost."""
    prompt_saved_nanos: int | None = None
    """What the provider's prompt cache saved; below zero where it cost more."""
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


UNRESERVED: Mapping[str, None] = {"reserved_nanos": None, "reserved_in": None}
"""What a row says that has reserved nothing."""


def opened(
    prompt: Question,
    now: datetime,
    reservation: Reservation = NOTHING,
    *,
    request_id: str | None,
    streamed: bool,
) -> dict[str, Any]:
    """Return the row of a call that begins."""
    row_id = new_id(now.timestamp())
    reserved = bool(reservation.holds)
    return {
        "id": row_id,
        "request_id": request_id or row_id,
        "created_at": now,
        "expires_at": now + timedelta(seconds=prompt.timeout + GRACE_SECONDS),
        "status": "pending",
        "operation": prompt.operation,
        "provider": _fit("provider", prompt.provider),
        "model": _fit("model", prompt.full_model),
        "streamed": streamed,
        "user_id": prompt.user,
        "tenant": prompt.tenant,
        "feature": prompt.feature,
        "tags": dict(prompt.tags) or None,
        "reserved_nanos": reservation.nanos if reserved else None,
        "reserved_in": " ".join(_place(hold) for hold in reservation.holds) or None,
    }


def settled(
    row: Mapping[str, Any], outcome: Outcome, finished_at: datetime
) -> dict[str, Any]:
    """Return what changes in a row whose call has ended."""
    used = outcome.usage
    changes = {
        "finished_at": finished_at,
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
        "prompt_saved_nanos": outcome.prompt_saved_nanos,
        "cost_source": outcome.cost_source,
        "duration_ms": outcome.duration_ms,
        "first_token_ms": outcome.first_token_ms,
        "attempts": outcome.attempts,
        "finish_reason": _fit("finish_reason", outcome.finish_reason),
        "error_code": _fit("error_code", outcome.error_code),
        "error_status": outcome.error_status,
        "provider_request_id": _fit("provider_request_id", outcome.provider_request_id),
    }
    if outcome.cost_nanos is None and outcome.may_be_billed:
        changes |= worst_case(row)
    return changes


def worst_case(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cost of a call that a provider may bill: what was reserved for it."""
    if not row.get("reserved_nanos"):
        return {}
    return {"cost_nanos": row["reserved_nanos"], "cost_source": "reserved"}


def share(prompt: Question, scope: str, period: str) -> Share:
    """Return the share of a budget that a call draws on.

    :param period: as :mod:`flask_llm.usage.periods` names it.
    """
    subject = prompt.subject(scope)
    return Share(scope, _fit(_COLUMNS.get(scope, scope), subject) or "", period)


def shares(row: Mapping[str, Any]) -> Iterator[Share]:
    """Return the shares in which a row's call has reserved."""
    for place in (row.get("reserved_in") or "").split():
        scope, _, period = place.partition("/")
        yield Share(scope, row.get(_COLUMNS.get(scope, scope)) or "", period)


_COLUMNS = {"user": "user_id"}
"""Where a scope's subject stands, if not in the column of the same name."""


def _place(hold: Hold) -> str:
    return f"{hold.share.scope}/{hold.share.period}"


def _fit(column: str, value: str | None) -> str | None:
    """Cut a text to its column, and leave out what some databases refuse to hold."""
    if not value:
        return value
    width: int | None = getattr(usage.c[column].type, "length", None)
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:width]
