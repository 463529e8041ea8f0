"""``/llm/health``: what monitors see, and what the status tells them."""

import pytest
from conftest import KEY
from sockets import free_port

import flask_llm
from flask_llm.emulator import Fault
from flask_llm.guards.shared import Shared

TOKEN = {"Authorization": "Bearer letmein"}
ROWS = ["anthropic", "google", "openai"]


def health(app, headers=TOKEN):
    return app.test_client().get("/llm/health", headers=headers)


def provider(app, name):
    found = health(app).json["providers"]
    return next((each for each in found if each["name"] == name), None)


def test_all_is_well_in_a_new_app(make_app):
    answer = health(make_app())

    assert answer.status_code == 200
    assert answer.json == {
        "status": "ok",
        "database": "ok",
        "redis": None,
        "journal": "empty",
        "providers": [
            {
                "name": name,
                "circuit": "closed",
                "failures_in_a_row": 0,
                "left_alone_seconds": 0.0,
            }
            for name in sorted(ROWS, key=["openai", "anthropic", "google"].index)
        ],
    }


def test_health_is_for_those_who_may_see_reports(make_app):
    answer = health(make_app(), headers={"X-Nothing": "1"})

    assert answer.status_code == 401
    assert "providers" not in answer.text


def test_health_is_kept_nowhere_and_shows_no_key_and_no_address(make_app):
    answer = health(make_app())

    assert answer.headers["Cache-Control"] == "no-store"
    assert KEY not in answer.text
    assert "127.0.0.1" not in answer.text


def test_failures_in_a_row_are_counted_and_forgotten(make_app, emulator):
    app = make_app()
    emulator.script(Fault(status=503))

    with app.app_context():
        with pytest.raises(flask_llm.OverloadedError):
            flask_llm.complete("Hi", retries=0)
        after_failure = provider(app, "openai")
        flask_llm.complete("Hi")

    assert (after_failure["circuit"], after_failure["failures_in_a_row"]) == (
        "closed",
        1,
    )
    assert provider(app, "openai")["failures_in_a_row"] == 0


def test_open_circuit_is_degraded_and_no_reason_to_take_the_app_away(
    make_app, emulator
):
    app = make_app(LLM_BREAKER_FAILURES=1, LLM_BREAKER_SECONDS=60)
    emulator.script(Fault(status=503))
    with app.app_context(), pytest.raises(flask_llm.OverloadedError):
        flask_llm.complete("Hi", retries=0)

    answer = health(app)

    shut = provider(app, "openai")
    assert (answer.status_code, answer.json["status"]) == (200, "degraded")
    assert shut["circuit"] == "open"
    assert 0 < shut["left_alone_seconds"] <= 60
    assert provider(app, "google")["circuit"] == "closed"


def test_looking_takes_no_trial_of_a_circuit_that_may_be_tried(make_app, emulator):
    app = make_app(LLM_BREAKER_FAILURES=1, LLM_BREAKER_SECONDS=0.001)
    emulator.script(Fault(status=503))
    with app.app_context(), pytest.raises(flask_llm.OverloadedError):
        flask_llm.complete("Hi", retries=0)

    seen = [provider(app, "openai")["circuit"] for _ in range(3)]

    assert seen == ["half_open"] * 3
    assert health(app).json["status"] == "ok"
    with app.app_context():
        assert flask_llm.complete("Hi").finish_reason == "stop"


def test_provider_without_a_key_shows_once_it_was_called(make_app, provider_rows):
    url = provider_rows["openai"]["base_url"]
    row = {"protocol": "chat_completions", "base_url": url}
    app = make_app(LLM_PROVIDERS={"house": row})
    before = provider(app, "house")

    with app.app_context():
        flask_llm.complete("Hi", model="house/model")

    assert before is None
    assert provider(app, "house")["circuit"] == "closed"
    assert provider(app, "openai") is None


def test_database_without_tables_is_down(make_app):
    answer = health(make_app(LLM_AUTO_MIGRATE=False))

    assert (answer.status_code, answer.json["status"]) == (503, "down")
    assert answer.json["database"] == "not_migrated"


def test_database_that_cannot_be_reached_is_down_and_nothing_is_leaked(make_app):
    url = "postgresql+psycopg://nobody:pass@127.0.0.1:1/none"

    answer = health(make_app(LLM_DATABASE_URI=url))

    assert answer.status_code == 503
    assert answer.json["database"] == "database_failed"
    assert "nobody" not in answer.text


def test_rows_in_the_journal_are_degraded(make_app):
    app = make_app()
    app.extensions["llm"].ledger.journal.append({"id": "0" * 32})

    answer = health(app)

    assert (answer.status_code, answer.json["status"]) == (200, "degraded")
    assert answer.json["journal"] == "rows waiting"


def test_redis_is_looked_at_where_it_is_used(make_app, redis_url):
    assert health(make_app(LLM_REDIS_URL=redis_url)).json["redis"] == "ok"


def test_redis_that_is_away_is_degraded(make_app):
    app = make_app(LLM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    answer = health(app)

    assert (answer.status_code, answer.json["status"]) == (200, "degraded")
    assert answer.json["redis"] == "unreachable"


def test_circuit_that_other_workers_opened_is_seen(make_app, redis_url, emulator):
    config = {"LLM_REDIS_URL": redis_url, "LLM_BREAKER_FAILURES": 1}
    one, other = make_app("one", **config), make_app("other", **config)
    emulator.script(Fault(status=503))
    with one.app_context(), pytest.raises(flask_llm.OverloadedError):
        flask_llm.complete("Hi", retries=0)

    assert provider(other, "openai")["circuit"] == "open"
    assert isinstance(other.extensions["llm"].shared, Shared)
