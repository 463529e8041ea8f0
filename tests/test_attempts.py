"""Guessing the token of the reports: slowed down, address by address."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import KEY
from flask import Flask
from flask_limiter import Limiter
from sockets import free_port
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_llm import LLM, llm_bp
from flask_llm.guards import Attempts, Shared, Storage
from flask_llm.guards.attempts import ALLOWED

RIGHT = {"Authorization": "Bearer letmein"}
WRONG = {"Authorization": "Bearer letmeout"}
NONE = {"X-Nothing": "1"}


def ask(app, headers, address="203.0.113.7", **more):
    return app.test_client().get(
        "/llm/usage",
        headers=headers | more,
        environ_base={"REMOTE_ADDR": address},
    )


def statuses(app, headers, times, **options):
    return [ask(app, headers, **options).status_code for _ in range(times)]


@pytest.fixture(params=["memory", "redis", "lent"])
def guarded(request, make_app):
    """An app that counts attempts in each of the places there are."""
    config, app = {}, make_app("guarded", register=False)
    if request.param == "redis":
        config["LLM_REDIS_URL"] = request.getfixturevalue("redis_url")
    if request.param == "lent":
        Limiter(lambda: "somebody", app=app, storage_uri="memory://")
        config["LLM_LIMITER"] = True
    app.config.update(config)
    app.register_blueprint(llm_bp)
    return app


def test_guessing_is_refused_after_so_many_wrong_tokens(guarded):
    found = statuses(guarded, WRONG, ALLOWED.count + 3)

    assert found == [401] * ALLOWED.count + [429] * 3


def test_right_token_from_where_somebody_guesses_is_refused_as_well(guarded):
    statuses(guarded, WRONG, ALLOWED.count)

    assert ask(guarded, RIGHT).status_code == 429


def test_right_token_from_elsewhere_is_let_in(guarded):
    statuses(guarded, WRONG, ALLOWED.count + 5)

    assert ask(guarded, RIGHT, address="198.51.100.1").status_code == 200


def test_refusal_says_when_to_try_again_and_nothing_else(guarded):
    statuses(guarded, WRONG, ALLOWED.count)

    answer = ask(guarded, WRONG)

    assert answer.mimetype == "application/problem+json"
    assert answer.json == {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
    }
    assert 1 <= int(answer.headers["Retry-After"]) <= 120
    assert answer.headers["Cache-Control"] == "no-store"


def test_right_tokens_are_not_counted(make_app):
    assert statuses(make_app(), RIGHT, 2 * ALLOWED.count) == [200] * 2 * ALLOWED.count


def test_asking_without_a_token_is_no_guess(make_app):
    app = make_app()

    found = statuses(app, NONE, 2 * ALLOWED.count)

    assert found == [401] * 2 * ALLOWED.count
    assert ask(app, RIGHT).status_code == 200


@pytest.mark.parametrize("path", ["usage", "health"])
def test_all_routes_count_together(make_app, path):
    app = make_app()
    statuses(app, WRONG, ALLOWED.count)

    answer = app.test_client().get(
        f"/llm/{path}", headers=WRONG, environ_base={"REMOTE_ADDR": "203.0.113.7"}
    )

    assert answer.status_code == 429


def test_whoever_the_app_knows_is_not_kept_out(make_app):
    app, llm = make_app(register=False), LLM()
    llm.reports_authorizer(lambda: True)
    llm.init_app(app)
    app.register_blueprint(llm_bp)
    state = app.extensions["llm"]
    for _ in range(ALLOWED.count):
        state.attempts.failed("203.0.113.7")

    assert ask(app, WRONG).status_code == 200


def test_caller_behind_a_proxy_is_known_by_its_own_address(make_app):
    app = make_app()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)
    proxy = {"address": "10.0.0.1"}
    statuses(app, WRONG | {"X-Forwarded-For": "203.0.113.7"}, ALLOWED.count, **proxy)

    guesser = ask(app, RIGHT | {"X-Forwarded-For": "203.0.113.7"}, **proxy)
    other = ask(app, RIGHT | {"X-Forwarded-For": "203.0.113.8"}, **proxy)

    assert (guesser.status_code, other.status_code) == (429, 200)


def test_header_that_anybody_can_send_makes_no_new_caller_without_a_proxy(make_app):
    app = make_app()
    for number in range(ALLOWED.count):
        ask(app, WRONG | {"X-Forwarded-For": f"203.0.113.{number}"})

    assert ask(app, WRONG | {"X-Forwarded-For": "203.0.113.99"}).status_code == 429


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("unix:", "", False),
        ("", None, True),
    ],
)
def test_addresses_of_one_caller_count_together(one, other, together):
    attempts = Attempts(Storage(Flask("app")))
    for _ in range(ALLOWED.count):
        attempts.failed(one)

    assert bool(attempts.seconds_left(one))
    assert bool(attempts.seconds_left(other)) == together


def test_guesses_at_the_same_time_are_all_counted(redis_url):
    attempts = Attempts(Storage(Flask("app"), shared=Shared(redis_url)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempts.failed, ["203.0.113.7"] * ALLOWED.count))

    assert attempts.seconds_left("203.0.113.7") > 0


def test_workers_count_together_in_redis(redis_url):
    one, other = (
        Attempts(Storage(Flask("app"), shared=Shared(redis_url))) for _ in range(2)
    )
    for _ in range(ALLOWED.count):
        one.failed("203.0.113.7")

    assert other.seconds_left("203.0.113.7") > 0


def test_no_address_stands_in_redis(redis_url):
    shared = Shared(redis_url)
    Attempts(Storage(Flask("app"), shared=shared)).failed("203.0.113.7")

    assert [key for key in shared.client.scan_iter() if b"203" in key] == []
    assert shared.client.dbsize() > 0


def test_guessing_is_slowed_down_while_redis_is_away(make_app, caplog):
    app = make_app(LLM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    found = statuses(app, WRONG, ALLOWED.count + 1)

    assert found == [401] * ALLOWED.count + [429]
    assert caplog.text.count("The storage of failed attempts cannot be reached") == 1


def test_wrong_token_is_logged_with_the_address_and_not_the_token(make_app, caplog):
    app = make_app()
    ask(app, {"Authorization": f"Bearer {KEY}"})
    statuses(app, WRONG, ALLOWED.count + 5)

    lines = [text for text in caplog.messages if "wrong token" in text]
    assert lines == ["A wrong token for the reports came from 203.0.113.7."] * 10
    assert KEY not in caplog.text
    assert "letme" not in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_is_not_stuck():
    attempts = Attempts(Storage(Flask("app")))
    attempts.failed("203.0.113.7")

    with attempts._outage._lock, attempts._storage._lock:
        worker = os.fork()
        if worker == 0:
            signal.alarm(10)
            attempts.failed("203.0.113.7")
            os._exit(0 if attempts.seconds_left("203.0.113.7") == 0 else 1)
    _, status = os.waitpid(worker, 0)

    assert os.waitstatus_to_exitcode(status) == 0
