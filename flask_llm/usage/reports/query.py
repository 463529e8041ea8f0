"""What may be asked: a query string becomes a checked query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from flask_llm.usage.models import usage
from flask_llm.usage.reports.parameters import (
    BadQuery,
    Span,
    one_of,
    read_moment,
    read_span,
    read_zone,
    sorted_out,
    whole,
)

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

LINES_MAX = 50_000
"""How many groups one report may be made of, before those beyond its limit are cut."""

Filters = Mapping[str, tuple[str, ...]]
"""Names of columns to the values that are counted; empty stands for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question."""

    since: datetime
    until: datetime
    tz: ZoneInfo
    group_by: tuple[str, ...] = ()
    filters: Filters = field(default_factory=dict)
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    """``day`` and ``hour`` to the times that are counted."""
    sort: str = "cost_usd"
    limit: int = 100


def read_query(
    parameters: Iterable[tuple[str, str]],
    *,
    now: datetime | None = None,
    limit: int = 100,
) -> Query:
    """Read a query from a query string.

    :param limit: how many groups are wanted where it does not say.
    :raises BadQuery: naming the parameter and the cure.
    """
    single, filters = sorted_out(parameters, _PARAMETERS, (*GROUPS, *TIMES))
    zone = read_zone(single.get("tz", "UTC"))
    since, until = read_range(single, zone, now or datetime.now(UTC))
    return Query(
        since=since,
        until=until,
        tz=zone,
        group_by=_group_by(single.get("group_by", "")),
        filters={name: tuple(filters[name]) for name in filters if name in GROUPS},
        spans={
            name: tuple(read_span(name, value, zone) for value in filters[name])
            for name in TIMES
            if name in filters
        },
        sort=one_of("sort", single.get("sort", "cost_usd"), SORTS),
        limit=whole("limit", single["limit"], LIMIT_MAX)
        if "limit" in single
        else limit,
    )


def read_range(single: Mapping[str, str], zone: ZoneInfo, now: datetime) -> Span:
    """Read ``since`` and ``until``."""
    since = read_moment("since", single.get("since", "30d"), zone, now)
    until = read_moment("until", single.get("until", "now"), zone, now)
    if since >= until:
        raise BadQuery("since", "it must be before until.")
    return since, until


_PARAMETERS = ("since", "until", "tz", "group_by", "sort", "limit")


def _group_by(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in value.split(",") if name))
    for name in names:
        one_of("group_by", name, (*GROUPS, *TIMES))
    return names
