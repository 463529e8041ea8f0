"""What is Responses' own way, and which models are asked by it."""

import base64
import json
from dataclasses import replace
from itertools import product

import pytest
from oracles import fields, known

from flask_llm import errors
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
from flask_llm.protocols import PROTOCOLS, responses
from flask_llm.providers import BUILT_IN, Providers
from flask_llm.providers.openai import ONLY_CHAT_COMPLETIONS, ONLY_RESPONSES
from flask_llm.schema import read_schema
from flask_llm.settings import Settings
from flask_llm.wire import Event, Reply

ROWS = {row.name: row for row in BUILT_IN}
PNG = b"\x89PNG\r\n\x1a\n0"
PDF = b"%PDF-1.7"
WEATHER = Tool("weather", "Current weather", {"type": "object", "properties": {}})
CITY = {
    "title": "city",
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
MODEL = "gpt-6.1-sol"
INCLUDE = ["reasoning.encrypted_content"]


def prompt_of(*messages, provider="openai", model=MODEL, **options):
    turns = tuple(
        Message("user", turn) if isinstance(turn, str) else turn
        for turn in messages or ("Hi",)
    )
    return Prompt(provider=provider, model=model, messages=turns, **options)


def render(*messages, stream=False, **options):
    prompt = prompt_of(*messages, **options)
    return responses.render(prompt, ROWS[prompt.provider], stream=stream)


def sent(*messages, **options):
    return render(*messages, **options).body


def items(*messages, **options):
    return sent(*messages, **options)["input"]


def message(text="Hello", **more):
    part = {"type": "output_text", "text": text, "annotations": []}
    told = {"type": "message", "id": "msg_1", "role": "assistant"}
    return told | {"status": "completed", "content": [part]} | more


def thought(**more):
    told = {"type": "reasoning", "id": "rs_1", "summary": []}
    return told | {"encrypted_content": "gAAA"} | more


def called(**more):
    told = {"type": "function_call", "id": "fc_1", "call_id": "call_1"}
    return told | {"name": "weather", "arguments": "{}", "status": "completed"} | more


def parsed(*output, **more):
    return responses.parse({"status": "completed", "output": list(output)} | more)


def turn_of(*output, model=MODEL):
    answer = parsed(*output)
    return replace(answer, provider="openai", model=f"openai/{model}").to_message()


def fed(*stream):
    fold = responses.fold()
    chunks = [
        found
        for number, body in enumerate(stream)
        for found in fold.feed(Event(json.dumps({"sequence_number": number} | body)))
    ]
    return fold, chunks


def failed(**answer):
    body = {"object": "response", "status": "failed", "output": []} | answer
    return responses.error(Reply(status=200, body=json.dumps(body).encode()))


# --- Request ---------------------------------------------------------------------


def test_plain_question_is_stored_by_nobody():
    call = render("Hi")

    assert call.path == "/responses"
    assert call.body == {
        "model": MODEL,
        "input": [{"role": "user", "content": "Hi"}],
        "store": False,
        "include": INCLUDE,
    }


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("system", "Be terse.", "instructions", "Be terse."),
        ("max_tokens", 99, "max_output_tokens", 99),
        ("temperature", 0.2, "temperature", 0.2),
        ("top_p", 0.9, "top_p", 0.9),
        ("stop", ("END",), "stop", ["END"]),
        ("seed", 7, "seed", 7),
        ("reasoning", "low", "reasoning", {"effort": "low", "summary": "auto"}),
        ("reasoning", "none", "reasoning", {"effort": "none"}),
        ("service_tier", "flex", "service_tier", "flex"),
        ("extra", {"truncation": "auto"}, "truncation", "auto"),
    ],
)
def test_option_that_the_caller_chose_is_sent(option, value, field, expected):
    assert sent(**{option: value})[field] == expected


@pytest.mark.parametrize(
    ("model", "temperature", "include"),
    [
        ("gpt-4.1", 0.7, None),
        ("gpt-oss-120b", 0.7, None),
        ("gpt-35-turbo", 0.7, None),
        ("ft:gpt-4.1:o1-labs::o3x", 0.7, None),
        ("o3", None, INCLUDE),
        ("gpt-5.4", None, INCLUDE),
        ("gpt-5.1-codex", None, INCLUDE),
        ("openai.gpt-5.6-luna", None, INCLUDE),
        ("gpt-6-luna", None, INCLUDE),
    ],
)
def test_models_that_reason_get_no_defaults_and_give_reasoning(
    model, temperature, include
):
    body = sent(model=model, temperature=0.7, defaulted=frozenset({"temperature"}))

    assert body.get("temperature") == temperature
    assert body.get("include") == include


