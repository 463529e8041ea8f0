"""What is Google's own way."""

import base64
import json

import pytest
from oracles import known

from flask_llm.chat import (
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
    RateLimitError,
    ResponseError,
)
from flask_llm.protocols import generate_content as google
from flask_llm.providers import BUILT_IN
from flask_llm.wire import Event, Reply

(PROVIDER,) = (row for row in BUILT_IN if row.name == "google")
PNG = b"\x89PNG\r\n\x1a\n0"
UNSIGNED = base64.b64encode(b"skip_thought_signature_validator").decode()
WEATHER = Tool("weather", "Current weather", {"type": "object", "properties": {}})


def render(*messages, stream=False, **options):
    given = {"provider": "google", "model": "gemini-3.8-flash"} | options
    turns = tuple(
        Message("user", turn) if isinstance(turn, str) else turn
        for turn in messages or ("Hi",)
    )
    return google.render(Prompt(messages=turns, **given), PROVIDER, stream=stream)


def sent(*messages, **options):
    return render(*messages, **options).body


def config(**options):
    return sent(**options)["generationConfig"]


def called(*ids, name="weather"):
    return Message("assistant", [ToolCall(call_id, name, {}) for call_id in ids])


def test_plain_question_is_all_that_is_sent():
    call = render("Hi")

    assert call.path == "/v1/models/gemini-3.8-flash:generateContent"
    assert call.headers == {}
    assert call.body == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {},
    }


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-2.5-pro", False, "/v1/models/gemini-2.5-pro:generateContent"),
        (
            "models/gemini-2.5-pro",
            True,
            "/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        ),
        (
            "gemini-flash-latest",
            False,
            "/v1beta/models/gemini-flash-latest:generateContent",
        ),
        ("../a?b#c d", False, "/v1/models/..%2Fa%3Fb%23c%20d:generateContent"),
    ],
)
def test_path_names_the_model_and_nothing_else(model, stream, path):
    call = render(model=model, stream=stream)

    assert (call.path, call.stream) == (path, stream)


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("max_tokens", 9, "maxOutputTokens", 9),
        ("temperature", 0.2, "temperature", 0.2),
        ("top_p", 0.9, "topP", 0.9),
        ("stop", ("END",), "stopSequences", ["END"]),
        ("seed", 7, "seed", 7),
        ("extra", {"generationConfig": {"topK": 4}}, "topK", 4),
    ],
)
def test_option_that_the_caller_chose_is_sent(option, value, field, expected):
    assert config(**{option: value}) == {field: expected}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-flash", {"temperature": 0.7}),
        ("gemini-3.8-flash", {}),
        ("gemini-4-argon", {}),
        ("gemini-flash-latest", {}),
    ],
)
def test_default_temperature_is_left_out_from_gemini_3_on(model, expected):
    filled_in = frozenset({"temperature"})

    assert config(model=model, temperature=0.7, defaulted=filled_in) == expected


def test_service_tier_is_sent():
    assert sent(service_tier="flex")["serviceTier"] == "flex"


def test_parallel_calls_have_no_switch():
    body = sent(tools=(WEATHER,), parallel_tool_calls=False)

    assert body.keys() == {"contents", "tools", "generationConfig"}


def test_system_text_is_apart_and_system_messages_later_on_are_the_users():
    body = sent(
        Message("system", "Be kind."),
        "Hi",
        Message("assistant", "Hello"),
        Message("system", "Now."),
        "Go",
        system="Be terse.",
    )

    assert body["systemInstruction"] == {"parts": [{"text": "Be terse.\n\nBe kind."}]}
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][2]["parts"] == [{"text": "Now."}, {"text": "Go"}]


