"""Reports: every figure against a sum done by hand over a random ledger."""

import bisect
import collections
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from flask_llm.chat import Message, Prompt
from flask_llm.usage import EVERYTHING, Database, Outcome, Reports, read_query, tally
from flask_llm.usage.models import LATENCY_MS, hourly, marks, usage
from flask_llm.usage.reports import BadQuery, usd
from flask_llm.usage.reports.query import LIMIT_MAX

NOW = datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)

ZONES = [
    "UTC",
    "Europe/Kyiv",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/New_York",
    "Pacific/Kiritimati",
]

TURNS = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Kyiv, forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Kyiv, back
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, back by half an hour
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe, forward
    datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York, forward
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York, back
    datetime(2026, 1, 31, 23, 59, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
    datetime(2024, 2, 29, 12, tzinfo=UTC),
]
"""Where calendars and clocks do what programs do not expect."""

LABELS = [None, "ann", "Ann", "bob", "ї", "' OR 1=1 --", "%", "_"]

COLUMNS = {
    "model": "model",
    "provider": "provider",
    "user": "user_id",
    "tenant": "tenant",
    "feature": "feature",
    "status": "status",
}

counts = st.one_of(st.none(), st.integers(0, 10**9))
nanos = st.one_of(st.none(), st.integers(0, 10**15))
moments = st.builds(
    lambda turn, minutes, microseconds: (
        turn + timedelta(minutes=minutes, microseconds=microseconds)
    ),
    st.sampled_from(TURNS),
    st.integers(-36 * 60, 36 * 60),
    st.integers(0, 59_999_999),
)
calls = st.fixed_dictionaries(
    {
        "created_at": moments,
        "status": st.sampled_from(
            ["pending", "ok", "cached", "failed", "cancelled", "abandoned", "refused"]
        ),
        "provider": st.sampled_from(["openai", "google"]),
        "model": st.sampled_from(["openai/gpt-4o", "google/gemini-2.5-flash"]),
        "user_id": st.sampled_from(LABELS),
        "tenant": st.sampled_from(LABELS[:3]),
        "feature": st.sampled_from(LABELS[:3]),
        "input_tokens": counts,
        "cache_read_tokens": counts,
        "cache_write_tokens": counts,
        "output_tokens": counts,
        "reasoning_tokens": counts,
        "cost_nanos": nanos,
        "saved_nanos": nanos,
        "prompt_saved_nanos": st.one_of(
            st.none(), st.integers(-(10**12), 10**12), st.just(-1)
        ),
        "duration_ms": st.one_of(st.none(), st.integers(0, 10**6)),
    }
)
ledgers = st.lists(calls, max_size=30)
groupings = st.lists(
    st.sampled_from([*COLUMNS, "day", "hour"]), unique=True, max_size=4
)
filters = st.dictionaries(
    st.sampled_from(["user", "tenant", "status", "model"]),
    st.lists(
        st.sampled_from(["", "ann", "Ann", "ї", "%", "ok", "failed", "openai/gpt-4o"]),
        min_size=1,
        max_size=3,
    ),
    max_size=2,
)
spans = st.sampled_from(
    [
        (datetime(2020, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)),
        (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 4, 15, 17, tzinfo=UTC)),
        (
            datetime(2026, 10, 3, 15, tzinfo=UTC),
            datetime(2026, 11, 1, 6, 0, 1, tzinfo=UTC),
        ),
    ]
)


@pytest.fixture
def database(database_uri):
    """An empty database of each kind, with our tables."""
    database = Database(database_uri, auto_migrate=True)
    database.prepare()
    yield database
    database.close()


@pytest.fixture
def lite(tmp_path):
    """SQLite alone, for what no database has a say in."""
    database = Database(f"sqlite:///{tmp_path / 'lite.sqlite'}", auto_migrate=True)
    database.prepare()
    yield database
    database.close()


def write(database, *rows):
    """Write a ledger in place of the one that is there."""
    fixed = {"streamed": False, "operation": "complete"}
    full = [
        BLANK
        | fixed
        | {"id": f"{n:032x}", "request_id": f"{n:032x}", "expires_at": NOW}
        | row
        for n, row in enumerate(rows)
    ]
    with database.begin() as connection:
        connection.execute(usage.delete())
        connection.execute(hourly.delete())
        if rows:
            connection.execute(usage.insert(), full)
        tally.add(connection, [row for row in full if row["status"] != "pending"])


BLANK = dict.fromkeys(usage.c.keys())


