"""What is Anthropic's own way."""

import base64
import json

import pytest
from oracles import known

from flask_llm.chat import (
    Chunk,
    File,
    Image,
    Message,
    Prompt,
    ProviderState,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from flask_llm.errors import (
    InvalidRequestError,
    QuotaExhaustedError,
    UnsupportedParameter,
)
from flask_llm.protocols import anthropic_messages as anthropic
from flask_llm.providers import BUILT_IN
from flask_llm.wire import Event, Reply

(PROVIDER,) = (row for row in BUILT_IN if row.name == "anthropic")
PNG = b"\x89PNG\r\n\x1a\n0"
PDF = b"%PDF-1.7"
WEATHER = Tool("weather", "Current weather", {"type": "object", "properties": {}})


def render(*messages, stream=False, **options):
    given = {"provider": "anthropic", "model": "claude-opus-5-5"} | options
    turns = tuple(
        Message("user", turn) if isinstance(turn, str) else turn
        for turn in messages or ("Hi",)
    )
    return anthropic.render(Prompt(messages=turns, **given), PROVIDER, stream=stream)


def sent(*messages, **options):
    return render(*messages, **options).body


def calls(*ids):
    return Message("assistant", [ToolCall(name, "weather", {}) for name in ids])


def results(*ids):
    return Message("tool", [ToolResult(name, "4") for name in ids])


def test_plain_question_is_all_that_is_sent():
    call = render("Hi")

    assert call.path == "/v1/messages"
    assert call.headers == {"anthropic-version": "2026-10-21"}
    assert call.body == {
        "model": "claude-opus-5-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


def test_stream_is_asked_for():
    call = render(stream=True)

    assert call.stream
    assert call.body["stream"] is True


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("max_tokens", 9, "max_tokens", 9),
        ("system", "Be terse.", "system", "Be terse."),
        ("stop", ("END",), "stop_sequences", ["END"]),
        ("temperature", 0.2, "temperature", 0.2),
        ("top_p", 0.9, "top_p", 0.9),
        ("seed", 7, "seed", 7),
        ("service_tier", "standard_only", "service_tier", "standard_only"),
        ("extra", {"metadata": {"user_id": "u"}}, "metadata", {"user_id": "u"}),
    ],
)
def test_option_that_the_caller_chose_is_sent(option, value, field, expected):
    assert sent(**{option: value})[field] == expected


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-haiku-4-5"])
def test_sampling_that_settings_filled_in_is_left_out(model):
    call = render(
        model=model,
        temperature=0.7,
        top_p=0.9,
        defaulted=frozenset({"temperature", "top_p"}),
    )

    assert call.body.keys() == {"model", "max_tokens", "messages"}
    assert call.headers["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("claude-3-5-haiku-20241022", "2023-06-01"),
        ("claude-3-opus-latest", "2023-06-01"),
        ("claude-opus-4-20250514", "2023-06-01"),
        ("claude-haiku-4-5", "2023-06-01"),
        ("claude-sonnet-4-5-20250929", "2023-06-01"),
        ("claude-opus-4-6", "2023-06-01"),
        ("claude-opus-4-7", "2026-10-21"),
        ("claude-opus-5", "2026-10-21"),
        ("claude-sonnet-5-5", "2026-10-21"),
        ("claude-mythos", "2026-10-21"),
        ("something-else", "2026-10-21"),
    ],
)
def test_chosen_sampling_asks_for_the_version_that_takes_it(model, version):
    by_option = render(model=model, temperature=0.2)
    by_extra = render(model=model, extra={"top_k": 5})

    assert by_option.headers == by_extra.headers == {"anthropic-version": version}
    assert by_option.body["temperature"] == 0.2


