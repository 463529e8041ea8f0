"""OpenAI asked by Responses, end to end: tools, endings, and who is asked how."""

import json
from decimal import Decimal

import pytest
import responses as http
from conftest import read_rows

import flask_llm
from flask_llm import (
    Message,
    ServerError,
    StreamInterrupted,
    Tool,
    ToolResult,
    UnsupportedParameter,
)
from flask_llm.emulator import Answer, Fault

MODEL = "openai/gpt-6-luna"
WEATHER = Tool("weather", "Current weather", {"type": "object", "properties": {}})
WORDS = Answer(
    text="one two three four",
    reasoning="Count, then.",
    usage={"input_tokens": 1000, "output_tokens": 200, "reasoning_tokens": 64},
)
whole_or_stream = pytest.mark.parametrize("ask", ["complete", "stream"])


@pytest.fixture
def app(make_app, provider_rows):
    """An app that asks OpenAI by Responses alone."""
    provider_rows["openai"] |= {"protocol": "responses"}
    app = make_app(LLM_MODEL=MODEL)
    app.extensions["llm"].database.prepare()
    with app.app_context():
        yield app


def answer_of(ask, prompt, **options):
    """Ask in either way, and return the whole answer."""
    if ask == "complete":
        return flask_llm.complete(prompt, **options)
    with flask_llm.stream(prompt, **options) as stream:
        for _ in stream:
            pass
    return stream.completion


def one(rows):
    (row,) = rows()
    return row


# --- Answers -----------------------------------------------------------------------


@whole_or_stream
def test_answer_comes_with_reasoning_tokens_and_cost(app, rows, emulator, ask):
    emulator.script(WORDS)

    answer = answer_of(ask, "Count", reasoning="low")

    assert (answer.text, answer.reasoning) == ("one two three four", "Count, then.")
    assert answer.usage.reasoning_tokens == 64
    assert answer.cost_usd > 0
    assert (one(rows).status, one(rows).reasoning_tokens) == ("ok", 64)
    (request,) = emulator.requests
    assert request.path == "/emulator/v1/responses"
    assert request.body["store"] is False


def test_pieces_come_as_they_are_said(app, emulator):
    emulator.script(WORDS)

    with flask_llm.stream("Count") as stream:
        pieces = list(stream)

    said = [piece.text for piece in pieces if piece.text]
    thought = "".join(piece.reasoning for piece in pieces)
    assert said == ["one ", "two ", "three ", "four"]
    assert thought == "Count, then."


def test_silence_is_bridged_by_comments(app, emulator):
    emulator.script(Fault(answer=WORDS, silent_seconds=0.3, keep_alive_seconds=0.05))

    assert answer_of("stream", "Count").text == "one two three four"


@whole_or_stream
def test_three_rounds_of_tools_send_all_reasoning_back(app, emulator, ask):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    emulator.script(
        Answer(text="Let me look.", reasoning="Oslo?", tool_calls=[call, call]),
        Answer(reasoning="Once more.", tool_calls=[call]),
        Answer(text="Four degrees.", reasoning="Done."),
    )
    history = [Message("user", "How is it in Oslo?")]

    for _ in range(3):
        answer = answer_of(ask, history, tools=[WEATHER], reasoning="low")
        kept = json.loads(json.dumps(answer.to_message().to_dict()))
        history.append(Message.from_dict(kept))
        results = [ToolResult(call.id, "4 degrees") for call in answer.tool_calls]
        history += [Message("tool", results)] if results else []
    last = answer_of(ask, [*history, Message("user", "And now?")])

    items = emulator.requests[-1].body["input"]
    assert [item.get("type", item.get("role")) for item in items] == [
        "user",
        *("reasoning", "message", "function_call", "function_call"),
        *("function_call_output", "function_call_output"),
        *("reasoning", "function_call", "function_call_output"),
        *("reasoning", "message"),
        "user",
    ]
    phases = [item["phase"] for item in items if "phase" in item]
    assert phases == ["commentary", "final_answer"]
    assert last.finish_reason == "stop"


def test_history_goes_on_with_another_model_and_provider(app, emulator):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    emulator.script(Answer(text="Hm.", reasoning="Oslo?", tool_calls=[call]))
    history = [Message("user", "How is it in Oslo?")]
    answer = flask_llm.complete(history, tools=[WEATHER])
    (asked,) = answer.tool_calls
    history += [answer.to_message(), Message("tool", [ToolResult(asked.id, "4")])]

    others = ["openai/gpt-6.1-sol", "anthropic/claude-haiku-4-5", "openai/gpt-4.1"]
    texts = [flask_llm.complete(history, model=model).text for model in others]

    assert all("4" in text for text in texts)
    assert "reasoning" not in {
        item.get("type") for item in emulator.requests[1].body["input"]
    }


