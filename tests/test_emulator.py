"""The emulator: official SDKs as oracles, raw requests and sockets for the faults."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from flask_llm.emulator import Answer, Emulator, Fault, serve

APIS = ["openai", "anthropic", "google"]
MODELS = {
    "openai": "gpt-4o-mini",
    "responses": "gpt-6-luna",
    "anthropic": "claude-opus-5-5",
    "google": "gemini-3.8-flash",
}
TERMINALS = {
    "openai": b"[DONE]",
    "responses": b"response.completed",
    "anthropic": b"message_stop",
    "google": b'"STOP"',
}
ERRORS = {
    "openai": "openai",
    "responses": "openai",
    "anthropic": "anthropic",
    "google": "google.genai.errors",
}
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 3},
        "unit": {"enum": ["C", "F"]},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
NODE = {
    "type": "object",
    "properties": {
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
    },
    "required": ["next"],
}
WEATHER_CALL = {"city": "Oslo", "days": 3, "unit": "C"}

each_api = pytest.mark.parametrize("api", [*APIS, "responses"])
each_provider = pytest.mark.parametrize("api", APIS)
whole_or_stream = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture(scope="module")
def house():
    emulator = Emulator()
    app = Flask("house")
    app.register_blueprint(emulator.blueprint, url_prefix="/emulator")
    with serve(app) as address:
        yield emulator, f"{address}/emulator"


@pytest.fixture
def emulator(house):
    emulator, _ = house
    emulator.reset()
    yield emulator
    assert wait_until(lambda: emulator.in_flight == 0)


@pytest.fixture
def url(house, emulator):
    _, address = house
    return address


def oracle(module):
    return pytest.importorskip(module, reason="an official SDK is the oracle here")


@pytest.fixture(scope="module")
def openai_sdk(house):
    openai = oracle("openai")
    _, url = house
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def responses_sdk(house):
    openai = oracle("openai")
    _, url = house
    options = {"max_retries": 0, "_strict_response_validation": True}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", **options) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_sdk(house):
    anthropic = oracle("anthropic")
    _, url = house
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def google_sdk(house):
    genai = oracle("google.genai")
    _, url = house
    with genai.Client(api_key="k", http_options={"base_url": url}) as client:
        yield client


def request_for(api, url, *, stream, text="Hello", model=None, version="2026-10-21"):
    model = model or MODELS[api]
    said = {"role": "user", "content": text}
    if api == "openai":
        body = {"model": model, "messages": [said], "stream": stream}
        return f"{url}/v1/chat/completions", body, {}
    if api == "responses":
        body = {"model": model, "input": [said], "stream": stream}
        return f"{url}/v1/responses", body, {}
    if api == "anthropic":
        body = {"model": model, "messages": [said], "max_tokens": 99, "stream": stream}
        return f"{url}/v1/messages", body, {"anthropic-version": version}
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return f"{url}/v1beta/models/{model}:{verb}", body, {}


def ask(api, url, *, stream=False, text="Hello", model=None, more=None, **options):
    target, body, headers = request_for(api, url, stream=stream, text=text, model=model)
    headers.update(options.pop("headers", {}))
    body.update(more or {})
    options = {"timeout": 5, "allow_redirects": False, **options}
    return requests.post(target, json=body, headers=headers, **options)


def raw_ask(api, url, *, stream=False):
    """Open a plain socket and send a request; the caller reads what comes."""
    target, body, headers = request_for(api, url, stream=stream)
    where = urlsplit(target)
    data = json.dumps(body).encode()
    lines = [
        f"POST {where.path}?{where.query} HTTP/1.1",
        f"Host: {where.netloc}",
        f"Content-Length: {len(data)}",
        *[f"{name}: {value}" for name, value in headers.items()],
    ]
    connection = socket.create_connection((where.hostname, where.port), timeout=5)
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    return connection


def read_until_closed(connection):
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def event_count(body):
    return body.count(b"data: ")


def wait_until(condition):
    give_up = time.monotonic() + 2
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.005)
    return condition()


# --- OpenAI's Chat Completions, as the official SDK sees them


def hello(**options):
    said = {"role": "user", "content": "Hello there, dear emulator"}
    return {"model": "gpt-4o-mini", "messages": [said], **options}


def test_openai_sdk_reads_the_default_answer(openai_sdk):
    answer = openai_sdk.chat.completions.create(**hello())

    choice = answer.choices[0]
    assert "Hello there, dear emulator" in choice.message.content
    assert choice.finish_reason == "stop"
    assert answer.usage.total_tokens == (
        answer.usage.prompt_tokens + answer.usage.completion_tokens
    )
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0


def test_openai_sdk_reads_the_same_text_from_a_stream(openai_sdk):
    answer = openai_sdk.chat.completions.create(**hello())
    options = {"include_usage": True}
    chunks = list(
        openai_sdk.chat.completions.create(**hello(stream=True, stream_options=options))
    )

    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == answer.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == answer.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_openai_stream_without_include_usage_has_no_usage(openai_sdk):
    chunks = list(openai_sdk.chat.completions.create(**hello(stream=True)))

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_openai_sdk_reads_a_tool_call(openai_sdk, choice):
    tool = {"name": "get_weather", "parameters": WEATHER, "strict": True}
    said = {"role": "user", "content": "Please get weather for Oslo"}

    answer = openai_sdk.chat.completions.create(
        model="gpt-4o-mini",
        messages=[said],
        tools=[{"type": "function", "function": tool}],
        tool_choice=choice,
    )

    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == WEATHER_CALL
    assert answer.choices[0].finish_reason == "tool_calls"


def test_openai_sdk_puts_a_streamed_tool_call_together(openai_sdk, emulator):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    emulator.script(Answer(tool_calls=[call, call], chunks=4))

    with openai_sdk.chat.completions.stream(**hello()) as stream:
        message = stream.get_final_completion().choices[0].message

    arguments = [json.loads(c.function.arguments) for c in message.tool_calls]
    assert arguments == [{"city": "Oslo"}] * 2
    assert len({c.id for c in message.tool_calls}) == 2


def test_openai_tool_result_is_answered_in_words(openai_sdk):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": "{}"},
    }
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
    ]

    answer = openai_sdk.chat.completions.create(**hello(messages=messages))

    assert "4 degrees" in answer.choices[0].message.content


def test_openai_answer_satisfies_the_schema(openai_sdk):
    wanted = {"name": "weather", "schema": WEATHER, "strict": True}

    answer = openai_sdk.chat.completions.create(
        **hello(response_format={"type": "json_schema", "json_schema": wanted})
    )

    content = json.loads(answer.choices[0].message.content)
    assert content == {"city": "city", "days": 3, "unit": "C"}


def test_openai_refusal_is_a_field_of_its_own(openai_sdk, emulator):
    emulator.script(Answer(refusal="No."))

    answer = openai_sdk.chat.completions.create(**hello())

    assert answer.choices[0].message.refusal == "No."
    assert answer.choices[0].message.content is None


def test_openai_answer_is_cut_at_max_tokens(openai_sdk):
    answer = openai_sdk.chat.completions.create(**hello(max_completion_tokens=2))

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 2


# --- OpenAI's Responses


def question(**options):
    return {"model": MODELS["responses"], "input": "Hello there, dear one", **options}


def test_responses_sdk_reads_the_default_answer(responses_sdk):
    answer = responses_sdk.responses.create(**question())

    assert "Hello there, dear one" in answer.output_text
    assert (answer.status, answer.store) == ("completed", False)
    assert answer.usage.total_tokens == (
        answer.usage.input_tokens + answer.usage.output_tokens
    )


def test_responses_sdk_accumulates_a_stream_to_the_whole_answer(
    responses_sdk, emulator
):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    said = Answer(text="Let me see.", reasoning="Oslo, then.", tool_calls=[call, call])
    emulator.script(said, said)

    whole = responses_sdk.responses.create(**question())
    with responses_sdk.responses.stream(**question()) as stream:
        events = list(stream)
        streamed = stream.get_final_response()

    kinds = ["reasoning", "message", "function_call", "function_call"]
    assert [item.type for item in whole.output] == kinds
    assert [item.type for item in streamed.output] == kinds
    assert streamed.output_text == whole.output_text == "Let me see."
    assert streamed.usage == whole.usage
    assert [event.sequence_number for event in events] == list(range(len(events)))


ORDER = """response.created response.in_progress
response.output_item.added response.reasoning_summary_part.added
response.reasoning_summary_text.delta response.reasoning_summary_text.done
response.reasoning_summary_part.done response.output_item.done
response.output_item.added response.content_part.added response.output_text.delta
response.output_text.done response.content_part.done response.output_item.done
response.output_item.added response.function_call_arguments.delta
response.function_call_arguments.done response.output_item.done
response.completed""".split()  # noqa: SIM905 - twenty names read better as a paragraph


def test_responses_events_come_in_the_official_order(responses_sdk, emulator):
    call = {"name": "weather", "arguments": {}}
    emulator.script(Answer(text="Hm", reasoning="Hm", tool_calls=[call], chunks=1))

    events = list(responses_sdk.responses.create(**question(stream=True)))

    assert [event.type for event in events] == ORDER


def test_responses_reasoning_is_shown_where_a_summary_is_asked_for(responses_sdk):
    shown = responses_sdk.responses.create(**question(reasoning={"summary": "auto"}))
    hidden = responses_sdk.responses.create(**question())

    (thought, _), (silence, _) = shown.output, hidden.output
    assert thought.summary[0].text
    assert silence.summary == []
    assert thought.encrypted_content
    assert silence.encrypted_content
    assert hidden.usage.output_tokens_details.reasoning_tokens > 0


def test_responses_model_that_does_not_reason_has_no_reasoning(responses_sdk):
    answer = responses_sdk.responses.create(**question(model="gpt-4.1"))

    assert [item.type for item in answer.output] == ["message"]
    assert answer.usage.output_tokens_details.reasoning_tokens == 0


@pytest.mark.parametrize(
    "choice", ["required", "auto", {"type": "function", "name": "weather"}]
)
def test_responses_sdk_reads_a_tool_call(responses_sdk, choice):
    tool = {"type": "function", "name": "weather", "parameters": WEATHER}

    answer = responses_sdk.responses.create(
        **question(
            input="Use the weather tool for Oslo",
            tools=[tool | {"strict": True}],
            tool_choice=choice,
        )
    )

    call = answer.output[-1]
    assert json.loads(call.arguments) == WEATHER_CALL
    assert call.call_id != call.id


def test_responses_answer_satisfies_the_schema(responses_sdk):
    wanted = {"type": "json_schema", "name": "weather", "schema": WEATHER}

    answer = responses_sdk.responses.create(**question(text={"format": wanted}))

    assert set(json.loads(answer.output_text)) == {"city", "days", "unit"}


def test_responses_json_mode_answers_with_an_object(responses_sdk):
    wanted = {"format": {"type": "json_object"}}

    answer = responses_sdk.responses.create(**question(text=wanted))

    assert isinstance(json.loads(answer.output_text), dict)


def test_responses_refusal_is_a_part_of_a_message(responses_sdk, emulator):
    emulator.script(Answer(refusal="No."), Answer(refusal="No."))

    whole = responses_sdk.responses.create(**question())
    with responses_sdk.responses.stream(**question()) as stream:
        streamed = stream.get_final_response()

    assert whole.output[-1].content[0].refusal == "No."
    assert streamed.output[-1].content[0].refusal == "No."


def test_responses_answer_is_cut_at_max_output_tokens(responses_sdk):
    cut = {"model": "gpt-4.1", "max_output_tokens": 2}

    answer = responses_sdk.responses.create(**question(**cut))

    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage.output_tokens == 2


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("content_filter", "incomplete", None),
        ("failed", "failed", "server_error"),
        ("cancelled", "cancelled", None),
        ("queued", "queued", None),
    ],
)
def test_responses_status_is_what_was_scripted(
    responses_sdk, emulator, reason, status, code
):
    emulator.script(Answer(text="x", finish_reason=reason))

    answer = responses_sdk.responses.create(**question())

    assert answer.status == status
    assert (answer.error and answer.error.code) == code


@pytest.mark.parametrize(
    ("model", "phases"),
    [
        ("gpt-4.1", [None, None]),
        ("gpt-5.3-codex", ["commentary", "final_answer"]),
        ("gpt-6-luna", ["commentary", "final_answer"]),
    ],
)
def test_responses_messages_have_a_phase_on_newer_models(
    responses_sdk, emulator, model, phases
):
    call = {"name": "weather", "arguments": {}}
    emulator.script(Answer(text="Hm", tool_calls=[call]), Answer(text="Four."))

    answers = [
        responses_sdk.responses.create(**question(model=model)) for _ in range(2)
    ]

    messages = [
        item for answer in answers for item in answer.output if item.type == "message"
    ]
    assert [getattr(message, "phase", None) for message in messages] == phases


def test_responses_error_inside_a_stream_is_an_event(responses_sdk, emulator):
    fault = Fault(error_in_stream=3, status=429, message="Too busy")
    emulator.script(fault)

    *_, last = responses_sdk.responses.create(**question(stream=True))

    assert (last.type, last.code) == ("error", "rate_limit_exceeded")
    assert last.message == "Too busy"


THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "encrypted_content": "gAAAAAB-rs_1",
}
CALLED = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "weather",
    "arguments": "{}",
}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "4 degrees"}


def test_responses_tool_result_is_answered_in_words(responses_sdk):
    said = {"role": "user", "content": "weather?"}

    answer = responses_sdk.responses.create(
        **question(input=[said, THOUGHT, CALLED, RESULT])
    )

    assert "4 degrees" in answer.output_text


@pytest.mark.parametrize(
    ("items", "status", "says"),
    [
        ([CALLED, RESULT], 200, "4 degrees"),
        ([RESULT], 400, "No tool call found"),
        ([THOUGHT, RESULT], 400, "without its required following item"),
        ([CALLED], 400, "No tool output found"),
        ([THOUGHT], 400, "without its required following item"),
        ([CALLED, THOUGHT, RESULT], 400, "without its required following item"),
        ([THOUGHT | {"encrypted_content": None}, CALLED, RESULT], 404, "not persisted"),
        ([THOUGHT | {"encrypted_content": "x"}, CALLED, RESULT], 400, "be verified"),
    ],
)
def test_responses_history_must_hold_together(url, items, status, says):
    answer = ask("responses", url, more={"input": items})

    assert answer.status_code == status
    assert says in answer.text


# --- Anthropic's Messages


def anthropic_hello(**options):
    said = {"role": "user", "content": "Hello there"}
    model = MODELS["anthropic"]
    return {"model": model, "max_tokens": 500, "messages": [said], **options}


def test_anthropic_sdk_reads_the_default_answer(anthropic_sdk):
    message = anthropic_sdk.messages.create(**anthropic_hello())

    assert "Hello there" in message.content[0].text
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


def test_anthropic_sdk_accumulates_a_stream_to_the_whole_answer(anthropic_sdk):
    options = anthropic_hello(thinking={"type": "adaptive"})
    whole = anthropic_sdk.messages.create(**options)

    with anthropic_sdk.messages.stream(**options) as stream:
        streamed = stream.get_final_message()

    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert streamed.content[0].thinking == whole.content[0].thinking
    assert streamed.content[0].signature == whole.content[0].signature
    assert streamed.content[1].text == whole.content[1].text
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_sdk_reads_a_tool_call(anthropic_sdk, stream):
    said = {"role": "user", "content": "Use the weather tool for Oslo"}
    tools = [{"name": "weather", "input_schema": WEATHER}]
    options = anthropic_hello(messages=[said], tools=tools)

    if stream:
        with anthropic_sdk.messages.stream(**options) as events:
            message = events.get_final_message()
    else:
        message = anthropic_sdk.messages.create(**options)

    assert message.content[0].input == WEATHER_CALL
    assert message.stop_reason == "tool_use"


def test_anthropic_answer_satisfies_the_schema(anthropic_sdk):
    wanted = {"type": "json_schema", "schema": WEATHER}

    message = anthropic_sdk.messages.create(
        **anthropic_hello(output_config={"format": wanted})
    )

    assert set(json.loads(message.content[0].text)) == {"city", "days", "unit"}


def test_anthropic_input_counters_are_disjoint(anthropic_sdk, emulator):
    usage = {"input_tokens": 100, "cache_read_tokens": 60, "cache_write_tokens": 30}
    emulator.script(Answer(text="Hi", usage=usage))

    counted = anthropic_sdk.messages.create(**anthropic_hello()).usage

    assert counted.input_tokens == 10
    assert counted.cache_read_input_tokens == 60
    assert counted.cache_creation_input_tokens == 30


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_refusal_is_a_stop_reason(anthropic_sdk, emulator, stream):
    emulator.script(Answer(refusal="No."))

    if stream:
        with anthropic_sdk.messages.stream(**anthropic_hello()) as events:
            message = events.get_final_message()
    else:
        message = anthropic_sdk.messages.create(**anthropic_hello())

    assert message.stop_reason == "refusal"
    assert message.content == []


# --- Google's generateContent


def google_hello(config=None, text="Hello there", model=MODELS["google"]):
    return {"model": model, "contents": text, "config": config}


def test_google_sdk_reads_the_default_answer(google_sdk):
    answer = google_sdk.models.generate_content(**google_hello())

    assert "Hello there" in answer.text
    assert answer.candidates[0].finish_reason == "STOP"
    counts = answer.usage_metadata
    assert counts.total_token_count == (
        counts.prompt_token_count + counts.candidates_token_count
    )
    assert counts.cached_content_token_count is None


def test_google_sdk_reads_the_same_text_from_a_stream(google_sdk):
    whole = google_sdk.models.generate_content(**google_hello())
    chunks = list(google_sdk.models.generate_content_stream(**google_hello()))

    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert all(chunk.usage_metadata for chunk in chunks)
    assert [chunk.candidates[0].finish_reason for chunk in chunks[:-1]] == (
        [None] * (len(chunks) - 1)
    )
    assert chunks[-1].candidates[0].finish_reason == "STOP"
    assert chunks[-1].usage_metadata == whole.usage_metadata


def test_google_sdk_reads_thoughts(google_sdk):
    config = {"thinking_config": {"include_thoughts": True}}

    chunks = list(google_sdk.models.generate_content_stream(**google_hello(config)))

    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    assert parts[0].thought
    assert parts[-1].thought_signature
    assert chunks[-1].usage_metadata.thoughts_token_count > 0


@pytest.mark.parametrize("stream", [False, True])
def test_google_sdk_reads_a_tool_call(google_sdk, stream):
    function = {"name": "weather", "parameters_json_schema": WEATHER}
    config = {
        "tools": [{"function_declarations": [function]}],
        "tool_config": {"function_calling_config": {"mode": "ANY"}},
    }
    options = google_hello(config, text="How is it in Oslo?")

    if stream:
        *_, answer = google_sdk.models.generate_content_stream(**options)
    else:
        answer = google_sdk.models.generate_content(**options)

    (call,) = answer.function_calls
    assert call.args == WEATHER_CALL
    assert answer.candidates[0].content.parts[0].thought_signature


def test_google_answer_satisfies_the_schema(google_sdk):
    config = {
        "response_mime_type": "application/json",
        "response_json_schema": WEATHER,
    }

    answer = google_sdk.models.generate_content(**google_hello(config))

    assert set(json.loads(answer.text)) == {"city", "days", "unit"}


@pytest.mark.parametrize("stream", [False, True])
def test_google_refusal_is_a_blocked_prompt(google_sdk, emulator, stream):
    emulator.script(Answer(refusal="No."))

    if stream:
        *_, answer = google_sdk.models.generate_content_stream(**google_hello())
    else:
        answer = google_sdk.models.generate_content(**google_hello())

    assert answer.candidates is None
    assert answer.prompt_feedback.block_reason == "PROHIBITED_CONTENT"


# Embeddings


@pytest.mark.parametrize("form", ["float", "base64"])
def test_openai_sdk_reads_embeddings(openai_sdk, form):
    answer = openai_sdk.embeddings.create(
        model="text-embedding-3-small",
        input=["Oslo", "Bergen", "Oslo"],
        dimensions=4,
        encoding_format=form,
    )
    by_default = openai_sdk.embeddings.create(
        model="text-embedding-3-small", input="Oslo", dimensions=4
    )

    first, second, third = [item.embedding for item in answer.data]
    if form == "float":
        assert first == third == by_default.data[0].embedding != second
        assert sum(number * number for number in first) == pytest.approx(1, abs=1e-5)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (4, 4)


def test_google_sdk_reads_embeddings(google_sdk, emulator, openai_sdk):
    answer = google_sdk.models.embed_content(
        model="gemini-embedding-001",
        contents=["Oslo", "Bergen"],
        config={"output_dimensionality": 4, "task_type": "RETRIEVAL_QUERY"},
    )
    same = openai_sdk.embeddings.create(
        model="text-embedding-3-small", input="Oslo", dimensions=4
    )

    first, second = [embedding.values for embedding in answer.embeddings]
    assert first == same.data[0].embedding != second


def test_google_embeds_one_text_too(url):
    body = {"content": {"parts": [{"text": "Oslo"}]}, "output_dimensionality": 3}

    answer = requests.post(
        f"{url}/v1beta/models/gemini-embedding-001:embedContent", json=body, timeout=9
    ).json()

    assert len(answer["embedding"]["values"]) == 3
    assert answer["usageMetadata"]["promptTokenCount"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": []}, "empty"),
        ({"input": [""]}, "empty"),
        ({"input": None}, "invalid"),
        ({"input": ["a"] * 2049}, "2048"),
        ({"input": ["a" * 40_000]}, "8192"),
        ({"input": ["a" * 32_000] * 40}, "300000"),
        ({"model": "gpt-4o-mini"}, "not allowed"),
        ({"model": ""}, "model"),
        ({"model": "text-embedding-ada-002", "dimensions": 3}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"max_tokens": 3}, "Unknown parameter"),
    ],
)
def test_openai_refuses_to_embed(url, change, words):
    body = {"model": "text-embedding-3-small", "input": "a"} | change

    response = requests.post(f"{url}/v1/embeddings", json=body, timeout=9)

    assert response.status_code == 400
    assert words in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("model", "change", "status"),
    [
        ("m", {"requests": []}, 400),
        ("m", {"contents": []}, 400),
        ("m", {"requests": [{"model": "models/other"}]}, 400),
        ("m", {"requests": [{"model": "models/m"}]}, 400),
        ("m", {"requests": [{"model": "models/m", "task": "x"}]}, 400),
        ("gemini-2.5-flash", {"requests": [{"model": "models/gemini-2.5-flash"}]}, 404),
    ],
)
def test_google_refuses_to_embed(url, model, change, status):
    text = {"content": {"parts": [{"text": "a"}]}, "model": f"models/{model}"}
    fits = {"requests": [text] * 101}

    target = f"{url}/v1beta/models/{model}:batchEmbedContents"
    response = requests.post(target, json=change, timeout=9)
    too_many = requests.post(target, json=fits, timeout=9)

    assert response.status_code == status
    assert too_many.status_code in {400, 404}


@pytest.mark.parametrize("name", ["fault-503", "no-usage", "garbage"])
def test_names_that_act_do_so_for_embeddings_too(url, name):
    body = {"model": name, "input": "a"}

    response = requests.post(f"{url}/v1/embeddings", json=body, timeout=9)

    assert (response.status_code == 503) is (name == "fault-503")
    assert "prompt_tokens" not in response.text


def test_google_stream_without_sse_is_one_json_array(url):
    target, body, _ = request_for("google", url, stream=True)

    answer = requests.post(target.partition("?")[0], json=body, timeout=5)

    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.json()[-1]["candidates"][0]["finishReason"] == "STOP"


def test_google_events_end_in_carriage_return_and_line_feed(url):
    body = ask("google", url, stream=True).content

    assert body.endswith(b"\r\n\r\n")
    assert body.count(b"\n") == 2 * event_count(body)


# --- errors, as the official SDKs raise them


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503, 504])
@each_api
def test_sdk_raises_the_providers_own_error(request, api, emulator, status):
    emulator.script(Fault(status=status))
    sdk = request.getfixturevalue(f"{api}_sdk")

    with pytest.raises(oracle(ERRORS[api]).APIError) as caught:
        call_sdk(api, sdk)

    seen = caught.value.code if api == "google" else caught.value.status_code
    assert seen == status


def call_sdk(api, sdk):
    if api == "openai":
        return sdk.chat.completions.create(**hello())
    if api == "responses":
        return sdk.responses.create(**question())
    if api == "anthropic":
        return sdk.messages.create(**anthropic_hello())
    return sdk.models.generate_content(**google_hello())


def test_error_bodies_have_each_providers_shape(url, emulator):
    emulator.script(*[Fault(status=429, message="Slow down")] * 3)

    bodies = {api: ask(api, url).json() for api in APIS}

    assert bodies["openai"]["error"] == {
        "message": "Slow down",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert bodies["anthropic"]["type"] == "error"
    assert bodies["anthropic"]["error"] == {
        "type": "rate_limit_error",
        "message": "Slow down",
    }
    assert bodies["google"]["error"]["status"] == "RESOURCE_EXHAUSTED"
    (failure,) = bodies["google"]["error"]["details"]
    assert "PerMinute" in failure["violations"][0]["quotaId"]


def test_exhausted_quota_differs_from_a_rate_limit(url, emulator):
    emulator.script(*[Fault.quota_exhausted()] * 3)

    answers = {api: ask(api, url) for api in APIS}

    assert {answer.status_code for answer in answers.values()} == {429}
    errors = {api: answer.json()["error"] for api, answer in answers.items()}
    assert errors["openai"]["code"] == "insufficient_quota"
    details = errors["anthropic"]["details"]
    assert details == {"error_code": "enforced_spend_limit_reached"}
    violation = errors["google"]["details"][0]["violations"][0]
    assert "PerDay" in violation["quotaId"]


@each_api
@pytest.mark.parametrize(
    "value", [2, 0.5, "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"]
)
def test_retry_after_is_sent_verbatim(url, emulator, api, value):
    emulator.script(Fault(status=429, retry_after=value, headers={"X-Extra": "1"}))

    answer = ask(api, url)

    assert answer.headers["Retry-After"] == str(value)
    assert answer.headers["X-Extra"] == "1"


def test_google_retry_info_is_a_detail_of_the_error(url, emulator):
    emulator.script(Fault(status=429, retry_info_seconds=46))

    details = ask("google", url).json()["error"]["details"]

    assert details[-1]["retryDelay"] == "46s"


def test_type_and_code_can_be_chosen(url, emulator):
    fault = Fault(status=400, type="t", code="c", message="m")
    emulator.script(fault, fault, fault)

    errors = {api: ask(api, url).json()["error"] for api in APIS}

    assert errors["openai"] == {"message": "m", "type": "t", "param": None, "code": "c"}
    assert errors["anthropic"]["details"] == {"error_code": "c"}
    assert errors["google"]["status"] == "t"
    assert errors["google"]["details"][0]["reason"] == "c"


def test_request_ids_agree_between_header_and_body(url, emulator):
    emulator.script(Fault(status=500))

    answer = ask("anthropic", url)

    assert answer.json()["request_id"] == answer.headers["request-id"]


# --- what the providers refuse


HAIKU = {"model": "claude-haiku-4-5"}

REFUSED = [
    ("openai", {"messages": None}, "expected an array"),
    ("openai", {"messages": []}, "empty array"),
    ("openai", {"messages": [{"role": "robot", "content": "x"}]}, "'robot'"),
    ("openai", {"messages": [{"role": "user"}]}, "content"),
    ("openai", {"messages": [{"role": "tool", "content": "x"}]}, "tool_calls"),
    ("openai", {"model": ""}, "model parameter"),
    ("openai", {"shout": True}, "Unknown parameter: 'shout'"),
    ("openai", {"max_tokens": 0}, "below minimum"),
    ("openai", {"temperature": 3}, "temperature"),
    ("openai", {"stream_options": {"include_usage": True}}, "stream_options"),
    ("openai", {"model": "gpt-6-luna", "max_tokens": 9}, "max_completion_tokens"),
    ("openai", {"model": "gpt-5", "temperature": 0.2}, "Only the default (1)"),
    ("openai", {"model": "gpt-6-astra", "reasoning_effort": "none"}, "'none'"),
    ("anthropic", {"max_tokens": None}, "max_tokens: Field required"),
    ("anthropic", {"messages": None}, "messages: Field required"),
    ("anthropic", {"messages": []}, "at least one message"),
    ("anthropic", {"messages": [{"role": "robot", "content": "x"}]}, '"robot"'),
    ("anthropic", {"temperature": 1}, "anthropic-version 2026-10-21"),
    ("anthropic", {"shout": True}, "shout: Extra inputs"),
    ("anthropic", {"tool_choice": {"type": "any"}}, "tool_choice"),
    ("anthropic", {"messages": [{"role": "assistant", "content": "x"}]}, "prefill"),
    ("anthropic", {"thinking": {"type": "enabled"}}, "'enabled' is not supported"),
    ("anthropic", {"thinking": {"type": "disabled"}}, "'disabled' is not supported"),
    ("anthropic", HAIKU | {"thinking": {"type": "enabled"}}, "1024"),
    ("anthropic", {"model": ""}, "model"),
    ("anthropic", {"max_tokens": -1}, "max_tokens"),
    ("anthropic", {"messages": ["x"]}, "list of objects"),
    ("anthropic", {"messages": [{"role": "user", "content": ""}]}, "content"),
    (
        "anthropic",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "citations": [1]}]}
            ]
        },
        "citations",
    ),
    (
        "anthropic",
        HAIKU
        | {"max_tokens": 9, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        "greater than",
    ),
    (
        "anthropic",
        HAIKU
        | {
            "max_tokens": 2048,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "tools": [{"name": "weather", "input_schema": NODE}],
            "tool_choice": {"type": "any"},
        },
        "forces tool use",
    ),
    (
        "anthropic",
        {"model": "claude-opus-4-1", "output_config": {"format": {"schema": NODE}}},
        "output_config.format: not supported",
    ),
    (
        "anthropic",
        {"output_config": {"format": {"schema": {"type": "object"}}}},
        "additionalProperties",
    ),
    ("responses", {"model": ""}, "'model'"),
    ("responses", {"input": None}, "'input'"),
    ("responses", {"input": []}, "empty array"),
    ("responses", {"input": [3]}, "an array of objects"),
    ("responses", {"input": [{"role": "robot", "content": "x"}]}, "'robot'"),
    ("responses", {"input": [{"role": "user"}]}, "input[0].content"),
    ("responses", {"input": [{"role": "user", "content": 5}]}, "input[0].content"),
    ("responses", {"input": [{"type": "thought"}]}, "'thought'"),
    (
        "responses",
        {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        "'input_text'",
    ),
    (
        "responses",
        {"input": [{"role": "assistant", "content": [{"type": "input_text"}]}]},
        "'output_text'",
    ),
    ("responses", {"stop": ["x"]}, "Unknown parameter: 'stop'"),
    ("responses", {"seed": 7}, "Unknown parameter: 'seed'"),
    ("responses", {"max_output_tokens": 0}, "below minimum"),
    ("responses", {"temperature": 0.2}, "Only the default (1)"),
    ("responses", {"model": "gpt-6-astra", "reasoning": {"effort": "none"}}, "'none'"),
    ("responses", {"reasoning": {"effort": "minimal"}}, "'reasoning.effort'"),
    ("responses", {"model": "gpt-4.1", "reasoning": {"effort": "low"}}, "'reasoning.e"),
    (
        "responses",
        {"model": "gpt-4.1", "include": ["reasoning.encrypted_content"]},
        "not supported with this model",
    ),
    ("responses", {"tools": [{"type": "function", "name": "a b"}]}, "pattern"),
    (
        "responses",
        {"text": {"format": {"type": "json_schema", "strict": True, "schema": NODE}}},
        "additionalProperties",
    ),
    ("openai", {"model": "o3", "stop": "x"}, "'stop'"),
    ("openai", {"model": "o3", "logprobs": True}, "'logprobs'"),
    ("openai", {"tools": [{"function": {"name": "a b"}}]}, "pattern"),
    (
        "google",
        {"contents": [{"role": "model", "parts": [{"text": "x"}]}]},
        "first content",
    ),
    (
        "google",
        {
            "generationConfig": {
                "thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 1}
            }
        },
        "thinking level",
    ),
    (
        "google",
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}},
        "HUGE",
    ),
    (
        "google",
        {"generationConfig": {"responseSchema": NODE, "responseJsonSchema": NODE}},
        "Only one of",
    ),
    ("google", {"generationConfig": {"stopSequences": [*"abcdef"]}}, "at most 5"),
    (
        "google",
        {"tools": [{"functionDeclarations": [{"name": "a b"}]}]},
        "Invalid function name",
    ),
    ("google", {"contents": []}, "contents is not specified"),
    ("google", {"contents": [{"role": "bot", "parts": [{"text": "x"}]}]}, "valid role"),
    ("google", {"contents": [{"role": "user"}]}, "parts: empty"),
    ("google", {"shout": True}, 'Unknown name "shout"'),
    ("google", {"generationConfig": {"max_tokens": 1}}, "generation_config"),
]


@pytest.mark.parametrize(("api", "more", "says"), REFUSED)
def test_bad_request_is_refused_and_says_why(url, api, more, says):
    answer = ask(api, url, more=more)

    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("model", "effort", "status"),
    [
        ("gpt-4.1", None, 200),
        ("gpt-5.4", None, 200),
        ("gpt-5.4", "low", 400),
        ("gpt-5.6", None, 400),
        ("gpt-5.6", "none", 200),
        ("gpt-6-sol", "none", 200),
        ("gpt-6.1-sol", None, 400),
    ],
)
def test_openai_refuses_tools_beside_active_reasoning(url, model, effort, status):
    function = {"name": "weather", "parameters": WEATHER}
    more = {"tools": [{"type": "function", "function": function}]}
    if effort:
        more["reasoning_effort"] = effort

    answer = ask("openai", url, model=model, more=more)

    assert answer.status_code == status


def test_openai_refuses_a_strict_schema_that_is_open(url):
    open_schema = {"type": "object", "properties": {"c": {"type": "number"}}}
    wanted = {"name": "t", "strict": True, "schema": open_schema}
    more = {"response_format": {"type": "json_schema", "json_schema": wanted}}

    answer = ask("openai", url, more=more)

    assert "additionalProperties" in answer.json()["error"]["message"]


THINKING = [
    # model, kind of thinking, effort, status
    ("claude-fable-5-1", "adaptive", "max", 200),
    ("claude-fable-5-1", "disabled", None, 400),
    ("claude-opus-5-5", "disabled", None, 400),
    ("claude-opus-5-5", None, "low", 200),
    ("claude-sonnet-5-5", "between_tools", "high", 200),
    ("claude-sonnet-5-5", "between_tools", "xhigh", 400),
    ("claude-sonnet-5-5", "disabled", None, 400),
    ("claude-haiku-5-5", "disabled", "high", 200),
    ("claude-haiku-5-5", "disabled", "max", 400),
    ("claude-haiku-5-5", "between_tools", None, 400),
    ("claude-opus-5", "disabled", None, 200),
    ("claude-opus-4-8", "enabled", None, 400),
    ("claude-opus-4-8", "adaptive", "xhigh", 200),
    ("claude-sonnet-4-6", "adaptive", "xhigh", 400),
    ("claude-sonnet-4-6", "adaptive", "max", 200),
    ("claude-sonnet-4-6", "enabled", None, 200),
    ("claude-opus-4-5", "enabled", "low", 200),
    ("claude-sonnet-4-5", "enabled", "low", 400),
    ("claude-sonnet-4-5", "adaptive", None, 400),
    ("claude-sonnet-4-5", "disabled", None, 200),
]


@pytest.mark.parametrize(("model", "kind", "effort", "status"), THINKING)
def test_anthropic_refuses_thinking_that_a_model_has_not(
    url, model, kind, effort, status
):
    budget = {"budget_tokens": 1024} if kind == "enabled" else {}
    more = {"max_tokens": 2048}
    more |= {"thinking": {"type": kind, **budget}} if kind else {}
    more |= {"output_config": {"effort": effort}} if effort else {}

    answer = ask("anthropic", url, model=model, more=more)

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("model", "thinking", "status"),
    [
        ("gemini-2.5-flash", {"thinkingBudget": 0}, 200),
        ("gemini-2.5-flash", {"thinkingLevel": "LOW"}, 400),
        ("gemini-2.5-pro", {"thinkingBudget": 0}, 400),
        ("gemini-2.5-pro", {"thinkingBudget": 128}, 200),
        ("gemini-3.8-flash", {"thinkingLevel": "MINIMAL"}, 200),
        ("gemini-3.7-flash", {"thinkingLevel": "MINIMAL"}, 400),
        ("gemini-3.1-pro-preview", {"thinkingLevel": "MINIMAL"}, 400),
        ("gemini-4-argon", {"thinkingLevel": "MINIMAL"}, 400),
        ("gemini-4-argon", {"thinkingLevel": "XHIGH"}, 400),
        ("gemini-4-argon", {"thinkingLevel": "HIGH"}, 200),
        ("gemini-4-argon", {"thinkingBudget": 1}, 400),
    ],
)
def test_google_refuses_thinking_that_a_model_has_not(url, model, thinking, status):
    more = {"generationConfig": {"thinkingConfig": thinking}}

    answer = ask("google", url, model=model, more=more)

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("model", "status"), [("gemini-2.5-flash", 400), ("gemini-3.8-flash", 200)]
)
def test_google_takes_a_schema_beside_tools_from_gemini_3_on(url, model, status):
    config = {"responseMimeType": "application/json", "responseJsonSchema": NODE}
    tools = [{"functionDeclarations": [{"name": "weather"}]}]
    more = {"generationConfig": config, "tools": tools}

    assert ask("google", url, model=model, more=more).status_code == status


@pytest.mark.parametrize(
    ("model", "status"), [("claude-haiku-4-5", 200), ("claude-sonnet-4-6", 400)]
)
def test_anthropic_refuses_to_go_on_from_words_put_into_its_mouth(url, model, status):
    turns = [
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "Green"},
    ]

    answer = ask("anthropic", url, model=model, more={"messages": turns})

    assert answer.status_code == status


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-sonnet-4-6"])
def test_anthropic_takes_temperature_on_the_old_version_and_models(url, model):
    headers = {"anthropic-version": "2023-06-01"}

    answer = ask(
        "anthropic", url, model=model, headers=headers, more={"temperature": 0.2}
    )

    assert answer.status_code == 200


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-sonnet-5-5"])
def test_anthropic_refuses_temperature_on_newer_models(url, model):
    headers = {"anthropic-version": "2023-06-01"}

    answer = ask(
        "anthropic", url, model=model, headers=headers, more={"temperature": 0.2}
    )

    assert answer.status_code == 400


def test_anthropic_wants_its_version_header(url):
    target, body, _ = request_for("anthropic", url, stream=False)

    answer = requests.post(target, json=body, timeout=5)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "anthropic-version: header is required"


def test_anthropic_wants_tool_results_right_after_the_calls(url):
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": "well?"},
    ]

    answer = ask("anthropic", url, more={"messages": messages})

    assert "without `tool_result`" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("signature", "status"), [("c2ln", 200), (None, 400)])
def test_google_wants_the_thought_signature_back(url, signature, status):
    part = {"functionCall": {"name": "weather", "args": {}}}
    if signature:
        part["thoughtSignature"] = signature
    result = {"functionResponse": {"name": "weather", "response": {"output": 4}}}
    contents = [
        {"role": "user", "parts": [{"text": "weather?"}]},
        {"role": "model", "parts": [part]},
        {"role": "user", "parts": [result]},
    ]

    answer = ask("google", url, more={"contents": contents})

    assert answer.status_code == status


def test_google_moving_aliases_exist_on_v1beta_only(url):
    body = {"contents": [{"parts": [{"text": "Hi"}]}]}
    path = "models/gemini-flash-latest:generateContent"

    statuses = [
        requests.post(f"{url}/{version}/{path}", json=body, timeout=5).status_code
        for version in ("v1", "v1beta")
    ]

    assert statuses == [404, 200]


@each_api
@pytest.mark.parametrize("body", [b"{not json", b"[]", b'"text"', b""])
def test_a_body_that_is_no_json_object_is_refused(url, api, body):
    target, _, headers = request_for(api, url, stream=False)

    answer = requests.post(target, data=body, headers=headers, timeout=5)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@each_api
def test_nonsense_inside_the_body_is_never_a_crash(url, api):
    nonsense = [1, "x", None, {"role": 1}, {"role": "user", "content": 5}, []]
    names = ("messages", "contents", "tools", "tool_choice", "system", "stop", "input")

    statuses = {
        ask(api, url, more={name: value}).status_code
        for name in names
        for value in ([], nonsense, nonsense[3:4], 7, {"a": [1]})
    }

    assert statuses <= {200, 400}


def test_lenient_emulator_takes_parameters_of_compatible_servers():
    lenient = Emulator(strict=False)
    app = Flask("lenient")
    app.register_blueprint(lenient.blueprint)

    with serve(app) as url:
        answer = ask("openai", url, more={"random_seed": 3})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("api", "status", "word"),
    [
        ("openai", 401, "invalid_api_key"),
        ("responses", 401, "invalid_api_key"),
        ("anthropic", 401, "authentication_error"),
        ("google", 400, "API_KEY_INVALID"),
    ],
)
def test_wrong_key_gets_the_providers_own_body(api, status, word):
    guarded = Emulator(api_key="right", name="guarded")
    app = Flask("guarded")
    app.register_blueprint(guarded.blueprint)
    right = {
        "openai": {"Authorization": "Bearer right"},
        "responses": {"Authorization": "Bearer right"},
        "anthropic": {"x-api-key": "right", "Authorization": "Bearer other"},
        "google": {"x-goog-api-key": "right"},
    }[api]

    with serve(app) as url:
        refused = ask(api, url, headers={"Authorization": "Bearer wrong"})
        accepted = ask(api, url, headers=right)

    assert refused.status_code == status
    assert word in refused.text
    assert accepted.status_code == 200


def test_unknown_paths_answer_404_in_the_shape_of_the_provider(url, emulator):
    openai = requests.post(f"{url}/v1/threads", json={}, timeout=5)
    google = requests.get(f"{url}/v1beta/files", timeout=5)
    headers = {"anthropic-version": "2026-10-21"}
    messages = requests.get(f"{url}/v1/messages/nobody", headers=headers, timeout=5)

    assert {openai.status_code, google.status_code, messages.status_code} == {404}
    assert openai.json()["error"]["message"] == "Invalid URL (POST /v1/threads)"
    assert google.json()["error"]["status"] == "NOT_FOUND"
    assert messages.json()["error"]["type"] == "not_found_error"
    assert len(emulator.requests) == 3


# --- values that satisfy a schema


SAMPLES = [
    ({"type": "boolean"}, True),
    ({"type": "null"}, None),
    ({"type": "number", "exclusiveMinimum": 2}, 3),
    ({"type": "integer", "maximum": -5, "multipleOf": 2}, -6),
    ({"type": "integer", "exclusiveMaximum": 1}, 0),
    ({"type": "string", "format": "date"}, "2026-11-23"),
    ({"type": "string", "minLength": 6}, "value."),
    ({"type": "string", "maxLength": 2}, "va"),
    ({"type": ["null", "string"]}, "value"),
    ({"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": 2}, [1, 1]),
    ({"type": "array", "prefixItems": [{"const": "a"}, {"const": 2}]}, ["a", 2]),
    ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, True),
    (
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}]},
        {"a": 1},
    ),
    ({"$ref": "#/$defs/word", "$defs": {"word": {"enum": ["x"]}}}, "x"),
]


@pytest.mark.parametrize(("schema", "value"), SAMPLES)
def test_answer_satisfies_any_schema(url, schema, value):
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema}

    answer = ask("google", url, more={"generationConfig": config}).json()

    text = answer["candidates"][0]["content"]["parts"][0]["text"]
    assert json.loads(text) == value


@pytest.mark.parametrize("required", [["next"], []])
def test_schema_that_refers_to_itself_comes_to_an_end(url, required):
    schema = {"$defs": {"node": {**NODE, "required": required}}}
    schema["$ref"] = "#/$defs/node"
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema}

    answer = ask("google", url, more={"generationConfig": config})

    assert answer.status_code == 200


# --- faults, over real sockets


@each_api
@whole_or_stream
def test_delay_is_silence_before_the_first_byte(url, emulator, api, stream):
    emulator.script(Fault(delay_seconds=0.15))
    started = time.monotonic()

    ask(api, url, stream=stream)

    assert time.monotonic() - started >= 0.15


@each_api
@whole_or_stream
def test_trickle_never_trips_a_read_timeout(url, emulator, api, stream):
    answer = Answer(text="Hi", chunks=1)
    emulator.script(Fault(answer=answer, trickle_seconds=0.02, trickle_bytes=128))
    started = time.monotonic()

    body = ask(api, url, stream=stream, timeout=(1, 0.5)).content

    assert b"Hi" in body
    assert time.monotonic() - started >= len(body) / 128 * 0.02 - 0.1


@each_api
@whole_or_stream
@pytest.mark.parametrize("count", [0, 2])
def test_cut_ends_cleanly_without_the_terminal_marker(
    url, emulator, api, stream, count
):
    emulator.script(Fault(cut_after=count, answer=Answer(text="one two three")))

    body = ask(api, url, stream=stream).content

    assert (event_count(body) if stream else len(body)) == count
    assert TERMINALS[api] not in body


def read_until_reset(connection):
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1):
            received += piece
        pytest.fail("the connection was closed, not reset")
    return received


@each_api
@whole_or_stream
def test_reset_before_any_byte(url, emulator, api, stream):
    emulator.script(Fault(reset_after=0))

    with raw_ask(api, url, stream=stream) as connection:
        assert read_until_reset(connection) == b""


@each_api
@whole_or_stream
def test_reset_in_the_middle_comes_after_what_was_sent(url, emulator, api, stream):
    emulator.script(Fault(reset_after=3))

    with raw_ask(api, url, stream=stream) as connection:
        head, _, body = read_until_reset(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200")
    assert (event_count(body) if stream else len(body)) == 3


@each_api
@whole_or_stream
def test_hang_lasts_until_the_client_leaves(url, emulator, api, stream):
    emulator.script(Fault(hang=True))

    with pytest.raises(requests.ReadTimeout):
        ask(api, url, stream=stream, timeout=0.1)

    assert wait_until(lambda: emulator.in_flight == 0)
    assert emulator.abandoned == 1


def test_hang_ends_with_a_reset_when_its_time_is_up(url, emulator):
    emulator.script(Fault(hang=True, hang_seconds=0.1))

    with pytest.raises(requests.ConnectionError):
        ask("openai", url)


@each_api
@whole_or_stream
@pytest.mark.parametrize(
    "case",
    [
        (Fault(empty=True), b""),
        (Fault(body="plain"), b"plain"),
        (Fault(status=502, garbage=True), b"<!DOCTYPE html>"),
        (Fault(garbage=True), b"<!DOCTYPE html>"),
    ],
)
def test_another_body_takes_the_place_of_the_answer(url, emulator, api, stream, case):
    fault, body = case
    emulator.script(fault)

    answer = ask(api, url, stream=stream)

    assert answer.status_code == (fault.status or 200)
    assert answer.content.startswith(body)
    assert bool(answer.content) == bool(body)


@each_api
def test_wrong_shape_is_json_all_the_same(url, emulator, api):
    emulator.script(Fault(wrong_shape=True), Fault(wrong_shape=True))

    whole = ask(api, url).json()
    event = ask(api, url, stream=True).content

    assert isinstance(whole, list)
    assert json.loads(event.removeprefix(b"data: ")) == whole


@each_api
@whole_or_stream
def test_broken_gzip_does_not_decompress(url, emulator, api, stream):
    emulator.script(Fault(broken_gzip=True))

    with pytest.raises(requests.exceptions.ContentDecodingError):
        ask(api, url, stream=stream)


@each_api
@whole_or_stream
def test_too_long_a_content_length_is_an_incomplete_read(url, emulator, api, stream):
    emulator.script(Fault(content_length=100_000))

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="Incomplete"):
        ask(api, url, stream=stream)


@each_api
@whole_or_stream
def test_too_short_a_content_length_cuts_the_body(url, emulator, api, stream):
    emulator.script(Fault(content_length=10))

    with raw_ask(api, url, stream=stream) as connection:
        received = read_until_closed(connection)

    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Length: 10" in head
    assert len(body) > 10


@each_provider
def test_error_inside_a_stream_follows_the_events(url, emulator, api):
    emulator.script(Fault(error_in_stream=2))

    answer = ask(api, url, stream=True)

    assert answer.status_code == 200
    lines = answer.content.splitlines()
    last = next(line for line in reversed(lines) if line)
    start = {"google": b'{"error":'}.get(api, b"data: {")
    assert last.startswith(start)
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert error["message"]
    assert TERMINALS[api] not in answer.content
    assert sum(line.startswith(b"data: ") for line in lines) == 2 + (api != "google")


@each_provider
def test_sdk_raises_the_error_inside_a_stream(request, emulator, api):
    sdk = request.getfixturevalue(f"{api}_sdk")
    emulator.script(Fault(error_in_stream=3, message="Too busy"))

    with pytest.raises(oracle(ERRORS[api]).APIError, match="Too busy"):
        stream_sdk(api, sdk)


def stream_sdk(api, sdk):
    if api == "openai":
        return list(sdk.chat.completions.create(**hello(stream=True)))
    if api == "anthropic":
        return list(sdk.messages.create(**anthropic_hello(stream=True)))
    return list(sdk.models.generate_content_stream(**google_hello()))


@each_api
def test_error_in_band_of_a_whole_answer(url, emulator, api):
    emulator.script(Fault(error_in_stream=0, status=429))

    answer = ask(api, url)

    assert answer.status_code == 200
    assert answer.json()["error"]["message"]


@each_api
@whole_or_stream
def test_usage_can_be_missing(url, emulator, api, stream):
    emulator.script(Fault(usage_missing=True))

    body = ask(api, url, stream=stream).text

    assert "usage" not in body


@each_api
@whole_or_stream
def test_silence_in_the_middle_is_kept_alive_by_comments(url, emulator, api, stream):
    emulator.script(Fault(silent_seconds=0.12, keep_alive_seconds=0.03))
    started = time.monotonic()

    body = ask(api, url, stream=stream, timeout=(1, 0.11)).content

    assert time.monotonic() - started >= 0.12
    if stream:
        assert body.count(b": keep-alive\n\n") == 4
        assert not body.startswith(b":")
    else:
        assert body.startswith(b"\n\n\n\n{")


@each_api
@whole_or_stream
def test_silence_without_comments_trips_a_read_timeout(url, emulator, api, stream):
    emulator.script(Fault(silent_seconds=5))

    with pytest.raises((requests.ConnectionError, requests.Timeout)):
        ask(api, url, stream=stream, timeout=0.1)


@each_api
@whole_or_stream
def test_redirect_to_another_host(url, emulator, api, stream):
    emulator.script(Fault(redirect="http://elsewhere.invalid/x"))

    answer = ask(api, url, stream=stream)

    assert answer.status_code == 302
    assert answer.headers["Location"] == "http://elsewhere.invalid/x"


@each_api
@whole_or_stream
def test_huge_body_has_the_size_asked_for(url, emulator, api, stream):
    emulator.script(Fault(huge_bytes=1_000_000))

    answer = ask(api, url, stream=stream)

    assert len(answer.content) == 1_000_000
    assert answer.headers["Transfer-Encoding"] == "chunked"


def test_faults_combine(url, emulator):
    emulator.script(
        Fault(answer=Answer(text="abc"), silent_seconds=0.1, cut_after=5, headers={})
    )

    body = ask("anthropic", url, stream=True).content

    assert event_count(body) == 5


# --- the script


def test_items_are_used_up_in_order_and_then_the_default_answers(url, emulator):
    emulator.script(Fault(status=500), Answer(text="second"))

    statuses = [ask("openai", url).status_code for _ in range(3)]

    assert statuses == [500, 200, 200]


def test_items_for_a_model_wait_for_it(url, emulator):
    emulator.script(Answer(text="for the other"), model="other")
    emulator.script(Answer(text="for anyone"))

    first, second = (ask("openai", url, model=m).text for m in ("this", "other"))

    assert "for anyone" in first
    assert "for the other" in second


def test_refused_requests_use_nothing_up(url, emulator):
    emulator.script(Answer(text="kept"))

    ask("openai", url, more={"messages": []})

    assert "kept" in ask("openai", url).text


@each_api
def test_arguments_may_fail_to_parse(url, emulator, api):
    call = {"name": "weather", "arguments": '{"city":'}
    emulator.script(Answer(tool_calls=[call]), Answer(tool_calls=[call]))

    bodies = [ask(api, url, stream=stream).text for stream in (False, True)]

    assert all("city" in body for body in bodies)


def test_tool_call_ids_can_be_left_out(url, emulator):
    call = {"id": None, "name": "weather", "arguments": {}}
    emulator.script(Answer(tool_calls=[call]))

    message = ask("openai", url).json()["choices"][0]["message"]

    assert "id" not in message["tool_calls"][0]


@each_api
def test_unknown_finish_reasons_go_out_verbatim(url, emulator, api):
    emulator.script(Answer(text="x", finish_reason="tired"))

    assert '"tired"' in ask(api, url).text


@each_api
def test_texts_travel_as_they_are(url, emulator, api):
    text = "line\u2028separator, \x85, ü, 🎉"
    emulator.script(Answer(text=text, chunks=1), Answer(text=text, chunks=1))

    for stream in (False, True):
        body = ask(api, url, stream=stream).content.decode()
        assert text in body


@pytest.mark.parametrize("chunks", [1, 3, 100])
def test_text_comes_in_so_many_chunks(url, emulator, chunks):
    emulator.script(Answer(text="abcdef", chunks=chunks))

    body = ask("openai", url, stream=True).text

    assert body.count('"delta":{"content":"') == min(chunks, 6)


def test_pieces_wait_for_the_interval(url, emulator):
    emulator.script(Answer(text="a b c d", interval_seconds=0.05))
    started = time.monotonic()

    ask("google", url, stream=True)

    assert 0.2 <= time.monotonic() - started < 0.5


def test_pauses_go_through_the_sleep_that_was_given():
    naps = []
    quick = Emulator(sleep=naps.append)
    quick.script(Fault(delay_seconds=2))
    app = Flask("quick")
    app.register_blueprint(quick.blueprint)

    target, body, headers = request_for("openai", "", stream=False)
    answer = app.test_client().post(target, json=body, headers=headers)

    assert answer.status_code == 200
    assert sum(naps) == pytest.approx(2)


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("fault-429", 429),
        ("fault-503", 503),
        ("accounts/me/models/fault-500", 500),
        ("quota", 429),
        ("garbage", 200),
        ("redirect", 302),
        ("slow-0.05", 200),
        ("think", 200),
        ("refuse", 200),
        ("cut-2", 200),
        ("stream-error", 200),
    ],
)
@each_api
def test_some_model_names_act_by_themselves(url, api, model, status):
    assert ask(api, url, model=model).status_code == status


def test_model_names_carry_numbers(url):
    limited = ask("openai", url, model="fault-429-2")
    long = ask("openai", url, model="long-20").json()
    huge = ask("openai", url, model="huge-5000")
    flaky = [ask("openai", url, model="flaky-25").status_code for _ in range(8)]

    assert limited.headers["Retry-After"] == "2"
    assert len(long["choices"][0]["message"]["content"].split()) == 20
    assert len(huge.content) == 5000
    assert flaky.count(503) == 2


# --- the record


def test_requests_are_on_record(url, emulator):
    before = time.monotonic()

    ask("google", url, stream=True, headers={"X-Goog-Api-Key": "k"})

    (arrival,) = emulator.requests
    assert before <= arrival.time <= time.monotonic()
    assert arrival.path == (
        "/emulator/v1beta/models/gemini-3.8-flash:streamGenerateContent"
    )
    assert arrival.query == "alt=sse"
    assert arrival.headers["x-goog-api-key"] == "k"
    assert arrival.body["contents"][0]["role"] == "user"
    assert (arrival.model, arrival.stream) == ("gemini-3.8-flash", True)


def test_requests_in_flight_are_counted(url, emulator):
    emulator.script(*[Fault(delay_seconds=0.2)] * 4)

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask, "openai", url) for _ in range(4)]
        assert wait_until(lambda: emulator.in_flight == 4)
        statuses = {answer.result().status_code for answer in answers}

    assert statuses == {200}
    assert (emulator.in_flight, emulator.max_in_flight) == (0, 4)


def test_one_client_after_another_is_never_two_in_flight(url, emulator):
    with requests.Session() as session:
        for stream in [False, True] * 25:
            target, body, headers = request_for("anthropic", url, stream=stream)
            session.post(target, json=body, headers=headers, timeout=5)

    assert len(emulator.requests) == 50
    assert emulator.max_in_flight == 1


def test_client_that_leaves_a_stream_is_noticed(url, emulator):
    emulator.script(Answer(text="word " * 100, interval_seconds=0.02))

    with raw_ask("openai", url, stream=True) as connection:
        connection.recv(10)

    assert wait_until(lambda: emulator.abandoned == 1)
    assert emulator.in_flight == 0


def test_reset_forgets_script_and_record(url, emulator):
    emulator.script(Fault(status=500))
    ask("openai", url, more={"messages": []})

    emulator.reset()

    assert emulator.requests == []
    assert emulator.max_in_flight == 0
    assert ask("openai", url).status_code == 200


def test_only_the_latest_requests_are_kept():
    short = Emulator(keep=2)
    app = Flask("short")
    app.register_blueprint(short.blueprint)

    with serve(app) as url:
        for model in ("a", "b", "c"):
            ask("openai", url, model=model)

    assert [arrival.model for arrival in short.requests] == ["b", "c"]


# --- control over HTTP


def test_another_process_scripts_over_http(url):
    order = {
        "script": [
            {"status": 429, "retry_after": 2},
            {"text": "hi"},
            {"answer": {"text": "cut short"}, "cut_after": 3, "model": "other"},
        ],
        "reset": True,
    }

    shown = requests.post(f"{url}/control", json=order, timeout=5).json()
    answers = [ask("openai", url) for _ in range(2)]
    after = requests.get(f"{url}/control", timeout=5).json()

    assert shown["scripted"] == 3
    assert [answer.status_code for answer in answers] == [429, 200]
    assert answers[0].headers["Retry-After"] == "2"
    assert answers[1].json()["choices"][0]["message"]["content"] == "hi"
    assert (after["requests"], after["scripted"]) == (2, 1)
    assert (after["in_flight"], after["max_in_flight"]) == (0, 1)
    assert after["times"] == sorted(after["times"])
    assert len(after["times"]) == 2


@pytest.mark.parametrize("item", [{"shout": 1}, {"text": "x", "status": 500}, 7])
def test_bad_orders_are_refused_and_say_why(url, emulator, item):
    answer = requests.post(f"{url}/control", json={"script": [item]}, timeout=5)

    assert answer.status_code == 400
    assert answer.json()["error"]


# --- serving


def test_connections_are_kept_alive(url, emulator):
    with requests.Session() as session:
        for stream in (False, True, False):
            target, body, headers = request_for("openai", url, stream=stream)
            answer = session.post(target, json=body, headers=headers, timeout=5)
            assert "Connection" not in answer.headers

        (host,) = session.get_adapter(url).poolmanager.pools.keys()
        pool = session.get_adapter(url).poolmanager.pools[host]
        assert (pool.num_connections, pool.num_requests) == (1, 3)


def test_streams_arrive_event_by_event(url, emulator):
    emulator.script(Answer(text="first second", interval_seconds=0.2))
    started = time.monotonic()

    with raw_ask("google", url, stream=True) as connection:
        received = b""
        while b"first" not in received:
            received += connection.recv(65_536)
        first_after = time.monotonic() - started

    assert b"second" not in received
    assert first_after < 0.39


def test_serving_leaves_no_thread_and_no_output(emulator, capfd):
    before = threading.active_count()
    app = Flask("quiet")
    app.register_blueprint(emulator.blueprint)

    with serve(app) as url:
        ask("anthropic", url)

    assert threading.active_count() == before
    assert capfd.readouterr() == ("", "")


def test_serve_ends_while_a_client_hangs_on(emulator):
    before = threading.active_count()
    emulator.script(Fault(hang=True))
    app = Flask("patient")
    app.register_blueprint(emulator.blueprint)

    with serve(app) as url:
        connection = raw_ask("openai", url)
        assert wait_until(lambda: emulator.in_flight == 1)

    assert emulator.in_flight == 0
    assert threading.active_count() == before
    connection.close()


def test_serve_serves_any_app():
    app = Flask("any")
    app.add_url_rule("/nothing", view_func=lambda: Response(status=204), endpoint="n")
    app.add_url_rule("/today", view_func=lambda: str(date(2026, 11, 23)), endpoint="t")

    with serve(app) as url, requests.Session() as session:
        nothing = session.get(f"{url}/nothing", timeout=5)
        head = session.head(f"{url}/today", timeout=5)
        chunked = session.post(f"{url}/today", data=iter([b"a", b"b"]), timeout=5)
        today = session.get(f"{url}/today", timeout=5)

    assert (nothing.status_code, nothing.content) == (204, b"")
    assert (head.status_code, head.content) == (200, b"")
    assert chunked.status_code == 405
    assert today.text == "2026-11-23"


@pytest.fixture
def stock_server(emulator):
    """Werkzeug's own threaded server, which the demo app may run under."""
    app = Flask("stock")
    app.register_blueprint(emulator.blueprint)

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


