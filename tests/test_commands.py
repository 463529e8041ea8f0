"""Every command and address of the documentation, tried as a reader would try it.

A command that is written down and can neither be run here nor is named below with the
test that shows it, or with the reason why there is none, fails.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update

import flask_llm
from flask_llm.chat import Message, Prompt
from flask_llm.usage import Outcome
from flask_llm.usage.models import usage

ROOT = Path(__file__).parents[1]
PAGES = {
    page.name: page.read_text("utf-8")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if page.name != "architecture.md"  # which tells where things are, not what to type
}
PROGRAMS = (
    "curl cyclonedx-py docker export flask gunicorn nginx pip pip-audit psql python sh "
    "systemctl uwsgi"
)
TOKEN = {"Authorization": "Bearer letmein"}

SHOWN_ELSEWHERE = {
    "LLM_OSV=all.zip python .ci/audit.py .venv/lib/python3.12/site-packages": (
        "test_audit.py::test_a_copy_of_the_records_makes_up_for_it"
    ),
    "PYTHONPATH=tests python -m load.run --users 200 --seconds 300 --uri "
    "postgresql+psycopg://user@host/an_empty_database --redis "
    "redis://127.0.0.1:6379/15 --picture load.svg": (
        "load/test_load.py::"
        "test_under_load_no_call_is_lost_no_budget_passed_and_nothing_grows"
    ),
    "flask --app demo_app llm emulator --latency 0.3 3 --faults 0.05 &": (
        "load/test_load.py::"
        "test_under_load_no_call_is_lost_no_budget_passed_and_nothing_grows"
    ),
    "flask --app yours llm loadtest --users 20 --seconds 60 --streams 0.5": (
        "test_cli_loadtest.py::test_users_ask_until_the_time_is_over"
    ),
    "flask llm batch cancel ID": "test_cli_batch.py::test_cancel_gives_a_batch_up",
    "flask llm batch fetch ID > answers.jsonl": (
        "test_cli_batch.py::test_prompts_of_a_file_are_answered_in_a_file"
    ),
    "flask llm prices MODEL": "test_cli.py::test_prices_tells_the_rule_and_the_rates",
    "python tests/benchmarks/reports.py": (
        "test_commands.py::test_benchmark_of_reports_runs"
    ),
    "python tests/fuzz all --plain --seconds 5": (
        "fuzz/test_fuzz.py::test_the_command_feeds_a_target_and_says_how_often"
    ),
    "python tests/fuzz histories --seconds 600": (
        "fuzz/test_fuzz.py::test_the_command_feeds_a_target_and_says_how_often"
    ),
}
"""Commands that need what is not here, with the test that has it."""

NOT_RUN = {
    "cyclonedx-py environment --output-file sbom.json": "is run by .ci/run",
    "export OPENAI_BASE_URL=http://127.0.0.1:8111/v1 OPENAI_API_KEY=emulator-key": (
        "is what the emulator prints, which test_cli.py reads"
    ),
    "export OPENAI_API_KEY=…": "a key is nobody's to write down",
    "LLM_TEST_MODEL=yes sh tests/run.sh tests/real": "gets a model of 127 MB",
    "TIKTOKEN_CACHE_DIR=/srv/tiktoken python -c "
    "\"import tiktoken; tiktoken.get_encoding('o200k_base')\"": "downloads a file",
    "flask db migrate": "is of another package, and said to do nothing to ours",
    "pip-audit": "is run by .ci/run, as far as there is somebody to ask",
    "python -m pytest tests/benchmarks/bench_calls.py": "measures, for a minute",
    "python tests/real/serve.py": "gets a model of 127 MB",
    "sh demo_app/run.sh": "makes an environment; test_demo.py shows what it starts",
    "sh tests/run.sh": "is what runs this test",
    "sh tests/run.sh -n 0 -k stream": "is what runs this test",
}
"""Commands that no test runs, and why."""


def fences(page):
    """Return the blocks of a page, each with its language."""
    return re.findall(r"^```(\w*)\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def prose(page):
    """Return what is no example in Python, which is run by another test."""
    return re.sub(
        r"^```python\n.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL
    )


def spans(page):
    """Return what is marked as code in running text."""
    running = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", running)]


def is_command(line):
    names = "|".join(PROGRAMS.split())
    return re.match(rf"(?:[A-Z_]+=\S+ )*(?:{names}) ", line) is not None


def commands(page):
    """Return the commands of a page, each once, without what a line says of them."""
    found = [span for span in spans(page) if is_command(span)]
    for language, block in fences(page):
        if language in {"sh", "shell", "console"}:
            lines = block.replace("\\\n", "").splitlines()
            found += [re.sub(r"\s+# .*", "", line) for line in lines if line.strip()]
    return sorted({" ".join(line.split()) for line in found})


COMMANDS = [(page, command) for page in PAGES for command in commands(page)]
OURS = sorted(
    {
        command
        for _, command in COMMANDS
        if command.startswith("flask llm ") and command not in SHOWN_ELSEWHERE
    }
)
EXTRAS = sorted({one for _, one in COMMANDS if one.startswith("pip install ")})
CURLS = sorted({one for _, one in COMMANDS if one.startswith("curl ")})
SERVERS = sorted({one for _, one in COMMANDS if one.startswith("gunicorn ")})
ADDRESSES = sorted(
    {
        address.rstrip(".,;:")
        for page in PAGES
        for address in re.findall(r"(?<![\w/])/llm/[^\s`\"'()|]+", prose(page))
    }
)
TOLD_AS_JSON = re.findall(
    r"^\| `(flask llm [^`]+ --json)` \| (.+) \|$", PAGES["reports.md"], re.MULTILINE
)


@pytest.fixture
def app(make_app, tmp_path, emulator, monkeypatch):
    """An app with some calls, the oldest of them of a year ago."""
    app = make_app(
        LLM_MODEL="openai/gpt-6-luna",
        LLM_BUDGETS=["$9/day per user", "$99/month per app"],
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").write_text('"One."\n"Two."\n')
    with app.app_context():
        for user in ("ann", "bob", None):
            flask_llm.complete("Hi", user=user, feature="chat", tenant="acme")
        yield app


def age(app, days):
    """Let all calls so far have been made so many days ago."""
    database = app.extensions["llm"].database
    then = datetime.now(UTC) - timedelta(days=days)
    with database.begin() as connection:
        connection.execute(update(usage).values(created_at=then))


def test_every_command_is_known():
    known = {*OURS, *EXTRAS, *CURLS, *SERVERS, *SHOWN_ELSEWHERE, *NOT_RUN}

    assert [(page, one) for page, one in COMMANDS if one not in known] == []


def test_commands_stand_in_blocks_of_their_own_language():
    hidden = [
        (page, line)
        for page in PAGES
        for language, block in fences(page)
        for line in block.splitlines()
        if language not in {"sh", "shell", "console"} and is_command(line)
    ]

    assert hidden == []


def test_lists_here_name_what_is_written_down():
    written = {command for _, command in COMMANDS}

    assert [one for one in SHOWN_ELSEWHERE | NOT_RUN if one not in written] == []


@pytest.mark.parametrize("command", SHOWN_ELSEWHERE)
def test_command_shown_elsewhere_has_its_test(command):
    file, _, function = SHOWN_ELSEWHERE[command].partition("::")

    assert f"def {function}(" in (ROOT / "tests" / file).read_text("utf-8")


@pytest.mark.parametrize("command", OURS)
def test_command_runs(app, command):
    result = app.test_cli_runner().invoke(args=shlex.split(command)[1:])

    assert result.exit_code == 0, result.output
    assert "Error" not in result.output


def test_purge_of_the_documentation_deletes_what_is_old(app, rows):
    age(app, days=100)
    flask_llm.complete("Hi")
    runner = app.test_cli_runner()

    runner.invoke(args=["llm", "rollup", "--rebuild"])
    runner.invoke(args=shlex.split("llm purge --before 90d"))

    assert "flask llm purge --before 90d" in OURS
    assert len(rows()) == 1


@pytest.mark.parametrize(("command", "told"), TOLD_AS_JSON)
def test_json_has_what_is_said_of_it(app, command, told):
    result = app.test_cli_runner().invoke(args=shlex.split(command)[1:])
    shown = json.loads(result.stdout)

    for name in re.findall(r"`([^`]+)`", told):
        if name.startswith("/llm/"):
            answer = app.test_client().get(name, headers=TOKEN).json
            assert shown.keys() == answer.keys()
        else:
            assert f'"{name}":' in result.stdout


def test_each_command_with_json_is_in_the_table():
    assert len(TOLD_AS_JSON) == PAGES["reports.md"].count(" --json`")


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_answers(app, address):
    answer = app.test_client().get(address, headers=TOKEN)

    assert answer.status_code == 200
    assert app.test_client().get(address).status_code == 401


@pytest.mark.parametrize("command", CURLS)
def test_request_by_curl_is_answered(app, command):
    program, option, header, url = shlex.split(command.replace("$TOKEN", "letmein"))
    name, _, value = header.partition(": ")
    path = url.removeprefix("https://example.com")

    answer = app.test_client().get(path, headers={name: value})

    assert (program, option) == ("curl", "-H")
    assert answer.status_code == 200
    assert answer.json["total"]["calls"] == 3


@pytest.mark.parametrize("command", EXTRAS)
def test_what_is_to_be_installed_is_there_to_be_installed(command):
    (_, _, *names) = [word for word in shlex.split(command) if word != "-e"]
    config = (ROOT / "setup.cfg").read_text("utf-8")

    for name in names:
        package, _, extras = name.rstrip("]").partition("[")
        assert package in {"flask-llm", "."} or f"\n    {package} >= " in config
        assert all(f"\n{extra} =\n" in config for extra in extras.split(",") if extra)


def test_benchmark_of_reports_runs():
    rows = re.findall(
        r"^\| ([^|]+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$",
        PAGES["reports.md"],
        re.MULTILINE,
    )

    result = subprocess.run(
        [sys.executable, "tests/benchmarks/reports.py", "--sizes", "20"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert len(rows) == 7
    assert [name for name in rows if f"  {name} " not in result.stdout] == []


# Servers


def gunicorns():
    """Return what gunicorn is told: whole commands, and options by themselves."""
    _, _, section = PAGES["operations.md"].partition("- **gunicorn**")
    section, _, _ = section.partition("\n- **")
    options = re.findall(r"`(--\S+ [^`]+)`", section)
    return [*SERVERS, *(f"gunicorn {one}" for one in options)]


@pytest.mark.parametrize("command", gunicorns())
def test_gunicorn_knows_its_options(command):
    config = pytest.importorskip("gunicorn.config")

    given = config.Config().parser().parse_args(shlex.split(command)[1:])

    assert given.worker_class in {"gthread", "gevent"}


# Statements

TO_PARTITIONS, WITHOUT_A_MONTH = [
    block for language, block in fences("operations.md") if language == "sql"
]


@pytest.fixture
def monthly(make_app, _own_database):
    """An app on PostgreSQL with a call of old, changed over to partitions."""
    app = make_app(LLM_DATABASE_URI=_own_database("postgres"))
    runner = app.test_cli_runner()
    runner.invoke(args=["llm", "db", "downgrade", "base"])
    runner.invoke(args=["llm", "db", "upgrade"])
    write(app, datetime(2026, 11, 20, tzinfo=UTC))
    psql(app, TO_PARTITIONS)
    yield app
    psql(app, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def psql(app, script):
    """Run a script as psql does, while no worker is connected."""
    psycopg = pytest.importorskip("psycopg")
    engine = app.extensions["llm"].database.engine
    engine.dispose()
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script)


def write(app, at):
    """Write a call down that was made at some time."""
    ledger = app.extensions["llm"].ledger
    message = Message("user", "Hi")
    entry = ledger.entry(Prompt(provider="openai", model="m", messages=(message,)))
    entry.row["created_at"] = at
    ledger.open(entry)
    ledger.settle(entry, Outcome(status="ok", cost_nanos=10**9))


def places(app):
    """Return which table each row is in, in the order of time."""
    asked = "SELECT tableoid::regclass::text FROM llm_usage ORDER BY created_at"
    with app.extensions["llm"].database.begin() as connection:
        return connection.execute(text(asked)).scalars().all()


def calls(app):
    """Return how many calls the reports count."""
    path = "/llm/usage?since=2026-11-01&until=2027-04-01"
    return app.test_client().get(path, headers=TOKEN).json["total"]["calls"]


def test_rows_go_into_partitions_of_months(monthly):
    write(monthly, datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    write(monthly, datetime(2027, 1, 1, tzinfo=UTC))
    write(monthly, datetime(2027, 2, 1, tzinfo=UTC))

    assert [place.removeprefix("llm_usage_") for place in places(monthly)] == [
        *("before", "before", "2027_01", "later")
    ]
    assert calls(monthly) == 4


def test_month_that_is_dropped_stays_in_the_reports(monthly):
    write(monthly, datetime(2027, 1, 15, tzinfo=UTC))
    write(monthly, datetime(2027, 2, 15, tzinfo=UTC))

    psql(monthly, WITHOUT_A_MONTH)
    result = monthly.test_cli_runner().invoke(args=["llm", "rollup", "--json"])

    assert len(places(monthly)) == 2
    assert calls(monthly) == 3
    assert json.loads(result.stdout)["purged_before"] == "2027-02-01T00:00:00+00:00"
