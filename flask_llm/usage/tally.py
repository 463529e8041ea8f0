"""The rollup: what each settled row adds to the sums that reports read.

A settled row counts once by each of four dimensions: for its hour and its day and, by
user, for its week, all in UTC. Nothing finer is kept: by user and model and feature at
once there would be as many sums as rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Select,
    Subquery,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from flask_llm.usage.dialects import insert_for, is_mysql
from flask_llm.usage.models import (
    COUNTED,
    LATENCY_COLUMNS,
    LATENCY_MS,
    hourly,
    usage,
)
from flask_llm.usage.prepared import Prepared

HOUR, DAY, WEEK = 1, 24, 168

DIMENSIONS = {
    "status": usage.c.status,
    "model": usage.c.model,
    "user": usage.c.user_id,
    "feature": usage.c.feature,
}


class Grain(NamedTuple):
    """One of the sums that a row adds to."""

    dimension: str
    hours: int


GRAINS = (
    *(Grain(dimension, hours) for dimension in DIMENSIONS for hours in (HOUR, DAY)),
    Grain("user", WEEK),  # users are many, and asked for over months
)

KEY = tuple(column.name for column in hourly.primary_key)


def _one(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    # Written out: PostgreSQL would take parameters here for texts.
    return case((condition, literal_column("1")), else_=literal_column("0"))


def _or_zero(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(column, literal_column("0"))


def _classes() -> dict[str, ColumnElement[Any]]:
    starts = (None, *LATENCY_MS)
    took = usage.c.duration_ms
    return {
        name: _one(
            took < literal_column(str(end))
            if start is None
            else took.between(literal_column(str(start)), literal_column(str(end - 1)))
        )
        for name, start, end in zip(LATENCY_COLUMNS, starts, LATENCY_MS, strict=False)
    }


_MEASURED: Mapping[str, ColumnElement[Any]] = {
    "calls": literal_column("1"),
    "failed": _one(
        usage.c.status.in_([literal_column("'failed'"), literal_column("'abandoned'")])
    ),
    "cached": _one(usage.c.status == literal_column("'cached'")),
    "unpriced": _one(
        usage.c.cost_nanos.is_(None)
        & or_(
            usage.c.input_tokens > literal_column("0"),
            usage.c.output_tokens > literal_column("0"),
        )
    ),
    **{
        name: _or_zero(usage.c[name])
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
    },
    "timed": _one(usage.c.duration_ms.is_not(None)),
    **_classes(),
}

MEASURES = {name: _MEASURED[name] for name in COUNTED}
"""What one row adds to each sum, in the order of its columns."""

LONGEST = _or_zero(usage.c.duration_ms)


at_hour = bindparam("at_hour", type_=hourly.c.hour.type)
since, until = (
    bindparam(name, type_=usage.c.created_at.type) for name in ("since", "until")
)


def hour_of(moment: datetime) -> int:
    """Return the hours from 1970 to the one that a moment is in."""
    return int(moment.timestamp() // 3600)


def start_of(hour: int) -> datetime:
    """Return when an hour begins."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)


def add(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Count rows that this transaction has just settled."""
    _count(connection, rows, "+")


def take_back(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Uncount rows that this transaction is about to change."""
    _count(connection, rows, "-")


def _count(
    connection: Connection, rows: Iterable[Mapping[str, Any]], sign: str
) -> None:
    ids: dict[int, list[str]] = {}
    for row in rows:
        ids.setdefault(hour_of(row["created_at"]), []).append(row["id"])
    for hour, some in sorted(ids.items()):
        if len(some) == 1:
            values = {"row_id": some[0], "at_hour": hour}
            _COUNTING_ONE[sign].execute(connection, values)
        else:
            connection.execute(
                _counting(connection.dialect.name, sign), {"ids": some, "at_hour": hour}
            )


_PLACES: list[ColumnElement[Any]] = [
    literal_column(str(place)) for place in range(1, len(KEY) + 1)
]


@functools.cache
def _counting(dialect: str, sign: str) -> Insert:
    """Return the one statement that counts the rows of an hour.

    The database works out what they add: that takes two parameters and not three
    hundred. All transactions touch sums in the same order, so that none waits for
    another that waits for it.
    """
    grains = grain_list(GRAINS)
    source = (
        select(
            *key_of(grains),
            *_labelled(func.sum(one) for one in _signed(sign)),
            func.max(LONGEST),
        )
        .select_from(usage.join(grains, true()))
        .where(usage.c.id.in_(bindparam("ids", expanding=True)))
        .group_by(*_PLACES)
        .order_by(*_PLACES)
    )
    return upsert(dialect, source)


def _counting_one(sign: str, dialect: Dialect) -> Insert:
    """Return the same for a single row: what most calls need, in half the time."""
    grains = grain_list(GRAINS)
    source = (
        select(*key_of(grains), *_labelled(_signed(sign)), LONGEST)
        .select_from(usage.join(grains, true()))
        .where(usage.c.id == bindparam("row_id"))
        .order_by(*_PLACES)
    )
    return upsert(dialect.name, source)


_COUNTING_ONE = {
    sign: Prepared(functools.partial(_counting_one, sign)) for sign in ("+", "-")
}


def _signed(sign: str) -> Iterable[ColumnElement[Any]]:
    return (-one if sign == "-" else one for one in MEASURES.values())


def _labelled(sums: Iterable[ColumnElement[Any]]) -> Iterable[ColumnElement[Any]]:
    # Names of their own: those of the rollup's columns would be ambiguous.
    return (total.label(f"added_{place}") for place, total in enumerate(sums))


def grain_list(grains: Iterable[Grain]) -> Subquery:
    """Return grains as a table to join."""
    return union_all(
        *(
            select(
                literal_column(f"'{grain.dimension}'").label("dimension"),
                literal_column(str(grain.hours)).label("hours"),
            )
            for grain in grains
        )
    ).subquery("grains")


def key_of(grains: Subquery) -> list[ColumnElement[Any]]:
    """Return the key of the sum that a row adds to, for the parameter ``at_hour``."""
    is_model = grains.c.dimension == literal_column("'model'")
    none: ColumnElement[str] = literal_column("''")
    return [
        grains.c.dimension,
        grains.c.hours,
        (at_hour - at_hour % grains.c.hours).label("hour"),
        func.coalesce(usage.c.tenant, none).label("tenant"),
        case((is_model, usage.c.provider), else_=none).label("provider"),
        func.coalesce(
            case(
                *(
                    (grains.c.dimension == literal_column(f"'{name}'"), column)
                    for name, column in DIMENSIONS.items()
                )
            ),
            none,
        ).label("subject"),
    ]


def upsert(dialect: str, source: Select[Any]) -> Insert:
    """Return the statement that adds what is selected to the sums.

    :param source: the key, the counted columns and the longest latency, in this order.
    """
    names = [*KEY, *COUNTED, "latency_max_ms"]
    added = insert_for(dialect)(hourly).from_select(names, source)
    if is_mysql(dialect):
        sums = _sums(added.inserted, func.greatest)
        adding: Insert = added.on_duplicate_key_update(sums)
    else:
        greatest = func.max if dialect == "sqlite" else func.greatest
        sums = _sums(added.excluded, greatest)
        adding = added.on_conflict_do_update(index_elements=KEY, set_=sums)
    return adding


def _sums(new: Any, greatest: Any) -> dict[str, ColumnElement[Any]]:
    sums: dict[str, Any] = {name: hourly.c[name] + new[name] for name in COUNTED}
    longest = "latency_max_ms"
    return sums | {longest: greatest(hourly.c[longest], new[longest])}