def test_history_that_begins_with_the_model_gets_an_opening():
    body = sent(Message("assistant", "Hello"), Message("assistant", ""), "Hi")

    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"c": 4}', {"c": 4}),
        ("[1, 2]", [1, 2]),
        ("4", 4),
        ("true", True),
        ("sunny", "sunny"),
        ('"sunny"', '"sunny"'),
        ("null", "null"),
        ("", ""),
        ("NaN", "NaN"),
        ("[1e999]", "[1e999]"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_tool_result_that_is_json_is_given_as_what_it_is(content, expected):
    body = sent("Hi", called("a"), Message("tool", [ToolResult("a", content)]))

    (part,) = body["contents"][2]["parts"]
    assert part["functionResponse"]["response"] == {"output": expected}


def test_tool_error_says_so():
    failed = ToolResult("a", "boom", is_error=True)

    body = sent("Hi", called("a"), Message("tool", [failed]))

    (part,) = body["contents"][2]["parts"]
    assert part["functionResponse"] == {
        "id": "a",
        "name": "weather",
        "response": {"error": "boom"},
    }


def test_name_of_a_result_is_that_of_the_latest_call_of_its_id():
    body = sent(
        "Hi",
        called("call_0", name="weather"),
        Message("tool", [ToolResult("call_0", "4")]),
        called("call_0", name="time"),
        Message("user", ["And?", ToolResult("call_0", "5")]),
    )

    named = [
        turn["parts"][0]["functionResponse"]["name"] for turn in body["contents"][2::2]
    ]
    assert named == ["weather", "time"]


def test_result_without_a_call_needs_a_name():
    known = sent("Hi", Message("tool", [ToolResult("a", "4", name="weather")]))

    part = known["contents"][0]["parts"][0]
    assert part["functionResponse"]["name"] == "weather"
    with pytest.raises(InvalidRequestError, match=r"ToolResult\.name"):
        sent("Hi", Message("tool", [ToolResult("a", "4")]))


def test_tool_call_of_the_user_cannot_be_sent():
    with pytest.raises(InvalidRequestError, match="belong to the assistant"):
        sent(Message("user", [ToolCall("a", "weather", {})]))


RAW = [
    {"text": "Hm", "thought": True},
    {"text": "Let me look."},
    {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": "EpwI"},
    {"functionCall": {"id": "fc", "name": "time", "args": {}}},
    {"text": "", "thoughtSignature": "EpwJ"},
]


def test_own_turn_goes_back_as_it_came():
    answer = google.parse({"candidates": [{"content": {"parts": RAW}}]})
    state = ProviderState("google", "gemini-3.8-flash", answer.provider_state)
    answered = [ToolResult(call.id, "4") for call in answer.tool_calls]

    body = sent(
        "Hi", Message("assistant", answer.content, state), Message("tool", answered)
    )

    assert body["contents"][1] == {"role": "model", "parts": RAW}
    assert [part["functionResponse"] for part in body["contents"][2]["parts"]] == [
        {"name": "weather", "response": {"output": 4}},
        {"id": "fc", "name": "time", "response": {"output": 4}},
    ]


@pytest.mark.parametrize(
    ("model", "signature"),
    [
        ("gemini-2.5-flash", {}),
        ("gemini-3.8-flash", {"thoughtSignature": UNSIGNED}),
        ("gemini-flash-latest", {"thoughtSignature": UNSIGNED}),
    ],
)
def test_foreign_calls_are_signed_as_unsigned_from_gemini_3_on(model, signature):
    turn = Message(
        "assistant",
        [
            Text("Hm."),
            Text(""),
            ToolCall("a", "weather", {"x": 1}),
            ToolCall("b", "time", {}),
        ],
        ProviderState("google", "gemini-1", RAW),
    )

    body = sent("Hi", turn, model=model)

    assert body["contents"][1]["parts"] == [
        {"text": "Hm."},
        {"functionCall": {"id": "a", "name": "weather", "args": {"x": 1}}} | signature,
        {"functionCall": {"id": "b", "name": "time", "args": {}}},
    ]


def test_state_of_another_format_is_left_out():
    state = ProviderState("google", "gemini-3.8-flash", {"reasoning_content": "Hm"})

    body = sent("Hi", Message("assistant", "Well.", state), "And?")

    assert body["contents"][1]["parts"] == [{"text": "Well."}]


def test_plain_answer_needs_no_state():
    parts = [{"text": "Hi"}, {"functionCall": {"name": "time", "args": {}}}]

    answer = google.parse({"candidates": [{"content": {"parts": parts}}]})

    assert answer.provider_state is None


FILE = "https://generativelanguage.googleapis.com/v1/files/abc"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            Image(data=PNG),
            {
                "inlineData": {
                    "mimeType": "image/png",
                    "data": base64.b64encode(PNG).decode(),
                }
            },
        ),
        (File(file_id="files/abc"), {"fileData": {"fileUri": FILE}}),
        (
            File(file_id=FILE, media_type="application/pdf"),
            {"fileData": {"fileUri": FILE, "mimeType": "application/pdf"}},
        ),
        (File(url="gs://b/a"), {"fileData": {"fileUri": "gs://b/a"}}),
        (
            File(url="https://youtu.be/x", media_type="video/mp4"),
            {"fileData": {"fileUri": "https://youtu.be/x", "mimeType": "video/mp4"}},
        ),
    ],
)
def test_media_are_sent_in_the_form_they_are_given(part, expected):
    body = sent(Message("user", ["Look:", part]))

    assert body["contents"][0]["parts"][1] == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://localhost/a.png",
        "https://youtu.be.example.com/a.png",
    ],
)
def test_picture_that_google_cannot_fetch_names_the_cure(url):
    assert not google.takes_url(Image(url=url), PROVIDER)
    with pytest.raises(InvalidRequestError, match=r"fetch=True.* give the bytes"):
        sent(Message("user", [Image(url=url)]))


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.8-flash"])
def test_media_that_tools_return_are_part_of_the_result_from_gemini_3_on(model):
    result = ToolResult("call_1", "Here.", media=(Image(data=PNG),))

    body = sent("Hi", called("call_1"), Message("tool", [result, "So?"]), model=model)

    response, *beside = body["contents"][2]["parts"]
    image = {
        "inlineData": {
            "mimeType": "image/png",
            "data": base64.b64encode(PNG).decode(),
        }
    }
    inside = response["functionResponse"].get("parts", [])
    assert [*inside, *beside] == [image, {"text": "So?"}]
    assert len(inside) == (1 if "3.8" in model else 0)
    assert known("generate_content", body) == body


