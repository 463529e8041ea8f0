"""Parameters as they come in a query string, read one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask_llm.errors import nearest

YEARS = range(1970, 3000)
"""What a report may ask for; databases and time zones differ beyond."""

VALUES_MAX = 100
"""How often a filter may be given."""

Span = tuple[datetime, datetime]
"""From a moment on, up to another one."""


class BadQuery(ValueError):  # noqa: N818 - it is an answer, not a failure
    """A parameter of a query is wrong."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter


def sorted_out(
    parameters: Iterable[tuple[str, str]],
    once: Iterable[str],
    filters: Iterable[str],
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Tell the parameters that come once from the filters, which may come again."""
    known = [*once, *filters]
    single: dict[str, str] = {}
    chosen: dict[str, list[str]] = {name: [] for name in filters}
    for name, value in parameters:
        if "\0" in value:
            raise BadQuery(name, "a NUL is in nobody's name.")
        if name not in known:
            raise BadQuery(name, f"no such parameter.{nearest(name, known)}")
        if name in single:
            raise BadQuery(name, "given twice.")
        if name not in chosen:
            single[name] = value
        elif len(chosen[name]) < VALUES_MAX:
            chosen[name].append(value)
        else:
            raise BadQuery(name, f"given more than {VALUES_MAX} times.")
    return single, {name: values for name, values in chosen.items() if values}


def whole(parameter: str, value: str, most: int) -> int:
    """Read a whole number from 1 up."""
    if not re.fullmatch(r"[0-9]{1,6}", value) or not 1 <= int(value) <= most:
        raise BadQuery(parameter, f"a whole number from 1 to {most} is needed.")
    return int(value)


def one_of(parameter: str, value: str, options: Iterable[str]) -> str:
    """Read one of several words."""
    known = list(options)
    if value not in known:
        listed = ", ".join(known)
        raise BadQuery(parameter, f"it is one of {listed}.{nearest(value, known)}")
    return value


def read_zone(value: str) -> ZoneInfo:
    """Read the name of a time zone."""
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadQuery("tz", "no such time zone; one looks like Europe/Kyiv.") from None


def read_moment(parameter: str, value: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Read an ISO date or time, ``7d``, ``24h``, ``month`` or ``now``."""
    try:
        moment = _point(value, zone, now)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.year not in YEARS:
        raise BadQuery(
            parameter,
            "an ISO date or time, 7d, 24h or month is needed, "
            f"from {YEARS[0]} to {YEARS[-1]}.",
        )
    return moment


def read_span(name: str, value: str, zone: ZoneInfo) -> Span:
    """Read a day or an hour, as the groups of a report name it."""
    pattern = r"\d{4}-\d\d-\d\d" + ("" if name == "day" else r"T\d\d:00.*")
    # A plus sign in a query string is a space.
    text = value.replace(" ", "+")
    if not re.fullmatch(pattern, text):
        shape = "2026-11-23" if name == "day" else "2026-11-23T10:00+02:00"
        raise BadQuery(name, f"it looks like {shape}.")
    start = read_moment(name, text, zone, datetime.now(UTC))
    if name == "hour":
        return start, start + timedelta(hours=1)
    tomorrow = start.date() + timedelta(days=1)
    return start, datetime.combine(tomorrow, time(), zone)


def _point(value: str, zone: ZoneInfo, now: datetime) -> datetime:
    if value == "now":
        return now
    if value == "month":
        first = now.astimezone(zone).date().replace(day=1)
        return datetime.combine(first, time(), zone)
    if ago := re.fullmatch(r"(\d{1,5})([dh])", value):
        unit = "days" if ago[2] == "d" else "hours"
        return now - timedelta(**{unit: int(ago[1])})
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return datetime.combine(date.fromisoformat(value), time(), zone)
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
