"""complete(), end to end: answers, errors, rows, money, signals."""

import itertools
import json
import logging
import signal
import threading
from decimal import Decimal

import flask
import flask_login
import pytest
from conftest import KEY, read_rows
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sockets import free_port, wait_until
from sqlalchemy import create_engine, text

import flask_llm
from flask_llm import LLM, Message, Tool, llm_bp, signals
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import (
    AuthenticationError,
    ConfigError,
    ConnectionFailed,
    ContextLengthExceeded,
    DeadlineExceeded,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExhaustedError,
    RateLimitError,
    ReadTimeout,
    RequestTooLarge,
    ResponseError,
    ServerError,
)

each_api = pytest.mark.parametrize("api", ["openai", "anthropic", "google"])

USAGE = {"input_tokens": 1000, "output_tokens": 200}
COSTS = {
    "openai": Decimal("0.00027"),
    "anthropic": Decimal("0.002"),
    "google": Decimal("0.0008"),
}
"""What USAGE costs at each provider's model, from their price lists."""


@pytest.fixture
def heard():
    """What the signals said: their names and facts, in order."""
    said = []
    receivers = {}
    names = [
        "completion_started",
        "provider_called",
        "completion_finished",
        "price_unknown",
    ]
    for name in names:

        def listen(sender, name=name, **facts):
            said.append((name, facts))

        receivers[name] = listen
        getattr(signals, name).connect(listen)
    yield said
    for name, listen in receivers.items():
        getattr(signals, name).disconnect(listen)


def count_of(emulator):
    return len(emulator.requests)


# --- Answers ---------------------------------------------------------------------


@each_api
def test_an_answer_says_all_about_itself(app, emulator, models, api):
    emulator.script(Answer(text="Four.", usage=USAGE))

    answer = flask_llm.complete("Two and two?", model=models[api])

    assert (answer.text, answer.finish_reason) == ("Four.", "stop")
    assert (answer.provider, answer.model) == (api, models[api])
    assert (answer.attempts, answer.cached) == (1, False)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1000, 200)
    assert (answer.usage.total_tokens, answer.usage.source) == (1200, "provider")
    assert (answer.cost_usd, answer.cost_source) == (COSTS[api], "table")
    assert answer.served_model
    assert answer.response_id
    assert len(answer.request_id) == 32
    assert 0 <= answer.latency_ms < 5000


@each_api
def test_an_answers_row_says_the_same(app, rows, emulator, models, api):
    emulator.script(Answer(text="Four.", usage=USAGE))

    answer = flask_llm.complete(
        "Two and two?", model=models[api], user="u", tenant="t", feature="f"
    )

    (row,) = rows()
    assert (row.status, row.operation, row.streamed) == ("ok", "complete", False)
    assert (row.request_id, row.model) == (answer.request_id, models[api])
    assert (row.provider, row.served_model) == (api, answer.served_model)
    assert (row.user_id, row.tenant, row.feature) == ("u", "t", "f")
    assert (row.input_tokens, row.output_tokens) == (1000, 200)
    assert (row.usage_source, row.cost_source) == ("provider", "table")
    assert row.cost_nanos == int(COSTS[api] * 10**9)
    assert (row.saved_nanos, row.error_code, row.error_status) == (None, None, None)
    assert (row.attempts, row.finish_reason) == (1, "stop")
    assert row.created_at <= row.finished_at
    assert row.duration_ms == pytest.approx(answer.latency_ms, abs=1000)


@each_api
@pytest.mark.parametrize(
    ("scripted", "finish"),
    [
        (Answer(text="Four and a", finish_reason="length"), "length"),
        (Answer(refusal="I would rather not."), "content_filter"),
        (Answer(tool_calls=[{"name": "add", "arguments": {"a": 2}}]), "tool_calls"),
    ],
)
def test_other_ends_of_an_answer(app, rows, emulator, models, api, scripted, finish):
    emulator.script(scripted)

    answer = flask_llm.complete("Hi", model=models[api], tools=[Tool("add")])

    assert answer.finish_reason == finish
    assert [row.finish_reason for row in rows()] == [finish]
    assert [call.arguments for call in answer.tool_calls] == (
        [{"a": 2}] if finish == "tool_calls" else []
    )


@each_api
def test_a_conversation_goes_on_with_an_answer(app, emulator, models, api):
    first = flask_llm.complete("Hi", model=models[api])
    history = [{"role": "user", "content": "Hi"}, first.to_message()]

    second = flask_llm.complete([*history, Message("user", "Go on")], model=models[api])

    assert "Go on" in second.text