def test_media_are_those_that_the_official_sdk_would_send():
    parts = [
        Image(data=PNG),
        File(data=b"ID3"),
        File(file_id="files/abc", media_type="application/pdf"),
        File(url="gs://bucket/a.pdf"),
    ]

    body = sent(Message("user", ["Look:", *parts]))

    assert known("generate_content", body) == body


def test_tool_is_described():
    body = sent(tools=(WEATHER, Tool("time")))

    (declared,) = body["tools"]
    assert declared["functionDeclarations"] == [
        {
            "name": "weather",
            "description": "Current weather",
            "parametersJsonSchema": {"type": "object", "properties": {}},
        },
        {
            "name": "time",
            "parametersJsonSchema": {"type": "object", "properties": {}},
        },
    ]
    assert "toolConfig" not in body


@pytest.mark.parametrize(
    ("choice", "strict", "expected"),
    [
        ("auto", False, {"mode": "AUTO"}),
        ("none", False, {"mode": "NONE"}),
        ("required", True, {"mode": "ANY"}),
        ("weather", False, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        (None, True, {"mode": "VALIDATED"}),
    ],
)
def test_tool_choice_is_sent(choice, strict, expected):
    body = sent(tools=(Tool("weather", strict=strict),), tool_choice=choice)

    assert body["toolConfig"] == {"functionCallingConfig": expected}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        (
            "gemini-2.5-flash",
            "minimal",
            {"thinkingBudget": 512, "includeThoughts": True},
        ),
        (
            "gemini-2.5-pro",
            "medium",
            {"thinkingBudget": 8192, "includeThoughts": True},
        ),
        (
            "gemini-2.5-pro",
            "max",
            {"thinkingBudget": 24_576, "includeThoughts": True},
        ),
        ("gemini-3.8-flash", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.7-flash", "none", {"thinkingLevel": "LOW"}),
        ("gemini-3.1-pro-preview", "none", {"thinkingLevel": "LOW"}),
        ("gemini-4-argon", "none", {"thinkingLevel": "LOW"}),
        (
            "gemini-4-argon",
            "medium",
            {"thinkingLevel": "MEDIUM", "includeThoughts": True},
        ),
        (
            "gemini-flash-latest",
            "xhigh",
            {"thinkingLevel": "HIGH", "includeThoughts": True},
        ),
    ],
)
def test_effort_is_said_in_the_way_of_the_generation(model, effort, expected):
    assert config(model=model, reasoning=effort) == {"thinkingConfig": expected}


FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "pause": "CONTINUATION",
    "content_filter": """SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII
        IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION MODEL_ARMOR
        ESCALATION""",
    "error": """MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS
        MISSING_THOUGHT_SIGNATURE MALFORMED_RESPONSE LANGUAGE NO_IMAGE IMAGE_OTHER
        PUP_LIMITED_DISABLED""",
    "other": "OTHER FINISH_REASON_UNSPECIFIED NEWLY_INVENTED",
}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        *((word, finish) for finish in FINISH for word in FINISH[finish].split()),
        (None, "other"),
    ],
)
def test_finish_reason_is_translated_and_kept(reason, expected):
    answer = google.parse({"candidates": [{"finishReason": reason}]})

    assert (answer.finish_reason, answer.raw_finish_reason) == (expected, reason)
    assert answer.content == ()


def test_every_finish_reason_of_the_sdk_has_been_thought_of():
    types = pytest.importorskip("google.genai.types")

    thought_of = {word for words in FINISH.values() for word in words.split()}

    assert {reason.value for reason in types.FinishReason} <= thought_of


def test_blocked_prompt_is_an_answer_that_says_why():
    feedback = {"blockReason": "SAFETY", "safetyRatings": []}

    answer = google.parse({"promptFeedback": feedback})

    assert answer.finish_reason == "content_filter"
    assert answer.raw_finish_reason == "SAFETY"


def test_answer_without_candidates_keeps_its_usage():
    answer = google.parse({"usageMetadata": {"promptTokenCount": 5}})

    assert (answer.finish_reason, answer.usage.input_tokens) == ("other", 5)


def test_answer_with_neither_candidates_nor_usage_is_none():
    with pytest.raises(ResponseError, match="no candidates"):
        google.parse({"responseId": "r"})


def test_calls_without_an_id_are_numbered():
    parts = [
        {"functionCall": {"name": "time"}},
        {"text": "and"},
        {"functionCall": {"name": "weather", "args": None, "id": ""}},
    ]

    answer = google.parse({"candidates": [{"content": {"parts": parts}}]})

    assert [call.id for call in answer.tool_calls] == ["call_0", "call_1"]


def test_code_that_google_ran_is_no_text_but_goes_back():
    parts = [
        {"executableCode": {"language": "PYTHON", "code": "2+2"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "4"}},
        {"text": "Four."},
        {"brandNew": {}},
    ]

    answer = google.parse({"candidates": [{"content": {"parts": parts}}]})

    assert answer.content == (Text("Four."),)
    assert answer.provider_state == parts


def test_usage_counts_tools_into_the_input_and_thoughts_into_the_output():
    usage = google.parse(
        {
            "usageMetadata": {
                "promptTokenCount": 1500,
                "cachedContentTokenCount": 1024,
                "toolUsePromptTokenCount": 100,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 64,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 1490},
                    {"modality": "AUDIO", "tokenCount": 10},
                ],
                "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
            }
        }
    ).usage

    assert (usage.input_tokens, usage.cache_read_tokens) == (1600, 1024)
    assert (usage.output_tokens, usage.reasoning_tokens) == (84, 64)
    assert (usage.input_audio_tokens, usage.output_audio_tokens) == (10, 2)


