"""Where a report is read: whole hours from the rollup, the rest from rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

from flask_llm.usage import tally
from flask_llm.usage.marks import Marks
from flask_llm.usage.reports.parameters import BadQuery, Span
from flask_llm.usage.reports.query import TIMES, Query
from flask_llm.usage.reports.scope import Scope
from flask_llm.usage.reports.zones import Clock
from flask_llm.usage.tally import DAY, GRAINS, HOUR

DIMENSIONS = {"provider": "model"} | {name: name for name in tally.DIMENSIONS}
"""By what the rollup keeps the sums of a group; all of them by tenant, too."""


class Sums(NamedTuple):
    """A stretch of the rollup."""

    hours: int
    """The width of its sums."""
    first: int
    end: int
    """The hour after the last."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read for one query."""

    query: Query
    clock: Clock
    dimension: str
    sums: tuple[Sums, ...]
    rows: tuple[Span, ...]


def plan(query: Query, scope: Scope, marks: Marks) -> Plan:
    """Tell what to read for a query.

    :raises BadQuery: where it would need rows that were purged.
    """
    query = _whole_hours_where_purged(query, marks)
    clock = Clock(query.tz, (query.since, query.until))
    dimensions = _dimensions(query, scope)
    times = set(query.group_by) & set(TIMES)
    dimension = min(dimensions, default="status")
    sums: list[Sums] = []
    rows: list[Span] = []
    usable = marks.rollup is not None and len(dimensions) <= 1
    usable = usable and (not times or clock.keeps_hours)
    widths = _widths(dimension, times, clock) if usable else ()
    for span in _spans(query):
        for part in _parts(span, widths, marks):
            (sums if isinstance(part, Sums) else rows).append(part)  # type: ignore[arg-type]
    _check_not_purged(query, rows, marks)
    return Plan(query, clock, dimension, tuple(sums), tuple(rows))


def _whole_hours_where_purged(query: Query, marks: Marks) -> Query:
    """Begin and end with a whole hour where nothing finer is left."""
    since, until = query.since, query.until
    if marks.purged and since < marks.purged:
        since = tally.start_of(tally.hour_of(since)).astimezone(since.tzinfo)
    if marks.purged and until < marks.purged:
        last = tally.start_of(tally.hour_of(until - timedelta(microseconds=1)))
        until = (last + timedelta(hours=1)).astimezone(until.tzinfo)
    return replace(query, since=since, until=until)


def _check_not_purged(query: Query, rows: Iterable[Span], marks: Marks) -> None:
    purged = marks.purged
    if purged is None or all(start >= purged for start, _ in rows):
        return
    at = purged.astimezone(query.tz).isoformat()
    raise BadQuery(
        "since",
        f"single calls before {at} were purged, and this question needs them: ask from "
        "then on, or by and for no more than one of model (or provider), user, feature "
        "and status, with or without tenant, in a zone of whole hours.",
    )


def _dimensions(query: Query, scope: Scope) -> set[str]:
    named = {*query.group_by, *query.filters, *scope.only} - {"tenant", *TIMES}
    return {DIMENSIONS[name] for name in named}


def _widths(dimension: str, times: set[str], clock: Clock) -> tuple[int, ...]:
    """Return the widths of sums that may be read, the widest first."""
    widths = {grain.hours for grain in GRAINS if grain.dimension == dimension}
    if times:
        by_day = "hour" not in times and clock.is_utc
        widths &= {HOUR, DAY} if by_day else {HOUR}
    return tuple(sorted(widths, reverse=True))


def _spans(query: Query) -> list[Span]:
    """Return the times that are asked for, in order and apart from each other."""
    spans = [(query.since, query.until)]
    for chosen in query.spans.values():
        spans = [
            (max(start, first), min(end, last))
            for start, end in spans
            for first, last in _joined(chosen)
            if max(start, first) < min(end, last)
        ]
    return spans


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            before, until = joined.pop()
            joined.append((before, max(end, until)))
        else:
            joined.append((start, end))
    return joined


def _parts(span: Span, widths: tuple[int, ...], marks: Marks) -> Iterator[Sums | Span]:
    """Cut a time into the widest sums that fit, and rows at its ends."""
    start, end = span
    if not widths or marks.rollup is None or end <= marks.rollup:
        yield span
        return
    if start < marks.rollup:
        yield start, marks.rollup
        start = marks.rollup
    first = -(-start.timestamp() // 3600)
    first_hour, end_hour = int(first), tally.hour_of(end)
    if first_hour >= end_hour:
        yield start, end
        return
    if start < tally.start_of(first_hour):
        yield start, tally.start_of(first_hour)
    yield from _sums(first_hour, end_hour, widths)
    if tally.start_of(end_hour) < end:
        yield tally.start_of(end_hour), end


def _sums(first: int, end: int, widths: tuple[int, ...]) -> Iterator[Sums]:
    width, *narrower = widths
    start, stop = -(-first // width) * width, end // width * width
    if start >= stop:
        if narrower:
            yield from _sums(first, end, tuple(narrower))
        return
    yield Sums(width, start, stop)
    for left, right in ((first, start), (stop, end)):
        if left < right:
            yield from _sums(left, right, tuple(narrower))