def test_answer_in_the_background_is_handed_over_and_not_kept(app, rows, emulator):
    emulator.script(Answer(text="x", finish_reason="queued"), Answer(text="Hello"))

    first, second = (
        flask_llm.complete("Hi", cache=True, extra={"background": True})
        for _ in range(2)
    )

    assert (first.raw_finish_reason, first.finish_reason) == ("queued", "other")
    assert first.response_id
    assert second.text == "Hello"
    assert [row.status for row in rows()] == ["ok", "ok"]


def test_structured_answer_is_read_apart_from_comments_on_the_work(app, emulator):
    texts = {"commentary": "Looking it up.", "final_answer": '{"degrees": 4}'}
    output = [
        {
            "type": "message",
            "role": "assistant",
            "phase": phase,
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }
        for phase, text in texts.items()
    ]
    body = json.dumps(IN_RESPONSES | {"output": output})
    emulator.script(Fault(body=body, content_type="application/json"))
    schema = {
        "type": "object",
        "properties": {"degrees": {"type": "integer"}},
        "required": ["degrees"],
    }

    first, kept = (
        flask_llm.complete("Hi", schema=schema, cache=True) for _ in range(2)
    )

    assert first.parsed == kept.parsed == {"degrees": 4}
    assert first.text == "".join(texts.values())
    assert [part.text for part in kept.content] == list(texts.values())
    assert kept.cached


# --- Endings -----------------------------------------------------------------------


def test_answer_that_failed_is_paid_for_and_handed_over(app, rows, emulator):
    said = {"text": "one two", "usage": {"input_tokens": 1000, "output_tokens": 200}}
    emulator.script(Answer(finish_reason="failed", **said))

    with pytest.raises(ServerError) as caught:
        flask_llm.complete("Count", retries=0)

    error, row = caught.value, one(rows)
    assert (error.code, error.text) == ("server_error", "one two")
    assert error.usage.output_tokens == 200
    assert (row.status, row.input_tokens, row.output_tokens) == ("failed", 1000, 200)
    assert row.cost_nanos == error.cost_usd * 10**9 > 0


def test_answer_that_failed_is_tried_again(app, emulator):
    emulator.script(Answer(text="x", finish_reason="failed"), Answer(text="Hello"))

    assert flask_llm.complete("Hi", retries=1).text == "Hello"


def test_stream_that_fails_hands_over_what_came(app, rows, emulator):
    said = {"text": "one two", "usage": {"input_tokens": 1000, "output_tokens": 200}}
    emulator.script(Answer(finish_reason="failed", **said))

    stream = flask_llm.stream("Count")
    with pytest.raises(StreamInterrupted) as caught:
        list(stream)

    error = caught.value
    assert (error.text, error.code) == ("one two", "server_error")
    assert isinstance(error.original_error, ServerError)
    assert (one(rows).status, one(rows).output_tokens) == ("failed", 200)


@pytest.mark.parametrize("after", [0, 1])
def test_error_before_any_text_is_raised_as_itself(app, emulator, after):
    emulator.script(Fault(error_in_stream=after, status=429, message="Slow down"))

    with pytest.raises(flask_llm.ProviderError) as caught:
        list(flask_llm.stream("Count", retries=0))

    assert caught.value.provider_message == "Slow down"
    assert caught.value.code == "rate_limit_exceeded"


def test_error_event_in_mid_stream_hands_over_what_came(app, rows, emulator):
    fault = Fault(answer=Answer(text="one two three"), error_in_stream=6)
    emulator.script(fault)

    with pytest.raises(StreamInterrupted) as caught:
        list(flask_llm.stream("Count", model="openai/gpt-4.1"))

    assert caught.value.text == "one two "
    assert one(rows).cost_nanos > 0


def test_stream_that_ends_without_its_last_event_broke_off(app, emulator):
    emulator.script(Fault(answer=WORDS, cut_after=12))

    with pytest.raises(StreamInterrupted) as caught:
        list(flask_llm.stream("Count"))

    assert "one" in caught.value.text


# --- What models refuse -------------------------------------------------------------


