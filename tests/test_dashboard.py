"""The dashboard: its figures, words, links, and what it shows to whom."""
# ruff: noqa: RUF001 - Ukrainian is written with its own letters

import functools
import json
import re
import sys
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from html.parser import HTMLParser
from importlib import resources
from string import Formatter
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree as ET

import month
import pytest
from flask import Blueprint
from sqlalchemy import event

from flask_llm import LLM, llm_bp
from flask_llm.usage import EVERYTHING, Database, Purge, Scope, read_query, tally
from flask_llm.usage.models import usage
from flask_llm.usage.reports import BadQuery, usd
from flask_llm.web.dashboard import CHARTS, drawing
from flask_llm.web.dashboard.charts import read_chart
from flask_llm.web.dashboard.figures import SERIES_MAX, TOP, Reader
from flask_llm.web.dashboard.languages import CODES, language, plural
from flask_llm.web.dashboard.selection import DAYS_MAX, RANGES, read_selection

NOW = datetime(2026, 11, 24, 16, 40, 30, tzinfo=UTC)
STARTED = datetime.now(UTC)
TOKEN = {"Authorization": "Bearer letmein"}
EN, UK = map(language, CODES)
NBSP = "\N{NO-BREAK SPACE}"
DASH = "\N{EN DASH}"


def choose(query="", now=NOW, **options):
    return read_selection(parse_qsl(query, keep_blank_values=True), now=now, **options)


def days(selection):
    since, until = selection.span
    return since.isoformat()[:16], until.isoformat()[:16]


def get(app, address="/llm/dashboard", **headers):
    return app.test_client().get(address, headers=TOKEN | headers)


def text_of(answer):
    return re.sub(r"\s+", " ", Words.of(answer.text))


class Words(HTMLParser):
    """What a page says, and the tags and attributes it is made of."""

    def __init__(self):
        super().__init__()
        self.words, self.tags, self.attributes = [], [], []

    @classmethod
    def of(cls, html):
        return " ".join(cls.read(html).words)

    @classmethod
    def read(cls, html):
        page = cls()
        page.feed(html)
        return page

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)

    def addresses(self):
        return {
            value
            for name, value in self.attributes
            if name in {"href", "src", "srcset", "action"}
        }


@pytest.fixture(scope="session")
def ledger(tmp_path_factory):
    """Make the address of a ledger with the month up to a moment, once for each."""

    @functools.cache
    def make(now):
        uri = f"sqlite:///{tmp_path_factory.mktemp('month') / 'month.sqlite'}"
        database = Database(uri, auto_migrate=True)
        database.prepare()
        month.fill(database, now, busiest=40)
        database.close()
        return uri

    return make


@pytest.fixture
def filled(make_app, ledger):
    """An app with a month of calls up to the start of the tests."""
    return make_app(LLM_DATABASE_URI=ledger(STARTED))


@pytest.fixture
def state(make_app, ledger):
    """The state of an app with a month of calls up to ``NOW``."""
    return make_app(LLM_DATABASE_URI=ledger(NOW)).extensions["llm"]


def write(app, *rows):
    """Write calls of a moment ago, and the sums that reports read."""
    now = datetime.now(UTC)
    database = app.extensions["llm"].database
    plain = {
        "created_at": now - timedelta(seconds=1),
        "expires_at": now,
        "status": "ok",
        "operation": "complete",
        "provider": "openai",
        "model": "openai/gpt-6-luna",
        "streamed": False,
        "input_tokens": 1000,
        "output_tokens": 500,
        "cost_nanos": 10**9,
        "duration_ms": 1500,
    }
    full = [
        month.NOTHING
        | {"id": f"{number:032x}", "request_id": f"{number:032x}"}
        | plain
        | row
        for number, row in enumerate(rows)
    ]
    with database.begin() as connection:
        connection.execute(usage.insert(), full)
        for row in full:
            tally.add(connection, [row])


# Words, numbers and dates


def tables():
    folder = resources.files("flask_llm.web.dashboard").joinpath("texts")
    return {
        code: json.loads(folder.joinpath(f"{code}.json").read_text("utf-8"))
        for code in CODES
    }


def test_every_language_has_the_same_words():
    first, *others = tables().values()

    assert [list(table) for table in others] == [list(first)] * len(others)


