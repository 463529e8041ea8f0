"""What is Chat Completions' own way, and its servers'."""

import base64
import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from oracles import known

from flask_llm.chat import (
    Chunk,
    File,
    Image,
    Message,
    Prompt,
    ProviderState,
    Tool,
    ToolCall,
    ToolResult,
)
from flask_llm.errors import (
    ContextLengthExceeded,
    InvalidRequestError,
    ProviderError,
    ServerError,
)
from flask_llm.protocols import chat_completions as chat
from flask_llm.providers import BUILT_IN
from flask_llm.wire import Event, Reply

ROWS = {row.name: row for row in BUILT_IN}
PNG = b"\x89PNG\r\n\x1a\n0"
PDF = b"%PDF-1.7"
WEATHER = Tool("weather", "Current weather", {"type": "object", "properties": {}})


def render(*messages, provider="openai", model="gpt-4.1", stream=False, **options):
    turns = tuple(
        Message("user", turn) if isinstance(turn, str) else turn
        for turn in messages or ("Hi",)
    )
    prompt = Prompt(provider=provider, model=model, messages=turns, **options)
    return chat.render(prompt, ROWS[provider], stream=stream)


def sent(*messages, **options):
    return render(*messages, **options).body


def answer(**message):
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


def chunk(finish=None, **delta):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def fed(*stream):
    fold = chat.fold()
    chunks = [
        found
        for body in stream
        for found in fold.feed(
            Event(body if isinstance(body, str) else json.dumps(body))
        )
    ]
    return fold, chunks


def test_plain_question_is_all_that_is_sent():
    call = render("Hi")

    assert call.path == "/chat/completions"
    assert call.body == {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "Hi"}],
    }


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("max_tokens", 9, "max_completion_tokens", 9),
        ("temperature", 0.2, "temperature", 0.2),
        ("top_p", 0.9, "top_p", 0.9),
        ("stop", ("END",), "stop", ["END"]),
        ("seed", 7, "seed", 7),
        ("reasoning", "low", "reasoning_effort", "low"),
        ("service_tier", "flex", "service_tier", "flex"),
        ("extra", {"logprobs": True}, "logprobs", True),
    ],
)
def test_option_that_the_caller_chose_is_sent(option, value, field, expected):
    assert sent(**{option: value})[field] == expected


@pytest.mark.parametrize(
    ("provider", "option", "field"),
    [
        ("groq", {"max_tokens": 9}, "max_tokens"),
        ("mistral", {"seed": 9}, "random_seed"),
        ("openai", {"max_tokens": 9}, "max_completion_tokens"),
    ],
)
def test_servers_have_names_of_their_own(provider, option, field):
    assert sent(provider=provider, **option)[field] == 9


@pytest.mark.parametrize(
    ("model", "role", "temperature"),
    [
        ("gpt-4.1", "system", 0.7),
        ("o3", "developer", None),
        ("gpt-6", "developer", None),
    ],
)
def test_models_that_reason_get_a_developer_and_no_defaults(model, role, temperature):
    body = sent(
        Message("system", "Be kind."),
        "Hi",
        model=model,
        system="Be terse.",
        temperature=0.7,
        defaulted=frozenset({"temperature"}),
    )

    assert [turn["role"] for turn in body["messages"]] == [role, role, "user"]
    assert body.get("temperature") == temperature


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        ("openai", {"include_usage": True, "include_obfuscation": False}),
        ("groq", {"include_usage": True}),
        ("mistral", None),
    ],
)
def test_usage_of_a_stream_is_asked_for_where_it_has_to_be(provider, options):
    body = sent(provider=provider, stream=True)

    assert body["stream"] is True
    assert body.get("stream_options") == options


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            Image(url="https://example.com/a.png", detail="low"),
            {
                "type": "image_url",
                "image_url": {"url": "https://example.com/a.png", "detail": "low"},
            },
        ),
        (
            Image(data=PNG),
            {
                "type": "image_url",
                "image_url": {
                    "url": "data:image/png;base64," + base64.b64encode(PNG).decode()
                },
            },
        ),
        (
            File(data=PDF, filename="a.pdf"),
            {
                "type": "file",
                "file": {
                    "filename": "a.pdf",
                    "file_data": "data:application/pdf;base64,"
                    + base64.b64encode(PDF).decode(),
                },
            },
        ),
        (File(file_id="file_1"), {"type": "file", "file": {"file_id": "file_1"}}),
        (
            File(data=PNG, filename="a.png"),
            {
                "type": "image_url",
                "image_url": {
                    "url": "data:image/png;base64," + base64.b64encode(PNG).decode()
                },
            },
        ),
        (
            File(data=b"ID3"),
            {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
        ),
        (
            File(data=b"R", media_type="audio/wav"),
            {"type": "input_audio", "input_audio": {"data": "Ug==", "format": "wav"}},
        ),
    ],
)
def test_media_are_sent_in_the_form_they_are_given(part, expected):
    body = sent(Message("user", ["Look:", part]))

    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "Look:"},
        expected,
    ]