@whole_or_stream
def test_faults_work_under_werkzeugs_own_server(stock_server, emulator, stream, capfd):
    emulator.script(Fault(reset_after=0), Fault(reset_after=3), Fault(cut_after=3))

    with raw_ask("openai", stock_server, stream=stream) as connection:
        assert read_until_reset(connection) == b""
    with raw_ask("openai", stock_server, stream=stream) as connection:
        assert read_until_reset(connection).startswith(b"HTTP/1.1 200")
    cut = ask("openai", stock_server, stream=stream)
    plain = ask("openai", stock_server, stream=stream)

    assert (cut.status_code, plain.status_code) == (200, 200)
    assert "Traceback" not in capfd.readouterr().err


def test_two_emulators_live_in_one_app():
    first, second = Emulator(), Emulator(name="second")
    app = Flask("two")
    app.register_blueprint(first.blueprint, url_prefix="/one")
    app.register_blueprint(second.blueprint, url_prefix="/two")

    with serve(app) as url:
        ask("openai", f"{url}/two")

    assert (len(first.requests), len(second.requests)) == (0, 1)


def test_control_can_be_left_out():
    app = Flask("closed")
    app.register_blueprint(Emulator(control=False).blueprint)

    response = app.test_client().post("/control", json={"reset": True})

    assert response.status_code == 404