def fields(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("key", tables()["en"])
def test_words_are_filled_in_alike_in_every_language(key):
    found = [table[key] for table in tables().values()]

    filled = [
        {name for form in value.values() for name in fields(form)}
        if isinstance(value, dict)
        else (len(value) if isinstance(value, list) else fields(value))
        for value in found
    ]
    assert filled == filled[:1] * len(CODES)


@pytest.mark.parametrize("code", CODES)
def test_counted_words_have_every_form_of_their_language(code):
    forms = {plural(code, number) for number in range(200)}

    counted = [value for value in tables()[code].values() if isinstance(value, dict)]
    assert counted
    assert [set(value) for value in counted] == [forms] * len(counted)


@pytest.mark.parametrize(
    ("number", "form"),
    [
        *((n, "many") for n in (0, 5, 11, 12, 14, 19, 20, 100, 111, 112, 1011)),
        *((n, "one") for n in (1, 21, 101, 1001, 1021)),
        *((n, "few") for n in (2, 4, 22, 34, 102, 1004)),
    ],
)
def test_ukrainian_has_three_forms(number, form):
    assert plural("uk", number) == form


def test_counts_read_well():
    assert EN.count("failed", 1) == "1 call failed"
    assert EN.count("failed", 1200) == "1,200 calls failed"
    assert UK.count("failed", 1) == "1 невдалий виклик"
    assert UK.count("failed", 3) == "3 невдалі виклики"
    assert UK.count("failed", 1211) == f"1{NBSP}211 невдалих викликів"


@pytest.mark.parametrize(
    ("nanos", "english", "ukrainian"),
    [
        (0, "$0.00", f"0,00{NBSP}$"),
        (1_234_567_890_000, "$1,234.57", f"1{NBSP}234,57{NBSP}$"),
        (999_000_000, "$1.00", f"1,00{NBSP}$"),
        (10**9, "$1.00", f"1,00{NBSP}$"),
        (250_000_000, "$0.25", f"0,25{NBSP}$"),
        (4_200_000, "$0.0042", f"0,0042{NBSP}$"),
        (1, "$0.0000000010", f"0,0000000010{NBSP}$"),
        (-1_500_000_000, "$-1.50", f"-1,50{NBSP}$"),
        (2**63 - 1, "$9,223,372,036.85", f"9{NBSP}223{NBSP}372{NBSP}036,85{NBSP}$"),
    ],
)
def test_money_is_written_as_its_readers_do(nanos, english, ukrainian):
    with localcontext(prec=3):
        written = EN.money(nanos), UK.money(nanos)

    assert written == (english, ukrainian)


@pytest.mark.parametrize(
    ("value", "english", "ukrainian"),
    [
        (0, "0", "0"),
        (999, "999", "999"),
        (1000, "1K", f"1{NBSP}тис."),
        (12_345, "12.3K", f"12,3{NBSP}тис."),
        (999_499, "999K", f"999{NBSP}тис."),
        (999_500, "1M", f"1{NBSP}млн"),
        (1_234_567, "1.23M", f"1,23{NBSP}млн"),
        (5 * 10**9, "5B", f"5{NBSP}млрд"),
    ],
)
def test_large_numbers_are_short(value, english, ukrainian):
    assert (EN.compact(value), UK.compact(value)) == (english, ukrainian)


@pytest.mark.parametrize(
    ("part", "whole", "english", "ukrainian"),
    [
        (0, 0, "0%", "0%"),
        (0, 9, "0%", "0%"),
        (9, 9, "100%", "100%"),
        (1, 8, "12.5%", "12,5%"),
        (1, 10_000, "<0.1%", "<0,1%"),
        (9_999, 10_000, ">99.9%", ">99,9%"),
    ],
)
def test_shares_tell_little_from_none_and_nearly_all_from_all(
    part, whole, english, ukrainian
):
    found = EN.percent(part, whole), UK.percent(part, whole)

    assert found == (english, ukrainian)


@pytest.mark.parametrize(
    ("milliseconds", "english", "ukrainian"),
    [
        (None, DASH, DASH),
        (0, "0 ms", f"0{NBSP}мс"),
        (999, "999 ms", f"999{NBSP}мс"),
        (1000, "1.00 s", f"1,00{NBSP}с"),
        (12_345, "12.3 s", f"12,3{NBSP}с"),
        (1_234_567, "1,235 s", f"1{NBSP}235{NBSP}с"),
    ],
)
def test_durations_have_their_unit(milliseconds, english, ukrainian):
    found = EN.duration(milliseconds), UK.duration(milliseconds)

    assert found == (english, ukrainian)


def test_dates_are_written_as_their_readers_do():
    at = datetime(2026, 11, 4, 9, 5, tzinfo=UTC)

    assert (EN.day(at), UK.day(at)) == ("4 November 2026", "4 листопада 2026 р.")
    assert (EN.moment(at), UK.moment(at)) == ("4 Nov, 09:05", "4 лист., 09:05")
    assert (EN.month(at), UK.month(at)) == ("November 2026", "листопад 2026")


@pytest.mark.parametrize(
    ("nanos", "step", "expected"),
    [
        (10**9, 5 * 10**8, "$1.00"),
        (2 * 10**9, 10**9, "$2"),
        (3 * 10**6, 10**6, "$0.003"),
        (0, 2 * 10**7, "$0.00"),
    ],
)
def test_marks_of_an_axis_have_as_many_places_as_they_need(nanos, step, expected):
    assert EN.money_mark(nanos, step) == expected


# What a reader chooses


@pytest.mark.parametrize(
    ("query", "zone", "expected", "columns", "unit"),
    [
        ("range=24h", "UTC", ("2026-11-23T17:00", "2026-11-24T17:00"), 24, "hour"),
        ("range=7d", "UTC", ("2026-11-18T00:00", "2026-11-25T00:00"), 7, "day"),
        ("", "UTC", ("2026-10-26T00:00", "2026-11-25T00:00"), 30, "day"),
        ("", "Europe/Kyiv", ("2026-10-25T22:00", "2026-11-24T22:00"), 30, "day"),
        ("range=90d", "UTC", ("2026-08-27T00:00", "2026-11-25T00:00"), 90, "day"),
        ("range=month", "UTC", ("2026-11-01T00:00", "2026-11-25T00:00"), 24, "day"),
        ("range=year", "UTC", ("2025-12-01T00:00", "2026-11-25T00:00"), 12, "month"),
        (
            "first=2026-10-25&last=2026-10-25&tz=Europe/Kyiv",
            "UTC",
            ("2026-10-24T21:00", "2026-10-25T22:00"),
            25,
            "hour",
        ),
        (
            "first=2026-04-05&last=2026-04-05&tz=Australia/Lord_Howe",
            "UTC",
            ("2026-04-04T13:00", "2026-04-05T13:30"),
            25,
            "hour",
        ),
        (
            "first=2026-11-20&last=",
            "UTC",
            ("2026-11-20T00:00", "2026-11-25T00:00"),
            5,
            "day",
        ),
        (
            "first=&last=&range=7d",
            "UTC",
            ("2026-11-18T00:00", "2026-11-25T00:00"),
            7,
            "day",
        ),
    ],
)
def test_time_is_whole_hours_or_days(query, zone, expected, columns, unit):
    selection = choose(query, zone=zone)

    assert days(selection) == expected
    assert (len(list(selection.columns())), selection.unit) == (columns, unit)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Kyiv", "Asia/Kathmandu"])
@pytest.mark.parametrize("name", RANGES)
def test_every_call_has_its_column(state, name, zone):
    selection = choose(f"range={name}&tz={zone}")

    course = Reader(state, EVERYTHING, selection).course()

    calls = sum(line.calls for line in course.columns.values())
    assert list(course.columns) == list(selection.columns())
    assert calls == course.total.calls > 0


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("range=8d", "range"),
        ("range=7d&range=7d", "range"),
        ("first=soon", "first"),
        ("first=20261101", "first"),
        ("last=0001-01-01", "last"),
        ("last=9999-12-31", "last"),
        ("first=2026-11-02&last=2026-11-01", "first"),
        ("first=1990-01-01", "first"),
        ("group_by=status", "group_by"),
        ("tz=Mars", "tz"),
        ("lang=de", "lang"),
        ("theme=dark", "theme"),
        ("nonsense=1", "nonsense"),
        ("user=%00", "user"),
    ],
)
def test_bad_choice_names_the_parameter(query, parameter):
    with pytest.raises(BadQuery) as caught:
        choose(query)

    assert caught.value.parameter == parameter