def test_caller_s_own_field_wins_over_what_is_made_of_options():
    extra = {"store": True, "reasoning": {"summary": None, "mode": "pro"}}

    body = sent(reasoning="low", extra=extra)

    assert body["store"] is True
    assert body["reasoning"] == {"effort": "low", "summary": None, "mode": "pro"}


@pytest.mark.parametrize(
    ("provider", "options"), [("openai", {"include_obfuscation": False}), ("xai", None)]
)
def test_stream_is_not_padded_where_it_would_be(provider, options):
    body = sent(provider=provider, stream=True)

    assert body["stream"] is True
    assert body.get("stream_options") == options


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            Image(url="https://example.com/a.png", detail="low"),
            {"image_url": "https://example.com/a.png", "detail": "low"},
        ),
        (
            Image(data=PNG),
            {
                "image_url": "data:image/png;base64," + base64.b64encode(PNG).decode(),
                "detail": "auto",
            },
        ),
        (Image(file_id="file_1"), {"file_id": "file_1", "detail": "auto"}),
        (
            File(data=PDF, filename="a.pdf"),
            {
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,"
                + base64.b64encode(PDF).decode(),
            },
        ),
        (
            File(url="https://example.com/a.pdf"),
            {"file_url": "https://example.com/a.pdf"},
        ),
        (File(file_id="file_1"), {"file_id": "file_1"}),
    ],
)
def test_media_are_sent_in_the_form_they_are_given(part, expected):
    (turn,) = items(Message("user", ["Look:", part]))

    kind = "input_image" if isinstance(part, Image) else "input_file"
    assert turn["content"] == [
        {"type": "input_text", "text": "Look:"},
        {"type": kind} | expected,
    ]


@pytest.mark.parametrize(
    ("role", "part", "cure"),
    [
        ("assistant", Image(data=PNG), "give it in one of the user"),
        ("user", ToolCall("call_1", "weather", {}), "give it in one of the assistant"),
        ("user", File(data=b"ID3"), "gpt-audio"),
    ],
)
def test_part_in_the_wrong_turn_names_the_cure(role, part, cure):
    with pytest.raises(errors.InvalidRequestError, match=cure):
        sent(Message(role, [part]))


@pytest.mark.parametrize(
    ("content", "first"),
    [("Here.", [{"type": "input_text", "text": "Here."}]), ("", [])],
)
def test_images_that_tools_return_are_part_of_the_result(content, first):
    result = ToolResult("call_1", content, media=(Image(file_id="file_1"),))

    output = items("Hi", Message("tool", [result]))[-1]

    image = {"type": "input_image", "file_id": "file_1", "detail": "auto"}
    assert output["output"] == [*first, image]


@pytest.mark.parametrize("part", [Image, File])
def test_openai_fetches_every_url(part):
    assert responses.takes_url(part(url="https://example.com/a"), ROWS["openai"])


@pytest.mark.parametrize(
    ("provider", "role"), [("openai", "developer"), ("xai", "system")]
)
def test_system_messages_stay_where_they_are(provider, role):
    found = items("Hi", Message("system", "Be kind."), "Hm", provider=provider)

    assert found[1] == {"role": role, "content": "Be kind."}
    assert [turn["role"] for turn in found] == ["user", role, "user"]


def test_history_without_state_is_made_anew():
    found = items(
        "Hi",
        Message("assistant", ["", "Let me look.", ToolCall("a", "weather", {}, "{ }")]),
        Message("tool", [ToolResult("a", "4"), "And?"]),
    )

    assert found[1:] == [
        {"role": "assistant", "content": "Let me look."},
        {
            "type": "function_call",
            "call_id": "a",
            "name": "weather",
            "arguments": "{ }",
        },
        {"type": "function_call_output", "call_id": "a", "output": "4"},
        {"role": "user", "content": "And?"},
    ]


@pytest.mark.parametrize(
    ("provider", "written"), [("openai", '{"city'), ("vllm", "{}")]
)
def test_arguments_that_broke_off_go_back_where_they_are_not_read(provider, written):
    broken = Message("assistant", [ToolCall("a", "weather", {}, '{"city')])

    _, call = items("Hi", broken, provider=provider)

    assert call["arguments"] == written


@pytest.mark.parametrize("call_id", ["toolu/1", "x" * 65])
def test_tool_ids_from_elsewhere_are_made_to_fit(call_id):
    _, call, result = items(
        "Hi",
        Message("assistant", [ToolCall(call_id, "weather", {})]),
        Message("tool", [ToolResult(call_id, "4")]),
    )

    assert call["call_id"] == result["call_id"]
    assert 0 < len(call["call_id"]) <= 40
    assert "/" not in call["call_id"]