@pytest.mark.parametrize(
    ("part", "provider", "cure"),
    [
        (File(url="https://example.com/a.pdf"), "openai", "fetch=True"),
        (Image(url="https://example.com/a.png"), "ollama", "fetch=True"),
        (Image(file_id="file_1"), "openai", "give the bytes"),
    ],
)
def test_media_that_cannot_be_sent_name_the_cure(part, provider, cure):
    assert part.url is None or not chat.takes_url(part, ROWS[provider])
    with pytest.raises(InvalidRequestError, match=cure):
        sent(Message("user", [part]), provider=provider)


@pytest.mark.parametrize(
    ("role", "part", "cure"),
    [
        ("assistant", Image(data=PNG), "give it in one of the user"),
        ("user", ToolCall("call_1", "weather", {}), "give it in one of the assistant"),
    ],
)
def test_part_in_the_wrong_turn_names_the_cure(role, part, cure):
    with pytest.raises(InvalidRequestError, match=cure):
        sent("Hi", Message(role, [part]))


def test_images_that_tools_return_follow_all_results():
    def shown(*ids):
        return [ToolResult(id_, "Here.", "photo", media=(IMAGE,)) for id_ in ids]

    calls = [ToolCall(id_, "photo", {}) for id_ in "abc"]
    body = sent(
        "Hi",
        Message("assistant", calls),
        Message("tool", shown("a")),
        Message("tool", shown("b")),
        Message("user", [*shown("c"), "And?"]),
        Message("assistant", calls[:1]),
        Message("tool", shown("a")),
    )

    turns = body["messages"][2:]
    assert [turn["role"] for turn in turns] == [
        *["tool"] * 3,
        "user",
        "assistant",
        "tool",
        "user",
    ]
    kinds = [part["type"] for part in turns[3]["content"]]
    assert kinds == ["text", "image_url"] * 3 + ["text"]
    assert turns[3]["content"][0]["text"] == "The tool photo returned:"
    assert [part["type"] for part in turns[6]["content"]] == ["text", "image_url"]
    assert known("chat_completions", body) == body


IMAGE = Image(data=PNG)


@pytest.mark.parametrize(
    ("provider", "call_id", "taken"),
    [
        ("openai", "call_1", r"call_1"),
        ("openai", "functions.weather:0", r"call_[0-9a-f]{32}"),
        ("openai", "x" * 41, r"call_[0-9a-f]{32}"),
        ("mistral", "abcDEF123", r"abcDEF123"),
        ("mistral", "call_1", r"[0-9a-f]{9}"),
        ("mistral", "toolu_0123456789", r"[0-9a-f]{9}"),
    ],
)
def test_history_with_tools_is_sent_under_matching_ids(provider, call_id, taken):
    body = sent(
        "Hi",
        Message("assistant", [ToolCall(call_id, "weather", {}, "{ }")]),
        Message("user", [ToolResult(call_id, "4"), "And?"]),
        provider=provider,
    )

    sent_id = body["messages"][1]["tool_calls"][0]["id"]
    assert re.fullmatch(taken, sent_id)
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": sent_id,
                    "type": "function",
                    "function": {"name": "weather", "arguments": "{ }"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": sent_id, "content": "4"},
        {"role": "user", "content": "And?"},
    ]