@pytest.fixture(params=["responses", "chat_completions"])
def either_app(request, make_app, provider_rows):
    """An app that asks OpenAI by the one or the other."""
    provider_rows["openai"] |= {"protocol": request.param}
    with make_app().app_context():
        yield


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-5", "o3", "gpt-5.4", MODEL[7:]])
def test_default_that_a_model_refuses_is_left_out(either_app, emulator, model):
    flask_llm.complete("Hi", model=f"openai/{model}")

    (request,) = emulator.requests
    assert request.body.get("temperature") == (0.7 if model == "gpt-4.1" else None)


@pytest.mark.parametrize(
    ("options", "param"),
    [({"temperature": 0.2}, "temperature"), ({"top_p": 0.5}, "top_p")],
)
def test_option_of_the_caller_s_is_refused_by_name(
    either_app, emulator, options, param
):
    with pytest.raises(UnsupportedParameter) as caught:
        flask_llm.complete("Hi", model=MODEL, **options)

    assert caught.value.param == param
    assert len(emulator.requests) == 1


@pytest.mark.parametrize("effort", ["none", "minimal"])
def test_effort_that_a_model_does_not_know_is_refused_by_name(either_app, effort):
    with pytest.raises(UnsupportedParameter) as caught:
        flask_llm.complete("Hi", model="openai/gpt-6-astra", reasoning=effort)

    assert caught.value.param in {"reasoning.effort", "reasoning_effort"}


@pytest.mark.parametrize("options", [{"stop": "END"}, {"seed": 7}])
def test_option_that_responses_has_not_is_refused_by_name(app, options):
    with pytest.raises(UnsupportedParameter) as caught:
        flask_llm.complete("Hi", **options)

    assert caught.value.param == next(iter(options))


def test_tools_beside_reasoning_are_refused_by_name_in_chat(make_app):
    app = make_app()

    with app.app_context(), pytest.raises(UnsupportedParameter) as caught:
        flask_llm.complete("Hi", model="openai/gpt-5.6", tools=[WEATHER])

    assert caught.value.param == "reasoning_effort"


# --- Who is asked how ---------------------------------------------------------------

OPENAI = "https://api.openai.com/v1"
IN_RESPONSES = {
    "id": "resp_1",
    "status": "completed",
    "model": "gpt-6-luna",
    "output": [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        }
    ],
    "usage": {"input_tokens": 9, "output_tokens": 2},
}
IN_CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-4.1",
    "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
}


@pytest.fixture
def openai(make_app):
    """OpenAI itself, as far as anybody here can tell."""
    app = make_app(LLM_PROVIDERS={"openai": {"api_key": "sk-test-0123456789"}})
    with app.app_context(), http.RequestsMock() as api:
        api.assert_all_requests_are_fired = False
        api.post(f"{OPENAI}/responses", json=IN_RESPONSES)
        api.post(f"{OPENAI}/chat/completions", json=IN_CHAT)
        yield api
    assert [row.status for row in read_rows(app)] == ["ok"]


@pytest.mark.parametrize(
    ("model", "options", "path"),
    [
        ("gpt-6-luna", {}, "responses"),
        ("gpt-6-luna", {"tools": [WEATHER]}, "responses"),
        ("gpt-6-luna", {"stop": "END"}, "chat/completions"),
        ("gpt-4.1", {}, "chat/completions"),
        ("gpt-4.1", {"extra": {"truncation": "auto"}}, "responses"),
    ],
)
def test_openai_is_asked_in_the_way_that_model_and_options_need(
    openai, model, options, path
):
    answer = flask_llm.complete("Hi", model=f"openai/{model}", **options)

    (asked,) = openai.calls
    assert asked.request.url == f"{OPENAI}/{path}"
    assert asked.request.headers["Authorization"] == "Bearer sk-test-0123456789"
    assert (answer.text, answer.usage.output_tokens) == ("Hello", 2)
    assert answer.cost_usd > Decimal(0)


def test_words_of_one_way_are_kept_from_a_stand_in_that_is_asked_the_other(
    make_app, emulator, provider_rows
):
    url = provider_rows["openai"]["base_url"]
    rows = {"house": {"base_url": url, "protocol": "responses"}}
    emulator.script(Fault(status=503))

    with make_app(LLM_PROVIDERS=provider_rows | rows).app_context():
        flask_llm.complete(
            "Hi",
            model="openai/gpt-4.1",
            extra={"n": 1},
            fallbacks=["house/gpt-4.1"],
            retries=0,
        )

    first, second = emulator.requests
    assert first.body["n"] == 1
    assert "n" not in second.body