def test_tool_is_described_flatly_and_strictness_is_always_said():
    body = sent(tools=(replace(WEATHER, strict=True), Tool("time")))

    assert body["tools"] == [
        {
            "type": "function",
            "name": "weather",
            "description": "Current weather",
            "parameters": {
                "type": "object",
                "properties": {},
                "additionalProperties": False,
                "required": [],
            },
            "strict": True,
        },
        {
            "type": "function",
            "name": "time",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
    ]
    assert "tool_choice" not in body


def test_answer_is_held_to_a_schema_strictly():
    assert sent(schema=read_schema(CITY))["text"] == {
        "format": {
            "type": "json_schema",
            "name": "city",
            "schema": {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "additionalProperties": False,
                "required": ["name"],
            },
            "strict": True,
        }
    }


def test_answer_is_held_to_an_open_schema_loosely():
    schema = read_schema({"type": "object"})

    form = sent(schema=schema)["text"]["format"]

    assert (form["schema"], form["strict"]) == (schema.json, False)


def test_server_that_knows_no_strictness_gets_the_schema_and_nothing_more():
    schema = read_schema(CITY)

    form = sent(schema=schema, provider="groq")["text"]["format"]

    assert form == {"type": "json_schema", "name": "city", "schema": schema.json}


@pytest.mark.parametrize(
    ("text", "kind", "strict"),
    [
        ({"verbosity": "low"}, "json_schema", True),
        ({"format": {"strict": False}}, "json_schema", False),
        ({"format": {"type": "json_object"}}, "json_object", None),
    ],
)
def test_caller_s_own_text_is_laid_over_the_schema_or_replaces_it(text, kind, strict):
    told = sent(schema=read_schema(CITY), extra={"text": text})["text"]

    assert told.get("verbosity") == text.get("verbosity")
    assert (told["format"]["type"], told["format"].get("strict")) == (kind, strict)
    assert ("schema" in told["format"]) is (kind == "json_schema")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("weather", {"type": "function", "name": "weather"}),
    ],
)
def test_tool_choice_is_sent(choice, expected):
    body = sent(tools=(WEATHER,), tool_choice=choice, parallel_tool_calls=False)

    assert body["tool_choice"] == expected
    assert body["parallel_tool_calls"] is False


# --- State -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "output",
    [
        [thought(), message(phase="final_answer")],
        [thought(), called()],
        [thought(), message(phase="commentary"), called(), called(call_id="call_2")],
        [thought(content=[{"type": "reasoning_text", "text": "Hm"}]), called()],
        [thought(encrypted_content=None, content=[{"type": "x"}]), message()],
        [message(phase="commentary"), called()],
        [called(namespace="crm")],
        [thought(), {"type": "web_search_call", "id": "ws_1"}, thought(), message()],
    ],
)
def test_items_go_back_as_they_came(output):
    turn = Message.from_dict(json.loads(json.dumps(turn_of(*output).to_dict())))

    assert items("Hi", turn)[1:] == output


def test_items_stay_behind_where_another_model_is_asked():
    turn = turn_of(thought(), message("Hm.", phase="commentary"), called())

    assert items("Hi", turn, model="gpt-6-luna")[1:] == [
        {"role": "assistant", "content": "Hm."},
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "weather",
            "arguments": "{}",
        },
    ]


def test_reasoning_that_led_to_nothing_does_not_go_back():
    assert parsed(thought()).provider_state is None
    assert parsed(message(phase="commentary"), thought()).provider_state == [
        message(phase="commentary")
    ]


def test_reasoning_without_content_does_not_go_back_nor_ids_that_refer_to_it():
    turn = turn_of(
        thought(encrypted_content=None), message("Hm.", phase="commentary"), called()
    )

    assert items("Hi", turn)[1:] == [
        {"role": "assistant", "content": "Hm.", "phase": "commentary"},
        {name: value for name, value in called().items() if name != "id"},
    ]


@pytest.mark.parametrize("output", [[message()], [called()], [message(), called()]])
def test_answer_that_can_be_made_anew_has_no_state(output):
    assert parsed(*output).provider_state is None


def test_state_of_chat_completions_is_not_taken_for_items():
    state = ProviderState("openai", MODEL, {"reasoning_content": "Hm"})

    assert items("Hi", Message("assistant", "Hello", state))[1:] == [
        {"role": "assistant", "content": "Hello"}
    ]


def test_items_are_nothing_to_chat_completions():
    turn = turn_of(thought(), message(phase="final_answer"))
    prompt = prompt_of("Hi", turn)

    chat = PROTOCOLS["chat_completions"]
    body = chat.render(prompt, ROWS["openai"], stream=False).body

    assert body["messages"][1] == {"role": "assistant", "content": "Hello"}


