"""Models that stand in for one that cannot answer."""

import time

import pytest
from conftest import KEY, read_rows

import flask_llm
from flask_llm import (
    AuthenticationError,
    ConfigError,
    DeadlineExceeded,
    InvalidRequestError,
    OverloadedError,
    QuotaExceeded,
    RateLimitError,
    ServerError,
    StreamInterrupted,
)
from flask_llm.emulator import Answer, Fault

FIRST = "openai/gpt-4o-mini"
SECOND = "anthropic/claude-haiku-4-5"
THIRD = "google/gemini-2.5-flash"


def ask(**options):
    return flask_llm.complete("Hi", **{"retries": 0, "fallbacks": [SECOND]} | options)


def models_asked(emulator):
    return [arrival.model for arrival in emulator.requests]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429),
        Fault(status=503),
        Fault(status=529),
        Fault(status=500),
        Fault(reset_after=0),
        Fault.quota_exhausted(),
    ],
    ids=["429", "503", "529", "500", "reset", "quota"],
)
def test_another_model_answers_where_the_first_cannot(app, emulator, fault):
    emulator.script(fault, model="gpt-4o-mini")

    answer = ask()

    assert answer.model == SECOND
    assert answer.provider == "anthropic"
    assert models_asked(emulator) == ["gpt-4o-mini", "claude-haiku-4-5"]


def test_provider_that_does_not_answer_leaves_time_for_another(app, emulator):
    emulator.script(Fault(hang=True), model="gpt-4o-mini")

    assert ask(timeout=4).model == SECOND


def test_time_of_the_provider_s_own_row_ends_its_try(make_app, emulator, provider_rows):
    provider_rows["openai"] |= {"timeout": 0.5}
    emulator.script(Fault(hang=True), model="gpt-4o-mini")

    with make_app().app_context():
        answer = ask()

    assert answer.model == SECOND


def test_connection_that_is_refused_leads_to_another_model(make_app, provider_rows):
    provider_rows["openai"] |= {"base_url": "http://127.0.0.1:9/v1"}

    with make_app().app_context():
        assert ask().model == SECOND


def test_stream_begins_with_the_model_that_answers(app, emulator):
    emulator.script(Fault(status=503), model="gpt-4o-mini")

    with flask_llm.stream("Hi", retries=0, fallbacks=[SECOND]) as story:
        text = "".join(chunk.text for chunk in story)

    assert text == story.completion.text != ""
    assert story.completion.model == SECOND


def test_stream_that_has_begun_is_never_started_over(app, emulator):
    emulator.script(Fault(reset_after=4), model="gpt-4o-mini")

    with (
        flask_llm.stream("Hi", retries=0, fallbacks=[SECOND]) as story,
        pytest.raises(StreamInterrupted),
    ):
        list(story)

    assert models_asked(emulator) == ["gpt-4o-mini"]


def test_stream_has_the_whole_time_once_it_has_begun(app, emulator):
    emulator.script(
        Answer(text="word " * 10, interval_seconds=0.2), model="gpt-4o-mini"
    )

    with flask_llm.stream("Hi", timeout=3.5, fallbacks=[SECOND]) as story:
        list(story)

    assert story.completion.finish_reason == "stop"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=400), InvalidRequestError),
        (Fault(status=401), AuthenticationError),
    ],
    ids=["400", "401"],
)
def test_mistake_of_ours_is_not_repeated_elsewhere(app, emulator, fault, error):
    emulator.script(fault, model="gpt-4o-mini")

    with pytest.raises(error):
        ask()

    assert models_asked(emulator) == ["gpt-4o-mini"]


def test_each_try_has_a_row_and_all_share_one_request_id(app, emulator, rows):
    emulator.script(Fault(status=429), model="gpt-4o-mini")
    emulator.script(Fault(status=500), model="claude-haiku-4-5")

    answer = ask(fallbacks=[SECOND, THIRD])

    assert answer.model == THIRD
    assert [(row.model, row.status) for row in rows()] == [
        (FIRST, "failed"),
        (SECOND, "failed"),
        (THIRD, "ok"),
    ]
    assert {row.request_id for row in rows()} == {answer.request_id}
    assert len({row.id for row in rows()}) == 3