# Counting


def test_openai_sdk_reads_a_count(openai_sdk, emulator):
    asked = {"model": "gpt-5.4", "input": "How many tokens?", "instructions": "Count."}

    told = openai_sdk.responses.input_tokens.count(**asked)
    answer = openai_sdk.responses.create(**asked)

    assert told.object == "response.input_tokens"
    assert told.input_tokens == answer.usage.input_tokens > 0
    with pytest.raises(Exception, match="Unknown parameter: 'temperature'"):
        openai_sdk.responses.input_tokens.count(**asked, extra_body={"temperature": 1})


def test_anthropic_sdk_reads_a_count(anthropic_sdk, emulator):
    asked = {
        "model": "claude-haiku-4-5",
        "messages": [{"role": "user", "content": "How many tokens?"}],
        "system": "Count.",
    }

    told = anthropic_sdk.messages.count_tokens(**asked)
    answer = anthropic_sdk.messages.create(**asked, max_tokens=10)

    assert told.input_tokens == answer.usage.input_tokens > 0
    with pytest.raises(Exception, match="max_tokens: Extra inputs are not permitted"):
        anthropic_sdk.messages.count_tokens(**asked, extra_body={"max_tokens": 1})


def test_google_sdk_reads_a_count(google_sdk, emulator):
    asked = {"model": "gemini-2.5-flash", "contents": "How many tokens?"}

    told = google_sdk.models.count_tokens(**asked)
    answer = google_sdk.models.generate_content(**asked)

    assert told.total_tokens == answer.usage_metadata.prompt_token_count > 0


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"contents": [], "generateContentRequest": {}}, "exclude each other"),
        ({"generateContentRequest": {"model": "models/other"}}, "match the one in"),
        ({"prompt": "Hi"}, 'Unknown name "prompt"'),
        ({}, "contents is not specified"),
    ],
)
def test_google_counts_one_thing_at_a_time(url, body, problem):
    target = f"{url}/v1beta/models/gemini-2.5-flash:countTokens"

    answer = requests.post(target, json=body, timeout=9)

    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]


