"""What may be asked: a query string becomes a checked query."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask_llm.errors import nearest
from flask_llm.usage.models import usage

GROUPS = {
    "model": usage.c.model,
    "provider": usage.c.provider,
    "user": usage.c.user_id,
    "tenant": usage.c.tenant,
    "feature": usage.c.feature,
    "status": usage.c.status,
}
"""What a report may be grouped and filtered by, beside the times below."""

TIMES: Mapping[str, Callable[[datetime], str]] = {
    "day": lambda local: local.date().isoformat(),
    "hour": lambda local: f"{local:%Y-%m-%dT%H}:00{local.isoformat()[-6:]}",
}
"""How the local time of a call names its group."""

SORTS = ("cost_usd", "calls", "input_tokens", "output_tokens", "group")

LIMIT_MAX = 1_000
NANOS = 10**9

YEARS = range(1970, 3000)
"""What a report may ask for; databases and time zones differ beyond."""


class BadQuery(ValueError):  # noqa: N818 - it is an answer, not a failure
    """A parameter of a query is wrong."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter


Span = tuple[datetime, datetime]
"""From a moment on, up to another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question."""

    since: datetime
    until: datetime
    tz: ZoneInfo
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of groups to the values that are counted; empty stands for none."""
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    """``day`` and ``hour`` to the times that are counted."""
    sort: str = "cost_usd"
    limit: int = 100


def read_query(
    parameters: Iterable[tuple[str, str]], *, now: datetime | None = None
) -> Query:
    """Read a query from a query string.

    :raises BadQuery: naming the parameter and the cure.
    """
    now = now or datetime.now(UTC)
    single, filters = _sorted_out(parameters)
    zone = _zone(single.get("tz", "UTC"))
    since = _moment("since", single.get("since", "30d"), zone, now)
    until = _moment("until", single.get("until", "now"), zone, now)
    if since >= until:
        raise BadQuery("since", "it must be before until.")
    return Query(
        since=since,
        until=until,
        tz=zone,
        group_by=_group_by(single.get("group_by", "")),
        filters={name: tuple(filters[name]) for name in filters if name in GROUPS},
        spans={
            name: tuple(_span(name, value, zone) for value in filters[name])
            for name in TIMES
            if name in filters
        },
        sort=_one_of("sort", single.get("sort", "cost_usd"), SORTS),
        limit=_limit(single.get("limit", "100")),
    )


def _sorted_out(
    parameters: Iterable[tuple[str, str]],
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Tell the parameters that come once from the filters, which may come again."""
    single: dict[str, str] = {}
    filters: dict[str, list[str]] = {}
    for name, value in parameters:
        if "\0" in value:
            raise BadQuery(name, "a NUL is in nobody's name.")
        if name in GROUPS or name in TIMES:
            filters.setdefault(name, []).append(value)
        elif name not in _PARAMETERS:
            known = [*_PARAMETERS, *GROUPS, *TIMES]
            raise BadQuery(name, f"no such parameter.{nearest(name, known)}")
        elif name in single:
            raise BadQuery(name, "given twice.")
        else:
            single[name] = value
    return single, filters


_PARAMETERS = ("since", "until", "tz", "group_by", "sort", "limit")


def _group_by(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in value.split(",") if name))
    for name in names:
        _one_of("group_by", name, (*GROUPS, *TIMES))
    return names


def _one_of(parameter: str, value: str, options: Iterable[str]) -> str:
    known = list(options)
    if value not in known:
        listed = ", ".join(known)
        raise BadQuery(parameter, f"it is one of {listed}.{nearest(value, known)}")
    return value


def _limit(value: str) -> int:
    if not re.fullmatch(r"\d{1,6}", value) or not 1 <= int(value) <= LIMIT_MAX:
        raise BadQuery("limit", f"a whole number from 1 to {LIMIT_MAX} is needed.")
    return int(value)


def _zone(value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadQuery("tz", "no such time zone; one looks like Europe/Kyiv.") from None


def _moment(parameter: str, value: str, zone: ZoneInfo, now: datetime) -> datetime:
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


def _span(name: str, value: str, zone: ZoneInfo) -> Span:
    """Read a day or an hour, as the groups of a report name it."""
    pattern = r"\d{4}-\d\d-\d\d" + ("" if name == "day" else r"T\d\d:00.*")
    # A plus sign in a query string is a space.
    text = value.replace(" ", "+")
    if not re.fullmatch(pattern, text):
        shape = "2026-11-23" if name == "day" else "2026-11-23T10:00+02:00"
        raise BadQuery(name, f"it looks like {shape}.")
    start = _moment(name, text, zone, datetime.now(UTC))
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
