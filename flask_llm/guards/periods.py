"""The hours, days, weeks and months of budgets, in a time zone of one's choice."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def name(period: str, now: datetime, zone: ZoneInfo) -> str:
    """Return the name of the hour, day, week or month that a moment is in.

    ``2026-11-23T10+0100``, ``2026-11-23``, ``2026-W48`` or ``2026-11``. An hour bears
    its offset: where clocks go back, two of them have the same number.
    """
    local = now.astimezone(zone)
    match period:
        case "hour":
            return local.strftime("%Y-%m-%dT%H%z")
        case "day":
            return local.strftime("%Y-%m-%d")
        case "week":
            return local.strftime("%G-W%V")
        case _:
            return local.strftime("%Y-%m")


def ends(period: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when the hour, day, week or month that a moment is in is over, in UTC."""
    local = now.astimezone(zone)
    if period == "hour":
        start = local.replace(minute=0, second=0, microsecond=0)
        return start.astimezone(UTC) + timedelta(hours=1)
    midnight = datetime.combine(_next_day(period, local.date()), time(), zone)
    return midnight.astimezone(UTC)


def _next_day(period: str, day: date) -> date:
    match period:
        case "day":
            return day + timedelta(days=1)
        case "week":
            return day + timedelta(days=7 - day.weekday())
        case _:
            return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