def test_google_counts_a_whole_request(url):
    said = {"contents": [{"role": "user", "parts": [{"text": "x" * 400}]}]}
    asked = {"generate_content_request": {"model": "models/gemini-2.5-flash", **said}}
    target = f"{url}/v1beta/models/gemini-2.5-flash:countTokens"

    whole, bare = (
        requests.post(target, json=body, timeout=9).json() for body in (asked, said)
    )

    assert whole == bare
    assert whole["totalTokens"] > 100


# Prompt caching

MARK = {"cache_control": {"type": "ephemeral"}}
TEXT = {"type": "text", "text": "Hi"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"system": [TEXT | MARK] * 5}, "A maximum of 4 blocks"),
        ({"system": [TEXT | MARK] * 4} | MARK, "A maximum of 4 blocks"),
        ({"cache_control": {"type": "eternal"}}, "cache_control.type"),
        ({"cache_control": {"type": "ephemeral", "ttl": "2h"}}, "cache_control.ttl"),
        ({"system": [{"type": "text", "text": ""} | MARK]}, "empty text blocks"),
    ],
)
def test_anthropic_refuses_marks_that_cannot_be(anthropic_sdk, fields, problem):
    with pytest.raises(Exception, match=problem):
        anthropic_sdk.messages.create(
            model="claude-haiku-4-5",
            max_tokens=9,
            messages=[{"role": "user", "content": "Hi"}],
            extra_body=fields,
        )


def test_anthropic_takes_four_marks_and_tells_what_was_written(anthropic_sdk, emulator):
    emulator.script(Answer(usage={"cache_write_tokens": 9, "cache_write_1h_tokens": 4}))

    answer = anthropic_sdk.messages.create(
        model="claude-haiku-4-5",
        max_tokens=9,
        messages=[{"role": "user", "content": "x" * 99}],
        system=[TEXT | MARK] * 4,
    )

    written = answer.usage.cache_creation
    assert written.ephemeral_5m_input_tokens == 5
    assert written.ephemeral_1h_input_tokens == 4


def test_openai_s_older_models_know_no_options_for_it(openai_sdk):
    options = {"prompt_cache_options": {"mode": "explicit"}}
    said = [{"role": "user", "content": "Hi"}]

    openai_sdk.responses.create(model="gpt-5.6", input="Hi", **options)
    openai_sdk.chat.completions.create(model="gpt-5.6", messages=said, **options)

    with pytest.raises(Exception, match="prompt_cache_options"):
        openai_sdk.responses.create(model="gpt-5.5", input="Hi", **options)
    with pytest.raises(Exception, match="prompt_cache_options"):
        openai_sdk.chat.completions.create(model="gpt-4o", messages=said, **options)