# --- Response --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "output", "expected"),
    [
        ("completed", None, [message()], "stop"),
        ("completed", None, [message(), called()], "tool_calls"),
        (
            "completed",
            None,
            [message(content=[{"type": "refusal", "refusal": "No."}])],
            "content_filter",
        ),
        ("incomplete", "max_output_tokens", [thought()], "length"),
        ("incomplete", "max_output_tokens", [called()], "length"),
        ("incomplete", "content_filter", [], "content_filter"),
        ("incomplete", "max_messages", [], "other"),
        ("incomplete", "steered", [], "other"),
        ("incomplete", None, [], "other"),
        ("failed", None, [], "error"),
        ("cancelled", None, [], "error"),
        ("queued", None, [], "other"),
        ("in_progress", None, [], "other"),
        ("brand_new", None, [message()], "other"),
        (None, None, [message()], "stop"),
    ],
)
def test_finish_reason_is_told_by_status_and_items(status, reason, output, expected):
    details = {"reason": reason} if reason else None

    found = parsed(*output, status=status, incomplete_details=details)

    assert (found.finish_reason, found.raw_finish_reason) == (expected, status)


def test_answer_in_the_background_says_what_to_ask_for_it_with():
    found = parsed(id="resp_1", status="queued", usage=None)

    assert (found.text, found.response_id) == ("", "resp_1")
    assert found.usage.source == "estimated"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (thought(summary=[{"type": "summary_text", "text": "Hm"}]), "Hm"),
        (thought(content=[{"type": "reasoning_text", "text": "Hm"}]), "Hm"),
        (
            thought(
                summary=[{"type": "summary_text", "text": "H"}],
                content=[{"type": "reasoning_text", "text": "Hmmm"}],
            ),
            "H",
        ),
        (thought(content=None), None),
    ],
)
def test_reasoning_is_its_summary_or_else_its_text(item, expected):
    assert parsed(item, message()).reasoning == expected


def test_several_messages_are_one_text():
    found = parsed(message("Let me "), thought(), message("see."), called())

    assert found.content == (
        Text("Let me see."),
        ToolCall("call_1", "weather", {}, "{}"),
    )


def test_comment_on_the_work_stays_apart_from_the_answer():
    found = parsed(
        message("Let me ", phase="commentary"),
        message("see.", phase="commentary"),
        message("Four.", phase="final_answer"),
    )

    assert found.content == (Text("Let me see."), Text("Four."))


def test_usage_is_read_in_full():
    found = parsed(
        usage={
            "input_tokens": 1500,
            "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 300},
            "output_tokens": 90,
            "output_tokens_details": {"reasoning_tokens": 64},
        },
        tool_usage={"web_search": {"num_requests": 2}},
        service_tier="flex",
    )

    counts = replace(found.usage)
    assert (counts.input_tokens, counts.output_tokens) == (1500, 90)
    assert (counts.cache_read_tokens, counts.cache_write_tokens) == (1024, 300)
    assert (counts.reasoning_tokens, counts.web_searches) == (64, 2)
    assert found.service_tier == "flex"


# --- Stream ----------------------------------------------------------------------

HEAD = {"id": "resp_1", "object": "response", "model": MODEL, "status": "in_progress"}
CREATED = {"type": "response.created", "response": HEAD | {"output": []}}


def added(item, index=0):
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(item, index=0):
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind, piece, index=0, **more):
    told = {"type": f"response.{kind}.delta", "output_index": index, "delta": piece}
    return told | more


def ended(*output, status="completed", **more):
    answer = HEAD | {"status": status, "output": list(output)} | more
    return {"type": f"response.{status}", "response": answer}


def test_encrypted_reasoning_is_the_one_of_the_item_that_is_done():
    fold, _ = fed(
        added(thought(encrypted_content="partial")),
        done(thought(encrypted_content="whole")),
        done(message(), 1),
        ended(thought(encrypted_content="other"), message()),
    )

    state = responses.parse(fold.raw).provider_state
    assert state[0]["encrypted_content"] == "whole"


@pytest.mark.parametrize("output", [[], [thought(), message("Hello")]])
def test_last_event_need_not_repeat_the_items(output):
    fold, chunks = fed(done(thought()), done(message("Hello"), 1), ended(*output))

    assert fold.raw["output"] == [thought(), message("Hello")]
    assert chunks == [Chunk("Hello")]


