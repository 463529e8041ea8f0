"""What a reader of the dashboard chose: a query string becomes a checked selection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flask_llm.usage.reports import BadQuery, Query
from flask_llm.usage.reports.parameters import YEARS, one_of, read_zone, sorted_out
from flask_llm.usage.reports.query import GROUPS, TIMES, Filters
from flask_llm.web.dashboard.languages import CODES

RANGES = ("24h", "7d", "30d", "90d", "month", "year")
GROUPINGS = ("model", "provider", "feature", "user", "tenant")

PARAMETERS = ("range", "first", "last", "tz", "group_by", "lang")
"""What comes once, beside the filters."""

CHART_HOURS_MAX = 48
CHART_DAYS_MAX = 100
"""Up to how many hours, and days, have a column of their own."""

DAYS_MAX = 5 * 366

Parameters = Mapping[str, tuple[str, ...]]
"""A query string, ready for ``url_for``."""


class Span(NamedTuple):
    """Whole hours or days, the end not included."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A time, what the costs are stacked by, and whose calls are counted."""

    range: str | None
    """One of ``RANGES``; None where the dates were chosen."""
    span: Span
    tz: ZoneInfo
    group_by: str
    filters: Filters
    given: Parameters = field(default_factory=dict)
    """What was asked for, as links repeat it."""

    @property
    def unit(self) -> str:
        """What a column of a chart stands for: ``hour``, ``day`` or ``month``."""
        length = self.span.until - self.span.since
        if length <= timedelta(hours=CHART_HOURS_MAX):
            return "hour"
        return "day" if length <= timedelta(days=CHART_DAYS_MAX) else "month"

    @property
    def last(self) -> datetime:
        """The last hour that is counted, in the reader's zone."""
        return (self.span.until - timedelta(hours=1)).astimezone(self.tz)

    def columns(self) -> Iterator[str]:
        """Return what the columns of a chart are named in reports, in order."""
        # Half an hour is the least that a zone's clock is put forward by.
        step = timedelta(minutes=30) if self.unit == "hour" else timedelta(hours=12)
        moment = self.span.since.astimezone(UTC)
        seen = None
        while moment < self.span.until:
            name = self.column(TIMES[self.time](moment.astimezone(self.tz)))
            if name != seen:
                yield name
            seen, moment = name, moment + step

    @property
    def time(self) -> str:
        """By what reports are grouped for a chart."""
        return "hour" if self.unit == "hour" else "day"

    def column(self, name: str) -> str:
        """Return the column that an hour or day of a report is in."""
        return name[:7] if self.unit == "month" else name

    def query(self, *group_by: str, limit: int = 1000) -> Query:
        """Return a question to the reports about this time and these calls."""
        return Query(
            since=self.span.since,
            until=self.span.until,
            tz=self.tz,
            group_by=group_by,
            filters=self.filters,
            limit=limit,
        )

    def link(self, **changes: str | tuple[str, ...] | None) -> Parameters:
        """Return the query string of a page like this one, but for some changes.

        :param changes: None leaves a parameter out.
        """
        made = dict(self.given)
        for name, value in changes.items():
            if value is None:
                made.pop(name, None)
            else:
                made[name] = (value,) if isinstance(value, str) else value
        return made

    def within(self, name: str, label: str | None) -> Parameters:
        """Return the query string that narrows this page to one label."""
        return self.link(**{name: label or ""})

    def report(self, **changes: str) -> Parameters:
        """Return the query string that asks a report the same."""
        made = {name: tuple(values) for name, values in self.filters.items()}
        span = (moment.isoformat() for moment in self.span)
        asked = dict(zip(("since", "until"), span, strict=True)) | changes
        return made | {
            name: (value,) for name, value in (asked | {"tz": self.tz.key}).items()
        }


def read_selection(
    parameters: Iterable[tuple[str, str]],
    *,
    now: datetime,
    zone: str = "UTC",
    own: Iterable[str] = (),
) -> Selection:
    """Read what a reader chose from a query string.

    :param zone: where the days begin unless it says.
    :param own: parameters that the caller reads for itself.
    :raises BadQuery: naming the parameter and the cure.
    """
    once = (*PARAMETERS, *own)
    # A form sends the fields that were left empty, too.
    filled = [
        (name, value) for name, value in parameters if value or name in (*GROUPS, *own)
    ]
    single, filters = sorted_out(filled, once, GROUPS)
    tz = read_zone(single.get("tz", zone))
    chosen = None
    if "first" in single or "last" in single:
        span = _days(single, tz, now)
    else:
        chosen = one_of("range", single.get("range", "30d"), RANGES)
        span = _ago(chosen, tz, now)
    if "lang" in single:
        one_of("lang", single["lang"], CODES)
    kept = {name: (value,) for name, value in single.items() if name not in own}
    if chosen is None:
        kept.pop("range", None)
    return Selection(
        range=chosen,
        span=span,
        tz=tz,
        group_by=one_of("group_by", single.get("group_by", "model"), GROUPINGS),
        filters={name: tuple(values) for name, values in filters.items()},
        given=kept | {name: tuple(values) for name, values in filters.items()},
    )


def _ago(chosen: str, tz: ZoneInfo, now: datetime) -> Span:
    """Return the time up to now, in whole hours, days or months.

    It ends with the day that is going on: reports of whole hours and days are read from
    sums, and nothing is in the future.
    """
    local = now.astimezone(tz)
    if chosen == "24h":
        hour = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        return Span(hour - timedelta(hours=23), hour + timedelta(hours=1))
    today = local.date()
    first = {
        "month": today.replace(day=1),
        "year": _months_before(today, 11),
    }.get(chosen)
    if first is None:
        first = today - timedelta(days=int(chosen.removesuffix("d")) - 1)
    return Span(_midnight(first, tz), _midnight(today + timedelta(days=1), tz))


def _days(single: Mapping[str, str], tz: ZoneInfo, now: datetime) -> Span:
    last = _day("last", single.get("last"), now.astimezone(tz).date())
    first = _day("first", single.get("first"), last)
    if first > last:
        raise BadQuery("first", "it must not be after last.")
    if last - first >= timedelta(days=DAYS_MAX):
        raise BadQuery("first", f"no more than {DAYS_MAX} days can be shown.")
    return Span(_midnight(first, tz), _midnight(last + timedelta(days=1), tz))


def _day(parameter: str, value: str | None, default: date) -> date:
    if value is None:
        return default
    try:
        day = date.fromisoformat(value)
        good = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) and day.year in YEARS
    except ValueError:
        good = None
    if not good:
        raise BadQuery(parameter, "a day is needed, such as 2026-11-23.")
    return day


def _midnight(day: date, tz: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tz).astimezone(UTC)


def _months_before(day: date, months: int) -> date:
    number = day.year * 12 + day.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)
