"""Local days and hours: where a zone's offset changes, and what that does to hours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flask_llm.usage.reports.parameters import Span

STEP = timedelta(days=7)
"""No zone's clocks are put forward and back again within so short a time."""

LAST_YEAR = 2100
"""Up to which changes are looked for; beyond, nobody has called anything yet."""


class Stretch(NamedTuple):
    """A time through which a zone's offset stays the same."""

    start: datetime
    offset: timedelta


class Clock:
    """The local time of a zone through a range."""

    def __init__(self, zone: ZoneInfo, span: Span) -> None:
        self.zone = zone
        self.stretches = tuple(_stretches(zone, *span))

    @property
    def is_utc(self) -> bool:
        """Whether local days are those of UTC."""
        return all(not stretch.offset for stretch in self.stretches)

    @property
    def keeps_hours(self) -> bool:
        """Whether each hour of UTC is one local hour, from its first second on."""
        hour = timedelta(hours=1)
        changes = (stretch.start for stretch in self.stretches[1:])
        return not any(stretch.offset % hour for stretch in self.stretches) and not any(
            change.minute or change.second for change in changes
        )

    @property
    def digits(self) -> int:
        """How many characters of ``2026-11-23 10:20`` tell a moment's local hour."""
        if self.keeps_hours:
            return 13
        tens = timedelta(minutes=10)
        changes = [stretch.start for stretch in self.stretches[1:]]
        whole = not any(stretch.offset % tens for stretch in self.stretches)
        return 15 if whole and not any(at.minute % 10 for at in changes) else 16

    def local(self, moment: datetime) -> datetime:
        """Return the local time of a moment."""
        return moment.astimezone(self.zone)


def day_named(number: int) -> str:
    """Return the name of a day by its number from 1970 on."""
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def _stretches(zone: ZoneInfo, since: datetime, until: datetime) -> Iterator[Stretch]:
    moment = since.astimezone(UTC)
    end = min(until.astimezone(UTC), datetime(LAST_YEAR, 1, 1, tzinfo=UTC))
    offset = _offset(zone, moment)
    yield Stretch(moment, offset)
    while moment < end:
        later = min(moment + STEP, end)
        if _offset(zone, later) != offset:
            moment = _change(zone, moment, later)
            offset = _offset(zone, moment)
            yield Stretch(moment, offset)
        else:
            moment = later


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the second from which on the offset is another one."""
    offset, second = _offset(zone, before), timedelta(seconds=1)
    before = before.replace(microsecond=0)
    while after - before > second:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        before, after = (
            (middle, after) if _offset(zone, middle) == offset else (before, middle)
        )
    return after.replace(microsecond=0)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
