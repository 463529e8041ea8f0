"""What a real model answers, by each of the protocols that its server speaks."""

from dataclasses import dataclass
from decimal import Decimal

import pytest
import requests

import flask_llm
from flask_llm import (
    AuthenticationError,
    ContextLengthExceeded,
    Image,
    InvalidRequestError,
    Message,
    ResponseError,
    SchemaError,
    ToolResult,
)
from real.conftest import DOORS, MODEL, rows_for, skip_without_model
from real.serve import KEY, NAME

skip_without_model()

PNG = Image(data=b"\x89PNG\r\n\x1a\n0")
LONG = "word " * 2000
WEATHER = "How is the weather in Paris?"
SAME = {"temperature": 0}
"""Said by the caller, since Anthropic's protocol drops a setting of it."""


@dataclass
class City:
    """A place."""

    name: str
    is_capital: bool


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"18 degrees, sunny in {city}"


def test_answer_has_text_usage_and_a_settled_row(app, rows, model):
    answer = flask_llm.complete("Say hello.", model=model, **SAME)

    (row,) = rows()
    assert answer.text
    assert answer.usage.source == "provider"
    assert answer.usage.input_tokens > 5
    assert 0 < answer.usage.output_tokens <= 16
    assert (answer.cost_usd, answer.cost_source) == (None, "none")
    assert answer.response_id
    assert (row.status, row.served_model, row.attempts) == ("ok", NAME, 1)
    assert row.input_tokens == answer.usage.input_tokens
    assert row.output_tokens == answer.usage.output_tokens
    assert (row.cost_nanos, row.usage_source) == (None, "provider")
    assert row.provider_request_id is None


def test_price_of_ones_own_makes_a_cost(make_app):
    app = make_app(LLM_PRICES={"llama.cpp/*": {"input": "1", "output": "10"}})

    with app.app_context():
        answer = flask_llm.complete("Say hello.")

    tokens = answer.usage.input_tokens + 10 * answer.usage.output_tokens
    assert answer.cost_usd == Decimal(tokens) / 1_000_000


def test_stream_adds_up_to_its_completion(app, rows, model):
    with flask_llm.stream("Count from 1 to 10.", model=model, **SAME) as stream:
        chunks = list(stream)

    (row,) = rows()
    answer = stream.completion
    assert len(chunks) > 3
    assert "".join(chunk.text for chunk in chunks) == answer.text != ""
    assert answer.usage.source == "provider"
    assert (row.status, row.streamed) == ("ok", True)
    assert row.output_tokens == answer.usage.output_tokens > 3
    assert 0 < row.first_token_ms <= row.duration_ms


def test_browser_gets_the_stream(app):
    app.add_url_rule("/chat", view_func=lambda: flask_llm.stream_response("Say hello."))

    response = app.test_client().get("/chat")

    assert response.status_code == 200
    assert response.text.count("event: delta") > 1
    assert response.text.count("event: done") == 1
    assert '"finish_reason":' in response.text


def test_stop_sequence_ends_the_answer_and_is_left_out(app, model):
    question = "What is the capital of France?"

    answer = flask_llm.complete(question, model=model, stop=[" is"], **SAME)

    assert answer.finish_reason == "stop"
    assert " is" not in answer.text
    assert answer.usage.output_tokens < 16


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        ("chat_completions", "length"),
        ("anthropic_messages", "length"),
        ("responses", "stop"),  # the server says "completed" there, whatever it was
    ],
)
def test_answer_that_is_cut_short_says_so(app, protocol, reason):
    answer = flask_llm.complete(
        "Tell me a story.", model=DOORS[protocol], max_tokens=3, **SAME
    )

    assert answer.finish_reason == reason
    assert answer.usage.output_tokens == 3


def test_grammar_holds_the_model_to_a_schema(app):
    answer = flask_llm.complete("Describe Paris.", schema=City, max_tokens=40)

    assert isinstance(answer.parsed, City)
    assert type(answer.parsed.is_capital) is bool


def test_server_that_takes_no_notice_of_a_schema_is_found_out(app, rows):
    with pytest.raises((SchemaError, ResponseError)) as caught:
        flask_llm.complete("Say hello.", model=DOORS["responses"], schema=City)

    (row,) = rows()
    assert caught.value.usage.output_tokens == row.output_tokens > 0
    assert row.status == "failed"


def test_model_asks_for_a_tool(app, model):
    answer = ask_for_the_weather(model, streamed=True, max_tokens=48)

    (call,) = answer.tool_calls
    assert answer.finish_reason == "tool_calls"
    assert call.name == "weather"
    assert call.valid
    assert call.arguments == {"city": "Paris"}
    assert call.id


def ask_for_the_weather(model, *, streamed, **options):
    options = {"model": model, "tools": [weather]} | SAME | options
    if not streamed:
        return flask_llm.complete(WEATHER, **options)
    with flask_llm.stream(WEATHER, **options) as stream:
        shown = [chunk.tool_call for chunk in stream if chunk.tool_call]
    assert tuple(shown) == stream.completion.tool_calls
    return stream.completion