def test_the_default_model_is_the_settings(make_app, emulator, models):
    app = make_app(LLM_MODEL=models["google"])

    with app.app_context():
        answer = flask_llm.complete("Hi")

    assert answer.model == models["google"]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o-mini", "openai/gpt-4o-mini"),
        ("claude-haiku-4-5", "anthropic/claude-haiku-4-5"),
        ("gemini-2.5-flash", "google/gemini-2.5-flash"),
    ],
)
def test_an_unmistakable_name_needs_no_provider(app, emulator, name, model):
    assert flask_llm.complete("Hi", model=name).model == model


# --- Options ---------------------------------------------------------------------


def test_defaults_are_sent(app, emulator):
    flask_llm.complete("Hi")

    body = emulator.requests[0].body
    assert (body["model"], body["temperature"]) == ("gpt-4o-mini", 0.7)
    assert body["max_completion_tokens"] == 500


@pytest.mark.parametrize("model", ["openai/gpt-5-mini", "openai/o3"])
def test_a_default_is_dropped_for_a_model_that_refuses_it(app, emulator, model):
    answer = flask_llm.complete("Hi", model=model)

    assert answer.finish_reason == "stop"
    assert "temperature" not in emulator.requests[0].body


def test_what_the_caller_sets_is_sent_though_the_model_refuses_it(app, rows, emulator):
    with pytest.raises(InvalidRequestError) as raised:
        flask_llm.complete("Hi", model="openai/gpt-5-mini", temperature=0.2)

    assert emulator.requests[0].body["temperature"] == 0.2
    assert raised.value.param == "temperature"
    assert [(row.status, row.attempts) for row in rows()] == [("failed", 1)]


def test_options_reach_the_provider(app, emulator):
    flask_llm.complete(
        "Hi",
        system="Be brief.",
        max_tokens=9,
        temperature=0,
        top_p=0.5,
        stop="END",
        seed=7,
        extra={"logit_bias": {"1": 2}},
    )

    body = emulator.requests[0].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["max_completion_tokens"], body["temperature"]) == (9, 0)
    assert (body["top_p"], body["stop"], body["seed"]) == (0.5, ["END"], 7)
    assert body["logit_bias"] == {"1": 2}


LOOP = {}
LOOP["again"] = LOOP

BAD = [
    ("", {}, "prompt is empty"),
    ("  \n", {}, "prompt is empty"),
    ([], {}, "prompt is empty"),
    (None, {}, "not NoneType"),
    (b"Hi", {}, "not bytes"),
    (5, {}, "not int"),
    ([{"role": "usr", "content": "Hi"}], {}, "'user'"),
    ([{"rol": "user", "content": "Hi"}], {}, "'role'"),
    ([{"content": "Hi"}], {}, "'role' is missing"),
    ([{"role": "user", "content": 5}], {}, "not int"),
    ([{"role": "user", "content": [{"type": "txt"}]}], {}, "'text'"),
    (["Hi"], {}, "not str"),
    ("Hi", {"model": "gpt"}, "provider/gpt"),
    ("Hi", {"model": ""}, "provider/"),
    ("Hi", {"model": 5}, "not 5"),
    ("Hi", {"model": "opnai/gpt-4o"}, "'openai'"),
    ("Hi", {"model": "openai/"}, "no model after the slash"),
    ("Hi", {"temprature": 1}, "'temperature'"),
    ("Hi", {"max_token": 1}, "'max_tokens'"),
    ("Hi", {"temperature": "hot"}, "temperature='hot'"),
    ("Hi", {"temperature": 2.1}, "between 0 and 2"),
    ("Hi", {"temperature": float("nan")}, "temperature=nan"),
    ("Hi", {"temperature": True}, "temperature=True"),
    ("Hi", {"top_p": -0.1}, "top_p=-0.1"),
    ("Hi", {"max_tokens": 0}, "at least 1"),
    ("Hi", {"max_tokens": 1.5}, "max_tokens=1.5"),
    ("Hi", {"seed": "x"}, "seed='x'"),
    ("Hi", {"stop": 5}, "stop is a list, not int"),
    ("Hi", {"stop": ""}, "stop"),
    ("Hi", {"stop": ["a", 5]}, "stop"),
    ("Hi", {"system": 5}, "system: "),
    ("Hi", {"tools": 5}, "tools is a list, not int"),
    ("Hi", {"tools": "add"}, "tools is a list, not str"),
    ("Hi", {"tools": [5]}, "not int"),
    ("Hi", {"tools": [{"description": "x"}]}, "'name'"),
    ("Hi", {"tools": [Tool("add")], "tool_choice": "ad"}, "'add'"),
    ("Hi", {"parallel_tool_calls": "yes"}, "parallel_tool_calls='yes'"),
    ("Hi", {"reasoning": "lots"}, "minimal"),
    ("Hi", {"service_tier": 5}, "service_tier=5"),
    ("Hi", {"extra": 5}, "extra: "),
    ("Hi", {"extra": {"when": object()}}, "it is sent as JSON"),
    ("Hi", {"extra": {"bias": float("inf")}}, "it is sent as JSON"),
    ("Hi", {"extra": LOOP}, "it is sent as JSON"),
    ("Hi", {"cache": 0.5}, "cache is True, False or whole seconds"),
    ("Hi", {"cache": -1}, "cache=-1"),
    ("Hi", {"timeout": 0}, "timeout=0"),
    ("Hi", {"timeout": -1}, "timeout=-1"),
    ("Hi", {"timeout": "soon"}, "timeout='soon'"),
    ("Hi", {"timeout": False}, "timeout=False"),
    ("Hi", {"retries": -1}, "retries=-1"),
    ("Hi", {"user": 5}, "user: "),
    ("Hi", {"user": "x" * 129}, "128"),
    ("Hi", {"tenant": 5}, "tenant: "),
    ("Hi", {"feature": ["x"]}, "feature: "),
    ("Hi", {"tags": {"n": 5}}, "tags: "),
    ("Hi", {"tags": "x"}, "tags: "),
]


