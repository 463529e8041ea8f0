"""Single rows, newest first, page by page."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, or_, select

from flask_llm.usage.database import Database, named_errors
from flask_llm.usage.models import usage
from flask_llm.usage.reports.lines import usd
from flask_llm.usage.reports.parameters import BadQuery, read_zone, sorted_out, whole
from flask_llm.usage.reports.query import Filters, read_range
from flask_llm.usage.reports.scope import REQUEST_FILTERS, Scope, of_rows

PAGE_MAX = 500
BATCH_ROWS = 1_000
"""How many rows are read at a time where all are wanted."""

NAMES = {
    **{name: name for name in ("id", "request_id", "created_at", "finished_at")},
    **{name: name for name in ("status", "operation", "provider", "model")},
    **{name: name for name in ("served_model", "service_tier", "streamed")},
    "user_id": "user",
    **{name: name for name in ("tenant", "feature", "tags")},
    **{name: name for name in ("input_tokens", "cache_read_tokens")},
    **{name: name for name in ("cache_write_tokens", "output_tokens")},
    **{name: name for name in ("reasoning_tokens", "usage_source")},
    "cost_nanos": "cost_usd",
    "saved_nanos": "saved_usd",
    "prompt_saved_nanos": "prompt_saved_usd",
    **{name: name for name in ("cost_source", "duration_ms", "first_token_ms")},
    **{name: name for name in ("attempts", "finish_reason", "error_code")},
    **{name: name for name in ("error_status", "provider_request_id")},
}
"""The columns that are shown, and what they are called outside."""


class Cursor(NamedTuple):
    """The last row that was seen; the next page begins below it."""

    created_at: datetime
    id: str

    def __str__(self) -> str:
        """Write the cursor as users hand it back; nothing in it is a secret."""
        text = json.dumps([self.created_at.isoformat(), self.id])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestQuery:
    """Which rows are asked for."""

    since: datetime
    until: datetime
    tz: ZoneInfo
    filters: Filters = field(default_factory=dict)
    limit: int = 50
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows, and where the next ones begin."""

    rows: tuple[Mapping[str, Any], ...]
    next: Cursor | None = None
    """None on the last page."""

    def to_dict(self) -> dict[str, Any]:
        """Return the page as JSON."""
        return {
            "requests": list(self.rows),
            "next_cursor": str(self.next) if self.next else None,
        }


def read_request_query(
    parameters: Iterable[tuple[str, str]],
    *,
    now: datetime | None = None,
    paged: bool = True,
) -> RequestQuery:
    """Read which rows are wanted from a query string.

    :param paged: whether it may say ``limit`` and ``cursor``.
    :raises BadQuery: naming the parameter and the cure.
    """
    once = ("since", "until", "tz", *(("limit", "cursor") if paged else ()))
    single, filters = sorted_out(parameters, once, REQUEST_FILTERS)
    zone = read_zone(single.get("tz", "UTC"))
    since, until = read_range(single, zone, now or datetime.now(UTC))
    return RequestQuery(
        since=since,
        until=until,
        tz=zone,
        filters={name: tuple(values) for name, values in filters.items()},
        limit=whole("limit", single.get("limit", "50"), PAGE_MAX),
        cursor=_cursor(single["cursor"]) if "cursor" in single else None,
    )


class Requests:
    """Reads single rows; whatever is asked is asked within a scope."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, query: RequestQuery, scope: Scope) -> Page:
        """Return a page, newest first, which rows that arrive later do not shift.

        :raises LLMError: where the database fails.
        """
        statement = _statement(query, scope).limit(query.limit + 1)
        with named_errors(), self._database.begin() as connection:
            found = connection.execute(statement).mappings().all()
        shown = found[: query.limit]
        more = len(found) > query.limit
        return Page(
            rows=tuple(_shown(dict(row), query.tz) for row in shown),
            next=Cursor(shown[-1]["created_at"], shown[-1]["id"]) if more else None,
        )

    def every(
        self, query: RequestQuery, scope: Scope
    ) -> Iterator[tuple[Mapping[str, Any], ...]]:
        """Return all rows in batches; no connection is held between two of them."""
        query = replace(query, limit=BATCH_ROWS)
        while True:
            page = self.page(query, scope)
            yield page.rows
            if page.next is None:
                return
            query = replace(query, cursor=page.next)


def _statement(query: RequestQuery, scope: Scope) -> Select[Any]:
    at = usage.c.created_at
    newest = select(*(usage.c[name] for name in NAMES)).where(
        at >= query.since, at < query.until, *of_rows(query.filters, scope)
    )
    if query.cursor is not None:
        last, last_id = query.cursor
        # The first condition is what an index can be used for.
        newest = newest.where(
            at <= last, or_(at < last, and_(at == last, usage.c.id < last_id))
        )
    return newest.order_by(at.desc(), usage.c.id.desc())


def _shown(row: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """Return a row as it is shown: money as decimal strings, times in a zone."""
    shown = {}
    for column, name in NAMES.items():
        value = row[column]
        if isinstance(value, datetime):
            value = value.astimezone(zone).isoformat()
        elif column.endswith("_nanos") and value is not None:
            value = usd(value)
        shown[name] = value
    return shown


def _cursor(text: str) -> Cursor:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        written, row_id = json.loads(raw)
        moment = datetime.fromisoformat(written)
        cursor = Cursor(moment, row_id)
        good = str(cursor) == text and moment.utcoffset() == timedelta()
    except (ValueError, TypeError, RecursionError, binascii.Error):
        good = False
    if not good or not isinstance(row_id, str) or "\0" in row_id:
        raise BadQuery("cursor", "it is what next_cursor of a page before said.")
    return cursor