def test_system_messages_at_the_start_join_the_system_text():
    body = sent(Message("system", "Be kind."), "Hi", system="Be terse.")

    assert body["system"] == "Be terse.\n\nBe kind."
    assert [turn["role"] for turn in body["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("model", "roles"),
    [
        ("claude-opus-4-6", ["user", "assistant", "user"]),
        ("claude-opus-4-8", ["user", "assistant", "system", "user"]),
        ("claude-opus-5-5", ["user", "assistant", "system", "user"]),
    ],
)
def test_system_message_in_the_middle_stays_there(model, roles):
    history = ["Hi", Message("assistant", "Hello"), Message("system", "Now."), "Go"]

    body = sent(*history, model=model)

    assert [turn["role"] for turn in body["messages"]] == roles
    assert "Now." in json.dumps(body["messages"])


def test_neighbours_of_one_role_become_one_turn():
    body = sent("One", "Two", Message("assistant", "Three"))

    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "One"},
                {"type": "text", "text": "Two"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Three"}]},
    ]


def test_blank_texts_and_empty_turns_are_left_out():
    body = sent("Hi", Message("assistant", " \n"), Message("assistant", ""), "Well?")

    assert [turn["role"] for turn in body["messages"]] == ["user"]
    assert len(body["messages"][0]["content"]) == 2


def test_history_that_begins_with_the_model_gets_an_opening():
    body = sent(Message("assistant", "Hello, how can I help?"), "Hi")

    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]


def test_tool_results_come_first_and_in_order():
    body = sent(
        "Hi",
        calls("toolu_1", "toolu_2"),
        Message("user", ["And?", ToolResult("toolu_1", "4")]),
        Message("tool", [ToolResult("toolu_2", "boom", is_error=True)]),
    )

    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "4"},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_2",
            "content": "boom",
            "is_error": True,
        },
        {"type": "text", "text": "And?"},
    ]


@pytest.mark.parametrize("foreign", ["a.b:0", "x" * 41, "ключ", "\ud800", ""])
def test_foreign_tool_id_is_rewritten_alike_in_call_and_result(foreign):
    body = sent("Hi", calls(foreign), results(foreign))

    call_id = body["messages"][1]["content"][0]["id"]
    assert call_id == body["messages"][2]["content"][0]["tool_use_id"]
    assert call_id.isascii()
    assert 1 <= len(call_id) <= 40
    assert body == sent("Hi", calls(foreign), results(foreign))


def test_tool_ids_that_come_twice_are_told_apart():
    body = sent("Hi", calls("call_0"), results("call_0"), calls("call_0"), "No more.")
    later = sent(
        "Hi", calls("call_0"), results("call_0"), calls("call_0"), results("call_0")
    )

    first, second = (later["messages"][at]["content"][0]["id"] for at in (1, 3))
    answered = [later["messages"][at]["content"][0]["tool_use_id"] for at in (2, 4)]
    assert [first, second] == answered
    assert first != second
    assert body["messages"][:4] == later["messages"][:4]


def test_result_of_a_call_that_is_not_in_the_history_is_sent_all_the_same():
    body = sent("Hi", results("toolu_9"))

    assert body["messages"][0]["content"][0]["tool_use_id"] == "toolu_9"


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(data=PNG),
            {
                "type": "image",
                "source": {
                    "type": "base64",
                    "media_type": "image/png",
                    "data": base64.b64encode(PNG).decode(),
                },
            },
        ),
        (
            Image(url="https://example.com/a.png"),
            {
                "type": "image",
                "source": {"type": "url", "url": "https://example.com/a.png"},
            },
        ),
        (
            Image(file_id="file_1"),
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        ),
        (
            File(data=PDF, filename="a.pdf"),
            {
                "type": "document",
                "source": {
                    "type": "base64",
                    "media_type": "application/pdf",
                    "data": base64.b64encode(PDF).decode(),
                },
                "title": "a.pdf",
            },
        ),
        (
            File(data="grüß".encode(), media_type="text/markdown"),
            {
                "type": "document",
                "source": {
                    "type": "text",
                    "media_type": "text/plain",
                    "data": "grüß",
                },
            },
        ),
        (
            File(url="https://example.com/a.pdf"),
            {
                "type": "document",
                "source": {"type": "url", "url": "https://example.com/a.pdf"},
            },
        ),
        (
            File(file_id="file_1"),
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        ),
        (
            File(data=PNG, filename="a.png"),
            {
                "type": "image",
                "source": {
                    "type": "base64",
                    "media_type": "image/png",
                    "data": base64.b64encode(PNG).decode(),
                },
            },
        ),
    ],
)
def test_media_are_sent_in_the_form_they_are_given(part, block):
    body = sent(Message("user", ["Look:", part]))

    assert body["messages"][0]["content"][1] == block


