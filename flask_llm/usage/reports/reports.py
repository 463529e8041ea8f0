"""How a query is answered: sums and rows, folded into lines."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select

from flask_llm.usage import marks
from flask_llm.usage.database import Database, named_errors
from flask_llm.usage.models import COUNTED
from flask_llm.usage.reports.lines import Line, Report
from flask_llm.usage.reports.parameters import BadQuery
from flask_llm.usage.reports.plan import Plan, plan
from flask_llm.usage.reports.query import GROUPS, LINES_MAX, Query
from flask_llm.usage.reports.scope import Scope
from flask_llm.usage.reports.statements import (
    name_rows_time,
    name_sums_time,
    of_pending,
    of_rows,
    of_sums,
)

Place = tuple[str | None, ...]
"""The names of a group."""

Sums = tuple[int, ...]
"""The columns of ``COUNTED``, and the longest latency."""


class Reports:
    """Answers queries from the books.

    Whatever is asked is asked within a scope, so that no caller can forget it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, query: Query, scope: Scope) -> Report:
        """Answer one query.

        :raises BadQuery: where it makes too many groups, or needs what was purged.
        :raises LLMError: where the database fails.
        """
        with named_errors(), self._database.begin() as connection:
            chosen = plan(query, scope, marks.read(connection))
            lines = _lines(connection, chosen, scope)
            pending: int = connection.scalar(of_pending(chosen, scope)) or 0
        query = chosen.query
        places = [place for place, sums in lines.items() if sums[0]]
        groups = sorted(places, key=_order(query, lines)) if query.group_by else []
        return Report(
            query=query,
            total=_total(lines.values()),
            groups=tuple(
                Line.of(dict(zip(query.group_by, place, strict=True)), lines[place])
                for place in groups[: query.limit]
            ),
            truncated=len(groups) > query.limit,
            pending=pending,
            source="rollup" if chosen.sums else "rows",
        )


def _lines(connection: Connection, chosen: Plan, scope: Scope) -> dict[Place, Sums]:
    """Read sums and rows, and add up what belongs to one group."""
    lines: dict[Place, Sums] = {}
    found: list[tuple[Place, Sums]] = []
    if chosen.sums:
        statement = of_sums(chosen, scope)
        for part in chosen.sums:
            rows = _rows(connection, statement, part._asdict())
            found += _read(rows, chosen, name_sums_time)
    if chosen.rows:
        rows = _rows(connection, of_rows(chosen, scope, connection.dialect.name))
        found += _read(rows, chosen, name_rows_time)
    for place, sums in found:
        known = lines.get(place)
        lines[place] = sums if known is None else _added(known, sums)
    return lines


def _rows(
    connection: Connection,
    statement: Select[Any],
    values: Mapping[str, Any] | None = None,
) -> Sequence[Row[Any]]:
    rows = connection.execute(statement, values).all()
    if len(rows) > LINES_MAX:
        raise BadQuery(
            "group_by",
            f"this makes more than {LINES_MAX} groups: group by less, or ask for a "
            "shorter time.",
        )
    return rows


def _read(
    rows: Iterable[Row[Any]],
    chosen: Plan,
    name_time: Callable[[Plan, Any], Mapping[str, str]],
) -> Iterator[tuple[Place, Sums]]:
    """Name the group of each row."""
    times: dict[Any, Mapping[str, str]] = {}
    plain = [name for name in chosen.query.group_by if name in GROUPS]
    width = len(COUNTED) + 1
    for row in rows:
        names: dict[str, str | None] = dict(zip(plain, _labels(row), strict=False))
        if len(row) - width > len(plain):
            bucket = row[len(plain)]
            if bucket not in times:
                times[bucket] = name_time(chosen, bucket)
            names |= times[bucket]
        place = tuple(names[name] for name in chosen.query.group_by)
        yield place, tuple(row[-width:])


def _labels(row: Row[Any]) -> Iterator[str | None]:
    return (value or None for value in row)


def _added(one: Sums, other: Sums) -> Sums:
    *sums, _ = map(operator.add, one, other)
    return (*sums, max(one[-1], other[-1]))


def _total(lines: Iterable[Sums]) -> Line:
    total: Sums = (0,) * (len(COUNTED) + 1)
    for sums in lines:
        total = _added(total, sums)
    return Line.of({}, total)


def _order(query: Query, lines: Mapping[Place, Sums]) -> Callable[[Place], Any]:
    def by_group(place: Place) -> tuple[str, ...]:
        return tuple(value or "" for value in place)

    def by_value(place: Place) -> tuple[Any, ...]:
        return (-lines[place][column], *by_group(place))

    if query.sort == "group":
        return by_group
    name = "cost_nanos" if query.sort == "cost_usd" else query.sort
    column = list(COUNTED).index(name)
    return by_value