@pytest.mark.parametrize(
    ("provider", "written", "expected"),
    [
        ("openai", '{"city', '{"city'),
        ("azure", '{"city', '{"city'),
        ("llama.cpp", '{"city', "{}"),
        ("groq", '["city"]', "{}"),
        ("vllm", " ", "{}"),
        ("vllm", '{ "city": "Oslo" }', '{ "city": "Oslo" }'),
    ],
)
def test_arguments_that_are_no_json_go_back_where_they_are_not_read(
    provider, written, expected
):
    call = ToolCall.from_wire("call_1", "weather", written)

    body = sent("Hi", Message("assistant", [call]), provider=provider)

    (turn,) = body["messages"][1]["tool_calls"]
    assert turn["function"]["arguments"] == expected


@pytest.mark.parametrize("provider", ["openai", "mistral"])
def test_tool_ids_that_come_twice_are_told_apart(provider):
    turns = [
        turn
        for _ in range(2)
        for turn in (
            Message("assistant", [ToolCall("call_0", "weather", {}, "{}")]),
            Message("tool", [ToolResult("call_0", "4")]),
        )
    ]

    turns = sent("Hi", *turns, provider=provider)["messages"][1:]

    called = [turn["tool_calls"][0]["id"] for turn in turns[::2]]
    assert len(set(called)) == 2
    assert called == [turn["tool_call_id"] for turn in turns[1::2]]


def test_results_of_several_calls_are_a_message_each():
    body = sent("Hi", Message("tool", [ToolResult("a", "4"), ToolResult("b", "5")]))

    assert [turn["role"] for turn in body["messages"]] == ["user", "tool", "tool"]


@pytest.mark.parametrize(
    ("choice", "provider", "expected"),
    [
        ("auto", "openai", "auto"),
        ("none", "openai", "none"),
        ("required", "openai", "required"),
        ("required", "mistral", "any"),
        ("weather", "openai", {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tool_choice_is_sent(choice, provider, expected):
    body = sent(tools=(WEATHER,), tool_choice=choice, provider=provider)

    assert body["tool_choice"] == expected


@pytest.mark.parametrize(
    ("provider", "strict", "parallel"),
    [("openai", True, False), ("groq", None, False), ("cerebras", None, None)],
)
def test_tool_is_described_as_the_server_knows_it(provider, strict, parallel):
    tool = replace(WEATHER, strict=True)

    body = sent(
        tools=(tool, Tool("time")), parallel_tool_calls=False, provider=provider
    )

    declared, plain = body["tools"]
    assert declared["function"]["description"] == "Current weather"
    assert plain["function"].keys() == {"name", "parameters"}
    assert declared["function"].get("strict") is strict
    assert body.get("parallel_tool_calls") is parallel


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("deepseek", {"reasoning_content": "Hm"}),
        ("openrouter", {"reasoning_details": [{"type": "reasoning.text"}]}),
        ("groq", {}),
    ],
)
def test_reasoning_goes_back_to_the_server_that_wants_it(provider, expected):
    raw = {"reasoning_content": "Hm", "reasoning_details": [{"type": "reasoning.text"}]}
    turn = Message("assistant", "Hello", ProviderState(provider, "gpt-4.1", raw))

    body = sent("Hi", turn, provider=provider)

    assert body["messages"][1] == {"role": "assistant", "content": "Hello"} | expected


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "Hi", "reasoning": "Hm"}, "Hi", "Hm"),
        ({"content": "Hi", "reasoning_content": "Hm"}, "Hi", "Hm"),
        (
            {"content": "Hi", "reasoning_details": [{"text": "H"}, {"summary": "m"}]},
            "Hi",
            "Hm",
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "H"}]},
                    {"type": "thinking", "thinking": "m"},
                    {"type": "text", "text": "Hi"},
                    {"type": "reference", "reference_ids": [1]},
                ]
            },
            "Hi",
            "Hm",
        ),
        ({"content": None}, "", None),
    ],
)
def test_text_and_reasoning_are_found_where_servers_put_them(message, text, reasoning):
    whole = chat.parse(answer(**message))
    fold, _ = fed(chunk(**message), chunk("stop"))

    assert (whole.text, whole.reasoning) == (text, reasoning)
    assert chat.parse(fold.raw).reasoning == reasoning


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("length", {}, "length"),
        ("model_length", {}, "length"),
        ("content_filter", {}, "content_filter"),
        ("stop", {"refusal": "No."}, "content_filter"),
        ("stop", {"tool_calls": [{"function": {"name": "a"}}]}, "tool_calls"),
        ("function_call", {"function_call": {"name": "a"}}, "tool_calls"),
        ("stop", {"function_call": {"name": "", "arguments": ""}}, "stop"),
        (None, {}, "stop"),
        ("", {}, "stop"),
        ("brand_new", {}, "other"),
    ],
)
def test_finish_reason_is_translated_and_kept(reason, message, expected):
    raw = {"choices": [{"message": message, "finish_reason": reason}]}

    found = chat.parse(raw)

    assert found.finish_reason == expected
    assert found.raw_finish_reason == (reason or None)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, (9, 0, 4, 0)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 33,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            (9, 0, 24, 20),
        ),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 8}, (9, 8, 0, 0)),
        ({"prompt_tokens": None, "completion_tokens": -3}, (0, 0, 0, 0)),
    ],
)
def test_usage_is_read_as_servers_mean_it(usage, expected):
    found = chat.parse(answer(content="Hi") | {"usage": usage}).usage

    counts = (
        found.input_tokens,
        found.cache_read_tokens,
        found.output_tokens,
        found.reasoning_tokens,
    )
    assert counts == expected
    assert found.source == "provider"