def test_longest_time_can_be_chosen():
    first = (NOW - timedelta(days=DAYS_MAX - 1)).date()

    assert len(list(choose(f"first={first}").columns())) == 61


def test_links_keep_what_else_was_chosen():
    selection = choose("range=7d&group_by=user&user=ann&user=&lang=uk")

    changed = selection.link(range="30d")

    assert changed == {
        "range": ("30d",),
        "group_by": ("user",),
        "user": ("ann", ""),
        "lang": ("uk",),
    }
    assert selection.link(user=None).keys() == {"range", "group_by", "lang"}


# Figures


def report(state, selection, **parameters):
    asked = {"since": selection.span.since.isoformat(), **parameters}
    query = read_query(
        [*asked.items(), ("until", selection.span.until.isoformat())], now=NOW
    )
    return state.reports.run(query, EVERYTHING)


@pytest.mark.parametrize("by", ["model", "provider", "feature", "user", "tenant"])
@pytest.mark.parametrize("name", ["24h", "30d", "year"])
def test_stacks_add_up_to_the_cost_of_each_column(state, name, by):
    selection = choose(f"range={name}&group_by={by}")
    reader = Reader(state, EVERYTHING, selection)

    course = reader.course()
    stack = reader.stack(course)

    sums = [sum(parts) for parts in zip(*stack.costs, stack.rest, strict=True)]
    assert sums == [line.cost_nanos for line in course.columns.values()]
    assert 0 < len(stack.labels) <= SERIES_MAX
    assert sum(sums) == report(state, selection).total.cost_nanos


