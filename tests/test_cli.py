"""``flask llm`` as people type it."""

import json
import os
import subprocess

import pytest
from conftest import KEY, read_rows

import flask_llm
from flask_llm.chat import Message, Prompt
from flask_llm.cli.group import COMMANDS, llm_cli
from flask_llm.emulator import Answer, Fault
from flask_llm.usage.models import REVISION


def test_help_lists_every_command(run):
    output = run("--help").output

    assert [name for name in COMMANDS if f"  {name} " not in output] == []


@pytest.mark.parametrize("how", [(), ("--stream",)])
def test_ask_prints_the_answer_and_what_it_cost(run, emulator, how):
    usage = {"input_tokens": 1000, "output_tokens": 100}
    emulator.script(Answer(text="Hello, you.", usage=usage))

    result = run("ask", "Hello", *how)

    assert result.stdout == "Hello, you.\n"
    assert "1000 + 100 tokens, $0.00021," in result.stderr


def test_failed_call_is_one_line_without_traceback(run, emulator):
    emulator.script(Fault(status=401))

    result = run("ask", "Hello")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The provider answered 401")
    assert KEY not in result.output


def test_usage_is_a_table_with_bars_and_a_total(app, run):
    flask_llm.complete("Hi", feature="chat")
    flask_llm.complete("Hi", feature="search")

    lines = run("usage", "--group-by", "feature").stdout.splitlines()

    assert [line.split()[0] for line in lines[1:]] == ["chat", "search", "total"]
    assert lines[1].endswith("█" * 24)
    assert lines[3].split()[1] == "2"


def test_usage_speaks_of_calls_without_a_price(app, run):
    flask_llm.complete("Hi", model="openai/nobody-knows")

    output = run("usage").stdout

    assert "1 calls have no known price and are not in the sum." in output


def test_usage_as_json_is_the_report(app, run):
    flask_llm.complete("Hi")

    report = json.loads(run("usage", "--json").stdout)

    assert report["total"]["calls"] == 1
    assert report["groups"][0]["model"] == "openai/gpt-4o-mini"


def test_usage_is_narrowed_by_filters(app, run):
    for user in ("ann", "bob", "eve"):
        flask_llm.complete("Hi", user=user)

    args = ("usage", "--user", "ann", "--user", "eve", "--status", "ok")
    report = json.loads(run(*args, "--group-by", "user", "--json").stdout)

    assert sorted(line["user"] for line in report["groups"]) == ["ann", "eve"]
    assert report["total"]["calls"] == 2


def test_usage_without_groups_is_the_total(app, run):
    flask_llm.complete("Hi")

    head, total, *rest = run("usage", "--group-by", "").stdout.splitlines()

    assert head.split() == ["calls", "tokens", "USD"]
    assert total.split()[:2] == ["total", "1"]
    assert rest == []


def test_usage_says_when_there_is_more_and_what_is_under_way(app, run):
    ledger = app.extensions["llm"].ledger
    message = Message("user", "Hi")
    ledger.open(ledger.entry(Prompt(provider="openai", model="m", messages=(message,))))
    flask_llm.complete("Hi", user="ann")
    flask_llm.complete("Hi", user="bob")

    output = run("usage", "--group-by", "user", "--limit", "1").stdout

    assert "There are more groups" in output
    assert "Calls under way, which are in no figure yet: 1." in output


def test_price_that_is_not_known_is_not_shown_as_zero(app, run):
    flask_llm.complete("Hi", model="openai/nobody-knows")

    lines = run("usage").stdout.splitlines()

    assert [line.split()[-1] for line in lines[:3]] == ["USD", "unknown", "unknown"]


def test_usage_names_a_bad_option(run):
    result = run("usage", "--group-by", "mdel")

    assert result.exit_code == 2
    assert "--group-by" in result.stderr
    assert "Did you mean 'model'?" in result.stderr


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("anthropic/claude-haiku-5-5", "standard input 0.1 1M tokens"),
        ("anthropic/claude-haiku-5-5", "standard input 0.5 1M tokens 100,000"),
        ("claude-haiku-5-5", "cache_write_1h"),
        ("openai/gpt-4o-mini", "retires on 2027-01-14"),
        ("google/gemini-4-argon", "changes on 2026-12-01"),
        ("ollama/llama", "the price is not known"),
    ],
)
def test_prices_tells_the_rule_and_the_rates(run, model, says):
    assert says in " ".join(run("prices", model).stdout.split())