@pytest.mark.parametrize("body", [{}, {"usage": None}, {"usage": {}}, {"x_groq": 1}])
def test_answer_without_usage_is_not_taken_for_free(body):
    assert chat.parse(answer(content="Hi") | body).usage.source == "estimated"


def test_groq_puts_usage_elsewhere():
    fold, _ = fed(chunk(content="Hi"), chunk("stop") | {"x_groq": {"usage": USAGE}})

    assert chat.parse(fold.raw).usage.input_tokens == 43


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0.00012, Decimal("0.00012")),
        (0, Decimal(0)),
        (-1, None),
        (float("nan"), None),
        (True, None),
        ("1", None),
    ],
)
def test_cost_that_the_provider_reports_is_taken(cost, expected):
    found = chat.parse(answer(content="Hi") | {"usage": {"cost": cost}})

    assert found.cost_usd == expected
    assert found.cost_source == ("none" if expected is None else "provider")


def test_calls_are_told_apart_by_id_where_the_index_is_of_no_use():
    pieces = [
        {"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{}"}},
        {"index": 0, "id": "b", "function": {"name": "time", "arguments": {"x": 1}}},
        {"id": "c", "function": {"name": "time"}},
        {"function": {"arguments": '{"y":'}},
        {"function": {"arguments": " 2}"}},
    ]

    fold, chunks = fed(
        *(chunk(tool_calls=[piece]) for piece in pieces), chunk("tool_calls")
    )

    found = chat.parse(fold.raw).tool_calls
    assert [(call.id, call.arguments) for call in found] == [
        ("a", {}),
        ("b", {"x": 1}),
        ("c", {"y": 2}),
    ]
    assert tuple(piece.tool_call for piece in chunks) == found


def test_calls_of_a_server_that_gives_no_finish_reason_come_at_the_end():
    call = {"index": 0, "function": {"name": "time", "arguments": ""}}

    fold, chunks = fed(chunk(tool_calls=[call]), "[DONE]", "[DONE]")

    assert chunks == [Chunk(tool_call=ToolCall("call_0", "time", {}, "{}"))]
    assert fold.finished


