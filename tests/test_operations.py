"""What docs/operations.md says is so, and its examples run."""

import io
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import read_rows
from flask_login import UserMixin, login_user
from sqlalchemy import create_engine
from werkzeug.middleware.proxy_fix import ProxyFix

import flask_llm
from flask_llm.chat import Message, Prompt
from flask_llm.emulator import Answer
from flask_llm.observe.conventions import EXPERIMENTAL, V1_41
from flask_llm.observe.log import FIELDS
from flask_llm.observe.prometheus import COUNTERS, HISTOGRAMS
from flask_llm.usage import Outcome

ROOT = Path(__file__).parents[1]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")


def operations(heading, language="python"):
    """Return the examples under a heading of docs/operations.md."""
    section = OPERATIONS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def llm_logger():
    """The package's logger, put back afterwards."""
    logger = logging.getLogger("flask_llm")
    level, handlers = logger.level, list(logger.handlers)
    yield logger
    logger.setLevel(level)
    logger.handlers = handlers


def test_example_of_logs_as_json_runs(app, emulator, llm_logger):
    names = {}
    (example,) = operations("Logs")
    exec(example, names)
    names["handler"].setStream(io.StringIO())

    answer = flask_llm.complete("Hi", user="ann")

    line = json.loads(names["handler"].stream.getvalue())
    assert (line["level"], line["user"]) == ("INFO", "ann")
    assert line["request_id"] == answer.request_id
    assert Decimal(line["cost_usd"]) == answer.cost_usd


def test_operations_lists_every_field_of_a_line():
    section = OPERATIONS.partition("## Logs\n")[2].partition("```python")[0]
    table = "".join(line for line in section.splitlines() if line.startswith("| `"))
    cells = re.findall(r"\| ((?:`\w+`(?:, )?)+) \|", table)

    listed = {name for cell in cells for name in re.findall(r"\w+", cell)}

    assert listed == {*FIELDS, "user", "cost_usd", "saved_usd"}


def test_examples_of_metrics_serve_what_calls_cost(make_app, emulator):
    app = make_app("metrics")
    for example in operations("Metrics"):
        exec(example, {"app": app})

    with app.app_context():
        flask_llm.complete("Hi")

    text = app.test_client().get("/metrics").text
    listed = re.findall(r"^\| `(flask_llm_\w+)`", OPERATIONS, re.MULTILINE)
    shown = {name.removesuffix("_total") for name in listed}
    assert shown == {f"flask_llm_{name}" for name in (*COUNTERS, *HISTOGRAMS)}
    assert [name for name in listed if f"# TYPE {name} " not in text] == []
    assert 'flask_llm_calls_total{error="",model="openai/gpt-4o-mini"' in text


def test_example_of_tracing_runs_and_its_names_are_those_in_use(make_app, emulator):
    app = make_app("traced")
    (example,) = operations("Tracing")
    exec(example, {"app": app})

    with app.app_context():
        flask_llm.complete("Hi")

    section = OPERATIONS.partition("## Tracing\n")[2].partition("\n## ")[0]
    for names in (V1_41, EXPERIMENTAL):
        assert f"`{names.first_chunk}`" in section
        assert f"`{names.cache_write}`" in section
        assert all(f"`{name}`" in section for name in names.durations.values())


def test_example_of_a_receiver_runs(app, emulator, caplog):
    (example,) = operations("Receivers of your own")
    exec(example, {"app": app})
    emulator.script(Answer(usage={"input_tokens": 900_000, "output_tokens": 1}))

    flask_llm.complete("Hi", user="ann")

    assert "A call by ann cost more than 5 cents." in caplog.text


def test_example_of_health_is_what_is_answered(make_app, provider_rows):
    app = make_app(LLM_PROVIDERS={"openai": provider_rows["openai"]})
    (example,) = operations("Health", "json")

    answer = app.test_client().get(
        "/llm/health", headers={"Authorization": "Bearer letmein"}
    )

    assert answer.json == json.loads(example)


def test_examples_of_access_let_in_whom_they_say(make_app):
    app = make_app("login", register=False, LLM_REPORTS_TOKEN=None)
    names = {"app": app}
    for example in operations("Access to the reports"):
        exec(example, names)

    class User(UserMixin):
        def __init__(self, name):
            self.id, self.is_admin = name, name == "root"

    names["login"].user_loader(User)
    client = app.test_client()

    @app.post("/login/<name>")
    def enter(name):
        login_user(User(name))
        return ""

    found = [client.get("/llm/usage").status_code]
    for name in ("ann", "root"):
        client.post(f"/login/{name}")
        found.append(client.get("/llm/usage").status_code)

    assert found == [403, 403, 200]
    assert isinstance(app.wsgi_app, ProxyFix)


TABLES = "Keeping the tables small"


def call(app, at, user):
    """Write the books of one call down as it is made and settled; return its entry."""
    ledger = app.extensions["llm"].ledger
    ledger._now = lambda: at
    prompt = Prompt(
        provider="openai", model="m", messages=(Message("user", "Hi"),), user=user
    )
    entry = ledger.entry(prompt)
    ledger.open(entry)
    ledger.settle(entry, Outcome(status="ok", cost_nanos=10**9))
    return entry


def test_command_that_keeps_tables_small_runs(app):
    (example,) = operations(TABLES, "sh")
    call(app, datetime.now(UTC) - timedelta(days=100), "ann")

    result = app.test_cli_runner().invoke(args=example.split()[1:])

    assert result.exit_code == 0, result.output
    assert read_rows(app) == []


@pytest.mark.parametrize("database_uri", ["postgres"], indirect=True)
def test_months_are_partitions_as_the_page_says(make_app, database_uri):
    app = make_app(LLM_DATABASE_URI=database_uri, LLM_AUTO_MIGRATE=True)
    call(app, datetime(2026, 11, 20, tzinfo=UTC), "before")
    change, drop = operations(TABLES, "sql")
    engine = create_engine(database_uri, isolation_level="AUTOCOMMIT")

    with engine.connect() as connection:
        connection.exec_driver_sql(change.replace("%", "%%"))
    entry = call(app, datetime(2027, 1, 15, 12, tzinfo=UTC), "after")
    ledger = app.extensions["llm"].ledger
    ledger._writer.settle(entry.row, entry.row)  # as a journal replayed twice does
    with engine.connect() as connection:
        months = "SELECT count(*) FROM llm_usage_2027_01"
        in_january = connection.exec_driver_sql(months).scalar_one()
        connection.exec_driver_sql(drop)
    engine.dispose()

    assert in_january == 1
    assert [row.user_id for row in read_rows(app)] == ["before"]
    report = app.test_client().get(
        "/llm/usage?since=2026-01-01&until=2028-01-01&group_by=user",
        headers={"Authorization": "Bearer letmein"},
    )
    assert sorted(line["user"] for line in report.json["groups"]) == ["after", "before"]
    assert report.json["total"]["cost_usd"] == "2.000000000"