@pytest.mark.parametrize(
    "part",
    [
        File(data=b"PK", media_type="application/zip"),
        File(data=b"ID3"),
        Image(data=b"BM", media_type="image/bmp"),
    ],
)
def test_media_that_anthropic_does_not_read_name_the_cure(part):
    with pytest.raises(InvalidRequestError, match=f"{part.media_type}.*give a PDF"):
        sent(Message("user", [part]))


def test_media_belong_to_the_user():
    with pytest.raises(InvalidRequestError, match="in one of the user"):
        sent("Hi", Message("assistant", [File(data=PDF)]))


@pytest.mark.parametrize("content", ["Here.", " "])
def test_media_that_tools_return_are_part_of_the_result(content):
    media = (Image(data=PNG), File(data=PDF, filename="a.pdf"))
    result = ToolResult("toolu_1", content, media=media)

    body = sent("Hi", calls("toolu_1"), Message("tool", [result]))

    (block,) = body["messages"][2]["content"]
    kinds = [part["type"] for part in block["content"]]
    assert kinds == ["text"] * (content != " ") + ["image", "document"]
    assert known("anthropic_messages", body) == body


def test_media_are_those_that_the_official_sdk_would_send():
    parts = [
        Image(data=PNG, detail="low"),
        Image(url="https://example.com/a.png"),
        Image(file_id="file_1"),
        File(data=PDF, filename="a.pdf"),
        File(data=b"Hi", media_type="text/plain", filename="a.txt"),
        File(url="https://example.com/a.pdf"),
        File(file_id="file_1"),
    ]

    body = sent(Message("user", ["Look:", *parts]))

    assert all(anthropic.takes_url(part, PROVIDER) for part in parts if part.url)
    assert known("anthropic_messages", body) == body


def test_tool_is_described():
    body = sent(tools=(WEATHER, Tool("time", strict=True)))

    assert body["tools"] == [
        {
            "name": "weather",
            "description": "Current weather",
            "input_schema": {"type": "object", "properties": {}},
        },
        {
            "name": "time",
            "input_schema": {
                "type": "object",
                "properties": {},
                "additionalProperties": False,
            },
            "strict": True,
        },
    ]
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("weather", True, {"type": "tool", "name": "weather"}),
        (
            "weather",
            False,
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        ),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice_is_sent(choice, parallel, expected):
    body = sent(tools=(WEATHER,), tool_choice=choice, parallel_tool_calls=parallel)

    assert body["tool_choice"] == expected


ADAPTIVE = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("claude-opus-5-5", "none", {"output_config": {"effort": "low"}}),
        ("claude-fable-5-1", "none", {"output_config": {"effort": "low"}}),
        ("claude-sonnet-5-5", "none", {"thinking": {"type": "between_tools"}}),
        ("claude-haiku-5-5", "none", {"thinking": {"type": "disabled"}}),
        ("claude-opus-4-7", "none", {"thinking": {"type": "disabled"}}),
        (
            "claude-opus-5-5",
            "minimal",
            {"thinking": ADAPTIVE, "output_config": {"effort": "low"}},
        ),
        (
            "claude-opus-4-8",
            "xhigh",
            {"thinking": ADAPTIVE, "output_config": {"effort": "xhigh"}},
        ),
        (
            "claude-sonnet-4-6",
            "xhigh",
            {"thinking": ADAPTIVE, "output_config": {"effort": "max"}},
        ),
        (
            "claude-haiku-4-5",
            "minimal",
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        (
            "claude-haiku-4-5",
            "medium",
            {"thinking": {"type": "enabled", "budget_tokens": 8192}},
        ),
        (
            "claude-opus-4-1",
            "max",
            {"thinking": {"type": "enabled", "budget_tokens": 19_999}},
        ),
    ],
)
def test_effort_is_said_in_the_way_of_the_generation(model, effort, expected):
    body = sent(model=model, reasoning=effort, max_tokens=20_000)

    reasoning = {key: body.get(key) for key in ("thinking", "output_config")}
    assert {key: value for key, value in reasoning.items() if value} == expected