def test_others_are_one_colour(state):
    selection = choose("group_by=user")
    reader = Reader(state, EVERYTHING, selection)

    chart = read_chart("cost", reader, selection, EN)

    assert len(chart.series) == SERIES_MAX + 1
    assert chart.series[-1].name == "Others"
    assert len({series.colour for series in chart.series}) == SERIES_MAX + 1


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("range_", RANGES)
def test_months_are_the_sum_of_their_days(state, name, range_):
    selection = choose(f"range={range_}")
    reader = Reader(state, EVERYTHING, selection)

    chart = read_chart(name, reader, selection, EN)

    total = reader.course().total
    expected = {
        "cost": total.cost_nanos,
        "tokens": total.input_tokens + total.output_tokens,
        "failures": total.failed,
    }
    assert len(chart.columns) == len(list(selection.columns()))
    assert name == "latency" or sum(chart.totals) == expected[name]


def test_latency_of_a_month_is_that_of_its_calls(state):
    selection = choose("range=year")
    chart = read_chart("latency", Reader(state, EVERYTHING, selection), selection, EN)

    november = report(state, choose("range=month")).total.to_dict()

    assert [series.values[-1] for series in chart.series] == [
        november["latency_p50_ms"],
        november["latency_p95_ms"],
    ]


def test_column_without_a_call_took_no_time_rather_than_none(app):
    write(app, {})
    selection = choose("range=7d", now=datetime.now(UTC))
    reader = Reader(app.extensions["llm"], EVERYTHING, selection)

    chart = read_chart("latency", reader, selection, EN)

    assert [series.values[0] for series in chart.series] == [None, None]


def test_rankings_are_short_and_failures_the_latest(state):
    figures = Reader(state, EVERYTHING, choose()).figures()

    assert len(figures.rankings["user"].lines) == TOP
    assert figures.rankings["user"].has_more
    moments = [row["created_at"] for row in figures.failures]
    assert moments == sorted(moments, reverse=True)
    assert {row["status"] for row in figures.failures} == {"failed"}


def test_number_of_statements_does_not_grow_with_the_ledger(make_app, filled):
    small = make_app()
    small.extensions["llm"].database.prepare()
    write(small, {"status": "failed"}, {"user_id": "ann"})

    few, many = statements(small), statements(filled)

    assert many == few < 40


def statements(app):
    """Count the statements that one page takes."""
    seen = []
    engine = app.extensions["llm"].database.engine
    get(app)  # which connects
    event.listen(engine, "before_cursor_execute", lambda *_: seen.append(1))
    assert get(app).status_code == 200
    return len(seen)


def test_more_groups_than_a_report_may_have_are_not_ranked(state, monkeypatch):
    # The limit is lowered, for want of fifty thousand users.
    monkeypatch.setattr("flask_llm.usage.reports.reports.LINES_MAX", 7)
    selection = choose("range=month")
    reader = Reader(state, EVERYTHING, selection)

    assert reader.ranking("user").is_too_long
    assert not reader.ranking("tenant").is_too_long


