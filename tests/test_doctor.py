"""``flask llm doctor``: each check, what it finds and its cure."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from conftest import KEY
from flask_caching import Cache
from flask_limiter import Limiter
from sockets import free_port
from sqlalchemy import delete
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_llm import LLM
from flask_llm.cli.doctor import CHECKS, Setup, access, books, clocks, models, workers
from flask_llm.cli.doctor.server import Server, find
from flask_llm.usage.models import marks

NOW = datetime(2026, 11, 24, tzinfo=UTC)
MODERN = {"LLM_MODEL": "openai/gpt-6-luna"}


@pytest.fixture
def look(make_app, tmp_path):
    """Run one check on an app with these settings."""

    def run(check, *, app=None, environ=None, now=None, **config):
        app = app or make_app(**MODERN | config)
        setup = Setup(
            app=app,
            state=app.extensions["llm"],
            environ=environ or {},
            folder=tmp_path,
            now=now or (lambda: NOW),
        )
        return list(check(setup))

    return run


def levels(found):
    return [check.level for check in found]


def doctor(app, *arguments):
    return app.test_cli_runner().invoke(args=["llm", "doctor", *arguments])


# The command


def test_what_is_to_be_mended_is_in_the_exit_code(make_app):
    well, ill = make_app("well", **MODERN), make_app("ill", LLM_REPORTS_TOKEN=None)

    assert doctor(well).exit_code == 0
    assert doctor(ill).exit_code == 1


def test_sums_that_lack_rows_are_told_of(look, make_app):
    app = make_app(**MODERN)
    (whole,) = look(books.rollup, app=app)
    with app.extensions["llm"].database.begin() as connection:
        connection.execute(delete(marks))

    (lacking,) = look(books.rollup, app=app)

    assert (whole.level, lacking.level) == ("ok", "hint")
    assert "flask llm rollup --rebuild" in lacking.cure


def test_all_that_is_not_well_has_a_cure(make_app, tmp_path):
    journal = tmp_path / "journal.jsonl"
    journal.write_text("{}\n")
    app = make_app(
        LLM_PROVIDERS={},
        LLM_MODEL="openai/nobody-knows",
        LLM_BUDGETS=["$1/day"],
        LLM_AUTO_MIGRATE=False,
        LLM_JOURNAL=str(journal),
        LLM_REPORTS_TOKEN=None,
    )

    found = json.loads(doctor(app, "--json").stdout)

    assert found["ok"] is False
    ill = [check for check in found["checks"] if check["level"] != "ok"]
    assert [check for check in ill if not check["cure"]] == []
    assert {check["name"] for check in ill if check["level"] == "bad"} == {
        "tables",
        "journal",
        "keys",
        "prices",
        "reports",
    }


def test_json_says_what_was_replayed(make_app):
    found = json.loads(doctor(make_app(**MODERN), "--json", "--replay").stdout)

    assert (found["ok"], found["replayed"]) == (True, 0)


def test_replay_without_a_database_is_one_line(make_app, tmp_path):
    journal = tmp_path / "journal.jsonl"
    journal.write_text(json.dumps({"id": "0" * 32}) + "\n")
    app = make_app(
        LLM_DATABASE_URI="postgresql+psycopg://nobody@127.0.0.1:1/none",
        LLM_JOURNAL=str(journal),
    )

    result = doctor(app, "--replay")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database failed")
    assert journal.exists()


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_no_key_and_no_token_is_printed(make_app, how):
    app = make_app(LLM_REPORTS_TOKEN="sesame-sesame-open")

    output = doctor(app, *how).output

    assert KEY not in output
    assert "sesame" not in output


def test_checks_look_at_an_app_without_raising_whatever_is_down(look):
    config = {
        "LLM_DATABASE_URI": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "LLM_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }

    found = [check for each in CHECKS for check in look(each, **config)]

    bad = {check.name for check in found if check.level == "BAD"}
    assert bad == {"tables", "redis"}


# The books


def test_missing_tables_are_named_with_the_command(look):
    (check,) = look(books.tables, LLM_AUTO_MIGRATE=False)

    assert (check.level, check.cure) == ("BAD", "Run: flask llm db upgrade")


# Models


def test_missing_key_is_named_by_its_variable(look):
    (check,) = look(
        models.keys, LLM_PROVIDERS={}, LLM_EMBED_MODEL="openai/text-embedding-3-large"
    )

    assert check.level == "BAD"
    assert "OPENAI_API_KEY" in check.text


def test_key_for_embeddings_that_nobody_set_is_only_a_hint(look, provider_rows):
    rows = {"anthropic": provider_rows["anthropic"]}

    found = look(models.keys, LLM_MODEL="claude-haiku-5-5", LLM_PROVIDERS=rows)

    assert sorted(levels(found)) == ["hint", "ok"]


def test_key_of_a_model_that_stands_in_is_looked_for(look, provider_rows):
    rows = {"openai": provider_rows["openai"]}
    fallbacks = {"openai/gpt-6-luna": ["google/gemini-3.8-flash"]}

    found = look(models.keys, LLM_PROVIDERS=rows, LLM_FALLBACKS=fallbacks)

    (bad,) = [check for check in found if check.level == "BAD"]
    assert "GEMINI_API_KEY" in bad.text
    assert "LLM_FALLBACKS" in bad.cure


RETIRING = "openai/gpt-4o-mini"


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"LLM_MODEL": RETIRING}, "LLM_MODEL"),
        ({"LLM_MODEL": "gpt-4o-mini"}, "LLM_MODEL"),
        ({"LLM_EMBED_MODEL": RETIRING}, "LLM_EMBED_MODEL"),
        ({"LLM_FALLBACKS": {"openai/gpt-6-luna": [RETIRING]}}, "LLM_FALLBACKS"),
    ],
)
def test_model_about_to_retire_is_named_with_its_setting(
    look, make_app, caplog, config, key
):
    found = look(models.retirement, **config)
    bad = [check for check in found if check.level == "BAD"]

    assert [check.cure for check in bad] == [f"Set {key} to a current model."]
    assert f"{RETIRING} retires on 2027-01-14. Set {key}" in caplog.text


def test_price_that_nobody_knows_is_bad_where_budgets_refuse_it(look):
    unknown = {"LLM_MODEL": "openai/nobody-knows"}
    budgets = {"LLM_BUDGETS": ["$1/day"]}
    allowed = {"LLM_UNKNOWN_PRICE": "allow"}

    found = [unknown, unknown | budgets, unknown | budgets | allowed, budgets]

    assert [levels(look(models.prices, **config)) for config in found] == [
        ["hint"],
        ["BAD"],
        ["hint"],
        ["ok"],
    ]


@pytest.mark.parametrize(("days", "level"), [(90, "ok"), (91, "hint")])
def test_old_prices_are_a_hint(look, make_app, days, level):
    app = make_app(**MODERN)
    made = app.extensions["llm"].prices.table_date
    later = datetime(made.year, made.month, made.day, tzinfo=UTC) + timedelta(days)

    (check,) = look(models.price_table, app=app, now=lambda: later)

    assert isinstance(made, date)
    assert check.level == level


@pytest.mark.parametrize(("tokens", "count"), [(500, 0), (100_000_000, 1)])
def test_budget_that_no_call_fits_into_is_bad(look, tokens, count):
    found = look(models.budgets, LLM_BUDGETS=["$1/day"], LLM_MAX_TOKENS=tokens)

    assert levels(found) == ["BAD"] * count


# Workers


def test_several_workers_without_redis_are_bad(look):
    several = look(workers.memory, environ={"WEB_CONCURRENCY": "4"})
    one = look(workers.memory)

    assert levels(several + one) == ["BAD", "hint"]
    assert several[0].text.startswith("4 workers")


def test_redis_that_answers_is_well(look, redis_url):
    assert levels(look(workers.redis, LLM_REDIS_URL=redis_url)) == ["ok"]
    assert look(workers.memory, LLM_REDIS_URL=redis_url) == []


def test_lent_storages_in_memory_are_seen(look, make_app):
    app = make_app(register=False, LLM_LIMITER=True, LLM_CACHE=True)
    Limiter(lambda: "somebody", app=app, storage_uri="memory://")
    Cache(app, config={"CACHE_TYPE": "SimpleCache"})
    LLM(app)

    one = look(workers.lent_storages, app=app)
    several = look(workers.lent_storages, app=app, environ={"WEB_CONCURRENCY": "2"})

    assert [check.name for check in one] == ["limiter", "cache"]
    assert levels(one + several) == ["hint", "hint", "BAD", "BAD"]


def test_limiter_that_is_not_there_is_bad(look):
    (check,) = look(workers.lent_storages, LLM_LIMITER=True)

    assert (check.name, check.level) == ("limiter", "BAD")


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, "ok"),
        ({"SERVER_SOFTWARE": "Werkzeug/3"}, "ok"),
        ({"SERVER_SOFTWARE": "gunicorn/27.0"}, "BAD"),
        ({"GUNICORN_CMD_ARGS": "--timeout 120"}, "hint"),
        ({"GUNICORN_CMD_ARGS": "-t 0"}, "hint"),
        ({"GUNICORN_CMD_ARGS": "--threads 8"}, "ok"),
        ({"GUNICORN_CMD_ARGS": "-k gevent"}, "ok"),
    ],
)
def test_sync_workers_are_held_against_streams(look, environ, level):
    (check,) = look(workers.streaming, environ=environ)

    assert check.level == level


PATCH = "from gevent import monkey\nmonkey.patch_all()\n"


@pytest.mark.parametrize(
    ("arguments", "file", "found"),
    [
        ("-k gevent", "", ["ok"]),
        ("-k gevent --preload", "", ["BAD"]),
        ("-k gevent --preload", PATCH, ["ok"]),
        ("-k gevent", "preload_app = True\n", ["BAD"]),
        ("-k gevent", f"{PATCH}preload_app = True\n", ["ok"]),
        ("-k gthread --preload", "", []),
    ],
)
def test_gevent_has_to_patch_before_the_app_is_loaded(
    look, tmp_path, arguments, file, found
):
    (tmp_path / "gunicorn.conf.py").write_text(file)

    checks = look(workers.patching, environ={"GUNICORN_CMD_ARGS": arguments})

    assert levels(checks) == found


def test_gunicorns_file_is_read_and_not_run(tmp_path):
    (tmp_path / "gunicorn.conf.py").write_text(
        "import multiprocessing\n"
        "raise SystemExit('run')\n"
        "workers = multiprocessing.cpu_count()\n"
        "worker_class = 'gthread'\n"
        "threads = 4\n"
    )

    found = find({"WEB_CONCURRENCY": "3"}, tmp_path)

    assert found == Server(workers=3, worker_class="gthread", threads=4, timeout=30)


def test_arguments_win_over_the_file_that_they_name(tmp_path):
    (tmp_path / "other.py").write_text("workers = 2\ntimeout = 60\n")

    found = find({"GUNICORN_CMD_ARGS": "-c other.py -w 5 --preload"}, tmp_path)

    assert (found.workers, found.timeout, found.preload) == (5, 60, True)


@pytest.mark.parametrize("text", ["workers = (", "workers = 'many'", ""])
def test_file_that_says_nothing_leaves_the_defaults(tmp_path, text):
    (tmp_path / "gunicorn.conf.py").write_text(text)

    assert find({}, tmp_path).workers == 1


def test_without_a_sign_of_gunicorn_nothing_is_said_of_it(tmp_path):
    assert find({}, Path(tmp_path)) is None


# Clocks


def test_clock_of_the_database_is_held_against_ours(make_app, look, database_uri):
    app = make_app(**MODERN, LLM_DATABASE_URI=database_uri)
    late = timedelta(seconds=60)

    now = look(clocks.database, app=app, now=lambda: datetime.now(UTC))
    off = look(clocks.database, app=app, now=lambda: datetime.now(UTC) - late)

    if database_uri.startswith("sqlite"):
        assert (now, off) == ([], [])
    else:
        assert levels(now + off) == ["ok", "BAD"]
        assert "60 s apart" in off[0].text


@pytest.mark.parametrize(("seconds", "level"), [(0, "ok"), (-60, "BAD"), (60, "BAD")])
def test_clock_of_redis_is_held_against_ours(look, redis_url, seconds, level):
    def now():
        return datetime.now(UTC) + timedelta(seconds=seconds)

    found = look(clocks.redis, now=now, LLM_REDIS_URL=redis_url)

    assert levels(found) == [level]


# The way in


@pytest.mark.parametrize(
    ("token", "level"), [(None, "BAD"), ("x" * 15, "hint"), ("x" * 16, "ok")]
)
def test_reports_want_a_token_that_nobody_guesses(look, token, level):
    (check,) = look(access.token, LLM_REPORTS_TOKEN=token)

    assert check.level == level


def test_function_of_the_app_will_do_instead_of_a_token(look, make_app):
    app, llm = make_app(register=False, LLM_REPORTS_TOKEN=None), LLM()
    llm.reports_authorizer(lambda: True)
    llm.init_app(app)

    assert levels(look(access.token, app=app)) == ["ok"]
    assert look(access.proxy, app=app) == []


def test_proxy_fix_is_found_below_other_layers(look, make_app):
    class Layer:
        def __init__(self, app):
            self.app = app

    app = make_app(**MODERN)
    bare = look(access.proxy, app=app)
    app.wsgi_app = Layer(ProxyFix(app.wsgi_app))

    assert levels(bare + look(access.proxy, app=app)) == ["hint", "ok"]