@pytest.mark.parametrize(
    ("model", "reasoning", "budget", "cap"),
    [
        ("claude-haiku-4-5", "minimal", 1_024, 5_120),
        ("claude-haiku-4-5", "high", 16_384, 20_480),
        ("claude-opus-4-1", "max", 27_904, 32_000),
        ("claude-haiku-4-5", 8_192, 8_192, 12_288),
        ("claude-sonnet-4-6", 8_192, 8_192, 12_288),
    ],
)
def test_thinking_leaves_room_for_the_answer(model, reasoning, budget, cap):
    body = sent(model=model, reasoning=reasoning)

    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert body["max_tokens"] == cap


@pytest.mark.parametrize(
    ("model", "reasoning"),
    [("claude-haiku-4-5", "none"), ("claude-haiku-4-5", 0), ("claude-opus-5-5", 9_000)],
)
def test_cap_is_the_usual_one_where_no_tokens_are_to_think_with(model, reasoning):
    assert sent(model=model, reasoning=reasoning)["max_tokens"] == anthropic.MAX_TOKENS


def test_reasoning_without_room_for_it_names_the_cure():
    with pytest.raises(InvalidRequestError, match="set max_tokens higher") as caught:
        sent(model="claude-haiku-4-5", reasoning="low", max_tokens=500)

    assert caught.value.param == "max_tokens"


RAW = [
    {"type": "thinking", "thinking": "Hm", "signature": "EqoB"},
    {"type": "text", "text": " "},
    {"type": "tool_use", "id": "functions.weather:0", "name": "weather", "input": {}},
]


def answered(provider="anthropic", model="claude-opus-5-5"):
    answer = anthropic.parse({"content": RAW, "stop_reason": "tool_use"})
    state = ProviderState(provider, model, answer.provider_state)
    return Message("assistant", answer.content, state)


def test_own_turn_goes_back_as_it_came_without_blank_texts():
    body = sent("Hi", answered(), results("functions.weather:0"))

    assert body["messages"][1]["content"] == [RAW[0], RAW[2]]
    assert body["messages"][2]["content"][0]["tool_use_id"] == "functions.weather:0"


@pytest.mark.parametrize(
    "state",
    [
        ProviderState("anthropic", "claude-opus-5", RAW),
        ProviderState("google", "claude-opus-5-5", RAW),
        None,
    ],
)
def test_foreign_turn_is_rebuilt_without_its_reasoning(state):
    turn = Message("assistant", [Text("Hm."), ToolCall("a", "weather", {})], state)

    body = sent("Hi", turn)

    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "Hm."},
        {"type": "tool_use", "id": "a", "name": "weather", "input": {}},
    ]


def test_state_of_another_format_is_left_out():
    state = ProviderState("anthropic", "claude-opus-5-5", {"reasoning_content": "Hm"})

    body = sent("Hi", Message("assistant", "Well.", state), "And?")

    assert body["messages"][1]["content"] == [{"type": "text", "text": "Well."}]


def test_plain_answer_needs_no_state():
    raw = {"content": [{"type": "text", "text": "Hi", "citations": None}, RAW[2]]}

    assert anthropic.parse(raw).provider_state is None


def test_arguments_that_broke_off_are_kept_but_not_sent_back():
    fold = anthropic.fold()
    stream = [
        {"type": "content_block_start", "index": 0, "content_block": RAW[0]},
        {"type": "content_block_start", "index": 1, "content_block": RAW[2]},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"city": "Os'},
        },
    ]
    chunks = [c for event in stream for c in fold.feed(Event(json.dumps(event)))]

    answer = anthropic.parse(fold.raw)

    assert chunks == [Chunk(reasoning="Hm")]
    assert answer.tool_calls[0].raw_arguments == '{"city": "Os'
    assert not answer.tool_calls[0].valid
    assert answer.provider_state[1]["input"] == {}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause"),
        ("refusal", "content_filter"),
        ("brand_new", "other"),
        (None, "other"),
    ],
)
def test_stop_reason_is_translated_and_kept(reason, expected):
    answer = anthropic.parse({"content": [], "stop_reason": reason})

    assert (answer.finish_reason, answer.raw_finish_reason) == (expected, reason)