def test_page_is_the_same_on_every_database(make_app, database_uri):
    app = make_app(LLM_DATABASE_URI=database_uri, LLM_AUTO_MIGRATE=True)
    app.extensions["llm"].database.prepare()
    write(app, {"user_id": "ann"}, {"status": "failed", "error_code": "overloaded"})

    pages = [text_of(get(app, f"/llm/dashboard?range={name}")) for name in RANGES]

    assert all("$2.00" in page and "overloaded" in page for page in pages)


# The page


def test_page_is_guarded_and_kept_nowhere(filled):
    answer = get(filled)

    policy = answer.headers["Content-Security-Policy"]
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert policy.startswith("default-src 'self'; script-src 'none';")
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"


def test_page_has_no_script_and_no_style_of_its_own(filled):
    page = Words.read(get(filled).text)

    assert not {"script", "style", "svg", "iframe"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not [name for name in names if name == "style" or name.startswith("on")]


@pytest.mark.parametrize(
    "address",
    [
        "/llm/dashboard",
        "/llm/dashboard/cost.svg",
        "/llm/dashboard/static/dashboard.css",
    ],
)
def test_strangers_see_nothing_and_browsers_ask_for_the_token(filled, address):
    client = filled.test_client()

    refused = client.get(address)
    password = b64encode(b"anybody:letmein").decode()
    shown = client.get(
        address, headers={"Authorization": f"Basic {password}"}, buffered=True
    )

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert shown.status_code == 200


@pytest.mark.parametrize(
    ("accepted", "query", "spoken"),
    [
        ("", "", "en"),
        ("uk", "", "uk"),
        ("uk-UA,en;q=0.5", "", "uk"),
        ("en-GB,uk;q=0.9", "", "en"),
        ("de,uk;q=0.3", "", "uk"),
        ("de", "", "en"),
        ("*", "", "en"),
        (";;q=x", "", "en"),
        ("uk", "?lang=en", "en"),
        ("en", "?lang=uk", "uk"),
    ],
)
def test_page_speaks_the_language_of_its_reader(filled, accepted, query, spoken):
    answer = get(filled, f"/llm/dashboard{query}", **{"Accept-Language": accepted})

    assert f'<html lang="{spoken}">' in answer.text
    assert answer.headers["Content-Language"] == spoken
    assert "Accept-Language" in answer.headers["Vary"]
    assert language(spoken).text("chart_cost") in answer.text


def test_ukrainian_page_says_nothing_in_english(filled):
    page = text_of(get(filled, "/llm/dashboard?lang=uk"))

    english = [value for value in tables()["en"].values() if isinstance(value, str)]
    sentences = [text for text in english if " " in text and "{" not in text]
    assert len(sentences) > 20
    assert [text for text in sentences if text in page] == []


def test_ledger_without_calls_says_so(app):
    answer = get(app)

    page = text_of(answer)
    assert answer.status_code == 200
    assert "No calls in this time" in page
    assert "No budget is set" in page
    assert "svg?" not in answer.text


def test_calls_without_a_price_come_with_the_cure(app):
    odd = 'ollama/"quoted" $HOME'
    write(
        app,
        {},
        {"model": odd, "provider": "ollama", "cost_nanos": None},
        {"model": "ollama/tiny", "cost_nanos": None},
        {"model": "ollama/tiny", "cost_nanos": None},
    )

    page = text_of(get(app))

    assert "3 calls have no known price and are in no sum." in page
    assert 'app.config["LLM_PRICES"] = {' in page
    assert r'"ollama/\"quoted\" $HOME": {"input": "…", "output": "…"},' in page
    assert "flask llm prices ollama/tiny" in page
    assert "ollama/tiny unknown 2" in page


def test_command_that_is_shown_is_safe_to_paste(app):
    write(app, {"model": "ollama/x; rm -rf ~", "cost_nanos": None})

    assert "flask llm prices 'ollama/x; rm -rf ~'" in text_of(get(app))


def test_failures_show_what_when_and_to_whom(app):
    write(
        app,
        {"status": "failed", "error_code": "overloaded", "error_status": 529}
        | {"user_id": "ann", "tenant": "acme", "feature": "chat"},
        {"status": "abandoned", "duration_ms": None},
    )

    page = text_of(get(app))

    assert "overloaded (529) 1.50 s" in page
    assert "chat · ann · acme" in page
    assert "abandoned" in page
    assert "100%" in page


def test_failures_that_were_purged_are_still_counted(app):
    earlier = datetime.now(UTC) - timedelta(days=3)
    write(app, {"status": "failed", "created_at": earlier, "error_code": "gone_code"})
    list(Purge(app.extensions["llm"].database, earlier + timedelta(hours=1)).run())

    page = text_of(get(app))

    assert "1 call failed" in page
    assert "These calls are no longer kept one by one." in page
    assert "gone_code" not in page


def test_question_that_needs_purged_calls_is_refused_on_a_page(app):
    earlier = datetime.now(UTC) - timedelta(days=3)
    write(app, {"created_at": earlier, "user_id": "ann"})
    list(Purge(app.extensions["llm"].database, earlier + timedelta(hours=1)).run())

    answer = get(app, "/llm/dashboard?user=ann")

    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "were purged" in text_of(answer)


def test_budgets_are_meters(make_app):
    app = make_app(LLM_BUDGETS=["$25/month", "$1/day per user", "$5/week per tenant"])
    database = app.extensions["llm"].database
    database.prepare()
    month.spend_some(database, datetime.now(UTC))

    answer = get(app)

    page = text_of(answer)
    assert "Whole app $12.84 of $25.00" in page
    assert "$11.94 left · $0.22 held for calls under way · starts anew" in page
    assert "taras $1.00 of $1.00" in page
    assert "$5/week per tenant Nothing spent yet in this period." in page
    assert 'value="52.2" aria-label="$25/month, Whole app: $12.84 of $25.00"' in (
        answer.text
    )


def test_budget_of_nothing_is_full(make_app):
    app = make_app(register=False, LLM_BUDGETS=["$1/day per user"])
    llm = LLM(app)
    llm.budget_limit(lambda *_: 0)
    app.register_blueprint(llm_bp)
    database = app.extensions["llm"].database
    database.prepare()
    month.spend_some(database, datetime.now(UTC))

    assert 'value="100.0" aria-label="$1/day per user, olena:' in get(app).text


def test_bad_parameter_is_answered_with_a_page_and_status_400(app):
    answer = get(app, "/llm/dashboard?range=<script>", **{"Accept-Language": "uk"})

    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "Це неможливо показати" in answer.text
    assert "range: it is one of 24h" in text_of(answer)
    assert "Content-Security-Policy" in answer.headers


def test_missing_tables_are_a_page_and_the_log_says_the_cure(make_app, caplog):
    answer = get(make_app(LLM_AUTO_MIGRATE=False))

    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    assert "flask llm db upgrade" in caplog.text
    assert "flask llm db upgrade" not in answer.text


def test_figures_are_those_of_the_report_that_is_linked(filled):
    answer = get(filled, "/llm/dashboard?range=7d&user=olena&group_by=feature")
    (address,) = [
        found
        for found in Words.read(answer.text).addresses()
        if urlsplit(found).path == "/llm/usage"
    ]

    linked = get(filled, address).json

    total = linked["total"]
    assert linked["group_by"] == ["feature"]
    assert EN.dollars(Decimal(total["cost_usd"])) in text_of(answer)
    assert f"Calls {EN.number(total['calls'])} " in text_of(answer)


# Names that users chose

NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "</code></pre><svg/onload=alert(1)>",
    "a&user=bob#x",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
    "%s{0}{count}",
    "n" * 128,
    "й" * 128,
    "\x01\x1b[31m",
]


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_names_are_texts_wherever_they_stand(make_app, nasty):
    app = make_app(LLM_BUDGETS=["$1/day per user"])
    database = app.extensions["llm"].database
    database.prepare()
    named = dict.fromkeys(("model", "user_id", "tenant", "feature"), nasty)
    write(
        app,
        named | {"provider": nasty[:64]},
        named | {"status": "failed", "error_code": nasty[:64]},
        named | {"cost_nanos": None, "model": f"x/{nasty}"},
    )
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    month.spent(database, ("user", nasty, day, 50, 0))
    harmless = Words.read(get(app).text.replace(nasty, "x"))

    for by in ("model", "provider", "feature", "user", "tenant"):
        page = Words.read(get(app, f"/llm/dashboard?group_by={by}").text)

        assert nasty in " ".join(page.words)
        assert set(page.tags) <= set(harmless.tags)
        names = {name for name, _ in page.attributes}
        assert not {"onerror", "onload", "onmouseover", "style"} & names
        addresses = {urlsplit(found).scheme for found in page.addresses()}
        assert addresses == {""}


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_name_leads_to_its_own_calls(app, nasty):
    write(app, {"user_id": nasty}, {"user_id": "other", "cost_nanos": 7 * 10**9})
    page = Words.read(get(app).text)
    (address,) = {
        found
        for found in page.addresses()
        if dict(parse_qsl(urlsplit(found).query)).get("user") == nasty
    }

    narrowed = get(app, address)

    assert "User " + re.sub(r"\s+", " ", nasty) in text_of(narrowed)
    assert "other" not in Words.of(narrowed.text)
    assert "$7.00" not in narrowed.text