def call(**columns):
    return {
        "created_at": NOW - timedelta(hours=1),
        "status": "ok",
        "provider": "openai",
        "model": "openai/gpt-4o",
    } | columns


def ask(database, *, now=NOW, **parameters):
    query = read_query(list(parameters.items()), now=now)
    return Reports(database).run(query, EVERYTHING).to_dict()


# The sum done by hand


def by_hand(rows, group_by, chosen, span, zone):
    """Compute a report's groups from the rows, the slow and obvious way."""
    kept = [row for row in rows if span[0] <= row["created_at"] < span[1]]
    kept = [row for row in kept if row["status"] != "pending"]
    kept = [row for row in kept if matches(row, chosen)]
    groups = collections.defaultdict(list)
    for row in kept:
        groups[tuple(place(row, name, zone) for name in group_by)].append(row)
    lines = {key: figures(members) for key, members in groups.items()}
    return figures(kept), lines if group_by else {}


def matches(row, chosen):
    return all((row[COLUMNS[name]] or "") in wanted for name, wanted in chosen.items())


def place(row, name, zone):
    if name in COLUMNS:
        return row[COLUMNS[name]]
    local = row["created_at"].astimezone(zone)
    if name == "day":
        return str(local.date())
    minutes = local.utcoffset() // timedelta(minutes=1)
    sign, minutes = "-" if minutes < 0 else "+", abs(minutes)
    offset = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    return f"{local.date()}T{local.hour:02}:00{offset}"


def figures(rows):
    def total(name):
        return sum(row[name] or 0 for row in rows)

    timed = [row["duration_ms"] for row in rows if row["duration_ms"] is not None]
    unpriced = sum(
        row["cost_nanos"] is None and bool(row["input_tokens"] or row["output_tokens"])
        for row in rows
    )
    return {
        "calls": len(rows),
        "failed": sum(row["status"] in ("failed", "abandoned") for row in rows),
        "cached": sum(row["status"] == "cached" for row in rows),
        "unpriced": unpriced,
        "unpriced_share": round(unpriced / len(rows), 4) if rows else 0,
        "input_tokens": total("input_tokens"),
        "cache_read_tokens": total("cache_read_tokens"),
        "cache_write_tokens": total("cache_write_tokens"),
        "output_tokens": total("output_tokens"),
        "reasoning_tokens": total("reasoning_tokens"),
        "total_tokens": total("input_tokens") + total("output_tokens"),
        "cost_usd": dollars(total("cost_nanos")),
        "saved_usd": dollars(total("saved_nanos")),
        "prompt_saved_usd": dollars(total("prompt_saved_nanos")),
        "latency_mean_ms": round(sum(timed) / len(timed)) if timed else None,
        "latency_p50_ms": class_of(ranked(timed, 50)),
        "latency_p95_ms": class_of(ranked(timed, 95)),
        "latency_max_ms": max(timed, default=None),
    }


def ranked(timed, share):
    """Return the time that a share of the calls did not exceed."""
    return sorted(timed)[-(-len(timed) * share // 100) - 1] if timed else None


def class_of(milliseconds):
    """Return the class of the histogram: so far a percentile read off it is exact."""
    return None if milliseconds is None else bisect.bisect(LATENCY_MS, milliseconds)


def by_class(line):
    return dict(line) | {
        name: class_of(line[name]) for name in ("latency_p50_ms", "latency_p95_ms")
    }


def dollars(nanos):
    return format(Decimal(nanos).scaleb(-9, Context(prec=60)), ".9f")


def found(report, group_by):
    """Return a report's groups as a dict from place to figures."""
    lines = [by_class(line) for line in report["groups"]]
    keys = [tuple(line.pop(name) for name in group_by) for line in lines]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, lines, strict=True))


def rely_from(database, moment):
    """Say from when on the rollup is whole; None where it never was."""
    with database.begin() as connection:
        connection.execute(marks.delete().where(marks.c.name == "rollup"))
        if moment is not None:
            connection.execute(marks.insert(), {"name": "rollup", "at": moment})


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WHOLE_FROM = [None, EPOCH, datetime(2026, 4, 2, tzinfo=UTC)]


