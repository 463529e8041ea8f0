"""Google, end to end: what models refuse, long answers, rounds of tools."""

import json

import pytest

import flask_llm
from flask_llm import (
    InvalidRequestError,
    Message,
    Tool,
    ToolResult,
    UnsupportedParameter,
)
from flask_llm.chat.prompt import EFFORTS
from flask_llm.emulator import Answer

MODEL = "google/gemini-3.8-flash"
LINES = [
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-3.1-pro-preview",
    "gemini-3.5-flash-lite",
    "gemini-3.7-flash",
    "gemini-3.8-flash",
    "gemini-4-argon",
    "gemini-4-carbon",
    "gemini-flash-latest",
]
"""A model of each kind."""

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
WEATHER = Tool("weather", "Current weather", {"type": "object", "properties": {}})
each_line = pytest.mark.parametrize("model", LINES)


def weather(city: str) -> str:
    return f"4 degrees in {city}"


# --- What models refuse ------------------------------------------------------------


@each_line
def test_default_temperature_is_left_to_newer_models(app, emulator, model):
    assert flask_llm.complete("Hi", model=f"google/{model}").text

    (request,) = emulator.requests
    config = {"maxOutputTokens": 500}
    older = {"temperature": 0.7} if "2.5" in model else {}
    assert request.body["generationConfig"] == config | older


@each_line
def test_temperature_of_the_caller_s_is_sent(app, emulator, model):
    flask_llm.complete("Hi", model=f"google/{model}", temperature=0.2)

    assert emulator.requests[0].body["generationConfig"]["temperature"] == 0.2


@each_line
@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_is_one_that_the_model_knows(app, model, effort):
    assert flask_llm.complete("Hi", model=f"google/{model}", reasoning=effort).text


@each_line
@pytest.mark.parametrize("tools", [[], [WEATHER]])
def test_schema_is_answered_beside_tools_and_without(app, model, tools, emulator):
    emulator.script(Answer(text='{"answer": "Yes"}'))

    answer = flask_llm.complete(
        "Hi", model=f"google/{model}", schema=SCHEMA, tools=tools
    )

    assert answer.parsed == {"answer": "Yes"}


@pytest.mark.parametrize(
    ("model", "extra", "param"),
    [
        (MODEL, {"logitBias": {}}, "logitBias"),
        (MODEL, {"generationConfig": {"minOutputTokens": 1}}, "minOutputTokens"),
        (
            "google/gemini-2.5-flash",
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
            "thinking_level",
        ),
        (
            "google/gemini-4-argon",
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}},
            "thinking_budget",
        ),
    ],
)
def test_option_of_the_caller_s_is_refused_by_name(app, rows, model, extra, param):
    with pytest.raises(UnsupportedParameter) as caught:
        flask_llm.complete("Hi", model=model, extra=extra)

    assert caught.value.param == param
    assert [row.status for row in rows()] == ["failed"]


def test_too_many_stop_sequences_are_refused_by_name(app):
    with pytest.raises(InvalidRequestError) as caught:
        flask_llm.complete("Hi", model=MODEL, stop=list("abcdef"))

    assert caught.value.param == "stop_sequences"


def test_safety_settings_are_said_in_google_s_own_words(app, emulator):
    settings = [
        {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
    ]

    flask_llm.complete("Hi", model=MODEL, extra={"safetySettings": settings})

    assert emulator.requests[0].body["safetySettings"] == settings


# --- Long answers --------------------------------------------------------------------


def unfinished(text, **more):
    return Answer(text=text, finish_reason="pause", **more)


@pytest.mark.parametrize("ask", ["complete", "stream"])
def test_long_answer_goes_on_by_its_token(app, emulator, ask):
    emulator.script(
        unfinished("One, ", reasoning="Count."), unfinished("two, "), Answer(text="3.")
    )
    history = [Message("user", "Count.")]

    first = _ask(ask, history)
    history.append(Message.from_dict(first.to_message().to_dict()))
    second = _ask(ask, history)
    history.append(second.to_message())
    third = _ask(ask, history)
    history += [third.to_message(), Message("user", "Thanks.")]
    _ask(ask, history)

    assert [a.finish_reason for a in (first, second, third)] == [
        *("pause", "pause"),
        "stop",
    ]
    bodies = [request.body for request in emulator.requests]
    tokens = [
        answer.raw["candidates"][0]["continuationToken"] for answer in (first, second)
    ]
    assert [body.get("continuationToken") for body in bodies] == [None, *tokens, None]
    assert bodies[0]["contents"] == bodies[1]["contents"] == bodies[2]["contents"]
    said = [part["text"] for part in bodies[3]["contents"][1]["parts"]]
    assert "".join(said) == "Count.One, two, 3."


def test_run_of_tools_goes_on_with_a_long_answer(app, emulator):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    emulator.script(
        Answer(tool_calls=[call]), unfinished("Four "), Answer(text="degrees.")
    )

    answer = flask_llm.run_tools("How is it?", model=MODEL, tools=[weather])

    assert answer.text == "Four degrees."
    assert (
        emulator.requests[1].body["contents"] == emulator.requests[2].body["contents"]
    )


# --- Histories -----------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["complete", "stream"])
def test_three_rounds_of_tools_send_all_signatures_back(app, emulator, ask):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    emulator.script(
        Answer(text="Let me look.", reasoning="Oslo?", tool_calls=[call, call]),
        Answer(reasoning="Once more.", tool_calls=[call]),
        Answer(text="Four degrees.", reasoning="Done."),
    )
    history = [Message("user", "How is it in Oslo?")]
    answers = []

    for _ in range(3):
        answers.append(_ask(ask, history, tools=[WEATHER], reasoning="low"))
        kept = json.loads(json.dumps(answers[-1].to_message().to_dict()))
        history.append(Message.from_dict(kept))
        results = [ToolResult(call.id, "4") for call in answers[-1].tool_calls]
        history += [Message("tool", results)] if results else []
    _ask(ask, [*history, Message("user", "And now?")])

    turns = emulator.requests[-1].body["contents"]
    said = [turn["parts"] for turn in turns if turn["role"] == "model"]
    assert said == [
        answer.raw["candidates"][0]["content"]["parts"] for answer in answers
    ]
    signed = [[part for part in parts if "thoughtSignature" in part] for parts in said]
    assert [len(parts) for parts in signed][:2] == [1, 1]


def _ask(ask, history, **options):
    if ask == "complete":
        return flask_llm.complete(history, model=MODEL, **options)
    with flask_llm.stream(history, model=MODEL, **options) as stream:
        for _ in stream:
            pass
    return stream.completion