def test_last_error_tells_what_was_tried_before(app, emulator):
    emulator.script(Fault(status=429), model="gpt-4o-mini")
    emulator.script(Fault(status=500), model="claude-haiku-4-5")

    with pytest.raises(ServerError) as failed:
        ask()

    assert failed.value.model == SECOND
    assert any(FIRST in note for note in failed.value.__notes__)


def test_models_stand_in_by_the_settings_alone(make_app, emulator):
    app = make_app(LLM_FALLBACKS={"gpt-4o-mini": [SECOND]})
    emulator.script(Fault(status=503), model="gpt-4o-mini")

    with app.app_context():
        assert flask_llm.complete("Hi", retries=0).model == SECOND


def test_call_may_do_without_the_models_of_the_settings(make_app, emulator):
    app = make_app(LLM_FALLBACKS={FIRST: [SECOND]})
    emulator.script(Fault(status=503), model="gpt-4o-mini")

    with app.app_context(), pytest.raises(OverloadedError):
        ask(fallbacks=[])


def test_quota_of_ours_is_no_reason_to_ask_another_model(make_app, emulator):
    app = make_app(LLM_QUOTAS=["1/hour"])

    with app.app_context():
        ask()
        with pytest.raises(QuotaExceeded):
            ask()

    assert [row.status for row in read_rows(app)] == ["ok", "refused"]


def test_tries_of_one_call_count_as_one(make_app, emulator):
    app = make_app(LLM_QUOTAS=["2/hour"])
    emulator.script(Fault(status=503), model="gpt-4o-mini")

    with app.app_context():
        ask()
        assert ask().text


def test_quota_of_the_other_model_counts_its_tries(make_app, emulator):
    app = make_app(LLM_QUOTAS=["1/hour per model"])
    emulator.script(*[Fault(status=503)] * 2, model="gpt-4o-mini")

    with app.app_context():
        ask()
        with pytest.raises(QuotaExceeded, match="per model"):
            flask_llm.complete("Hi", model=SECOND)


def test_line_that_is_too_long_lets_nobody_past_the_quota(
    make_app, emulator, provider_rows
):
    provider_rows["openai"] |= {"min_interval": 500}
    app = make_app(LLM_QUOTAS=["2/hour per user"])

    with app.app_context():
        models = [ask(user="ann").model for _ in range(2)]
        with pytest.raises(QuotaExceeded):
            ask(user="ann")

    assert models == [FIRST, SECOND]


def test_call_that_the_breaker_refuses_is_not_counted(make_app, emulator):
    app = make_app(
        LLM_QUOTAS=["3/hour"], LLM_BREAKER_FAILURES=1, LLM_BREAKER_SECONDS=0.5
    )
    emulator.script(Fault(status=500))

    with app.app_context():
        for error in (ServerError, OverloadedError, OverloadedError):
            with pytest.raises(error):
                flask_llm.complete("Hi", retries=0)
        time.sleep(0.6)
        answers = [flask_llm.complete("Hi").text for _ in range(2)]

    assert all(answers)


def test_kept_answers_do_not_keep_a_circuit_open(make_app, emulator):
    app = make_app(LLM_BREAKER_FAILURES=1, LLM_BREAKER_SECONDS=0.5)
    with app.app_context():
        flask_llm.complete("Known", cache=True)
        emulator.script(Fault(status=500))
        with pytest.raises(ServerError):
            flask_llm.complete("Hi", retries=0)
        time.sleep(0.6)

        assert flask_llm.complete("Known", cache=True).cached
        assert flask_llm.complete("Hi").text


def test_headers_of_one_key_leave_the_others_be(make_app, emulator, provider_rows):
    provider_rows["openai"] |= {"api_key": [f"{KEY}-a", f"{KEY}-b"]}
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "50s",
    }
    emulator.script(Fault(headers=headers))

    with make_app().app_context():
        for _ in range(2):
            assert flask_llm.complete("Hi", timeout=20).text