def test_prices_as_json_are_those_of_the_table(run):
    told = json.loads(run("prices", "anthropic/claude-haiku-5-5", "--json").stdout)

    assert told["rule"] == told["model"] == "anthropic/claude-haiku-5-5"
    assert told["rates"]["standard"][0] == {
        "name": "input",
        "usd": "0.1",
        "per": "1M tokens",
        "above": [{"input_tokens": 100_000, "usd": "0.5"}],
    }


def test_prices_as_json_say_that_there_is_none(run):
    told = json.loads(run("prices", "ollama/llama", "--json").stdout)

    assert (told["rule"], told["rates"]) == (None, {})


def test_dates_of_a_model_are_in_the_json(run):
    assert json.loads(run("prices", "--json").stdout)["retires_on"] == "2027-01-14"


def test_current_revision_as_json_says_whether_it_is_enough(run):
    before = json.loads(run("db", "current", "--json").stdout)
    run("db", "downgrade", "0004")
    after = json.loads(run("db", "current", "--json").stdout)

    assert before == {"revision": REVISION, "needed": REVISION, "is_enough": True}
    assert after == {"revision": "0004", "needed": REVISION, "is_enough": False}


def test_doctor_finds_nothing_wrong_where_nothing_is(make_app):
    app = make_app(LLM_MODEL="openai/gpt-6-luna")

    result = app.test_cli_runner().invoke(args=["llm", "doctor"])

    assert result.exit_code == 0, result.output
    assert "BAD" not in result.output


def test_doctor_names_each_fault_and_its_cure(make_app, tmp_path):
    app = make_app(
        LLM_DATABASE_URI=f"sqlite:///{tmp_path / 'empty.sqlite'}",
        LLM_PROVIDERS={},
        LLM_REPORTS_TOKEN=None,
        LLM_JOURNAL=str(tmp_path / "journal.jsonl"),
    )
    (tmp_path / "journal.jsonl").write_text("{}\n")

    result = app.test_cli_runner().invoke(args=["llm", "doctor"])

    assert result.exit_code == 1
    assert "run: flask llm db upgrade" in result.output
    assert "doctor --replay" in result.output
    assert "OPENAI_API_KEY" in result.output
    assert "Set LLM_MODEL" in result.output
    assert "LLM_REPORTS_TOKEN" in result.output


def test_doctor_replays_the_journal(app, run):
    flask_llm.complete("Hi")
    ledger = app.extensions["llm"].ledger
    lost = dict(read_rows(app)[0]._mapping, id="f" * 32)
    ledger.journal.append(lost)

    result = run("doctor", "--replay")

    assert "1 rows written from the journal." in result.output
    assert [row.id for row in read_rows(app)][-1] == "f" * 32


def test_doctor_says_when_the_database_is_not_there(make_app):
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    app = make_app(LLM_DATABASE_URI=url)

    result = app.test_cli_runner().invoke(args=["llm", "doctor"])

    assert "The database failed (OperationalError)" in result.output


@pytest.mark.parametrize(
    ("command", "question"),
    [
        (["loadtest"], b"Each call costs money"),
        (["db", "downgrade", "base"], b"This drops tables"),
    ],
)
def test_whoever_sits_at_a_terminal_is_asked_first(launch, command, question):
    ours, theirs = os.openpty()

    with launch(
        *command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        os.write(ours, b"n\n")
        output, _ = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)

    assert question in output
    assert b"Aborted!" in output
    assert process.returncode == 1


def test_command_of_an_app_that_is_not_set_up_says_so(make_app):
    app = make_app(register=False)
    app.cli.add_command(llm_cli)

    result = app.test_cli_runner().invoke(args=["llm", "usage"])

    assert result.exit_code == 1
    assert "app.register_blueprint(flask_llm.llm_bp)" in result.stderr