@pytest.mark.parametrize("name", CHARTS)
def test_drawing_holds_no_word_that_a_user_chose(app, name):
    write(app, {"user_id": "ann", "feature": "chat", "tenant": "acme"})

    answer = get(app, f"/llm/dashboard/{name}.svg?group_by=user")

    assert answer.status_code == 200
    assert not [word for word in ("ann", "chat", "acme", "luna") if word in answer.text]


# What a caller may see

SCOPED = {"tenant": "acme"}


@pytest.fixture
def scoped(make_app):
    """An app whose readers see their tenant only."""
    app = make_app(
        register=False,
        LLM_BUDGETS=["$25/month", "$9/day per user", "$9/day per tenant"],
    )
    llm = LLM(app)
    llm.reports_scope(lambda: SCOPED)
    app.register_blueprint(llm_bp)
    database = app.extensions["llm"].database
    database.prepare()
    theirs = {"tenant": "globex", "user_id": "their-user", "feature": "their-feature"}
    write(
        app,
        {"tenant": "acme", "user_id": "our-user", "status": "failed"},
        theirs | {"model": "x/their-model", "cost_nanos": 77 * 10**9},
        theirs | {"model": "x/their-free-model", "cost_nanos": None},
        theirs | {"status": "failed", "error_code": "their-error"},
    )
    day, this_month = f"{datetime.now(UTC):%Y-%m-%d}", f"{datetime.now(UTC):%Y-%m}"
    month.spent(
        database,
        ("app", "", this_month, 7800, 0),
        ("user", "their-user", day, 7800, 0),
        ("tenant", "acme", day, 100, 0),
        ("tenant", "globex", day, 7800, 0),
    )
    return app