def test_pieces_of_reasoning_details_are_put_together():
    fold, _ = fed(
        chunk(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "H"}]),
        chunk(
            reasoning_details=[
                {"type": "reasoning.text", "index": 0, "text": "m", "signature": "s"},
                {"type": "reasoning.encrypted", "index": 1, "data": "x"},
            ]
        ),
        chunk("stop"),
    )

    assert chat.parse(fold.raw).provider_state["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "Hm", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "x"},
    ]


def test_other_choices_and_what_is_no_json_are_passed_over():
    other = {"choices": [{"index": 1, "delta": {"content": "second"}}]}

    fold, chunks = fed("", "{", "5", other, chunk(content="first"), {"moderation": {}})

    assert chunks == [Chunk("first")]
    assert chat.parse(fold.raw).text == "first"


def test_server_that_does_not_stream_is_understood():
    fold, chunks = fed(answer(content="Hi") | {"object": "chat.completion"})

    assert chunks == [Chunk("Hi")]
    assert fold.finished


USAGE = {"prompt_tokens": 43, "completion_tokens": 10}


def test_usage_that_comes_with_an_error_is_kept():
    fold = chat.fold()
    event = {"error": {"code": 502, "message": "No."}, "usage": USAGE}

    with pytest.raises(ServerError) as caught:
        list(fold.feed(Event(json.dumps(event))))

    assert caught.value.status == 502
    assert chat.parse(fold.raw).usage.input_tokens == 43


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "Model is loading"}, "Model is loading"),
        ({"message": "no Route matched"}, "no Route matched"),
        ({"object": "error", "message": "too odd"}, "too odd"),
        ({"detail": "Not here"}, "Not here"),
        ([{"error": {"message": "listed"}}], "listed"),
    ],
)
def test_error_of_any_shape_keeps_its_words(body, message):
    found = chat.error(Reply(status=418, body=json.dumps(body).encode()))

    assert type(found) is ProviderError
    assert found.provider_message == message


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("image input is not supported - hint: no mmproj", InvalidRequestError),
        (
            "Failed to parse messages: Missing 'role' in message: {}",
            InvalidRequestError,
        ),
        ("Failed to parse tool call arguments as JSON: [...]", InvalidRequestError),
        ("input (4201 tokens) is too large to process.", ContextLengthExceeded),
        ("Compute error.", ServerError),
    ],
)
def test_refusals_for_good_of_llama_cpp_are_told_from_its_failures(message, kind):
    problem = {"code": 500, "type": "server_error", "message": message}
    body = json.dumps({"error": problem}).encode()

    found = chat.error(Reply(status=500, body=body))

    assert type(found) is kind
    assert found.is_retryable is (kind is ServerError)


def test_request_that_never_fits_is_told_from_one_that_has_to_wait():
    body = json.dumps({"error": {"message": "Request too large for gpt-4.1"}}).encode()

    never = chat.error(Reply(status=429, body=body))
    later = chat.error(Reply(status=429, body=body, headers={"retry-after": "2"}))

    assert (never.is_retryable, later.is_retryable) == (False, True)


# --- Odd shapes that official SDKs take --------------------------------------------


@pytest.mark.parametrize("written", [None, "null", "", "{}", {}])
def test_tool_without_parameters_may_be_called_with_nothing(written):
    function = {"name": "now", "arguments": written}
    calls = [{"id": "c1", "function": function}]

    (call,) = chat.parse(answer(tool_calls=calls)).tool_calls
    fold, chunks = fed(chunk(tool_calls=[{"index": 0} | calls[0]]), chunk("tool_calls"))

    assert (call.arguments, call.valid) == ({}, True)
    assert [found.tool_call for found in chunks] == [call]
    assert chat.parse(fold.raw).tool_calls == (call,)


def test_answer_without_a_message_is_an_empty_one():
    assert chat.parse({"choices": [{"message": None}]}).content == ()


