"""The customer's own list, one test for each item, against the emulator."""

import time
from itertools import pairwise

import pytest
from conftest import KEY, MODELS, read_rows

import flask_llm
from flask_llm import ServerError
from flask_llm.emulator import Answer, Fault
from flask_llm.retry import Retry
from flask_llm.settings import Settings


def test_call_with_defaults_returns_success_content_and_usage(app, emulator):
    emulator.script(Answer(text="Hello."))

    answer = flask_llm.complete("Hi").to_dict()

    (request,) = emulator.requests
    assert request.body["model"] == "gpt-4o-mini"
    assert request.body["temperature"] == 0.7
    assert request.body["max_completion_tokens"] == 500
    assert (answer["success"], answer["content"]) == (True, "Hello.")
    assert answer["usage"]["total_tokens"] > 0


def test_time_out_is_30_seconds_and_retries_are_2(app):
    settings = app.extensions["llm"].settings

    assert (settings.timeout, settings.max_retries) == (30.0, 2)


@pytest.mark.parametrize(
    ("variable", "model"),
    [
        ("OPENAI_API_KEY", MODELS["openai"]),
        ("ANTHROPIC_API_KEY", MODELS["anthropic"]),
        ("GOOGLE_API_KEY", MODELS["google"]),
    ],
)
def test_keys_come_from_the_environment(
    make_app, emulator, provider_rows, monkeypatch, variable, model
):
    monkeypatch.setenv(variable, KEY)
    rows = {name: {"base_url": row["base_url"]} for name, row in provider_rows.items()}
    app = make_app(LLM_PROVIDERS=rows)

    with app.app_context():
        flask_llm.complete("Hi", model=model)

    (request,) = emulator.requests
    assert KEY in "".join(request.headers.values())


def test_answers_are_kept_in_redis_by_sha_256_for_a_day(make_app, redis_url, emulator):
    redis = pytest.importorskip("redis")
    app = make_app(LLM_REDIS_URL=redis_url)

    with app.app_context():
        first = flask_llm.complete("What is Flask?", cache=True)
        second = flask_llm.complete("What is Flask?", cache=True)

    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys("llm:answer:*")
        lifetime = client.ttl(key)
    assert len(emulator.requests) == 1
    assert (first.cached, second.cached) == (False, True)
    assert second.text == first.text
    assert len(bytes.fromhex(key.decode().rpartition(":")[2])) == 32
    assert 0.9 * 86_400 - 60 <= lifetime <= 86_400


def test_groups_of_prompts_run_in_parallel(make_app, emulator):
    app = make_app(LLM_MIN_INTERVAL=0)
    emulator.script(*[Fault(delay_seconds=0.2) for _ in range(5)])

    with app.app_context():
        started = time.monotonic()
        answers = flask_llm.complete_many([f"Prompt {n}" for n in range(5)])
        seconds = time.monotonic() - started

    assert emulator.max_in_flight == 5
    assert seconds < 5 * 0.2
    assert all(f"Prompt {n}" in answer.text for n, answer in enumerate(answers))


def test_limiter_keeps_requests_100_ms_apart(make_app, emulator):
    app = make_app(LLM_MIN_INTERVAL=0.1)

    with app.app_context():
        flask_llm.complete("warm up")
        flask_llm.complete_many(["a", "b", "c", "d"])

    arrivals = sorted(request.time for request in emulator.requests)
    tolerance = 0.05  # what threads and sockets take on a busy machine
    assert all(b - a > 0.1 - tolerance for a, b in pairwise(arrivals))


def test_limiter_lets_5_requests_through_at_a_time(make_app, emulator):
    app = make_app(LLM_MIN_INTERVAL=0)
    emulator.script(*[Fault(delay_seconds=0.05) for _ in range(15)])

    with app.app_context():
        flask_llm.complete_many([str(n) for n in range(15)], max_workers=15)

    assert emulator.max_in_flight == 5


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_error_carries_the_original_and_is_retryable(app, emulator, status):
    emulator.script(Fault(status=status))

    with pytest.raises(flask_llm.LLMError) as caught:
        flask_llm.complete("Hi", retries=0)

    assert caught.value.is_retryable
    assert caught.value.status == status


def test_error_carries_the_error_of_the_layer_below(app, emulator):
    emulator.script(Fault(reset_after=0))

    with pytest.raises(flask_llm.ConnectionFailed) as caught:
        flask_llm.complete("Hi", retries=0)

    assert isinstance(caught.value.original_error, OSError)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_error_that_stays_is_not_retryable(app, emulator, status):
    emulator.script(Fault(status=status))

    with pytest.raises(flask_llm.LLMError) as caught:
        flask_llm.complete("Hi")

    assert not caught.value.is_retryable
    assert len(emulator.requests) == 1


def test_three_tries_with_waits_that_double(make_app, emulator):
    app = make_app(LLM_BACKOFF=0.1)
    emulator.script(Fault(status=500), Fault(status=500))

    with app.app_context():
        answer = flask_llm.complete("Hi")

    first, second, third = [request.time for request in emulator.requests]
    assert answer.attempts == 3
    assert 0.07 < second - first < 0.3
    assert 0.14 < third - second < 0.5


def test_waits_are_1_2_and_4_seconds_unless_set_otherwise():
    waits = []
    retry = Retry(3, backoff=Settings.read({}).backoff, sleep=waits.append, jitter=_one)

    for _ in range(3):
        retry.after(ServerError("down"))

    assert waits == [1.0, 2.0, 4.0]


def _one():
    return 1.0


def test_429_waits_as_long_as_it_says_and_tries_again(app, emulator):
    emulator.script(Fault(status=429, retry_after="0.2"))

    answer = flask_llm.complete("Hi")

    first, second = [request.time for request in emulator.requests]
    assert answer.attempts == 2
    assert second - first >= 0.2


def test_costs_are_monitored(app, emulator):
    usage = {"input_tokens": 1000, "output_tokens": 100}
    emulator.script(Answer(text="Hello.", usage=usage))

    answer = flask_llm.complete("Hi", user="u1", feature="chat")

    (row,) = read_rows(app)
    report = app.test_client().get(
        "/llm/usage?group_by=user,feature",
        headers={"Authorization": "Bearer letmein"},
    )
    # 1000 tokens at 0.15 and 100 at 0.60 dollars a million
    assert str(answer.cost_usd) == "0.00021"
    assert row.cost_nanos == 210_000
    (group,) = report.json["groups"]
    assert (group["user"], group["feature"]) == ("u1", "chat")
    assert group["cost_usd"] == report.json["total"]["cost_usd"] == "0.000210000"


def test_load_can_be_tested(app, emulator):
    runner = app.test_cli_runner()

    result = runner.invoke(args=["llm", "loadtest", "--yes", "--calls", "20"])

    assert result.exit_code == 0, result.output
    assert "20 of 20 answered" in result.output
    assert "p95" in result.output
    assert len(emulator.requests) == len(read_rows(app)) == 20