def test_run_of_a_tool_ends_in_an_answer(app, rows, model):
    answer = flask_llm.run_tools(
        WEATHER, tools=[weather], model=model, max_tokens=48, **SAME
    )

    roles = [message.role for message in answer.messages]
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert answer.messages[2].tool_results[0].content == "18 degrees, sunny in Paris"
    assert answer.text
    assert answer.finish_reason in {"stop", "length"}
    assert [row.status for row in rows()] == ["ok", "ok"]
    assert answer.usage.output_tokens == sum(row.output_tokens for row in rows())
    assert len({row.request_id for row in rows()}) == 1


@pytest.mark.parametrize(
    ("model", "streamed"),
    [
        (DOORS["chat_completions"], False),
        (DOORS["chat_completions"], True),
        (DOORS["responses"], False),
        (DOORS["anthropic_messages"], True),
    ],
)
def test_conversation_goes_on_after_a_call_that_was_cut(app, model, streamed):
    answer = ask_for_the_weather(model, streamed=streamed, max_tokens=18)
    (call,) = answer.tool_calls
    result = ToolResult(call.id, "The arguments are no JSON.", is_error=True)

    later = flask_llm.complete(
        [
            Message("user", WEATHER),
            answer.to_message(),
            Message("tool", [result]),
        ],
        model=model,
        tools=[weather],
        max_tokens=2,
        **SAME,
    )

    assert call.arguments == {}
    assert later.attempts == 1
    assert later.usage.output_tokens > 0


@pytest.mark.parametrize("verb", [flask_llm.complete, flask_llm.stream])
def test_text_that_is_too_long_is_refused_once(app, rows, model, verb):
    with pytest.raises(ContextLengthExceeded) as caught:
        verb(LONG, model=model)

    (row,) = rows()
    assert caught.value.attempts == 1
    assert (row.status, row.error_status) == ("failed", 400)


def test_model_that_is_not_there_is_told_by_served_model(app):
    answer = flask_llm.complete("Say hello.", model="llama.cpp/gpt-99", max_tokens=2)

    assert answer.model == "llama.cpp/gpt-99"
    assert answer.served_model == NAME


def test_image_is_refused_and_not_sent_again(app, model):
    with pytest.raises(InvalidRequestError) as caught:
        flask_llm.complete(Message("user", ["What is this?", PNG]), model=model)

    assert caught.value.attempts == 1
    assert "image" in caught.value.provider_message


def test_wrong_key_is_named_and_not_shown(make_app, model_server, model):
    key = "sk-wrong-9876543210"
    app = make_app(LLM_PROVIDERS=rows_for(model_server, key))

    with app.app_context(), pytest.raises(AuthenticationError) as caught:
        flask_llm.complete("Say hello.", model=model)

    assert caught.value.attempts == 1
    assert key not in str(caught.value)


def test_texts_become_vectors_in_their_order(app, rows):
    answer = flask_llm.embed(["a cat", "a bank", "a cat"], model=MODEL)

    (row,) = rows()
    assert [len(vector) for vector in answer] == [576] * 3
    assert likeness(answer[0], answer[2]) > 0.999 > likeness(answer[0], answer[1])
    assert (row.operation, row.input_tokens) == ("embed", answer.usage.input_tokens)
    assert answer.usage.source == "provider"


def likeness(one, other):
    def product(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    return product(one, other) / (product(one, one) * product(other, other)) ** 0.5


def test_text_that_is_too_long_for_a_vector_is_refused_once(app):
    with pytest.raises(ContextLengthExceeded) as caught:
        flask_llm.embed([LONG], model=MODEL)

    assert caught.value.attempts == 1


def test_vectors_of_another_length_than_asked_for_are_an_error(app, rows):
    with pytest.raises(ResponseError) as caught:
        flask_llm.embed("a cat", model=MODEL, dimensions=64)

    (row,) = rows()
    assert caught.value.code == row.error_code == "wrong_dimensions"
    assert row.input_tokens == caught.value.usage.input_tokens > 0


def test_option_that_is_wrong_is_named_in_the_server_s_words(app):
    with pytest.raises(InvalidRequestError) as caught:
        flask_llm.complete("Say hello.", extra={"max_tokens": "ten"})

    assert "max_tokens" in caught.value.provider_message


def test_template_shows_tools_calls_and_results(model_server):
    call = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    turns = [
        {"role": "user", "content": "Oslo?"},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": call}]},
        {"role": "tool", "tool_call_id": "1", "content": "rainy"},
    ]
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}

    prompt = requests.post(
        f"{model_server.url}/apply-template",
        json={"messages": turns, "tools": [tool]},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=5,
    ).json()["prompt"]

    assert prompt.index('"name": "weather"') < prompt.index("Oslo?")
    assert '{"name": "weather", "arguments": {"city": "Oslo"}}' in prompt
    assert "<tool_response>\nrainy\n</tool_response>" in prompt
    assert prompt.endswith("<|im_start|>assistant\n")