def test_whole_numbers_written_as_floats_are_counted():
    usage = {"prompt_tokens": 12.0, "completion_tokens": 3.0, "total_tokens": 15.0}

    found = chat.parse(answer(content="Hi") | {"usage": usage}).usage

    assert (found.input_tokens, found.output_tokens) == (12, 3)
    assert type(found.input_tokens) is int


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("sensitive", "content_filter"),
        ("network_error", "error"),
        ("insufficient_system_resource", "error"),
        ("model_context_window_exceeded", "length"),
        ("eos", "stop"),
    ],
)
def test_servers_have_words_of_their_own_for_the_end(reason, expected):
    raw = {"choices": [{"message": {"content": "Hi"}, "finish_reason": reason}]}

    assert chat.parse(raw).finish_reason == expected


def test_older_form_of_calls_streams_too():
    _, chunks = fed(
        chunk(function_call={"name": "weather", "arguments": '{"city"'}),
        chunk(function_call={"arguments": ': "Oslo"}'}),
        chunk("function_call"),
    )

    assert [found.tool_call for found in chunks] == [
        ToolCall("call_0", "weather", {"city": "Oslo"}, '{"city": "Oslo"}')
    ]


def test_custom_tool_streams_its_name_and_input():
    start = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "sql"}}
    pieces = [{"index": 0, "custom": {"input": text}} for text in ("SELECT ", "1")]

    _, chunks = fed(*(chunk(tool_calls=[it]) for it in [start, *pieces]), "[DONE]")

    (call,) = (found.tool_call for found in chunks)
    assert (call.name, call.raw_arguments) == ("sql", "SELECT 1")


def test_calls_that_come_together_without_index_and_id_are_told_by_place():
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in "ab"]

    _, chunks = fed(chunk(tool_calls=calls), chunk("tool_calls"))

    assert [found.tool_call.name for found in chunks] == ["a", "b"]


def test_piece_without_index_and_id_belongs_to_the_latest_call():
    _, chunks = fed(
        chunk(tool_calls=[{"id": "1", "function": {"name": "a", "arguments": "{}"}}]),
        chunk(tool_calls=[{"id": "2", "function": {"name": "b"}}]),
        chunk(tool_calls=[{"function": {"arguments": '{"c": 4}'}}]),
        chunk("tool_calls"),
    )

    assert [found.tool_call.arguments for found in chunks] == [{}, {"c": 4}]


def test_streamed_answer_keeps_what_has_no_name_here():
    cited = [{"type": "url_citation", "url_citation": {"url": page}} for page in "ab"]
    first, second = chunk(annotations=cited[:1]), chunk("stop", annotations=cited[1:])
    first["choices"][0]["logprobs"] = {"content": [{"token": "He"}], "refusal": None}
    second["choices"][0]["logprobs"] = {"content": [{"token": "y"}], "refusal": None}
    sound = chunk(audio={"id": "au_1", "data": "AA", "transcript": "He"})
    rest = chunk(audio={"data": "BB", "transcript": "y"})

    fold, _ = fed(first | {"citations": ["https://a"]}, sound, rest, second)

    choice = fold.raw["choices"][0]
    assert fold.raw["citations"] == ["https://a"]
    assert choice["message"]["annotations"] == cited
    assert choice["message"]["audio"] == {
        "id": "au_1",
        "data": "AABB",
        "transcript": "Hey",
    }
    assert choice["logprobs"]["content"] == [{"token": "He"}, {"token": "y"}]


@pytest.mark.parametrize("empty", [[], ""])
def test_turn_of_the_model_that_is_empty_is_left_out(empty):
    turns = [Message("user", "Hi"), Message("assistant", empty), Message("user", "So?")]

    assert [turn["content"] for turn in sent(*turns)["messages"]] == ["Hi", "So?"]


def test_what_a_tool_returned_beside_text_goes_by_the_name_of_the_tool():
    called = Message("assistant", [ToolCall("call_1", "weather", {})])
    picture = ToolResult("call_1", "Here.", media=(Image(data=PNG),))

    *_, said = sent("Hi", called, Message("tool", [picture]))["messages"]

    assert said["content"][0]["text"] == "The tool weather returned:"