def check(database, rows, group_by, chosen, span, zone, whole_from=EPOCH):
    write(database, *rows)
    rely_from(database, whole_from)
    parameters = [
        ("since", span[0].isoformat()),
        ("until", span[1].isoformat()),
        ("tz", zone),
        ("group_by", ",".join(group_by)),
        ("limit", str(LIMIT_MAX)),
        *((name, value) for name, wanted in chosen.items() for value in wanted),
    ]

    query = read_query(parameters, now=NOW)
    report = Reports(database).run(query, EVERYTHING).to_dict()

    total, lines = by_hand(rows, group_by, chosen, span, ZoneInfo(zone))
    assert by_class(report["total"]) == total
    assert report["pending"] == sum(
        row["status"] == "pending" and matches(row, chosen)
        for row in rows
        if span[0] <= row["created_at"] < span[1]
    )
    assert found(report, group_by) == lines


fixtures_are_reset = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


questions = (groupings, filters, spans, st.sampled_from(ZONES))


@settings(fixtures_are_reset, max_examples=150)
@given(ledgers, *questions, st.sampled_from(WHOLE_FROM))
def test_figures_are_those_of_a_sum_by_hand(
    lite, rows, group_by, chosen, span, zone, whole_from
):
    check(lite, rows, group_by, chosen, span, zone, whole_from)


@settings(fixtures_are_reset, max_examples=20)
@given(ledgers, *questions, st.sampled_from(WHOLE_FROM))
def test_figures_are_the_same_on_every_database(
    database, rows, group_by, chosen, span, zone, whole_from
):
    check(database, rows, group_by, chosen, span, zone, whole_from)


@pytest.mark.parametrize(
    "group_by",
    [
        *([name] for name in [*COLUMNS, "day", "hour"]),
        *(["tenant", name, "day"] for name in COLUMNS if name != "tenant"),
    ],
    ids=",".join,
)
@settings(fixtures_are_reset, max_examples=10)
@given(rows=ledgers, span=spans, zone=st.sampled_from(ZONES))
def test_figures_of_each_group_of_the_rollup_are_those_of_a_sum_by_hand(
    lite, group_by, rows, span, zone
):
    check(lite, rows, group_by, {}, span, zone)


def minute_by_minute(turn):
    """Return calls in every quarter of an hour around a turn of the clock."""
    return [
        call(created_at=turn + timedelta(minutes=15 * step, microseconds=micro))
        | dict.fromkeys(("user_id", "tenant", "feature"))
        | dict.fromkeys(["input_tokens", "output_tokens", "cache_read_tokens"])
        | dict.fromkeys(["cache_write_tokens", "reasoning_tokens"])
        | dict.fromkeys(["saved_nanos", "prompt_saved_nanos", "duration_ms"])
        | {"cost_nanos": 1}
        for step in range(-10, 10)
        for micro in (-1, 0)
    ]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_every_minute_near_a_turn_of_the_clock_is_in_its_hour(database, zone, turn):
    span = (turn - timedelta(days=3), turn + timedelta(days=3))

    check(database, minute_by_minute(turn), ["day", "hour"], {}, span, zone)