def test_full_line_leads_to_another_model(make_app, emulator, provider_rows):
    provider_rows["openai"] |= {"max_concurrent": 1}
    emulator.script(Answer(text="word " * 50, interval_seconds=0.1))

    with make_app().app_context(), flask_llm.stream("Hi", timeout=20):
        assert ask(timeout=2).model == SECOND
        with pytest.raises(DeadlineExceeded):
            ask(timeout=0.5, fallbacks=[])


def test_words_of_one_wire_format_do_not_go_to_another(app, emulator):
    emulator.script(Fault(status=503), model="gpt-4o-mini")
    extra = {"logit_bias": {"50256": -100}}

    ask(extra=extra, fallbacks=[SECOND])

    first, second = emulator.requests
    assert first.body["logit_bias"] == extra["logit_bias"]
    assert "logit_bias" not in second.body


def test_words_of_the_wire_format_go_to_a_model_that_speaks_it(app, emulator):
    emulator.script(Fault(status=503), model="gpt-4o-mini")
    extra = {"logit_bias": {"50256": -100}}

    ask(extra=extra, fallbacks=["openai/gpt-4.1-mini"])

    assert emulator.requests[1].body["logit_bias"] == extra["logit_bias"]


@pytest.mark.parametrize(
    ("fallbacks", "error", "words"),
    [
        (["opnai/x"], InvalidRequestError, "Did you mean 'openai'"),
        ("openai/gpt-4.1", InvalidRequestError, "fallbacks is a list"),
        ([7], InvalidRequestError, "model is a string"),
        (["mistral/small"], ConfigError, "MISTRAL_API_KEY"),
    ],
)
def test_wrong_model_is_found_before_anybody_is_asked(
    app, emulator, fallbacks, error, words
):
    with pytest.raises(error, match=words):
        ask(fallbacks=fallbacks)

    assert emulator.requests == []


@pytest.mark.parametrize(
    ("fallbacks", "words"),
    [
        ({"openai/x": ["opnai/y"]}, r"LLM_FALLBACKS\['openai/x'\].*'openai'"),
        ({"nobody/x": ["openai/y"]}, "LLM_FALLBACKS: Unknown provider"),
        ({"openai/x": "openai/y"}, "a dict of a model to a list"),
    ],
)
def test_wrong_model_in_the_settings_is_found_at_the_start(make_app, fallbacks, words):
    with pytest.raises(ConfigError, match=words):
        make_app(LLM_FALLBACKS=fallbacks)


def test_open_circuit_leads_to_another_model_at_once(make_app, emulator):
    app = make_app(LLM_BREAKER_FAILURES=2)
    emulator.script(*[Fault(status=500)] * 2, model="gpt-4o-mini")

    with app.app_context():
        models = [ask().model for _ in range(3)]

    assert models == [SECOND] * 3
    assert models_asked(emulator).count("gpt-4o-mini") == 2
    refused = read_rows(app)[4]
    assert (refused.status, refused.error_code) == ("refused", "circuit_open")


def test_limited_key_is_not_asked_while_another_one_is_awake(
    make_app, emulator, provider_rows
):
    provider_rows["openai"] |= {"api_key": [f"{KEY}-a", f"{KEY}-b"]}
    emulator.script(Fault(status=429, retry_after=60), model="gpt-4o-mini")

    with make_app().app_context():
        for _ in range(3):
            assert flask_llm.complete("Hi", retries=1).text

    keys = [arrival.headers["authorization"][-1] for arrival in emulator.requests]
    assert keys == ["a", "b", "b", "b"]


def test_limit_is_named_where_every_key_is_limited(make_app, emulator, provider_rows):
    provider_rows["openai"] |= {"api_key": [f"{KEY}-a", f"{KEY}-b"]}
    emulator.script(*[Fault(status=429, retry_after=60)] * 2, model="gpt-4o-mini")

    with make_app().app_context(), pytest.raises(RateLimitError) as limited:
        flask_llm.complete("Hi", retries=3)

    assert limited.value.retry_after > 30
    assert len(emulator.requests) == 2
