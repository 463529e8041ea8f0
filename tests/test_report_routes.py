"""The reports as HTTP gives them: rows, CSV, budgets, and what a caller may see."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

import flask_llm
from flask_llm import LLM, llm_bp
from flask_llm.chat import Message, Prompt
from flask_llm.emulator import Answer, Fault
from flask_llm.usage import Outcome
from flask_llm.usage.reports.requests import BATCH_ROWS, NAMES

NOW = datetime.now(UTC).replace(microsecond=0)

ROUTES = ["usage", "usage.csv", "usage/requests", "usage/requests.csv", "budgets"]

HEADERS = {"Authorization": "Bearer letmein"}


def get(app, route, **parameters):
    return app.test_client().get(
        f"/llm/{route}", query_string=parameters, headers=HEADERS
    )


def table(response):
    """Read CSV as a spreadsheet does."""
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.get_data(as_text=True))))


def settle(app, *, at=None, outcome=None, operation="complete", **options):
    """Write a call down that has ended."""
    ledger = app.extensions["llm"].ledger
    prompt = Prompt(
        provider=options.pop("provider", "openai"),
        model=options.pop("model", "gpt-4o-mini"),
        messages=(Message("user", "Hi"),),
        **options,
    )
    entry = ledger.entry(prompt)
    entry.row["operation"] = operation
    entry.row["created_at"] = at or NOW - timedelta(hours=1)
    ledger.settle(entry, outcome or Outcome(status="ok", cost_nanos=5))
    return entry.row["id"]


def pages(app, **parameters):
    """Walk through the pages; what happens between two of them is up to the caller."""
    cursor = {}
    while True:
        found = get(app, "usage/requests", **parameters, **cursor).json
        yield [row["id"] for row in found["requests"]]
        if found["next_cursor"] is None:
            return
        cursor = {"cursor": found["next_cursor"]}


# Single rows


def test_rows_are_newest_first_with_money_as_strings(app, emulator):
    emulator.script(Answer(usage={"input_tokens": 1000, "output_tokens": 100}))
    first = flask_llm.complete("Hi", user="ann", feature="f", tags={"a": "ї"})
    second = flask_llm.complete("Hi")

    newest, oldest = get(app, "usage/requests").json["requests"]

    assert (newest["request_id"], oldest["request_id"]) == (
        second.request_id,
        first.request_id,
    )
    assert oldest["cost_usd"] == "0.000210000"
    assert (oldest["user"], oldest["feature"]) == ("ann", "f")
    assert oldest["tags"] == {"a": "ї"}
    assert list(oldest) != []
    assert set(oldest) == set(NAMES.values())


def test_row_of_an_unknown_price_says_null(app, emulator):
    flask_llm.complete("Hi", model="openai/nobody-knows")

    (row,) = get(app, "usage/requests").json["requests"]

    assert row["cost_usd"] is None


def test_call_under_way_is_a_row_and_no_figure(app):
    ledger = app.extensions["llm"].ledger
    message = Message("user", "Hi")
    ledger.open(ledger.entry(Prompt(provider="openai", model="m", messages=(message,))))

    (row,) = get(app, "usage/requests").json["requests"]
    report = get(app, "usage").json

    assert (row["status"], row["finished_at"]) == ("pending", None)
    assert (report["pending"], report["total"]["calls"]) == (1, 0)


def test_pages_are_stable_while_rows_arrive(app):
    same = NOW - timedelta(hours=2)
    expected = {settle(app, at=same) for _ in range(4)}
    expected |= {settle(app, at=same + timedelta(seconds=n)) for n in range(5)}

    seen = []
    for page in pages(app, limit=2):
        seen += page
        settle(app)  # newer than all

    assert sorted(seen) == sorted(expected)


def test_times_are_shown_in_the_zone_asked_for(app):
    settle(app, at=datetime(2026, 7, 1, 12, tzinfo=UTC))

    (row,) = get(
        app, "usage/requests", since="2026-07-01", until="2026-07-02", tz="Europe/Kyiv"
    ).json["requests"]

    assert row["created_at"] == "2026-07-01T15:00:00+03:00"


@pytest.mark.parametrize(
    "parameters",
    [
        {"user": "ann"},
        {"tenant": "acme"},
        {"feature": "f"},
        {"model": "google/gemini"},
        {"provider": "google"},
        {"status": "failed"},
        {"operation": "embed"},
        {"error_code": "overloaded"},
    ],
    ids=str,
)
def test_rows_are_filtered(app, parameters):
    settle(app)
    wanted = settle(
        app,
        user="ann",
        tenant="acme",
        feature="f",
        provider="google",
        model="gemini",
        operation="embed",
        outcome=Outcome(status="failed", error_code="overloaded"),
    )

    rows = get(app, "usage/requests", **parameters).json["requests"]

    assert [row["id"] for row in rows] == [wanted]


def test_rows_of_one_call_are_found_by_its_id(app, emulator):
    emulator.script(Fault(status=401))
    with pytest.raises(flask_llm.AuthenticationError) as caught:
        flask_llm.complete("Hi")
    flask_llm.complete("Hi")

    rows = get(app, "usage/requests", request_id=caught.value.request_id).json

    assert [row["status"] for row in rows["requests"]] == ["failed"]


# Bad questions

BAD = [
    ("usage/requests", "cursor", "nonsense"),
    ("usage/requests", "cursor", ""),
    ("usage/requests", "cursor", "W10"),
    ("usage/requests", "cursor", "WyJub3ciLCAxXQ"),
    ("usage/requests", "cursor", "' OR 1=1 --"),
    ("usage/requests", "limit", "501"),
    ("usage/requests", "limit", "0"),
    ("usage/requests", "group_by", "model"),
    ("usage/requests", "sort", "calls"),
    ("usage/requests", "user_id", "ann"),
    ("usage/requests", "tags", "a"),
    ("usage/requests.csv", "cursor", "W10"),
    ("usage/requests.csv", "limit", "5"),
    ("usage/requests.csv", "since", "yesterday"),
    ("usage.csv", "group_by", "cost_nanos"),
    ("usage.csv", "tz", "Mars/Olympus"),
    ("usage", "group_by", "user;drop table llm_usage"),
    ("usage", "since", "0001-01-01"),
    ("usage", "until", "9999-12-31"),
    ("usage", "request_id", "a"),
    ("budgets", "per", "planet"),
    ("budgets", "limit", "501"),
    ("budgets", "since", "7d"),
]


@pytest.mark.parametrize(("route", "parameter", "value"), BAD)
def test_bad_parameter_is_named_and_nothing_told(app, route, parameter, value):
    settle(app, user="secret-user")

    response = get(app, route, **{parameter: value})

    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"
    assert response.json["parameter"] == parameter
    assert "secret-user" not in response.text
    assert "SELECT" not in response.text


# CSV

FORMULAS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    " =1",
    "\uff1d1",
]


@pytest.mark.parametrize("label", FORMULAS)
@pytest.mark.parametrize("route", ["usage.csv", "usage/requests.csv"])
def test_label_is_no_formula_in_a_spreadsheet(app, route, label):
    settle(app, user=label, feature='"quoted", and\nbroken')
    by = {"group_by": "user,feature"} if route == "usage.csv" else {}

    (line,) = table(get(app, route, **by))

    assert line["user"] == f"'{label}"
    assert line["feature"] == '"quoted", and\nbroken'


def test_money_below_zero_is_a_number_in_a_spreadsheet(app):
    settle(app, outcome=Outcome(status="ok", cost_nanos=1, prompt_saved_nanos=-20))

    (line,) = table(get(app, "usage.csv"))

    assert line["prompt_saved_usd"] == "-0.000000020"


def test_csv_has_the_figures_of_the_report(app):
    for name, cost in (("ann", 7), ("bob", None)):
        outcome = Outcome(status="ok", cost_nanos=cost, duration_ms=1000)
        settle(app, user=name, outcome=outcome)

    lines = table(get(app, "usage.csv", group_by="user", sort="group"))
    groups = get(app, "usage", group_by="user", sort="group").json["groups"]

    assert lines == [
        {name: "" if value is None else str(value) for name, value in group.items()}
        for group in groups
    ]


def test_csv_is_a_file_that_no_cache_keeps(app):
    response = get(app, "usage/requests.csv")

    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == (
        "attachment; filename=llm-requests.csv"
    )
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_csv_of_rows_is_read_in_batches_and_holds_no_connection(app):
    many = BATCH_ROWS + 7
    ledger = app.extensions["llm"].ledger
    for number in range(many):
        settle(app, at=NOW - timedelta(minutes=number))

    response = app.test_client().get(
        "/llm/usage/requests.csv", headers=HEADERS, buffered=False
    )
    chunks = iter(response.response)
    next(chunks)
    next(chunks)
    held = ledger.database.engine.pool.checkedout()
    rest = b"".join(
        chunk if isinstance(chunk, bytes) else chunk.encode() for chunk in chunks
    )

    assert held == 0
    assert rest.count(b"\r\n") == 7
    response.close()


# Budgets


@pytest.fixture
def spent(make_app):
    app = make_app(LLM_BUDGETS=["$10/day per tenant", "$100/month per app"])
    with app.app_context():
        flask_llm.complete("Hi", tenant="acme", max_tokens=10)
        flask_llm.complete("Hi", tenant="globex", max_tokens=10)
        yield app


def test_budgets_say_where_they_stand(spent):
    tenant, whole = get(spent, "budgets").json["budgets"]

    assert (tenant["per"], tenant["period"], tenant["limit_usd"]) == (
        "tenant",
        "day",
        "10",
    )
    assert {state["subject"] for state in tenant["subjects"]} == {"acme", "globex"}
    (state,) = whole["subjects"]
    assert Decimal(state["spent_usd"]) > 0
    assert Decimal(state["left_usd"]) + Decimal(state["spent_usd"]) == 100
    assert datetime.fromisoformat(state["resets_at"]) > NOW


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"per": "tenant"}, [["acme", "globex"]]),
        ({"per": "tenant", "subject": "acme"}, [["acme"]]),
        ({"per": "tenant", "subject": "nobody"}, [["nobody"]]),
        ({"per": "user"}, []),
    ],
    ids=str,
)
def test_budgets_are_filtered(spent, parameters, expected):
    lines = get(spent, "budgets", **parameters).json["budgets"]

    found = [sorted(state["subject"] for state in line["subjects"]) for line in lines]
    assert found == expected


def test_budget_of_many_subjects_says_that_more_are_there(spent):
    (line,) = get(spent, "budgets", per="tenant", limit=1).json["budgets"]

    assert (len(line["subjects"]), line["truncated"]) == (1, True)


# What a caller may see


@pytest.fixture
def scoped(make_app):
    """An app in which a caller may see what its test says."""
    app, llm = (
        make_app(
            register=False,
            LLM_BUDGETS=[
                "$10/day per tenant",
                "$9/day per user",
                "$100/month per app",
            ],
        ),
        LLM(),
    )

    @llm.reports_scope
    def scope():
        return app.config["SCOPE"]

    llm.init_app(app)
    app.register_blueprint(llm_bp)
    app.config["SCOPE"] = {"tenant": "acme"}
    with app.app_context():
        for tenant in ("acme", "globex"):
            flask_llm.complete(
                "Hi",
                tenant=tenant,
                user=f"u-{tenant}",
                feature=f"f-{tenant}",
                max_tokens=10,
            )
        yield app


QUESTIONS = [
    {},
    {"tenant": "globex"},
    {"user": "u-globex"},
    {"feature": "f-globex"},
    {"group_by": "tenant"},
    {"group_by": "user,feature,tenant,day"},
    {"per": "tenant"},
    {"subject": "globex"},
    {"per": "user", "subject": "u-globex"},
]


@pytest.mark.parametrize("parameters", QUESTIONS, ids=str)
@pytest.mark.parametrize("route", ROUTES)
def test_scoped_caller_sees_nothing_of_others(scoped, route, parameters):
    response = get(scoped, route, **parameters)

    assert response.status_code in {200, 400}
    text = response.text
    assert "u-globex" not in text
    assert "f-globex" not in text
    assert '"globex"' not in text
    assert ",globex," not in text


@pytest.mark.parametrize("group_by", ["", "tenant", "user,feature", "day", "model"])
def test_scoped_caller_sees_figures_of_its_own(scoped, group_by):
    report = get(scoped, "usage", group_by=group_by).json

    assert report["total"]["calls"] == 1


def test_scoped_caller_sees_budgets_of_its_own(scoped):
    (line,) = get(scoped, "budgets").json["budgets"]

    assert (line["per"], [state["subject"] for state in line["subjects"]]) == (
        "tenant",
        ["acme"],
    )


def test_scope_of_several_users(scoped):
    scoped.config["SCOPE"] = {"user": ["u-acme", "u-globex", "u-other"]}

    report = get(scoped, "usage", group_by="user").json

    assert {line["user"] for line in report["groups"]} == {"u-acme", "u-globex"}


def test_scope_of_everything(scoped):
    scoped.config["SCOPE"] = None

    assert get(scoped, "usage").json["total"]["calls"] == 2
    assert len(get(scoped, "budgets").json["budgets"]) == 3


@pytest.mark.parametrize(
    "scope",
    [
        {"tenant": None},
        {"tenant": ""},
        {"tenant": ["acme", ""]},
        {"tennant": "acme"},
        {"tenant": []} | {"user": None},
        "acme",
        False,
    ],
    ids=str,
)
@pytest.mark.parametrize("route", ROUTES)
def test_scope_that_says_nothing_closes_the_reports(scoped, route, scope):
    scoped.config["SCOPE"] = scope

    response = get(scoped, route)

    assert response.status_code == 500
    assert "acme" not in response.text


@pytest.mark.parametrize("route", ROUTES)
def test_nobody_sees_reports_without_a_token(app, route):
    settle(app, user="secret-user")

    response = app.test_client().get(f"/llm/{route}")

    assert response.status_code == 401
    assert response.headers["Cache-Control"] == "no-store"
    assert "secret-user" not in response.text