def test_items_that_only_the_last_event_holds_are_shown():
    shown = thought(summary=[{"type": "summary_text", "text": "Hm"}])

    fold, chunks = fed(CREATED, ended(shown, message("Hello"), called()))

    call = ToolCall("call_1", "weather", {}, "{}")
    assert chunks == [Chunk(reasoning="Hm"), Chunk("Hello"), Chunk(tool_call=call)]
    assert fold.finished


def test_rest_of_an_item_is_shown_where_its_pieces_left_some():
    _, chunks = fed(
        added(message("")),
        delta("output_text", "Hel", content_index=0),
        done(message("Hello")),
    )

    assert chunks == [Chunk("Hel"), Chunk("lo")]


def test_pieces_without_a_beginning_are_taken():
    fold, chunks = fed(
        delta("reasoning_text", "Hm", content_index=0),
        delta("output_text", "Hello", index=1, content_index=0),
    )

    answer = responses.parse(fold.raw)
    assert chunks == [Chunk(reasoning="Hm"), Chunk("Hello")]
    assert (answer.reasoning, answer.text) == ("Hm", "Hello")


def test_reasoning_is_shown_once_where_it_comes_in_two_forms():
    _, chunks = fed(
        added(thought()),
        delta("reasoning_text", "Hm, well", content_index=0),
        delta("reasoning_summary_text", "Hm", summary_index=0),
        done(thought(summary=[{"type": "summary_text", "text": "Hm"}])),
    )

    assert chunks == [Chunk(reasoning="Hm, well")]


def test_parts_are_put_together_by_their_index():
    fold, _ = fed(
        added(message("")),
        delta("output_text", "a", content_index=0),
        delta("output_text", "c", content_index=1),
        delta("output_text", "b", content_index=0),
    )

    texts = [part["text"] for part in fold.raw["output"][0]["content"]]
    assert texts == ["ab", "c"]


def test_items_that_are_not_numbered_are_told_apart_by_their_ids():
    called_for = called(arguments='{"city": "Oslo"}')

    fold, chunks = fed(
        CREATED,
        unnumbered(added(message("", content=[]))),
        unnumbered(added(called(arguments=""))),
        unnumbered(delta("output_text", "Let me "), item_id="msg_1"),
        unnumbered(delta("function_call_arguments", '{"city'), item_id="fc_1"),
        unnumbered(delta("output_text", "look."), item_id="msg_1"),
        unnumbered(done(message("Let me look."))),
        unnumbered(done(called_for)),
        ended(message("Let me look."), called_for),
    )

    call = ToolCall("call_1", "weather", {"city": "Oslo"}, '{"city": "Oslo"}')
    assert chunks == [Chunk("Let me "), Chunk("look."), Chunk(tool_call=call)]
    assert fold.raw["output"] == [message("Let me look."), called_for]


def unnumbered(event, **more):
    """Make the event as llama.cpp has it."""
    kept = {name: value for name, value in event.items() if name != "output_index"}
    return kept | more


def test_call_that_broke_off_is_kept_as_far_as_it_came():
    fold, chunks = fed(
        CREATED,
        added(called(arguments="")),
        delta("function_call_arguments", '{"city'),
    )

    (call,) = responses.parse(fold.raw).tool_calls
    assert (call.raw_arguments, call.valid) == ('{"city', False)
    assert chunks == []


def test_whole_answer_in_the_place_of_a_stream_is_taken():
    fold, chunks = fed(HEAD | {"status": "completed", "output": [message("Hello")]})

    assert fold.finished
    assert chunks == [Chunk("Hello")]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "keepalive"},
        {"type": "response.brand_new.delta", "delta": 5},
        {"type": "response.web_search_call.searching", "output_index": 0},
        {"type": "response.output_text.done", "output_index": 0, "text": "x"},
        {},
    ],
)
def test_events_that_are_not_known_are_passed_over(event):
    fold, chunks = fed(CREATED, event)

    assert chunks == []
    assert responses.parse(fold.raw).response_id == "resp_1"


@pytest.mark.parametrize(
    ("status", "finish"), [("incomplete", "length"), ("cancelled", "error")]
)
def test_stream_ends_with_any_final_status(status, finish):
    details = {"reason": "max_output_tokens"}

    fold, _ = fed(CREATED, ended(status=status, incomplete_details=details))

    assert fold.finished
    assert responses.parse(fold.raw).finish_reason == finish


@pytest.mark.parametrize(
    "event",
    [
        delta("output_text", 5, content_index=0),
        delta("output_text", "x", content_index="0"),
        delta("output_text", "x", index=None),
        delta("function_call_arguments", "x", index=9),
        {"type": "response.output_text.delta", "delta": "x"},
        added("x"),
        done({}),
        ended("x"),
    ],
)
def test_event_of_another_shape_is_unreadable(event):
    with pytest.raises(errors.ResponseError):
        fed(event)