@pytest.mark.parametrize("verb", ["complete", "stream", "stream_response"])
@pytest.mark.parametrize(("prompt", "options", "words"), BAD)
def test_bad_input_is_named_before_anything_happens(
    app, rows, emulator, heard, verb, prompt, options, words
):
    with pytest.raises(InvalidRequestError) as raised:
        getattr(flask_llm, verb)(prompt, **options)

    assert words in str(raised.value)
    assert raised.value.http_status == 400
    assert (emulator.requests, rows(), heard) == ([], [], [])


# --- Set-up ----------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["complete", "stream", "stream_response"])
def test_outside_an_app_the_cure_is_named(verb):
    with pytest.raises(ConfigError, match=r"with app\.app_context\(\)"):
        getattr(flask_llm, verb)("Hi")


def test_an_app_that_was_not_set_up_is_told_how():
    app = Flask("bare")

    with (
        app.app_context(),
        pytest.raises(ConfigError, match=r"register_blueprint\(flask_llm\.llm_bp\)"),
    ):
        flask_llm.complete("Hi")


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("openai/gpt-4o-mini", "OPENAI_API_KEY"),
        ("anthropic/claude-haiku-4-5", "ANTHROPIC_API_KEY"),
        ("google/gemini-2.5-flash", "GOOGLE_API_KEY or GEMINI_API_KEY"),
        ("groq/llama", "GROQ_API_KEY"),
    ],
)
def test_a_missing_key_is_named(make_app, emulator, model, names):
    app = make_app(LLM_PROVIDERS={})

    with app.app_context(), pytest.raises(ConfigError, match=names) as raised:
        flask_llm.complete("Hi", model=model)

    assert raised.value.code == "missing_key"
    assert read_rows(app) == []


def test_a_missing_address_is_named(make_app):
    app = make_app(LLM_PROVIDERS={"azure": {"api_key": KEY}})

    with app.app_context(), pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        flask_llm.complete("Hi", model="azure/mine")


def test_missing_tables_are_named_before_any_request(make_app, emulator, tmp_path):
    app = make_app(LLM_DATABASE_URI=f"sqlite:///{tmp_path / 'empty.sqlite'}")

    with app.app_context(), pytest.raises(ConfigError, match="flask llm db upgrade"):
        flask_llm.complete("Hi")

    assert emulator.requests == []


# --- Failures --------------------------------------------------------------------