@pytest.mark.parametrize(
    "query",
    [
        *(
            f"group_by={by}"
            for by in ("model", "provider", "feature", "user", "tenant")
        ),
        "range=24h",
        "range=year",
        "user=their-user",
        "lang=uk",
    ],
)
def test_scoped_caller_sees_nothing_of_others(scoped, query):
    answer = get(scoped, f"/llm/dashboard?{query}")

    shown = Words.of(answer.text).replace("their-user", "", query.count("their-user"))
    assert answer.status_code == 200
    assert "their" not in shown
    assert "globex" not in answer.text
    assert not re.search(r"7[78][.,]00", answer.text)


def test_scoped_caller_sees_the_own_part(scoped):
    page = text_of(get(scoped))

    assert "our-user" in page
    assert "1 call failed" in page
    assert "acme $1.00 of $9.00" in page


def test_drawing_is_of_the_own_part(scoped):
    selection = choose("range=7d", now=datetime.now(UTC))
    scope = Scope.of(SCOPED)

    reader = Reader(scoped.extensions["llm"], scope, selection)

    chart = read_chart("cost", reader, selection, EN)
    assert max(chart.totals) == 10**9
    assert "$1.00" in get(scoped, "/llm/dashboard/cost.svg?range=7d").text


# Where the blueprint is registered


def crawl(app, start, limit=70):
    """Follow every link from a page on; return the answers by address."""
    seen, left = {}, [start]
    while left and len(seen) < limit:
        address = left.pop(0)
        answer = app.test_client().get(address, headers=TOKEN, buffered=True)
        seen[address] = answer
        if answer.mimetype != "text/html":
            continue
        for found in sorted(Words.read(answer.text).addresses()):
            if found.startswith("/") and found not in seen and found not in left:
                left.append(found)
    return seen


def prefixes():
    return [
        ({}, "/llm"),
        ({"url_prefix": "/costs"}, "/costs"),
        ({"url_prefix": "/"}, ""),
        ({"url_prefix": "/second", "name": "second"}, "/second"),
    ]