# --- Errors ----------------------------------------------------------------------

CODES = [
    ("server_error", errors.ServerError),
    ("vector_store_timeout", errors.ServerError),
    ("rate_limit_exceeded", errors.RateLimitError),
    ("insufficient_quota", errors.QuotaExhaustedError),
    ("invalid_prompt", errors.ContentFilteredError),
    ("bio_policy", errors.ContentFilteredError),
    ("misalignment_policy_violation", errors.ContentFilteredError),
    ("image_content_policy_violation", errors.ContentFilteredError),
    ("data_residency_mismatch", errors.PermissionDeniedError),
    ("invalid_image_url", errors.InvalidRequestError),
    ("image_too_large", errors.InvalidRequestError),
    ("failed_to_download_image", errors.InvalidRequestError),
    ("brand_new", errors.ProviderError),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_answer_that_failed_is_told_by_its_code(code, kind):
    found = failed(error={"code": code, "message": "So it is."})

    assert type(found) is kind
    assert (found.code, found.provider_message) == (code, "So it is.")


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_stream_that_failed_is_told_by_its_code(code, kind):
    error = {"code": code, "message": "So it is."}

    with pytest.raises(errors.ProviderError) as caught:
        fed(CREATED, ended(status="failed", error=error))

    assert type(caught.value) is kind


@pytest.mark.parametrize("error", [None, {}, "x"])
def test_failure_without_words_is_the_server_s(error):
    found = failed(error=error)

    assert type(found) is errors.ServerError
    assert found.is_retryable


def test_failure_tells_the_tokens_that_it_used():
    found = failed(
        error={"code": "server_error", "message": "Oh."},
        output=[message("Hel")],
        usage={"input_tokens": 40, "output_tokens": 3},
    )

    assert found.completion.usage.input_tokens == 40
    assert found.text == "Hel"


def test_failure_of_an_odd_shape_is_a_failure_all_the_same():
    assert failed(output=5, usage={"input_tokens": 1}).completion is None


def test_error_event_may_have_neither_code_nor_wrapper():
    event = {"type": "error", "code": None, "message": "Oh.", "param": None}

    with pytest.raises(errors.ServerError) as caught:
        fed(CREATED, event)

    assert (caught.value.type, caught.value.provider_message) == (None, "Oh.")


def test_error_event_may_have_the_shape_of_an_error_body():
    error = {"type": "rate_limit_error", "code": "slow_down", "message": "Slow down."}

    with pytest.raises(errors.RateLimitError) as caught:
        fed(CREATED, {"type": "error", "error": error})

    assert caught.value.code == "slow_down"


TOOLS_REFUSED = (
    "Function tools with reasoning_effort are not supported for gpt-5.6 in "
    "/v1/chat/completions. Please use /v1/responses instead."
)


@pytest.mark.parametrize("protocol", ["chat_completions", "responses"])
@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("Unknown parameter: 'stop'.", "unknown_parameter", "stop"),
        (
            "Unsupported value: 'temperature' does not support 0.2 with this model.",
            "unsupported_value",
            "temperature",
        ),
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model.",
            None,
            "max_tokens",
        ),
        (TOOLS_REFUSED, None, "reasoning_effort"),
    ],
)
def test_option_that_a_model_refuses_is_named(protocol, message, code, param):
    kind = "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    body = json.dumps({"error": error}).encode()

    found = PROTOCOLS[protocol].error(Reply(status=400, body=body))

    assert type(found) is errors.UnsupportedParameter
    assert found.param == param


# --- Which models are asked by it --------------------------------------------------


def serving(model, row=None, environ=None, **options):
    rows = {"LLM_PROVIDERS": {"openai": row} if row else {}}
    found = Providers(Settings.read(rows), environ or {})
    return found.serving(prompt_of(model=model, **options))