FAILURES = {
    "400": (Fault(status=400), InvalidRequestError, 400),
    "401": (Fault(status=401), AuthenticationError, 401),
    "402": (Fault(status=402), QuotaExhaustedError, 402),
    "403": (Fault(status=403), PermissionDeniedError, 403),
    "404": (Fault(status=404), NotFoundError, 404),
    "413": (Fault(status=413), RequestTooLarge, 413),
    "429": (Fault(status=429), RateLimitError, 429),
    "quota": (Fault.quota_exhausted(), QuotaExhaustedError, 429),
    "500": (Fault(status=500), ServerError, 500),
    "503": (Fault(status=503), OverloadedError, 503),
    "529": (Fault(status=529), OverloadedError, 529),
    "context": (
        Fault(status=400, message="prompt is too long: 9 tokens > 8 maximum"),
        ContextLengthExceeded,
        400,
    ),
    "proxy": (Fault(garbage=True, status=502), ServerError, 502),
    "garbage": (Fault(garbage=True), ResponseError, None),
    "empty": (Fault(empty=True), ResponseError, None),
    "shape": (Fault(wrong_shape=True), ResponseError, None),
    "gzip": (Fault(broken_gzip=True), ResponseError, None),
    "cut": (Fault(content_length=100_000), ConnectionFailed, None),
    "reset": (Fault(reset_after=0), ConnectionFailed, None),
    "half": (Fault(reset_after=9), ConnectionFailed, None),
    "hang": (Fault(hang=True), ReadTimeout, None),
    "redirect": (Fault(redirect="http://elsewhere.invalid"), ResponseError, 302),
}


@each_api
@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_has_its_class_and_its_row(
    app, rows, emulator, models, api, failure
):
    fault, kind, status = FAILURES[failure]
    emulator.script(fault)

    with pytest.raises(kind) as raised:
        flask_llm.complete("Hi", model=models[api], retries=0, timeout=2)

    error = raised.value
    (row,) = rows()
    assert type(error) is kind
    assert (error.provider, error.model) == (api, models[api])
    assert (error.request_id, error.attempts) == (row.request_id, 1)
    assert (error.status, row.error_status) == (status, status)
    assert (row.status, row.attempts) == ("failed", 1)
    assert row.error_code == (error.code or type(error).__name__)
    assert (row.cost_nanos, row.input_tokens, row.output_tokens) == (None,) * 3
    assert row.finished_at is not None
    assert "Hi" not in str(error).split()


@each_api
def test_nobody_there(make_app, emulator, models, api):
    nobody = {api: {"api_key": KEY, "base_url": f"http://127.0.0.1:{free_port()}"}}
    app = make_app(LLM_PROVIDERS=nobody)

    with app.app_context(), pytest.raises(ConnectionFailed) as raised:
        flask_llm.complete("Hi", model=models[api], retries=1, timeout=20)

    (row,) = read_rows(app)
    assert raised.value.code == row.error_code == "connect_refused"
    assert raised.value.attempts == row.attempts == 2


def test_a_lower_layers_exception_is_kept(app, emulator):
    emulator.script(Fault(reset_after=0))

    with pytest.raises(ConnectionFailed) as raised:
        flask_llm.complete("Hi", retries=0)

    assert isinstance(raised.value.original_error, Exception)


# --- Trying again ----------------------------------------------------------------


@each_api
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=408),
        Fault(status=429),
        Fault(status=500),
        Fault(status=502),
        Fault(status=503),
        Fault(status=429, retry_after="0.01"),
        Fault(status=429, headers={"retry-after-ms": "10"}),
    ],
)
def test_what_may_pass_is_tried_again_and_counted(
    app, rows, emulator, models, api, fault
):
    emulator.script(fault, fault, Answer(text="At last.", usage=USAGE))

    answer = flask_llm.complete("Hi", model=models[api])

    assert (answer.text, answer.attempts) == ("At last.", 3)
    assert count_of(emulator) == 3
    assert [(row.status, row.attempts) for row in rows()] == [("ok", 3)]


@each_api
def test_an_error_inside_a_good_status_is_tried_again(app, emulator, models, api):
    emulator.script(Fault(error_in_stream=0, status=503))

    answer = flask_llm.complete("Hi", model=models[api])

    assert answer.attempts == 2


@each_api
@pytest.mark.parametrize("fault", [Fault.quota_exhausted(), Fault(status=401)])
def test_what_waiting_does_not_cure_is_not_tried_again(
    app, emulator, models, api, fault
):
    emulator.script(fault)

    with pytest.raises(flask_llm.ProviderError) as raised:
        flask_llm.complete("Hi", model=models[api])

    assert (count_of(emulator), raised.value.attempts) == (1, 1)
    assert not raised.value.is_retryable


