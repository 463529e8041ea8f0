"""Sums made of rows: for rows that nobody counted, and for sums that went wrong."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from flask_llm.usage import marks, tally
from flask_llm.usage.database import Database
from flask_llm.usage.models import COUNTED, hourly, usage
from flask_llm.usage.tally import DAY, GRAINS, HOUR, KEY, WEEK


class Rebuild:
    """Puts sums right in short transactions, beside writers at work.

    What it adds is the difference between rows and sums as one statement sees them. A
    call that is settled meanwhile changes both or neither, so the difference stays what
    it is. The longest latency of a sum is raised where that is due, and never lowered.

    :param now: the time of day, aware.
    """

    def __init__(self, database: Database, now: datetime) -> None:
        self._database = database
        self._now = now

    def weeks(self) -> list[int]:
        """Return the weeks that have rows or sums, as their first hours, newest first.

        What was purged is left out: its sums are all there is.
        """
        with self._database.begin() as connection:
            purged = marks.read(connection).purged
            first, last = connection.execute(_ROWS_REACH).one()
            summed = connection.scalar(_SUMS_REACH)
        hours = [tally.hour_of(moment) for moment in (first, last, self._now) if moment]
        start = min(hours if summed is None else [summed, *hours])
        if purged:
            start = max(start, tally.hour_of(purged))
        return list(range(max(hours) // WEEK * WEEK, start - WEEK, -WEEK))

    def week(self, first: int) -> None:
        """Put the sums of one week right; reports may rely on them from then on."""
        for day in range(first, first + WEEK, DAY):
            self._day(day)
        self._database.do(functools.partial(self._hours_into, WEEK, first))
        self._database.do(functools.partial(self._rely_from, tally.start_of(first)))

    def _day(self, first: int) -> None:
        if self._is_empty(first):
            return
        for hour in range(first, first + DAY):
            self._database.do(functools.partial(self._rows_into_hour, hour))
        self._database.do(functools.partial(self._hours_into, DAY, first))

    def _is_empty(self, first: int) -> bool:
        """Tell whether a day has neither rows nor sums; what comes counts itself."""
        start, end = tally.start_of(first), tally.start_of(first + DAY)
        rows = select(usage.c.id).where(
            usage.c.created_at >= start, usage.c.created_at < end
        )
        sums = select(hourly.c.hour).where(
            hourly.c.dimension.in_(tally.DIMENSIONS),
            hourly.c.hours.in_([HOUR, DAY]),
            hourly.c.hour >= first,
            hourly.c.hour < first + DAY,
        )
        with self._database.begin() as connection:
            return not any(
                connection.execute(found.limit(1)).first() for found in (rows, sums)
            )

    def finish(self) -> None:
        """Let reports rely on all sums: there is no older row."""
        self._database.do(functools.partial(self._rely_from, marks.EPOCH))

    def _rows_into_hour(self, hour: int, connection: Connection) -> None:
        purged = self._begin(connection)
        if purged and tally.hour_of(purged) > hour:
            return
        statement = _difference(_rows_of_an_hour(), HOUR)
        window = {"since": tally.start_of(hour), "until": tally.start_of(hour + HOUR)}
        self._add(connection, statement, {"at_hour": hour, **window})

    def _hours_into(self, hours: int, first: int, connection: Connection) -> None:
        self._begin(connection)
        statement = _difference(_sums_of_hours(hours), hours)
        self._add(connection, statement, {"at_hour": first})

    def _begin(self, connection: Connection) -> datetime | None:
        """Take turns with others that do upkeep; tell before when rows are gone."""
        marks.put(connection, "upkeep", self._now)
        return marks.read(connection).purged

    def _add(
        self, connection: Connection, missing: Select[Any], values: dict[str, Any]
    ) -> None:
        adding = tally.upsert(connection.dialect.name, missing)
        connection.execute(adding, values)

    def _rely_from(self, moment: datetime, connection: Connection) -> None:
        known = marks.read(connection).rollup
        if known is None or moment < known:
            marks.put(connection, "rollup", moment)


_ROWS_REACH = select(func.min(usage.c.created_at), func.max(usage.c.created_at))
_SUMS_REACH = select(func.min(hourly.c.hour)).where(
    hourly.c.dimension == "status", hourly.c.hours == HOUR
)


@functools.cache
def _rows_of_an_hour() -> Select[Any]:
    """Return what the rows of one hour come to."""
    grains = tally.grain_list([grain for grain in GRAINS if grain.hours == HOUR])
    return (
        select(
            *tally.key_of(grains),
            *(measure.label(name) for name, measure in tally.MEASURES.items()),
            tally.LONGEST.label("latency_max_ms"),
        )
        .select_from(usage.join(grains, true()))
        .where(
            usage.c.created_at >= tally.since,
            usage.c.created_at < tally.until,
            usage.c.status != literal_column("'pending'"),
        )
    )


@functools.cache
def _sums_of_hours(hours: int) -> Select[Any]:
    """Return what the sums of single hours come to in a day or a week."""
    dimensions = [grain.dimension for grain in GRAINS if grain.hours == hours]
    start = tally.at_hour
    return select(
        hourly.c.dimension,
        literal_column(str(hours)).label("hours"),
        start.label("hour"),
        *(hourly.c[name] for name in ("tenant", "provider", "subject")),
        *(hourly.c[name] for name in COUNTED),
        hourly.c.latency_max_ms,
    ).where(
        hourly.c.dimension.in_(dimensions),
        hourly.c.hours == HOUR,
        hourly.c.hour >= start,
        hourly.c.hour < start + hours,
    )


def _difference(right: Select[Any], hours: int) -> Select[Any]:
    """Return what is to be added to sums to make them right; mostly nothing."""
    dimensions = [grain.dimension for grain in GRAINS if grain.hours == hours]
    present = select(
        *(hourly.c[name] for name in KEY),
        *((-hourly.c[name]).label(name) for name in COUNTED),
        literal_column("0").label("latency_max_ms"),
    ).where(
        hourly.c.dimension.in_(dimensions),
        hourly.c.hours == hours,
        hourly.c.hour == tally.at_hour,
    )
    both = union_all(right, present).subquery("both_sides")
    key = [both.c[name] for name in KEY]
    sums = {name: func.sum(both.c[name]) for name in COUNTED}
    return (
        select(*key, *_labelled(sums), func.max(both.c.latency_max_ms))
        .group_by(*key)
        .having(or_(*(total != literal_column("0") for total in sums.values())))
        .order_by(*key)
    )


def _labelled(sums: Mapping[str, ColumnElement[Any]]) -> Iterable[ColumnElement[Any]]:
    return (total.label(f"missing_{name}") for name, total in sums.items())
