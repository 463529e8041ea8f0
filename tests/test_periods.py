"""Hours, days, weeks and months, wherever they begin."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_llm.guards import periods
from flask_llm.settings.rules import PERIODS

BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
HAVANA = ZoneInfo("America/Havana")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "zone", "now", "name", "ends"),
    [
        ("hour", UTC, "2026-11-23T10:59", "2026-11-23T10+0000", "2026-11-23T11:00"),
        ("hour", KOLKATA, "2026-11-23T10:00", "2026-11-23T15+0530", "2026-11-23T10:30"),
        ("hour", BERLIN, "2026-10-25T00:30", "2026-10-25T02+0200", "2026-10-25T01:00"),
        ("hour", BERLIN, "2026-10-25T01:30", "2026-10-25T02+0100", "2026-10-25T02:00"),
        ("day", UTC, "2026-11-23T23:59", "2026-11-23", "2026-11-24T00:00"),
        ("day", BERLIN, "2026-11-23T23:00", "2026-11-24", "2026-11-24T23:00"),
        ("day", BERLIN, "2026-03-29T12:00", "2026-03-29", "2026-03-29T22:00"),
        ("day", HAVANA, "2026-03-07T12:00", "2026-03-07", "2026-03-08T05:00"),
        ("week", UTC, "2026-11-23T00:00", "2026-W48", "2026-11-30T00:00"),
        ("week", UTC, "2026-11-22T23:59", "2026-W47", "2026-11-23T00:00"),
        ("week", UTC, "2027-01-01T12:00", "2026-W53", "2027-01-04T00:00"),
        ("month", UTC, "2026-11-30T23:59", "2026-11", "2026-12-01T00:00"),
        ("month", BERLIN, "2026-11-30T23:00", "2026-12", "2026-12-31T23:00"),
        ("month", UTC, "2028-02-29T12:00", "2028-02", "2028-03-01T00:00"),
    ],
)
def test_moment_lies_in_a_period_that_ends(period, zone, now, name, ends):
    zone = ZoneInfo("UTC") if zone is UTC else zone

    assert periods.name(period, at(now), zone) == name
    assert periods.ends(period, at(now), zone) == at(ends)


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001
    period=st.sampled_from(PERIODS),
    zone=st.sampled_from([ZoneInfo("UTC"), BERLIN, KOLKATA, HAVANA]),
)
def test_next_period_begins_where_one_ends(moment, period, zone):
    now = moment.replace(tzinfo=UTC)
    ends = periods.ends(period, now, zone)
    just_before = ends.astimezone(UTC) - timedelta(microseconds=1)

    assert now < ends
    assert periods.name(period, just_before, zone) == periods.name(period, now, zone)
    assert periods.name(period, ends, zone) != periods.name(period, now, zone)