@pytest.mark.parametrize(
    ("model", "searches"), [("gemini-3.8-flash", 2), ("gemini-2.5-flash", 1)]
)
def test_searches_are_counted_as_they_are_billed(model, searches):
    grounding = {"webSearchQueries": ["", "one", "two"]}
    raw = {
        "candidates": [{"groundingMetadata": grounding}],
        "usageMetadata": {"promptTokenCount": 1},
        "modelVersion": model,
    }

    assert google.parse(raw).usage.web_searches == searches


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"serviceTier": "flex", "trafficType": "ON_DEMAND"}, "flex"),
        ({"trafficType": "ON_DEMAND"}, "ON_DEMAND"),
        ({}, None),
    ],
)
def test_tier_is_the_one_that_was_served(usage, tier):
    assert google.parse({"candidates": [], "usageMetadata": usage}).service_tier == tier


def test_other_candidates_of_a_stream_are_passed_over():
    fold = google.fold()
    candidates = [
        {"index": 1, "content": {"parts": [{"text": "second"}]}},
        {"index": 0, "content": {"parts": [{"text": "first"}]}},
    ]

    chunks = list(fold.feed(Event(json.dumps({"candidates": candidates}))))

    assert [chunk.text for chunk in chunks] == ["first"]
    assert google.parse(fold.raw).text == "first"


def test_parts_with_a_signature_are_not_merged():
    fold = google.fold()
    parts = [
        {"text": "a"},
        {"text": "b"},
        {"text": "c", "thoughtSignature": "s"},
        {"text": "d"},
        {"text": "e", "thought": True},
    ]

    chunks = list(
        fold.feed(Event(json.dumps({"candidates": [{"content": {"parts": parts}}]})))
    )

    assert len(chunks) == 5
    assert fold.raw["candidates"][0]["content"]["parts"] == [
        {"text": "ab"},
        {"text": "c", "thoughtSignature": "s"},
        {"text": "d"},
        {"text": "e", "thought": True},
    ]


def failure(status=429, word="RESOURCE_EXHAUSTED", message="No.", details=()):
    error = {"code": status, "status": word, "message": message, "details": details}
    return Reply(status=status, body=json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("delay", "seconds", "kind"),
    [
        ("46.5s", 46.5, RateLimitError),
        ("3599s", 3599, RateLimitError),
        ("3600s", 3600, QuotaExhaustedError),
        ("0s", None, RateLimitError),
        ("soon", None, RateLimitError),
        (46, None, RateLimitError),
    ],
)
def test_wait_is_read_from_the_body(delay, seconds, kind):
    found = google.error(failure(details=[{"retryDelay": delay}]))

    assert type(found) is kind
    assert found.retry_after == seconds


def test_wait_in_the_headers_wins():
    reply = failure(details=[{"retryDelay": "46s"}])
    reply = Reply(status=429, headers={"retry-after": "3"}, body=reply.body)

    assert google.error(reply).retry_after == 3.0


def test_reason_and_field_are_read_from_the_details():
    found = google.error(
        failure(
            400,
            "INVALID_ARGUMENT",
            details=[
                {"reason": "SOMETHING"},
                {"fieldViolations": [{"field": "generation_config.top_p"}]},
            ],
        )
    )

    assert (found.code, found.param) == ("SOMETHING", "generation_config.top_p")
    assert found.type == "INVALID_ARGUMENT"


def test_part_without_its_text_is_passed_over():
    parts = [{"text": None}, {"text": None, "thought": True}, {"text": "Hi"}]
    raw = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    fold = google.fold()

    (chunk,) = fold.feed(Event(json.dumps(raw)))

    assert chunk.text == google.parse(raw).text == google.parse(fold.raw).text == "Hi"