@each_api
@pytest.mark.parametrize(
    ("fault", "wish", "tries"),
    [
        (Fault(status=400), "true", 2),
        (Fault(status=503), "false", 1),
        (Fault.quota_exhausted(), "true", 1),
    ],
)
def test_the_providers_word_on_trying_again(
    app, emulator, models, api, fault, wish, tries
):
    headers = {"x-should-retry": wish}
    told = Fault(status=fault.status, out_of_quota=fault.out_of_quota, headers=headers)
    emulator.script(told, told)

    with pytest.raises(flask_llm.ProviderError) as raised:
        flask_llm.complete("Hi", model=models[api], retries=1)

    assert (count_of(emulator), raised.value.attempts) == (tries, tries)


@each_api
def test_a_wait_beyond_the_deadline_is_handed_on_at_once(
    app, rows, emulator, models, api
):
    emulator.script(Fault(status=429, retry_after=60))

    with pytest.raises(RateLimitError) as raised:
        flask_llm.complete("Hi", model=models[api], timeout=5)

    assert raised.value.retry_after == 60
    assert (count_of(emulator), raised.value.attempts) == (1, 1)
    assert [(row.status, row.attempts) for row in rows()] == [("failed", 1)]
    assert rows()[0].duration_ms < 3000


def test_googles_own_way_to_say_how_long(app, emulator, models):
    emulator.script(Fault(status=429, retry_info_seconds=46))

    with pytest.raises(RateLimitError) as raised:
        flask_llm.complete("Hi", model=models["google"], timeout=5)

    assert raised.value.retry_after == 46


def test_retries_can_be_turned_off_for_an_app(make_app, emulator):
    app = make_app(LLM_MAX_RETRIES=0)
    emulator.script(Fault(status=503))

    with app.app_context(), pytest.raises(OverloadedError):
        flask_llm.complete("Hi")

    assert count_of(emulator) == 1


# --- Refused and cancelled -------------------------------------------------------


def test_no_slot_in_time_is_refused_and_nobody_asked(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)
    emulator.script(Answer(text="slow", interval_seconds=0.05, chunks=20))

    with app.app_context():
        slow = flask_llm.stream("First")
        with pytest.raises(DeadlineExceeded) as raised:
            flask_llm.complete("Second", timeout=0.1)
        slow.close()

    second = read_rows(app)[1]
    assert (second.status, second.error_code) == ("refused", "deadline_exceeded")
    assert (second.attempts, second.cost_nanos) == (0, None)
    assert raised.value.attempts == 0
    assert count_of(emulator) == 1


@pytest.mark.parametrize(
    ("kind", "arguments", "code"),
    [
        (KeyboardInterrupt, (), "KeyboardInterrupt"),
        (SystemExit, (), "SystemExit"),
        (SystemExit, (1,), "SystemExit"),
        (SystemExit, ("bye",), "bye"),
    ],
)
def test_a_worker_that_is_told_to_stop_settles_first(
    app, rows, emulator, kind, arguments, code
):
    emulator.script(Fault(hang=True))

    with interrupted(kind(*arguments)), pytest.raises(kind):
        flask_llm.complete("Hi", timeout=20)

    (row,) = rows()
    assert (row.status, row.error_code, row.attempts) == ("cancelled", code, 1)
    assert wait_until(lambda: emulator.in_flight == 0)


class interrupted:  # noqa: N801 - reads as a phrase
    """Raise something in the main thread soon, as a signal handler does."""

    def __init__(self, error):
        self.error = error

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self.strike)
        signal.setitimer(signal.ITIMER_REAL, 0.2)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)

    def strike(self, *_):
        raise self.error


