"""What keeps and shows the books from the command line, as people type it."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from conftest import read_rows
from sqlalchemy import select

import flask_llm
from flask_llm.chat import Message, Prompt
from flask_llm.usage import Outcome
from flask_llm.usage.models import hourly, marks

NOW = datetime.now(UTC)


@pytest.fixture
def made(make_app, database_uri):
    """An app over each kind of database."""
    app = make_app(LLM_DATABASE_URI=database_uri)
    llm(app, "db", "upgrade")
    return app


def llm(app, *args):
    return app.test_cli_runner().invoke(args=["llm", *args])


def settle(app, *, days=0, **options):
    """Write a call down that ended so many days ago."""
    ledger = app.extensions["llm"].ledger
    message = Message("user", "Hi")
    prompt = Prompt(provider="openai", model="m", messages=(message,), **options)
    entry = ledger.entry(prompt)
    entry.row["created_at"] = NOW - timedelta(days=days, minutes=1)
    ledger.settle(entry, Outcome(status="ok", cost_nanos=10**9))


def total(app, **parameters):
    return (
        app.test_client()
        .get(
            "/llm/usage",
            query_string={"since": "400d"} | parameters,
            headers={"Authorization": "Bearer letmein"},
        )
        .json
    )


def forget_sums(app):
    """Leave the tables as an upgrade from a release without sums leaves them."""
    with app.extensions["llm"].database.begin() as connection:
        connection.execute(hourly.delete())
        connection.execute(marks.delete())


# rollup


def test_rollup_says_how_far_the_sums_reach(made):
    settle(made)

    assert llm(made, "rollup").stdout == "Every row is in the sums.\n"


def test_rollup_names_the_cure_where_rows_are_not_in_the_sums(made):
    settle(made, days=9)
    forget_sums(made)

    result = llm(made, "rollup")

    assert "No row before the upgrade is in the sums" in result.stdout
    assert "flask llm rollup --rebuild" in result.stdout


def test_rebuild_counts_what_nobody_counted(made):
    for days in (0, 9, 40):
        settle(made, days=days, user="ann")
    expected = total(made, group_by="user")
    forget_sums(made)

    before = total(made, group_by="user")
    result = llm(made, "rollup", "--rebuild")
    after = total(made, group_by="user")

    assert result.exit_code == 0
    assert result.stdout == "Every row is in the sums.\n"
    assert (before["source"], after["source"]) == ("rows", "rollup")
    assert before["groups"] == after["groups"] == expected["groups"]


def test_upgrade_over_rows_that_are_there_is_right_at_once(make_app, database_uri):
    app = make_app(LLM_DATABASE_URI=database_uri)
    llm(app, "db", "upgrade")
    settle(app, days=3)
    llm(app, "db", "downgrade", "0004", "--yes")

    llm(app, "db", "upgrade")
    settle(app)
    report = total(app)

    assert (report["source"], report["total"]["calls"]) == ("rows", 2)
    assert llm(app, "rollup", "--rebuild").exit_code == 0
    report = total(app)
    assert (report["source"], report["total"]["calls"]) == ("rollup", 2)


def test_rollup_as_json_says_what_is_in_the_sums(made):
    settle(made, days=9)
    forget_sums(made)

    lacking = json.loads(llm(made, "rollup", "--json").stdout)
    whole = json.loads(llm(made, "rollup", "--rebuild", "--json").stdout)

    nothing = {"counts_since": None, "purged_before": None}
    assert lacking == {"counts_all": False} | nothing
    assert whole == {"counts_all": True} | nothing


# purge


def test_purge_deletes_rows_and_keeps_what_they_come_to(made):
    settle(made, days=100, user="ann")
    settle(made, user="ann")
    before = total(made, group_by="user")

    result = llm(made, "purge", "--before", "90d", "--yes")

    assert result.exit_code == 0
    assert "1 rows from before" in result.stdout
    assert len(read_rows(made)) == 1
    assert total(made, group_by="user")["groups"] == before["groups"]


def test_purge_as_json_says_how_many_and_from_before_when(app):
    settle(app, days=100)
    settle(app)

    told = json.loads(llm(app, "purge", "--before", "90d", "--json").stdout)
    rollup = json.loads(llm(app, "rollup", "--json").stdout)

    assert told["deleted"] == 1
    assert rollup["purged_before"] == told["before"]
    before = datetime.fromisoformat(told["before"])
    assert timedelta(hours=-1) < before - (NOW - timedelta(days=90)) < timedelta(1)


def test_purge_refuses_to_lose_what_no_sum_holds(made):
    settle(made, days=100)
    forget_sums(made)

    result = llm(made, "purge", "--before", "90d", "--yes")

    assert result.exit_code == 1
    assert "run: flask llm rollup --rebuild" in result.stderr
    assert len(read_rows(made)) == 1


@pytest.mark.parametrize("before", ["1h", "now", "2999-01-01", "ninety", ""])
def test_purge_names_what_is_wrong_with_before(made, before):
    settle(made)

    result = llm(made, "purge", "--before", before, "--yes")

    assert result.exit_code == 2
    assert "--before" in result.stderr
    assert len(read_rows(made)) == 1


def test_purge_settles_what_dead_workers_left(app):
    ledger = app.extensions["llm"].ledger
    message = Message("user", "Hi")
    entry = ledger.entry(Prompt(provider="openai", model="m", messages=(message,)))
    entry.row["created_at"] = entry.row["expires_at"] = NOW - timedelta(days=100)
    ledger.open(entry)

    llm(app, "purge", "--before", "90d", "--yes")

    assert read_rows(app) == []
    assert total(app)["total"]["failed"] == 1


# export


def test_export_is_csv_of_all_rows(app, emulator):
    flask_llm.complete("Hi", user="=1+1")
    flask_llm.complete("Hi", user="bob")

    result = llm(app, "export")

    lines = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {line["user"] for line in lines} == {"'=1+1", "bob"}


def test_export_as_json_lines_into_a_file(app, emulator, tmp_path):
    flask_llm.complete("Hi", user="ann", tags={"a": "ї"})
    path = tmp_path / "calls.jsonl"

    result = llm(app, "export", "--format", "jsonl", "--output", str(path))

    (line,) = path.read_text("utf-8").splitlines()
    assert result.exit_code == 0
    assert json.loads(line)["tags"] == {"a": "ї"}


def test_export_is_filtered(app, emulator):
    for user in ("ann", "bob", "eve"):
        flask_llm.complete("Hi", user=user)

    result = llm(app, "export", "--user", "ann", "--user", "eve")

    lines = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [line["user"] for line in lines] == ["eve", "ann"]


@pytest.mark.parametrize(
    ("option", "calls"),
    [("--provider=openai", 1), ("--provider=google", 0), ("--status=ok", 1)],
)
def test_export_knows_the_filters_of_reports(app, emulator, option, calls):
    flask_llm.complete("Hi")

    assert len(llm(app, "export", option).stdout.splitlines()) == 1 + calls


def test_export_names_a_bad_option(app):
    result = llm(app, "export", "--since", "yesterday")

    assert result.exit_code == 2
    assert "--since: an ISO date or time" in result.stderr


# budgets


def test_budgets_are_meters(make_app):
    app = make_app(LLM_BUDGETS=["$2/month per tenant", "$9/day per app"])
    with app.app_context():
        flask_llm.complete("Hi", tenant="acme", max_tokens=10)

        output = llm(app, "budgets").stdout
        told = json.loads(llm(app, "budgets", "--per", "tenant", "--json").stdout)

    assert "$2/month per tenant" in output
    assert "acme" in output
    assert "▏" + "░" * 23 in output
    assert [state["subject"] for state in told["budgets"][0]["subjects"]] == ["acme"]
    assert len(told["budgets"]) == 1


def test_budget_that_nobody_spent_of_says_so(make_app):
    app = make_app(LLM_BUDGETS=["$2/month per tenant"])

    assert llm(app, "budgets").stdout == "$2/month per tenant: nothing spent yet.\n\n"


def test_budgets_that_are_not_there_are_said_to_be_set(app):
    assert "see LLM_BUDGETS" in llm(app, "budgets").stdout


def test_budgets_name_a_bad_option(app):
    result = llm(app, "budgets", "--per", "planet")

    assert result.exit_code == 2
    assert "--per: it is one of" in result.stderr


def test_sums_are_in_bounds_of_every_database(made):
    settle(made, user="ї" * 128, tenant="ї" * 128, feature="ї" * 128)

    with made.extensions["llm"].database.begin() as connection:
        found = connection.execute(select(hourly.c.subject)).scalars().all()

    assert "ї" * 128 in found