def test_three_input_counts_are_added_up():
    usage = anthropic.parse(
        {
            "content": [],
            "usage": {
                "input_tokens": 40,
                "cache_creation_input_tokens": 600,
                "cache_read_input_tokens": 1000,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 100,
                    "ephemeral_1h_input_tokens": 500,
                },
                "output_tokens": 120,
                "output_tokens_details": {"thinking_tokens": 80},
                "server_tool_use": {"web_search_requests": 3},
            },
        }
    ).usage

    assert (usage.input_tokens, usage.output_tokens) == (1640, 120)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (1000, 600)
    assert usage.cache_write_1h_tokens == 500
    assert (usage.reasoning_tokens, usage.web_searches) == (80, 3)


def test_answer_without_usage_is_not_taken_for_free():
    assert anthropic.parse({"content": []}).usage.source == "estimated"


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"service_tier": "priority", "speed": "standard"}, "priority"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"output_tokens": 1}, None),
    ],
)
def test_tier_is_the_one_that_was_served(usage, tier):
    assert anthropic.parse({"content": [], "usage": usage}).service_tier == tier


def test_tools_that_anthropic_runs_are_no_calls_for_the_caller():
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    raw = {"content": [search, {"type": "text", "text": "Found."}]}

    answer = anthropic.parse(raw)

    assert (answer.tool_calls, answer.text) == ((), "Found.")
    assert answer.provider_state == raw["content"]


def test_unknown_events_and_deltas_are_passed_over():
    fold = anthropic.fold()
    stream = [
        {"type": "brand_new"},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "compaction", "content": None},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "compaction_delta", "content": "So far."},
        },
        {"type": "content_block_stop", "index": 0},
    ]

    chunks = [c for event in stream for c in fold.feed(Event(json.dumps(event)))]

    assert chunks == []
    assert fold.raw["content"] == [{"type": "compaction", "content": "So far."}]


def test_server_that_does_not_stream_is_understood():
    fold = anthropic.fold()
    body = {"type": "message", "content": RAW, "stop_reason": "tool_use"}

    chunks = list(fold.feed(Event(json.dumps(body))))

    assert [bool(chunk.tool_call) for chunk in chunks] == [False, False, True]
    assert anthropic.parse(fold.raw).raw == body
    assert fold.finished


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("temperature: Extra inputs are not permitted", "temperature"),
        ("top_p: not supported with anthropic-version 2026-10-21", "top_p"),
        ("`temperature` is deprecated for this model.", "temperature"),
        ("thinking.type: not supported by this model", "thinking.type"),
    ],
)
def test_refused_option_is_named(message, param):
    body = {"type": "error", "error": {"type": "invalid_request_error"}}
    body["error"]["message"] = message

    found = anthropic.error(Reply(status=400, body=json.dumps(body).encode()))

    assert type(found) is UnsupportedParameter
    assert found.param == param
    assert param in str(found)


def test_code_and_request_id_are_read_from_the_body():
    body = {
        "type": "error",
        "error": {
            "type": "rate_limit_error",
            "message": "No.",
            "details": {"error_code": "contract_spend_limit_reached"},
        },
        "request_id": "req_1",
    }
    headers = {"x-should-retry": "true"}

    found = anthropic.error(
        Reply(status=429, headers=headers, body=json.dumps(body).encode())
    )

    assert type(found) is QuotaExhaustedError
    assert found.code == "contract_spend_limit_reached"
    assert found.provider_request_id == "req_1"
    assert not found.is_retryable


@pytest.mark.parametrize(
    "content",
    [None, [{"type": "thinking", "signature": "Eq"}, {"type": "redacted_thinking"}]],
)
def test_answer_that_shows_nothing_is_an_empty_one(content):
    found = anthropic.parse({"content": content, "stop_reason": "end_turn"})

    assert (found.content, found.reasoning) == ((), None)