def test_hour_that_comes_twice_is_two(lite):
    write(
        lite,
        call(created_at=datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        call(created_at=datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    )

    report = ask(lite, since="60d", tz="Europe/Kyiv", group_by="hour", sort="group")

    assert [line["hour"] for line in report["groups"]] == [
        "2026-10-25T03:00+02:00",
        "2026-10-25T03:00+03:00",
    ]


def test_name_of_an_hour_can_be_read_back():
    label = place(call(created_at=NOW), "hour", ZoneInfo("Asia/Kathmandu"))

    query = read_query([("since", label)], now=NOW)

    assert label == "2026-11-23T16:00+05:45"
    assert query.since == datetime(2026, 11, 23, 10, 15, tzinfo=UTC)


# Money


@pytest.mark.parametrize(
    ("nanos", "expected"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (-1_500_000_000, "-1.500000000"),
        (1_234_567_890_123, "1234.567890123"),
        (9_007_199_254_740_993, "9007199.254740993"),
        (2**63 - 1, "9223372036.854775807"),
    ],
)
def test_money_is_a_decimal_string_to_the_last_nano(nanos, expected):
    assert usd(nanos) == expected


def test_money_is_right_whatever_the_host_did_to_decimal():
    with localcontext(prec=5):
        written = usd(1_234_567_890_123)

    assert written == "1234.567890123"


def test_call_of_an_unknown_price_is_counted_and_not_added(lite):
    write(
        lite,
        call(cost_nanos=5, input_tokens=1),
        call(cost_nanos=None, input_tokens=7),
        call(cost_nanos=None, output_tokens=7),
        call(cost_nanos=None, status="failed"),
    )

    total = ask(lite)["total"]

    assert (total["calls"], total["unpriced"]) == (4, 2)
    assert total["cost_usd"] == "0.000000005"


def test_ledger_without_calls_has_zeros_and_no_latency(database):
    report = ask(database, group_by="model")

    assert report["groups"] == []
    assert report["total"]["calls"] == 0
    assert report["total"]["cost_usd"] == "0.000000000"
    assert report["total"]["latency_mean_ms"] is None


def test_cache_shows_what_it_saved(lite):
    write(
        lite,
        call(cost_nanos=100, saved_nanos=None),
        call(status="cached", cost_nanos=0, saved_nanos=100),
    )

    total = ask(lite)["total"]

    assert (total["cached"], total["saved_usd"]) == (1, "0.000000100")
    assert total["cost_usd"] == "0.000000100"


def test_prompt_caches_show_what_they_saved_apart_from_ours(lite):
    write(
        lite,
        call(cost_nanos=100, prompt_saved_nanos=70),
        call(cost_nanos=125, prompt_saved_nanos=-90),
        call(status="cached", cost_nanos=0, saved_nanos=100),
    )

    total = ask(lite)["total"]

    assert total["prompt_saved_usd"] == "-0.000000020"
    assert total["saved_usd"] == "0.000000100"


# Sort and limit


SORTED = [
    ("cost_usd", ["dear", "busy", "long", "calm"]),
    ("calls", ["busy", "calm", "dear", "long"]),
    ("input_tokens", ["long", "busy", "calm", "dear"]),
    ("output_tokens", ["calm", "busy", "dear", "long"]),
    ("group", ["busy", "calm", "dear", "long"]),
]


@pytest.mark.parametrize(("sort", "expected"), SORTED)
def test_groups_come_largest_first_and_by_name_where_equal(database, sort, expected):
    write(
        database,
        call(user_id="busy", cost_nanos=2),
        call(user_id="busy", cost_nanos=2),
        call(user_id="long", cost_nanos=3, input_tokens=9),
        call(user_id="dear", cost_nanos=9),
        call(user_id="calm", cost_nanos=1, output_tokens=5),
    )

    report = ask(database, group_by="user", sort=sort)

    assert [line["user"] for line in report["groups"]] == expected


def test_calls_for_nobody_are_a_group_too(lite):
    write(lite, call(user_id=None), call(user_id="ann"))

    report = ask(lite, group_by="user", sort="group")

    assert [line["user"] for line in report["groups"]] == [None, "ann"]


def test_groups_beyond_the_limit_are_left_out_and_still_in_the_total(lite):
    write(lite, *(call(user_id=f"u{n}", cost_nanos=n) for n in range(5)))

    report = ask(lite, group_by="user", limit="2")

    assert [line["user"] for line in report["groups"]] == ["u4", "u3"]
    assert (report["truncated"], report["total"]["calls"]) == (True, 5)


@pytest.mark.parametrize(("limit", "truncated"), [("4", True), ("5", False)])
def test_truncated_says_whether_groups_are_missing(lite, limit, truncated):
    write(lite, *(call(user_id=f"u{n}") for n in range(5)))

    assert ask(lite, group_by="user", limit=limit)["truncated"] is truncated


def test_groups_keep_the_order_of_the_question(lite):
    write(lite, call(user_id="ann", feature="f"))

    (line,) = ask(lite, group_by="day,user,model,feature")["groups"]

    assert list(line)[:4] == ["day", "user", "model", "feature"]


# Since and until


def edges(**parameters):
    query = read_query(list(parameters.items()), now=NOW)
    return query.since.astimezone(UTC), query.until.astimezone(UTC)


SINCE = [
    ("7d", "UTC", NOW - timedelta(days=7)),
    ("24h", "UTC", NOW - timedelta(hours=24)),
    ("0h", "UTC", None),
    ("month", "UTC", datetime(2026, 11, 1, tzinfo=UTC)),
    ("month", "Europe/Kyiv", datetime(2026, 10, 31, 22, tzinfo=UTC)),
    ("2026-11-01", "UTC", datetime(2026, 11, 1, tzinfo=UTC)),
    ("2026-11-01", "America/New_York", datetime(2026, 11, 1, 4, tzinfo=UTC)),
    ("2026-11-02", "America/New_York", datetime(2026, 11, 2, 5, tzinfo=UTC)),
    ("2026-11-01", "Asia/Kathmandu", datetime(2026, 10, 31, 18, 15, tzinfo=UTC)),
    ("2026-11-01T12:30", "Europe/Kyiv", datetime(2026, 11, 1, 10, 30, tzinfo=UTC)),
    ("2026-11-01T12:30Z", "Europe/Kyiv", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
    ("2026-11-01T12:30+05:45", "UTC", datetime(2026, 11, 1, 6, 45, tzinfo=UTC)),
    ("2026-11-01 12:30:15.5", "UTC", datetime(2026, 11, 1, 12, 30, 15, 500000, UTC)),
]


@pytest.mark.parametrize(("since", "tz", "expected"), [row for row in SINCE if row[2]])
def test_since_is_read_in_the_zone_asked_for(since, tz, expected):
    assert edges(since=since, tz=tz) == (expected, NOW)


def test_month_of_a_zone_that_is_there_already():
    now = datetime(2026, 11, 30, 23, 0, tzinfo=UTC)

    query = read_query([("since", "month"), ("tz", "Europe/Kyiv")], now=now)

    assert query.since.date() == date(2026, 12, 1)


def test_report_is_over_the_last_thirty_days_by_itself():
    assert edges() == (NOW - timedelta(days=30), NOW)


def test_until_is_left_out_and_since_is_in(database):
    first, last = NOW - timedelta(days=2), NOW - timedelta(days=1)
    micro = timedelta(microseconds=1)
    times = [first - micro, first, last - micro, last]
    write(database, *(call(created_at=moment) for moment in times))

    report = ask(database, since=first.isoformat(), until=last.isoformat())

    assert report["total"]["calls"] == 2


def test_report_says_what_it_is_over(lite):
    report = ask(
        lite, since="2026-11-01", until="2026-11-02", tz="Europe/Kyiv", group_by="day"
    )

    assert report["since"] == "2026-11-01T00:00:00+02:00"
    assert report["until"] == "2026-11-02T00:00:00+02:00"
    assert (report["tz"], report["group_by"]) == ("Europe/Kyiv", ["day"])


# Bad questions


BAD = [
    ("since", "yesterday"),
    ("since", ""),
    ("since", "7"),
    ("since", "-7d"),
    ("since", "7w"),
    ("since", "999999d"),
    ("since", "99999d"),
    ("since", "0h"),
    ("since", "2026-13-01"),
    ("since", "2026-02-30"),
    ("since", "0001-01-01"),
    ("since", "1969-12-31"),
    ("since", "9999-12-20"),
    ("since", "2026-11-24"),
    ("since", "2026-11-01T25:00"),
    ("since", "2026-11-01T10:00 02:00"),
    ("since", "7d\0"),
    ("since", "\u0667d\u0667"),
    ("until", "9999-12-31"),
    ("until", "tomorrow"),
    ("tz", "Mars/Olympus"),
    ("tz", ""),
    ("tz", "Europe"),
    ("tz", "../../etc/passwd"),
    ("tz", "/etc/passwd"),
    ("tz", "UTC\0"),
    ("tz", "x" * 5000),
    ("group_by", "users"),
    ("group_by", "user;drop table llm_usage"),
    ("group_by", "cost_nanos"),
    ("group_by", "user, model"),
    ("sort", "cost"),
    ("sort", "cost_usd desc"),
    ("sort", ""),
    ("limit", "0"),
    ("limit", "1001"),
    ("limit", "-1"),
    ("limit", "ten"),
    ("limit", "1e2"),
    ("limit", "9" * 5000),
    ("user", "a\0b"),
    ("usr", "ann"),
    ("user_id", "ann"),
    ("day", "2026-11-1"),
    ("", ""),
]


@pytest.mark.parametrize(("parameter", "value"), BAD)
def test_bad_parameter_is_named(parameter, value):
    with pytest.raises(BadQuery) as caught:
        read_query([(parameter, value)], now=NOW)

    assert caught.value.parameter == ("since" if value == "2026-11-24" else parameter)


@pytest.mark.parametrize(
    "parameter", ["since", "until", "tz", "group_by", "sort", "limit"]
)
def test_parameter_given_twice_is_named(parameter):
    value = {"limit": "5", "sort": "calls", "tz": "UTC", "group_by": "day"}
    pair = (parameter, value.get(parameter, "7d"))

    with pytest.raises(BadQuery, match="given twice") as caught:
        read_query([pair, pair], now=NOW)

    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("parameter", "value", "hint"),
    [
        ("group_by", "modle", "'model'"),
        ("sort", "cost", "'cost_usd'"),
        ("grup_by", "model", "'group_by'"),
        ("tenants", "acme", "'tenant'"),
    ],
)
def test_bad_parameter_is_told_the_nearest_word(parameter, value, hint):
    with pytest.raises(BadQuery, match=f"Did you mean {hint}"):
        read_query([(parameter, value)], now=NOW)


def answer(parameter, value):
    """Return the parameter that is refused, None where all is well."""
    try:
        read_query([(parameter, value)], now=NOW)
    except BadQuery as error:
        return error.parameter
    return None


@settings(max_examples=300)
@given(st.sampled_from(["since", "until", "tz", "limit", "user"]), st.text())
def test_any_text_is_read_or_refused(parameter, value):
    named = answer(parameter, value)

    assert named in {None, parameter, "since"}


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("since", ["1970-01-02", "2026-11-22"])
def test_long_span_is_answered_without_walking_through_it(lite, tz, since):
    write(lite, call())

    report = ask(lite, since=since, until="2998-12-31", tz=tz, group_by="day")

    assert report["total"]["calls"] == 1


INJECTIONS = [
    "' OR '1'='1",
    "ann'; DROP TABLE llm_usage; --",
    'ann" OR ""="',
    "%",
    "ann\\' OR 1=1 #",
    "{model}",
    "%(user)s",
    ":user",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_in_a_filter_is_text(database, text):
    write(database, call(user_id="ann"), call(user_id=text))

    report = ask(database, user=text, group_by="user")

    assert [line["user"] for line in report["groups"]] == [text]
    assert ask(database)["total"]["calls"] == 2


def test_report_takes_few_statements(lite):
    statements = []
    event.listen(
        lite.engine,
        "before_cursor_execute",
        lambda *seen: statements.append(seen[2]),
    )

    ask(lite, group_by="user,day,hour")

    assert len(statements) == 4  # how far the sums reach, sums, rows, pending


@pytest.mark.parametrize("since", ["24h", "90d"])
def test_calls_under_way_are_found_by_their_status(database, since):
    old = [call(created_at=NOW - timedelta(minutes=20 * n)) for n in range(6_000)]
    write(database, *old, *[call(status="pending")] * 3)
    with database.begin() as connection:
        table = "TABLE llm_usage" if connection.dialect.name == "mysql" else ""
        connection.exec_driver_sql(f"ANALYZE {table}")
    asked = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda *seen: asked.append(seen[2:4]),
    )

    report = ask(database, since=since)
    pending, parameters = asked[-1]
    explain = "EXPLAIN QUERY PLAN" if database.engine.name == "sqlite" else "EXPLAIN"
    with database.begin() as connection:
        plan = connection.exec_driver_sql(f"{explain} {pending}", parameters).all()

    assert report["pending"] == 3
    assert "ix_llm_usage_status_expires_at" in str(plan)


@pytest.mark.parametrize(
    ("parameter", "calls"),
    [
        ("day=2026-11-23", 2),
        ("day=2026-11-22&day=2026-11-23", 3),
        ("hour=2026-11-23T00:00+02:00", 1),
        ("hour=2026-11-23T00:00%2B02:00", 1),
        ("day=2026-11-22&hour=2026-11-23T00:00%2B02:00", 0),
    ],
)
def test_days_and_hours_are_filters_in_the_zone_asked_for(app, parameter, calls):
    moments = ["2026-11-22T12:00", "2026-11-22T22:30", "2026-11-23T12:00"]
    ledger = app.extensions["llm"].ledger
    prompt = Prompt(provider="p", model="m", messages=(Message("user", "Hi"),))
    for moment in moments:
        ledger._now = lambda at=moment: datetime.fromisoformat(at).replace(tzinfo=UTC)
        ledger.settle(ledger.entry(prompt), Outcome(status="ok"))

    response = app.test_client().get(
        f"/llm/usage?since=2026-11-01&tz=Europe/Kyiv&{parameter}",
        headers={"Authorization": "Bearer letmein"},
    )

    assert response.json["total"]["calls"] == calls


@pytest.mark.parametrize(
    "parameter", ["day=monday", "day=2026-13-01", "hour=2026-11-23", "hour=nine"]
)
def test_bad_day_or_hour_is_named(app, parameter):
    response = app.test_client().get(
        f"/llm/usage?{parameter}", headers={"Authorization": "Bearer letmein"}
    )

    assert response.status_code == 400
    assert response.json["parameter"] == parameter.partition("=")[0]