@pytest.mark.parametrize(
    ("model", "protocol"),
    [
        ("gpt-4o-mini", "chat_completions"),
        ("gpt-4.1", "chat_completions"),
        ("gpt-4o-search-preview", "chat_completions"),
        ("gpt-audio-mini", "chat_completions"),
        ("gpt-5", "chat_completions"),
        ("gpt-5-mini", "chat_completions"),
        ("gpt-5.1", "chat_completions"),
        ("gpt-5.2-2025-12-11", "chat_completions"),
        ("ft:gpt-4.1:acme:my-pro:1", "chat_completions"),
        ("gpt-oss-120b", "chat_completions"),
        ("gpt-5.4", "responses"),
        ("gpt-5.4-mini-2026-03-17", "responses"),
        ("gpt-5.5", "responses"),
        ("gpt-5.6-sol", "responses"),
        ("gpt-6-astra", "responses"),
        ("gpt-6.2-sol", "responses"),
        ("ft:gpt-6-luna:acme", "responses"),
        ("gpt-10", "responses"),
        ("o1", "responses"),
        ("o3-mini-2025-01-31", "responses"),
        ("o1-pro", "responses"),
        ("gpt-5-pro-2025-10-06", "responses"),
        ("gpt-5-codex", "responses"),
        ("gpt-5.1-codex-max", "responses"),
        ("codex-mini-latest", "responses"),
        ("computer-use-preview", "responses"),
        ("o4-mini-deep-research", "responses"),
        ("gpt-6-cyber", "responses"),
        ("gpt-6.2-astra-law", "responses"),
        ("gpt-daybreak-blue-latest", "responses"),
        ("gpt-rosalind-research", "responses"),
    ],
)
def test_model_is_asked_in_the_way_it_needs(model, protocol):
    assert serving(model).protocol == protocol


def test_every_model_typed_for_responses_only_is_asked_by_it():
    types = pytest.importorskip("openai.types.shared.responses_model")
    _, _, names = types.ResponsesModel.__args__

    assert [
        name for name in names.__args__ if serving(name).protocol != "responses"
    ] == []


@pytest.mark.parametrize(
    ("model", "options", "protocol"),
    [
        ("gpt-6-luna", {"stop": ("END",)}, "chat_completions"),
        ("gpt-6-luna", {"seed": 0}, "chat_completions"),
        ("gpt-6-luna", {"extra": {"logit_bias": {}}}, "chat_completions"),
        ("gpt-6-luna", {"extra": {"metadata": {}}}, "responses"),
        ("gpt-4.1", {"extra": {"metadata": {}}}, "chat_completions"),
        ("gpt-4.1", {"extra": {"truncation": "auto"}}, "responses"),
        ("gpt-6-luna", {"extra": {"text": {}, "n": 1}}, "responses"),
        ("gpt-6-luna", {"stop": ("END",), "tools": (WEATHER,)}, "responses"),
        (
            "gpt-6-luna",
            {"stop": ("END",), "tools": (WEATHER,), "reasoning": "none"},
            "chat_completions",
        ),
        ("gpt-5.4", {"seed": 1, "tools": (WEATHER,)}, "chat_completions"),
        (
            "gpt-5.4",
            {"seed": 1, "tools": (WEATHER,), "reasoning": "low"},
            "responses",
        ),
        ("o3", {"seed": 1, "tools": (WEATHER,)}, "chat_completions"),
        ("gpt-5.5-pro", {"stop": ("END",)}, "responses"),
        ("gpt-4.1", {"tools": (WEATHER,)}, "chat_completions"),
    ],
)
def test_option_that_one_way_alone_has_decides(model, options, protocol):
    assert serving(model, **options).protocol == protocol


@pytest.mark.parametrize(
    ("row", "environ", "protocol"),
    [
        ({"protocol": "chat_completions"}, {}, "chat_completions"),
        ({"base_url": "http://127.0.0.1:8000/v1"}, {}, "chat_completions"),
        ({}, {"OPENAI_BASE_URL": "https://proxy.test/v1"}, "chat_completions"),
        ({"base_url": "https://api.openai.com.evil.test/v1"}, {}, "chat_completions"),
        ({"base_url": "https://eu.api.openai.com/v1"}, {}, "responses"),
        ({"timeout": 9}, {}, "responses"),
    ],
)
def test_row_that_leads_elsewhere_keeps_what_it_says(row, environ, protocol):
    assert serving("gpt-6-luna", row, environ).protocol == protocol


def test_row_may_ask_everything_by_responses():
    row = {"protocol": "responses", "base_url": "http://127.0.0.1:8000/v1"}

    found = serving("gpt-4o-mini", row, stop=("END",))

    assert (found.protocol, found.auth) == ("responses", "bearer")


def test_azure_asked_by_responses_keeps_its_header():
    settings = Settings.read({"LLM_PROVIDERS": {"azure": {"protocol": "responses"}}})

    row = Providers(settings, {})["azure"]

    assert (row.protocol, row.auth) == ("responses", "api-key")


@pytest.mark.parametrize(
    ("own", "protocol", "other"),
    [
        (ONLY_RESPONSES, "responses", "chat_completions"),
        (ONLY_CHAT_COMPLETIONS, "chat_completions", "responses"),
    ],
)
def test_fields_of_one_way_alone_are_those_of_the_sdk(own, protocol, other):
    assert own == fields(protocol) - fields(other)


# --- What the official SDK's types say -----------------------------------------------

