"""The SELECTs of a report, and how the times that they group by are named."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
)

from flask_llm.usage import tally
from flask_llm.usage.models import COUNTED, hourly, usage
from flask_llm.usage.reports import scope as scopes
from flask_llm.usage.reports.parameters import Span
from flask_llm.usage.reports.plan import Plan
from flask_llm.usage.reports.query import GROUPS, LINES_MAX, TIMES
from flask_llm.usage.reports.scope import Scope
from flask_llm.usage.reports.zones import Stretch, day_named

ZERO: ColumnElement[int] = literal_column("0")
NOBODY: ColumnElement[str] = literal_column("''")

HOUR = timedelta(hours=1)

ONE_TOO_MANY = LINES_MAX + 1


def of_sums(chosen: Plan, scope: Scope) -> Select[Any]:
    """Return what the rollup holds of a report in one stretch: its parameters.

    SQLite would read all sums of a dimension if asked for several stretches at once.
    """
    query = chosen.query
    keys = [scopes.sums_column(name) for name in query.group_by if name in GROUPS]
    if set(query.group_by) & set(TIMES):
        keys.append(_day_number(chosen) if _is_by_day(chosen) else hourly.c.hour)
    return (
        select(*keys, *_sums_of_sums())
        .where(
            hourly.c.dimension == chosen.dimension,
            hourly.c.hours == bindparam("hours"),
            hourly.c.hour >= bindparam("first"),
            hourly.c.hour < bindparam("end"),
            *scopes.of_sums(query.filters, scope),
        )
        .group_by(*keys)
        .limit(ONE_TOO_MANY)
    )


def of_rows(chosen: Plan, scope: Scope, dialect: str) -> Select[Any]:
    """Return what single rows hold of a report."""
    query = chosen.query
    keys: list[ColumnElement[Any]] = [
        func.coalesce(GROUPS[name], NOBODY) for name in query.group_by if name in GROUPS
    ]
    if set(query.group_by) & set(TIMES):
        keys.append(_written_hour(chosen, dialect))
    return (
        select(*keys, *_sums_of_rows())
        .where(
            _within(chosen.rows),
            usage.c.status != "pending",
            *scopes.of_rows(query.filters, scope),
        )
        .group_by(*keys)
        .limit(ONE_TOO_MANY)
    )


def of_pending(chosen: Plan, scope: Scope) -> Select[Any]:
    """Return how many calls of a report are still under way.

    SQLite takes half of all rows for pending, and would rather look through them by
    time: hence a time that no index is over.
    """
    query = chosen.query
    began = func.coalesce(usage.c.created_at, usage.c.expires_at)
    conditions = [_within(spans) for spans in query.spans.values()]
    return (
        select(func.count())
        .select_from(usage)
        .where(
            usage.c.status == "pending",
            usage.c.expires_at > query.since,
            began >= query.since,
            began < query.until,
            *conditions,
            *scopes.of_rows(query.filters, scope),
        )
    )


def name_sums_time(chosen: Plan, bucket: int) -> Mapping[str, str]:
    """Return the local day and hour of a sum."""
    if _is_by_day(chosen):
        return {"day": day_named(bucket)}
    local = chosen.clock.local(tally.start_of(bucket))
    return {name: write(local) for name, write in TIMES.items()}


def name_rows_time(chosen: Plan, bucket: str) -> Mapping[str, str]:
    """Return the local day and hour of rows, by the start of their written time."""
    filled = bucket + "0000-01-01 00:00"[len(bucket) :]
    local = chosen.clock.local(datetime.fromisoformat(filled).replace(tzinfo=UTC))
    return {name: write(local) for name, write in TIMES.items()}


@functools.cache
def _sums_of_sums() -> tuple[ColumnElement[Any], ...]:
    return tuple(_summed(dict(hourly.c.items()), hourly.c.latency_max_ms))


@functools.cache
def _sums_of_rows() -> tuple[ColumnElement[Any], ...]:
    return tuple(_summed(tally.MEASURES, tally.LONGEST))


def _summed(
    columns: Mapping[str, ColumnElement[Any]], longest: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    return [
        # Drivers make Decimals of what is wider.
        *(cast(_or_zero(func.sum(columns[name])), BigInteger) for name in COUNTED),
        _or_zero(func.max(longest)),
    ]


def _or_zero(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(value, ZERO)


def _within(spans: Iterable[Span]) -> ColumnElement[bool]:
    at = usage.c.created_at
    return or_(*(and_(at >= start, at < end) for start, end in spans))


def _is_by_day(chosen: Plan) -> bool:
    """Tell whether the database can name the days: the clocks change now and then."""
    by_hour = "hour" in chosen.query.group_by
    return not by_hour and len(chosen.clock.stretches) <= STRETCHES_MAX


STRETCHES_MAX = 40


def _day_number(chosen: Plan) -> ColumnElement[Any]:
    """Return the number of the local day that an hour is in, from 1970 on."""
    *earlier, last = chosen.clock.stretches
    ends = [tally.hour_of(stretch.start) for stretch in chosen.clock.stretches[1:]]
    if not earlier:
        return _number(last)
    return case(
        *(
            (hourly.c.hour < literal_column(str(end)), _number(stretch))
            for stretch, end in zip(earlier, ends, strict=True)
        ),
        else_=_number(last),
    )


def _number(stretch: Stretch) -> ColumnElement[Any]:
    # Without parameters, which PostgreSQL would not take for those to group by.
    offset = literal_column(str(stretch.offset // HOUR), Integer)
    return (hourly.c.hour + offset) // literal_column("24", Integer)


def _written_hour(chosen: Plan, dialect: str) -> ColumnElement[Any]:
    """Return the start of a stored time that tells a row's local hour.

    All databases write a time as ``2026-11-23 10:20:30``, PostgreSQL if told to: it has
    a setting for that.
    """
    written: ColumnElement[Any] = cast(usage.c.created_at, String(32))
    if dialect == "postgresql":
        written = func.to_char(usage.c.created_at, "YYYY-MM-DD HH24:MI")
    return func.substr(written, 1, chosen.clock.digits)
