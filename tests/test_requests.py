"""What leaves for Anthropic, Google and compatible servers, in any mix of options.

Held against the types of the official SDKs: nothing in it that they do not know, and
nothing of the wrong kind. OpenAI's own models are in ``protocols/test_responses.py``.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import known

from flask_llm import Message, Tool, ToolCall, ToolResult
from flask_llm.chat import File, Image, Prompt
from flask_llm.chat.prompt import EFFORTS
from flask_llm.errors import UnsupportedParameter
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import BUILT_IN
from flask_llm.schema import read_schema

ROWS = {row.name: row for row in BUILT_IN}
MODELS = {
    "anthropic": [
        "claude-3-5-haiku-20241022",
        "claude-opus-4-1",
        "claude-haiku-4-5",
        "claude-sonnet-4-6",
        "claude-opus-4-8",
        "claude-opus-5",
        "claude-haiku-5-5",
        "claude-sonnet-5-5",
        "claude-fable-5-1",
    ],
    "google": [
        "gemini-2.5-flash",
        "gemini-2.5-pro",
        "gemini-3.1-pro-preview",
        "gemini-3.8-flash",
        "gemini-4-argon",
        "gemini-flash-latest",
    ],
}
COMPATIBLE = [
    name
    for name, row in ROWS.items()
    if row.protocol == "chat_completions" and name not in {"openai", "azure"}
]
CITY = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
SCHEMAS = [CITY, {"type": "object", "additionalProperties": {"type": "string"}}]
WEATHER = Tool("weather", "Current weather", CITY)
TOOLS = [(WEATHER,), (WEATHER, Tool("pay", "Pay", CITY, strict=True))]
TIERS = {"anthropic": "standard_only", "google": "flex"}
EXTRA = {
    "anthropic": {"metadata": {"user_id": "u"}, "top_k": 5},
    "google": {
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
        ],
        "generationConfig": {"topK": 5},
    },
}
SAMPLING = ("temperature", "top_p", "top_k")
"""What Anthropic's SDK has no words for any more: the version it sends takes none."""

PNG = b"\x89PNG\r\n\x1a\n0"
HISTORY = (
    Message("system", "Be kind."),
    Message("user", ["Look:", Image(data=PNG), File(data=b"%PDF-1.7")]),
    Message("assistant", ["Well.", ToolCall("a.b:0", "weather", {"name": "Oslo"})]),
    Message("tool", [ToolResult("a.b:0", '{"degrees": 4}', is_error=True)]),
    Message("system", "Be brief."),
    Message("user", "And?"),
)


def options(provider):
    """Any mix of options that a caller, or settings, may have set."""
    unset = {"seed"} if provider == "anthropic" else set()  # it is refused, by name
    choices = {
        "system": st.just("Be terse."),
        "max_tokens": st.sampled_from([20_000, 64_000]),
        "temperature": st.just(0.2),
        "top_p": st.just(0.9),
        "stop": st.sampled_from([("END",), ("a", "b")]),
        "seed": st.just(7),
        "reasoning": st.sampled_from(EFFORTS),
        "schema": st.sampled_from(SCHEMAS).map(read_schema),
        "tools": st.sampled_from(TOOLS),
        "parallel_tool_calls": st.booleans(),
        "service_tier": st.just(TIERS.get(provider, "auto")),
        "extra": st.just(EXTRA.get(provider, {})),
        "defaulted": st.just(frozenset({"temperature"})),
    }
    kept = {name: choice for name, choice in choices.items() if name not in unset}
    return st.fixed_dictionaries({}, optional=kept)


@st.composite
def prompts(draw, provider, models):
    given_options = draw(options(provider))
    if "tools" in given_options:
        wish = st.sampled_from([None, "auto", "none", "required", "weather"])
        given_options["tool_choice"] = draw(wish)
    return Prompt(
        provider=provider,
        model=draw(st.sampled_from(models)),
        messages=HISTORY,
        **{"max_tokens": 20_000} | given_options,
    )


def body_of(prompt, *, stream):
    row = ROWS[prompt.provider]
    return PROTOCOLS[row.protocol].render(prompt, row, stream=stream).body


@pytest.mark.parametrize("provider", MODELS)
@settings(deadline=None)  # the first one builds the types
@given(data=st.data(), stream=st.booleans())
def test_request_is_one_that_the_official_sdk_would_send(provider, data, stream):
    prompt = data.draw(prompts(provider, MODELS[provider]))

    body = body_of(prompt, stream=stream)

    if provider == "anthropic":
        sampling = {name: body.pop(name) for name in SAMPLING if name in body}
        assert all(name in prompt.extra or prompt.chosen(name) for name in sampling)
    assert known(ROWS[provider].protocol, body) == body


@pytest.mark.parametrize("provider", COMPATIBLE)
@settings(deadline=None)  # the first one builds the types
@given(data=st.data(), stream=st.booleans())
def test_request_to_a_compatible_server_is_openai_s_but_for_its_quirks(
    provider, data, stream
):
    prompt = data.draw(prompts(provider, ["m"]))
    quirks = ROWS[provider].quirks

    try:
        body = body_of(prompt, stream=stream)
    except UnsupportedParameter:
        assert (prompt.tool_choice, quirks.required) == ("required", "")
        return

    assert body.keys().isdisjoint({"store", "metadata", "safety_identifier"})
    assert (quirks.seed in body) is (prompt.seed is not None)
    if quirks.seed in body:
        body["seed"] = body.pop(quirks.seed)
    if prompt.tool_choice == "required":
        assert body["tool_choice"] == quirks.required
        body["tool_choice"] = "required"
    assert known("chat_completions", body) == body