OPTIONS = [
    {},
    {"system": "Be terse.", "max_tokens": 99, "service_tier": "flex"},
    {"temperature": 0.2, "top_p": 0.9},
    {"temperature": 0.7, "defaulted": frozenset({"temperature"})},
    *({"reasoning": effort} for effort in ("none", "minimal", "low", "xhigh", "max")),
    {"tools": (WEATHER, replace(WEATHER, strict=True))},
    *(
        {"tools": (WEATHER,), "tool_choice": choice, "parallel_tool_calls": False}
        for choice in ("auto", "none", "required", "weather")
    ),
    {"stop": ("END",), "seed": 7},
    *({"schema": read_schema(schema)} for schema in (CITY, {"type": "object"})),
    {"extra": {"metadata": {"a": "b"}, "prompt_cache_key": "k"}},
]
MODELS = ["gpt-4.1", "gpt-5", "gpt-5.4", "gpt-5.6-sol", "gpt-6.1-sol", "o3", "o3-pro"]
MEDIA = [Image(data=PNG, detail="low"), File(data=PDF, filename="a.pdf")]
HISTORY = [
    Message("user", ["Look:", *MEDIA, File(file_id="file_1")]),
    Message("system", "Be kind."),
    Message("assistant", ["Well.", ToolCall("toolu_1", "weather", {"city": "Oslo"})]),
    Message("tool", [ToolResult("toolu_1", "4", media=tuple(MEDIA))]),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "options"),
    [
        (model, options)
        for model, options in product(MODELS, OPTIONS)
        if not (model == "o3-pro" and "stop" in options)
    ],
)
def test_request_is_one_that_the_official_sdk_would_send(model, options, stream):
    prompt = prompt_of(*HISTORY, model=model, **options)
    row = serving(model, **options)

    body = PROTOCOLS[row.protocol].render(prompt, row, stream=stream).body

    assert known(row.protocol, body) == body


@pytest.mark.parametrize(
    "output",
    [
        [thought(), message(phase="final_answer")],
        [thought(summary=[{"type": "summary_text", "text": "Hm"}]), called()],
        [thought(encrypted_content=None), message(phase="commentary"), called()],
    ],
)
def test_history_that_goes_back_is_one_that_the_official_sdk_would_send(output):
    body = sent(
        Message("user", [Image(url="https://e.test/a.png"), Image(file_id="file_1")]),
        turn_of(*output),
        Message("tool", [ToolResult("call_1", "4")]),
        Message("user", [File(url="https://e.test/a.pdf")]),
    )

    assert known("responses", body) == body


# --- Odd shapes that the official SDK takes ----------------------------------------


def test_answer_in_the_background_may_have_no_output_yet():
    raw = {"id": "resp_1", "status": "queued", "output": None}

    found = responses.parse(raw)

    assert (found.content, found.raw_finish_reason) == ((), "queued")


CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1"}
CUSTOM |= {"name": "sql", "input": "SELECT 1"}


def test_custom_tool_is_called_with_text_and_answered_in_kind():
    answer = responses.parse({"status": "completed", "output": [CUSTOM]})
    told = replace(answer, provider="openai", model=f"openai/{MODEL}").to_message()

    body = sent("Hi", told, Message("tool", [ToolResult("call_1", "1")]))

    (call,) = answer.tool_calls
    assert (call.id, call.name, call.raw_arguments) == ("call_1", "sql", "SELECT 1")
    assert answer.finish_reason == "tool_calls"
    assert known("responses", body) == body
    assert body["input"][1:] == [
        CUSTOM,
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "1"},
    ]


def test_custom_tool_is_shown_when_it_is_whole():
    fold = responses.fold()
    done = {"type": "response.output_item.done", "output_index": 0, "item": CUSTOM}

    (chunk,) = fold.feed(Event(json.dumps(done)))

    assert chunk.tool_call.name == "sql"


@pytest.mark.parametrize(
    "hosted",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "mcp_call", "id": "mcp_1", "name": "a", "arguments": "{}"},
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []},
    ],
    ids=lambda item: item["type"],
)
def test_hosted_tools_do_not_go_back_without_the_reasoning_that_called_them(hosted):
    hollow = thought(encrypted_content=None)
    output = [hollow, hosted, called(), message(phase="final_answer")]

    found = responses.parse({"status": "completed", "output": output}).provider_state

    assert [item.get("type", "message") for item in found] == [
        "function_call",
        "message",
    ]
    assert not any("id" in item for item in found)


def test_picture_that_is_given_as_a_file_is_a_picture():
    (turn,) = items(Message("user", [File(data=PNG)]))

    assert turn["content"] == [
        {
            "type": "input_image",
            "detail": "auto",
            "image_url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
        }
    ]