@pytest.mark.parametrize(("options", "prefix"), prefixes())
def test_links_lead_somewhere_under_the_same_prefix(make_app, options, prefix):
    app = make_app(register=False)
    app.register_blueprint(llm_bp)
    if options:
        app.register_blueprint(llm_bp, **{"name": "again", **options})
    app.extensions["llm"].database.prepare()
    write(app, {"user_id": "ann"}, {"cost_nanos": None, "model": "x/y"})

    found = crawl(app, f"{prefix}/dashboard")

    assert len(found) == 70
    assert {answer.status_code for answer in found.values()} == {200}
    assert [address for address in found if not address.startswith(prefix)] == []
    kinds = {answer.mimetype for answer in found.values()}
    assert {"text/html", "image/svg+xml", "text/css"} <= kinds


def test_page_works_on_a_blueprint_of_the_hosts(make_app):
    app = make_app(register=False)
    admin = Blueprint("admin", __name__, url_prefix="/admin")
    admin.register_blueprint(llm_bp)
    app.register_blueprint(admin)

    page = get(app, "/admin/llm/dashboard")

    addresses = Words.read(page.text).addresses()
    assert page.status_code == 200
    assert {address[:11] for address in addresses if address[0] == "/"} == {
        "/admin/llm/"
    }


# Drawings


@pytest.mark.parametrize("size", drawing.SIZES)
@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("range_", RANGES)
def test_drawing_is_sound_and_without_a_script(filled, name, range_, size):
    answer = get(filled, f"/llm/dashboard/{name}.svg?range={range_}&size={size}")

    root = ET.fromstring(answer.data)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    outside = [
        value
        for element in root.iter()
        for key, value in element.attrib.items()
        if "://" in value or key.lower().startswith("on")
    ]
    assert answer.mimetype == "image/svg+xml"
    assert not tags & {"script", "image", "foreignObject", "a", "use"}
    assert outside == []
    width, height = drawing.SIZES[size].width, drawing.SIZES[size].height
    assert root.attrib["viewBox"] == f"0 0 {width} {height}"
    assert {"rect", "text"} <= tags


def test_drawing_has_a_policy_of_its_own_and_is_kept_nowhere(filled):
    answer = get(filled, "/llm/dashboard/cost.svg")

    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "status"),
    [("theme=neon", 400), ("size=huge", 400), ("range=x", 400), ("size=wide", 200)],
)
def test_drawing_says_which_parameter_is_wrong(app, query, status):
    answer = get(app, f"/llm/dashboard/tokens.svg?{query}")

    assert answer.status_code == status
    assert status == 200 or answer.json["parameter"] == query.partition("=")[0]


def test_chart_that_there_is_not_is_not_found(app):
    assert get(app, "/llm/dashboard/nothing.svg").status_code == 404


def test_colours_of_drawings_are_those_of_the_page():
    sheet = resources.files("flask_llm.web").joinpath("static", "dashboard.css")
    light, dark = re.findall(r":root \{(.*?)\}", sheet.read_text("utf-8"), re.DOTALL)[
        :2
    ]

    for block, name in ((light, "light"), (dark, "dark")):
        theme = drawing.THEMES[name]
        found = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        assert (found["soft"], found["line"], found["card"]) == (
            theme.ink,
            theme.line,
            theme.card,
        )
        colours = [found[f"colour-{n}"] for n in range(len(theme.series))]
        assert colours == list(theme.series)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (3, [0, 1, 2, 3]),
        (7, [0, 2, 4, 6, 8]),
        (10, [0, 5, 10]),
        (21, [0, 10, 20, 30]),
        (560_000_000, [0, 200_000_000, 400_000_000, 600_000_000]),
    ],
)
def test_marks_of_an_axis_are_few_and_round(most, expected):
    marks, step = drawing.marks(most)

    assert marks == expected
    assert step == marks[1]


# Without pygal


def test_page_without_pygal_has_its_tables_and_says_how_to_get_charts(
    filled, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pygal", None)

    answer = get(filled)

    page = Words.read(answer.text)
    assert "pip install 'flask-llm[dashboard]'" in " ".join(page.words)
    assert "svg?" not in answer.text
    assert page.attributes.count(("open", None)) == len(CHARTS)


def test_drawing_without_pygal_is_not_found_and_says_the_cure(filled, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygal", None)

    answer = get(filled, "/llm/dashboard/cost.svg")

    assert answer.status_code == 404
    assert "flask-llm[dashboard]" in answer.json["detail"]


def test_money_of_a_report_is_that_of_the_page(state):
    line = Reader(state, EVERYTHING, choose()).course().total

    assert EN.money(line.cost_nanos) == EN.dollars(Decimal(usd(line.cost_nanos)))
