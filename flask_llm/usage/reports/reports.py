"""How it is answered: one SELECT, folded into lines."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, String, and_, case, cast, func, or_, select

from flask_llm.usage.database import Database, named_errors
from flask_llm.usage.models import usage
from flask_llm.usage.reports.lines import SUMMED, Line, Report
from flask_llm.usage.reports.query import GROUPS, TIMES, Query, Span


class Reports:
    """Answers queries from the books."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, query: Query) -> Report:
        """Answer one query."""
        with named_errors():
            dialect = self._database.engine.dialect.name
        bucket = _bucket(query, dialect)
        keys: list[ColumnElement[Any]] = [
            GROUPS[name] for name in query.group_by if name in GROUPS
        ]
        if bucket is not None:
            keys.append(bucket)
        statement = (
            select(*(key.label(f"key_{n}") for n, key in enumerate(keys)), *_SUMS)
            .where(*_conditions(query))
            .group_by(*keys)
        )
        with named_errors(), self._database.begin() as connection:
            rows = connection.execute(statement).all()
        lines: dict[tuple[str | None, ...], Line] = {}
        for row in rows:
            line = _line(query, row)
            place = tuple(line.group.values())
            lines[place] = lines[place] + line if place in lines else line
        total = sum((_groupless(line) for line in lines.values()), Line())
        groups = sorted(lines.values(), key=_order(query)) if query.group_by else []
        return Report(
            query=query,
            total=total,
            groups=tuple(groups[: query.limit]),
            truncated=len(groups) > query.limit,
        )


_used = and_(
    usage.c.cost_nanos.is_(None),
    or_(usage.c.input_tokens > 0, usage.c.output_tokens > 0),
)


def _sum(name: str, value: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(value), 0).label(name)


_SUMS = (
    func.count().label("calls"),
    _sum("failed", case((usage.c.status.in_(["failed", "abandoned"]), 1), else_=0)),
    _sum("cached", case((usage.c.status == "cached", 1), else_=0)),
    _sum("unpriced", case((_used, 1), else_=0)),
    *(
        _sum(name, usage.c[name])
        for name in (
            "input_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "output_tokens",
            "reasoning_tokens",
            "cost_nanos",
            "saved_nanos",
            "prompt_saved_nanos",
            "duration_ms",
        )
    ),
    func.count(usage.c.duration_ms).label("timed"),
    func.coalesce(func.max(usage.c.duration_ms), 0).label("latency_max_ms"),
)


def _conditions(query: Query) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        usage.c.created_at >= query.since,
        usage.c.created_at < query.until,
    ]
    conditions += [_within(spans) for spans in query.spans.values()]
    for name, values in query.filters.items():
        given = GROUPS[name].in_([value for value in values if value])
        empty = GROUPS[name].is_(None)
        conditions.append(given if all(values) else given | empty)
    return conditions


def _within(spans: Iterable[Span]) -> ColumnElement[bool]:
    at = usage.c.created_at
    return or_(*(and_(at >= start, at < end) for start, end in spans))


def _bucket(query: Query, dialect: str) -> ColumnElement[Any] | None:
    """Return the start of a stored time that tells a row's local hour.

    All databases write a time as ``2026-11-23 10:20:30``, PostgreSQL if told to: it has
    a setting for that. The first 13 characters are
    enough where the zone is whole hours away from UTC, 15 where it is half an hour off,
    and 16 for the few that are three quarters off.
    """
    if not set(query.group_by) & set(TIMES):
        return None
    offsets = {_offset(query.tz, query.since), _offset(query.tz, query.until)}
    moment = query.since
    while moment < query.until and len(offsets) < _OFFSETS_MAX:
        offsets.add(_offset(query.tz, moment))
        moment += timedelta(days=7)
    if all(offset % 3600 == 0 for offset in offsets):
        width = 13
    else:
        width = 15 if all(offset % 600 == 0 for offset in offsets) else 16
    written: ColumnElement[Any] = cast(usage.c.created_at, String(32))
    if dialect == "postgresql":
        written = func.to_char(usage.c.created_at, "YYYY-MM-DD HH24:MI")
    return func.substr(written, 1, width)


_OFFSETS_MAX = 4


def _offset(zone: ZoneInfo, moment: datetime) -> float:
    offset = moment.astimezone(zone).utcoffset()
    return offset.total_seconds() if offset else 0.0


def _line(query: Query, row: Row[Any]) -> Line:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    keys = [values[name] for name in values if name.startswith("key_")]
    plain = [name for name in query.group_by if name in GROUPS]
    found = dict(zip(plain, keys, strict=False))
    if len(keys) > len(plain):
        filled = keys[-1] + "0000-01-01 00:00"[len(keys[-1]) :]
        moment = datetime.fromisoformat(filled).replace(tzinfo=UTC)
        local = moment.astimezone(query.tz)
        found |= {name: write(local) for name, write in TIMES.items()}
    return Line(
        group={name: found[name] for name in query.group_by},
        latency_max_ms=int(values["latency_max_ms"]),
        **{name: int(values[name]) for name in SUMMED},
    )


def _groupless(line: Line) -> Line:
    return Line() + line


def _order(query: Query) -> Any:
    def by_group(line: Line) -> tuple[str, ...]:
        return tuple(value or "" for value in line.group.values())

    def by_value(line: Line) -> tuple[Any, ...]:
        name = "cost_nanos" if query.sort == "cost_usd" else query.sort
        return (-getattr(line, name), *by_group(line))

    return by_group if query.sort == "group" else by_value
