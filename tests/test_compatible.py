"""Servers that speak Chat Completions their own way, end to end."""

import json

import pytest
from conftest import read_rows

import flask_llm
from flask_llm import (
    ContextLengthExceeded,
    InvalidRequestError,
    Message,
    Tool,
    ToolResult,
    UnsupportedParameter,
)
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import ReadTimeout
from flask_llm.providers import BUILT_IN

COMPATIBLE = [
    row.name
    for row in BUILT_IN
    if row.protocol == "chat_completions" and row.name not in {"openai", "azure"}
]
SAID = Answer(text="one two", usage={"input_tokens": 1000, "output_tokens": 200})
REFUSALS = {
    "openai": "Unrecognized request argument supplied: stream_options",
    "usage": "include_usage is not supported",
    "pydantic": "body.stream_options: Extra inputs are not permitted",
}
WEATHER = Tool("weather", "Current weather", {"type": "object", "properties": {}})
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
}


@pytest.fixture
def served(make_app, provider_rows):
    """Make an app whose provider of any name leads to the emulator."""
    url = provider_rows["openai"]["base_url"]

    def make(name="house", **config):
        row = {"base_url": url, "api_key": "k"} | config.pop("row", {})
        if name not in COMPATIBLE:
            row.setdefault("protocol", "chat_completions")
        app = make_app(LLM_PROVIDERS={name: row}, LLM_MODEL=f"{name}/m", **config)
        app.extensions["llm"].database.prepare()
        return app

    return make


def streamed(prompt="Hi", **options):
    with flask_llm.stream(prompt, **options) as stream:
        for _ in stream:
            pass
    return stream.completion


# --- stream_options ------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("words", REFUSALS.values(), ids=REFUSALS)
def test_stream_goes_on_without_options_that_the_server_refuses(
    served, emulator, status, words
):
    app = served()
    emulator.script(Fault(status=status, message=words), SAID, SAID)

    with app.app_context():
        first = streamed(retries=0)
        second = streamed(retries=0)

    assert first.text == second.text == "one two"
    assert (first.attempts, second.attempts) == (2, 1)
    assert first.usage.source == second.usage.source == "estimated"
    assert first.usage.output_tokens > 0
    sent = ["stream_options" in arrival.body for arrival in emulator.requests]
    assert sent == [True, False, False]
    found = [(row.status, row.attempts, row.usage_source) for row in read_rows(app)]
    assert found == [("ok", 2, "estimated"), ("ok", 1, "estimated")]


def test_what_one_provider_refuses_others_are_still_asked_for(
    make_app, provider_rows, emulator
):
    url = provider_rows["openai"]["base_url"]
    row = {"base_url": url, "api_key": "k"}
    app = make_app(LLM_PROVIDERS={"groq": row, "xai": row})
    emulator.script(Fault(status=400, message=REFUSALS["openai"]), SAID, SAID)

    with app.app_context():
        streamed(model="groq/m")
        other = streamed(model="xai/m")

    assert other.usage.source == "provider"


def test_usage_that_comes_by_itself_is_taken(served, emulator):
    body = {
        "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2},
    }
    events = f"data: {json.dumps(body)}\n\ndata: [DONE]\n\n"
    emulator.script(
        Fault(status=400, message=REFUSALS["openai"]),
        Fault(body=events, content_type="text/event-stream"),
    )

    with served().app_context():
        usage = streamed().usage

    assert (usage.source, usage.input_tokens, usage.output_tokens) == ("provider", 9, 2)


@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        (Fault(status=400, message="temperature is not supported"), {}, None),
        (Fault(status=404, message="stream_options"), {}, flask_llm.NotFoundError),
        (
            Fault(status=400, message=REFUSALS["openai"]),
            {"extra": {"stream_options": {"include_usage": True}}},
            None,
        ),
    ],
)
def test_nothing_else_is_asked_again(served, emulator, fault, options, error):
    app = served()
    emulator.script(fault)

    with app.app_context(), pytest.raises(error or InvalidRequestError):
        streamed(**options)

    assert len(emulator.requests) == 1
    assert [row.status for row in read_rows(app)] == ["failed"]


def test_stream_refused_once_more_is_given_up(served, emulator):
    app = served()
    emulator.script(*[Fault(status=400, message=REFUSALS["openai"])] * 3)

    with app.app_context(), pytest.raises(InvalidRequestError) as caught:
        streamed()

    assert caught.value.attempts == len(emulator.requests) == 2
    assert [(row.status, row.attempts) for row in read_rows(app)] == [("failed", 2)]


def test_tries_after_it_are_as_many_as_ever(served, emulator):
    refused = Fault(status=400, message=REFUSALS["openai"])
    emulator.script(refused, Fault(status=503), Fault(status=503), SAID)

    with served().app_context():
        answer = streamed(retries=2)

    assert (answer.text, answer.attempts) == ("one two", 4)