def test_a_slot_is_free_again_after_an_interrupt(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)
    app.extensions["llm"].database.prepare()  # or the interrupt may come too early
    emulator.script(Fault(hang=True))

    with app.app_context():
        with interrupted(KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
            flask_llm.complete("Hi")
        answer = flask_llm.complete("Hi", timeout=2)

    assert answer.finish_reason == "stop"


# --- Money -----------------------------------------------------------------------


@each_api
def test_missing_usage_is_estimated_and_never_zero(app, rows, emulator, models, api):
    emulator.script(Fault(answer=Answer(text="Four words or so."), usage_missing=True))

    answer = flask_llm.complete("Two and two?", model=models[api])

    (row,) = rows()
    assert answer.usage.source == row.usage_source == "estimated"
    assert row.input_tokens > 0
    assert row.output_tokens > 0
    assert row.cost_nanos > 0


PICTURE = flask_llm.Image(url="https://example.com/cat.png")
CALL = flask_llm.ToolCall("c1", "add", {"a": 2})
RESULT = flask_llm.ToolResult("c1", "four " * 100)


@pytest.mark.parametrize(
    ("prompt", "options", "least", "most"),
    [
        ("Hi", {}, 1, 20),
        ("word " * 400, {}, 400, 600),
        ("слово " * 400, {}, 400, 1200),
        (["Hi", PICTURE], {}, 1000, 1100),
        ("Hi", {"system": "word " * 400}, 400, 600),
        ("Hi", {"tools": [Tool("add", "word " * 400)]}, 400, 600),
        ([["Add."], [CALL], [RESULT]], {}, 125, 250),
    ],
)
def test_all_that_is_sent_is_estimated(
    app, rows, emulator, prompt, options, least, most
):
    emulator.script(Fault(answer=Answer(text="Fine."), usage_missing=True))

    answer = flask_llm.complete(conversation(prompt), **options)

    assert least <= answer.usage.input_tokens <= most
    assert rows()[0].input_tokens == answer.usage.input_tokens


def conversation(prompt):
    """Read a text, the parts of a message, or those of user, model and tool."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt[0], str):
        return Message("user", prompt)
    roles = ("user", "assistant", "tool")
    return [Message(role, parts) for role, parts in zip(roles, prompt, strict=True)]


@pytest.mark.parametrize("times", [1, 3])
def test_an_unknown_price_is_none_and_told_of(
    app, rows, emulator, heard, caplog, times
):
    emulator.script(*[Answer(text="Hm.", usage=USAGE)] * times)
    caplog.clear()

    answers = repeat(times, lambda: flask_llm.complete("Hi", model="openai/no-such"))

    warnings = [r for r in caplog.records if "no-such" in r.getMessage()]
    assert [answer.cost_usd for answer in answers] == [None] * times
    assert [row.cost_nanos for row in rows()] == [None] * times
    assert [row.cost_source for row in rows()] == ["none"] * times
    assert [record.levelno for record in warnings] == [logging.WARNING]
    assert [name for name, _ in heard].count("price_unknown") == times


def repeat(times, action):
    return [action() for _ in range(times)]


def test_prices_of_ones_own_win(make_app, emulator):
    price = {"openai/gpt-4o-mini": {"input": 1, "output": 2}}
    app = make_app(LLM_PRICES=price)
    emulator.script(Answer(text="Four.", usage=USAGE))

    with app.app_context():
        answer = flask_llm.complete("Hi")

    assert (answer.cost_usd, answer.cost_source) == (Decimal("0.0014"), "config")


@pytest.mark.parametrize(
    ("cost", "usd"), [(0.0123, Decimal("0.0123")), (0, Decimal(0))]
)
def test_a_cost_that_the_provider_reports_wins(app, rows, emulator, cost, usd):
    message = {"role": "assistant", "content": "Four."}
    body = {
        "model": "gpt-4o-mini",
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "cost": cost},
    }
    emulator.script(Fault(body=json.dumps(body)))

    answer = flask_llm.complete("Hi")

    (row,) = rows()
    assert (answer.cost_usd, answer.cost_source) == (usd, "provider")
    assert (row.cost_nanos, row.cost_source) == (int(usd * 10**9), "provider")


# --- Whom it is written down to --------------------------------------------------


@pytest.fixture
def web(make_app):
    """Make an app with one view that asks, and what it was asked with."""

    def make(llm=None, **options):
        app = make_app(register=llm is None)
        if llm is not None:
            llm.init_app(app)

        @app.get("/ask")
        def ask():
            return {"text": flask_llm.complete("Hi", **options).text}

        return app

    return make


def test_the_feature_is_the_endpoint_and_nobody_is_known(web, emulator):
    app = web()

    app.test_client().get("/ask")

    (row,) = read_rows(app)
    assert (row.feature, row.user_id, row.tenant) == ("ask", None, None)


def test_outside_a_request_nobody_is_asked(app, rows, emulator):
    flask_llm.complete("Hi")

    (row,) = rows()
    assert (row.feature, row.user_id, row.tenant) == (None, None, None)


def hooked(user="ada", tenant="acme"):
    llm = LLM()
    llm.user_loader(lambda: user)
    llm.tenant_loader(lambda: tenant)
    return llm


@pytest.mark.parametrize(("user", "written"), [("ada", "ada"), (7, "7"), (None, None)])
def test_loaders_of_the_app_tell_user_and_tenant(web, emulator, user, written):
    app = web(hooked(user))

    app.test_client().get("/ask")

    (row,) = read_rows(app)
    assert (row.user_id, row.tenant) == (written, "acme")


def test_what_the_call_says_wins(web, emulator):
    app = web(hooked(), user="bob", tenant="other", feature="digest", tags={"job": "7"})

    app.test_client().get("/ask")

    (row,) = read_rows(app)
    assert (row.user_id, row.tenant, row.feature) == ("bob", "other", "digest")
    assert row.tags == {"job": "7"}


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_llm_of_ones_own_works_in_either_order(make_app, emulator, place):
    app = make_app(register=False)
    llm = hooked()
    steps = [lambda: llm.init_app(app), lambda: app.register_blueprint(llm_bp)]
    run(steps if place == "before" else steps[::-1])

    @app.get("/ask")
    def ask():
        return flask_llm.complete("Hi").text

    app.test_client().get("/ask")

    assert [row.user_id for row in read_rows(app)] == ["ada"]


def run(steps):
    for step in steps:
        step()


class User(flask_login.UserMixin):
    id = "grace"


@pytest.mark.parametrize(("logged_in", "user"), [(True, "grace"), (False, None)])
def test_flask_login_tells_the_user(web, emulator, logged_in, user):
    app = web()
    login = flask_login.LoginManager(app)
    login.user_loader(lambda _: User())
    login.request_loader(lambda _: User() if logged_in else None)

    app.test_client().get("/ask")

    assert [row.user_id for row in read_rows(app)] == [user]


# --- Errors in views -------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "wait"),
    [
        (Fault(status=429, retry_after=60), 429, "60"),
        (Fault(status=429, retry_after=59.2), 429, "60"),
        (Fault(status=400), 400, None),
        (Fault(status=401), 502, None),
        (Fault.quota_exhausted(), 503, None),
        (Fault(status=529), 503, None),
    ],
)
def test_a_failure_in_a_view_is_problem_json(web, emulator, fault, status, wait):
    app = web(retries=0)
    emulator.script(fault)

    response = app.test_client().get("/ask")

    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert response.headers.get("Retry-After") == wait
    assert response.json["request_id"] == read_rows(app)[0].request_id
    assert KEY not in response.text


# --- Signals ---------------------------------------------------------------------


def test_an_answer_has_the_latency_of_its_row(app, rows, emulator):
    client = app.extensions["llm"].client
    # Each look at it takes a millisecond.
    client._clock = client._books._clock = itertools.count(step=0.001).__next__

    answer = flask_llm.complete("Hi")

    assert rows()[0].duration_ms == answer.latency_ms


def test_signals_of_a_good_call(app, emulator, heard):
    answer = flask_llm.complete("Hi")

    assert [name for name, _ in heard] == [
        "completion_started",
        "provider_called",
        "completion_finished",
    ]
    started, called, finished = (facts for _, facts in heard)
    ids = {facts["request_id"] for facts in (started, called, finished)}
    assert ids == {answer.request_id}
    assert (called["attempts"], called["error"]) == (1, None)
    assert (finished["status"], finished["completion"]) == ("ok", answer)


def test_signals_of_a_call_that_failed(app, emulator, heard):
    emulator.script(Fault(status=400))

    with pytest.raises(InvalidRequestError) as raised:
        flask_llm.complete("Hi")

    assert [name for name, _ in heard] == [
        "completion_started",
        "provider_called",
        "completion_finished",
    ]
    assert heard[1][1]["error"] is raised.value
    assert heard[2][1]["status"] == "failed"
    assert heard[2][1]["error"] is raised.value


def test_a_receiver_that_fails_costs_nobody_an_answer(app, rows, emulator, caplog):
    def fail(sender, **facts):
        raise ValueError("receiver")

    with (
        signals.completion_started.connected_to(fail),
        signals.provider_called.connected_to(fail),
        signals.completion_finished.connected_to(fail),
    ):
        answer = flask_llm.complete("Hi")

    failures = [r for r in caplog.records if "receiver of" in r.getMessage()]
    assert answer.finish_reason == "stop"
    assert [row.status for row in rows()] == ["ok"]
    assert len(failures) == 3


def test_signals_come_from_the_app_that_asked(make_app, emulator):
    first, second = make_app("first"), make_app("second")
    senders = []

    with signals.completion_finished.connected_to(
        lambda sender, **_: senders.append(sender), sender=second
    ):
        ask_in(first)
        ask_in(second)

    assert senders == [second]


def ask_in(app):
    with app.app_context():
        return flask_llm.complete("Hi")


# --- The host's database ---------------------------------------------------------


@pytest.fixture
def host(make_app, tmp_path):
    """Make an app whose own database the rows go to, with one connection at most."""
    db = SQLAlchemy()

    class Note(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String(50))

    app = make_app(
        register=False,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'host.sqlite'}",
        SQLALCHEMY_ENGINE_OPTIONS={
            "pool_size": 1,
            "max_overflow": 0,
            "pool_timeout": 0.5,
        },
        LLM_BIND_KEY="default",
        LLM_AUTO_MIGRATE=True,
    )
    db.init_app(app)
    app.register_blueprint(llm_bp)
    with app.app_context():
        db.create_all()
        yield app, db, Note
        db.session.remove()
        db.engine.dispose()


@pytest.mark.parametrize("verb", ["complete", "stream"])
def test_no_connection_is_held_while_the_model_thinks(host, emulator, verb):
    app, _, _ = host
    engine = app.extensions["llm"].database.engine  # of one connection
    flask_llm.complete("Warm up")
    emulator.script(Fault(delay_seconds=0.4))
    answers = []
    asking = threading.Thread(target=lambda: answers.append(answer_in(app, verb)))
    asking.start()
    arrived = wait_until(lambda: emulator.in_flight == 1)

    with engine.begin() as connection:
        alone = connection.execute(text("SELECT count(*) FROM note")).scalar()
        still_thinking = emulator.in_flight

    asking.join()
    assert (arrived, alone, still_thinking) == (True, 0, 1)
    assert len(answers) == 1
    assert [row.status for row in read_rows(app)] == ["ok", "ok"]


def answer_in(app, verb):
    with app.app_context():
        answer = getattr(flask_llm, verb)("Hi")
        return answer.text if verb == "complete" else list(answer)


def test_the_hosts_session_and_transaction_are_left_alone(host, emulator):
    app, db, note = host
    with db.engine.begin() as connection:
        connection.execute(text("INSERT INTO note (text) VALUES ('old')"))
    pending = note(text="new")
    db.session.add(pending)

    flask_llm.complete("Hi")

    assert pending in db.session.new
    db.session.rollback()
    assert [found.text for found in db.session.query(note)] == ["old"]
    db.session.remove()
    assert [row.status for row in read_rows(app)] == ["ok"]


def test_a_hosts_rollback_erases_nothing_that_was_spent(make_app, emulator, tmp_path):
    app = make_app()
    engine = create_engine(f"sqlite:///{tmp_path / 'host.sqlite'}")

    with app.app_context(), engine.connect() as connection:
        connection.execute(text("CREATE TABLE note (text)"))
        connection.execute(text("INSERT INTO note VALUES ('new')"))
        flask_llm.complete("Hi")
        connection.rollback()

    assert [row.status for row in read_rows(app)] == ["ok"]
    engine.dispose()


def test_a_database_that_is_down_costs_nobody_an_answer(app, rows, emulator):
    ask_in(app)
    state = app.extensions["llm"]
    with state.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE llm_usage RENAME TO elsewhere"))

    answer = flask_llm.complete("Hi")

    with state.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO llm_usage"))
    assert answer.finish_reason == "stop"
    assert state.ledger.replay() == 1
    assert [row.status for row in rows()] == ["ok", "ok"]


def test_two_apps_keep_their_books_apart(make_app, emulator):
    first, second = make_app("first"), make_app("second")

    ask_in(first)

    assert (len(read_rows(first)), len(read_rows(second))) == (1, 0)


def test_a_call_works_within_a_view_and_a_thread_it_starts(web, emulator):
    app = web()

    @app.get("/aside")
    def aside():
        here = flask.current_app._get_current_object()
        aside = threading.Thread(target=ask_in, args=(here,))
        aside.start()
        aside.join()
        return flask_llm.complete("Hi").text

    response = app.test_client().get("/aside")

    assert response.status_code == 200
    assert sorted(row.feature or "" for row in read_rows(app)) == ["", "aside"]