def test_second_request_has_the_time_that_is_left(served, emulator):
    emulator.script(
        Fault(status=400, message=REFUSALS["openai"], delay_seconds=0.3),
        Fault(delay_seconds=5),
    )

    with served().app_context(), pytest.raises(ReadTimeout) as caught:
        streamed(timeout=0.6, retries=0)

    assert caught.value.attempts == 2


def test_proxy_for_responses_is_asked_once_more_too(served, emulator):
    emulator.script(Fault(status=400, message="Unknown: include_obfuscation"), SAID)

    with served("openai", row={"protocol": "responses"}).app_context():
        answer = streamed(retries=0)

    assert (answer.text, answer.attempts) == ("one two", 2)
    assert (answer.usage.source, answer.usage.input_tokens) == ("provider", 1000)


def test_whole_answers_are_asked_for_without_stream_options(served, emulator):
    with served().app_context():
        flask_llm.complete("Hi")

    assert "stream_options" not in emulator.requests[0].body


# --- Quirks --------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPATIBLE)
def test_compatible_server_gets_less(served, emulator, name):
    with served(name).app_context():
        flask_llm.complete("Hi", tools=[Tool("weather", strict=True)], system="Brief.")

    (request,) = emulator.requests
    body = request.body
    assert body.keys() == {"model", "messages", "max_tokens", "temperature", "tools"}
    assert body["messages"][0]["role"] == "system"
    assert "strict" not in body["tools"][0]["function"]


def test_server_that_knows_no_schema_is_asked_for_json(served, emulator):
    emulator.script(Answer(text='{"n": 1}'))

    with served(row={"quirks": {"json_schema": False}}).app_context():
        answer = flask_llm.complete("Hi", schema=SCHEMA)

    assert answer.parsed == {"n": 1}
    body = emulator.requests[0].body
    assert body["response_format"] == {"type": "json_object"}
    assert '"properties"' in body["messages"][0]["content"]


def test_server_without_a_word_for_it_is_not_asked_to_call_a_tool(served, emulator):
    app = served("moonshot")

    with app.app_context(), pytest.raises(UnsupportedParameter) as caught:
        flask_llm.complete("Hi", tools=[WEATHER], tool_choice="required")

    assert caught.value.param == "tool_choice"
    assert emulator.requests == []


def test_server_is_asked_again_once_its_row_has_the_word(served, emulator):
    row = {"quirks": {"required": "required"}}

    with served("moonshot", row=row).app_context():
        flask_llm.complete("Hi", tools=[WEATHER], tool_choice="required")

    assert emulator.requests[0].body["tool_choice"] == "required"


@pytest.mark.parametrize("name", ["deepseek", "zai"])
def test_reasoning_goes_back_to_servers_that_want_it(served, emulator, name):
    call = {"name": "weather", "arguments": {}}
    emulator.script(Answer(reasoning="Hm.", tool_calls=[call]))
    history = [Message("user", "How is it?")]

    with served(name).app_context():
        answer = streamed(history, tools=[WEATHER])
        (asked,) = answer.tool_calls
        results = Message("tool", [ToolResult(asked.id, "4")])
        flask_llm.complete([*history, answer.to_message(), results], tools=[WEATHER])

    assert emulator.requests[1].body["messages"][1]["reasoning_content"] == "Hm."


# --- Errors of llama.cpp --------------------------------------------------------------


def llama(status, kind, message, **more):
    error = {"code": status, "message": message, "type": kind} | more
    return Fault(status=status, body=json.dumps({"error": error}))


def test_context_overflow_of_llama_cpp_is_told_as_such(served, emulator):
    words = "request (4221 tokens) exceeds the available context size (2048 tokens)"
    emulator.script(llama(400, "exceed_context_size_error", words, n_ctx=2048))

    with served().app_context(), pytest.raises(ContextLengthExceeded) as caught:
        flask_llm.complete("Hi")

    error = caught.value
    assert (error.status, error.code) == (400, "exceed_context_size_error")
    assert (error.param, error.provider_message) == (None, words)


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (401, "authentication_error", flask_llm.AuthenticationError),
        (404, "not_found_error", flask_llm.NotFoundError),
        (503, "unavailable_error", flask_llm.OverloadedError),
        (400, "invalid_request_error", InvalidRequestError),
    ],
)
def test_errors_of_llama_cpp_are_told_by_their_status(
    served, emulator, status, kind, error
):
    emulator.script(llama(status, kind, "No."))

    with served().app_context(), pytest.raises(error) as caught:
        flask_llm.complete("Hi", retries=0)

    assert (caught.value.status, caught.value.code) == (status, kind)
