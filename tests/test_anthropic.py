"""Anthropic, end to end: what models refuse, pauses, rounds of tools."""

import json

import pytest

import flask_llm
from flask_llm import (
    Message,
    ResponseError,
    RoundsExceeded,
    Tool,
    ToolResult,
    UnsupportedParameter,
)
from flask_llm.chat.prompt import EFFORTS
from flask_llm.emulator import Answer

OLD = "anthropic/claude-haiku-4-5"
NEW = "anthropic/claude-opus-5-5"
LINES = [
    "claude-3-5-haiku-20241022",
    "claude-opus-4-1",
    "claude-haiku-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-7",
    "claude-sonnet-5",
    "claude-opus-5",
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-opus-5-5",
    "claude-fable-5-1",
]
"""A model of each kind."""

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
WEATHER = Tool("weather", "Current weather", {"type": "object", "properties": {}})
each_line = pytest.mark.parametrize("model", LINES)


def weather(city: str) -> str:
    return f"4 degrees in {city}"


# --- What models refuse ------------------------------------------------------------


@each_line
def test_defaults_that_a_model_refuses_are_left_out(app, emulator, model):
    assert flask_llm.complete("Hi", model=f"anthropic/{model}").text

    (request,) = emulator.requests
    assert request.body.keys() == {"model", "max_tokens", "messages"}
    assert request.headers["anthropic-version"] == "2026-10-21"


@each_line
@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_is_one_that_the_model_knows(app, model, effort):
    answer = flask_llm.complete(
        "Hi", model=f"anthropic/{model}", reasoning=effort, max_tokens=40_000
    )

    assert answer.text


@each_line
def test_schema_beside_an_effort_is_answered(app, emulator, model):
    emulator.script(Answer(text='{"answer": "Yes"}'))

    answer = flask_llm.complete(
        "Hi",
        model=f"anthropic/{model}",
        reasoning="low",
        schema=SCHEMA,
        max_tokens=4000,
    )

    assert answer.parsed == {"answer": "Yes"}


@pytest.mark.parametrize("option", [{"temperature": 0.2}, {"top_p": 0.5}])
def test_sampling_is_taken_where_the_model_is_old_enough(app, emulator, option):
    flask_llm.complete("Hi", model=OLD, **option)

    (request,) = emulator.requests
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.body.items() >= option.items()


@pytest.mark.parametrize(
    ("model", "options", "param"),
    [
        (NEW, {"temperature": 0.2}, "temperature"),
        (NEW, {"top_p": 0.5}, "top_p"),
        (NEW, {"extra": {"top_k": 5}}, "top_k"),
        (NEW, {"seed": 7}, "seed"),
        (NEW, {"extra": {"logit_bias": {}}}, "logit_bias"),
        (NEW, {"tools": [WEATHER], "tool_choice": "required"}, "tool_choice"),
        (NEW, {"tools": [WEATHER], "tool_choice": "weather"}, "tool_choice"),
        (
            OLD,
            {
                "tools": [WEATHER],
                "tool_choice": "required",
                "reasoning": "low",
                "max_tokens": 4000,
            },
            "tool_choice",
        ),
        (NEW, {"extra": {"thinking": {"type": "disabled"}}}, "thinking.type"),
        (OLD, {"extra": {"output_config": {"effort": "low"}}}, "output_config.effort"),
    ],
)
def test_option_of_the_caller_s_is_refused_by_name(
    app, rows, emulator, model, options, param
):
    with pytest.raises(UnsupportedParameter) as caught:
        flask_llm.complete("Hi", model=model, **options)

    assert caught.value.param == param
    assert [row.status for row in rows()] == ["failed"]
    assert len(emulator.requests) == 1


# --- Pauses --------------------------------------------------------------------------


def paused(text):
    return Answer(text=text, finish_reason="pause")


@pytest.mark.parametrize("ask", ["complete", "stream"])
def test_answer_that_pauses_is_handed_over_and_goes_on(app, emulator, ask):
    emulator.script(paused("Let me search. "), Answer(text="Found it."))
    history = [Message("user", "What is new?")]

    first = _ask(ask, history)
    second = _ask(ask, [*history, first.to_message()])

    assert (first.finish_reason, first.raw_finish_reason) == ("pause", "pause_turn")
    assert second.text == "Found it."
    sent = emulator.requests[1].body["messages"][1]["content"]
    assert sent == first.raw["content"]
    assert sent[1]["input"] == {"query": "What is new?"}


def test_run_of_tools_goes_on_through_pauses(app, rows, emulator):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    emulator.script(
        Answer(tool_calls=[call]),
        paused("One, "),
        paused("two, "),
        Answer(text="three."),
    )

    answer = flask_llm.run_tools("Look it up", model=NEW, tools=[weather])

    assert answer.text == "One, two, three."
    assert answer.attempts == len(rows()) == 4
    assert len({row.request_id for row in rows()}) == 1
    last = emulator.requests[3].body["messages"][-1]
    kinds = [block["type"] for block in last["content"]]
    assert kinds == ["text", "server_tool_use"] * 2
    emulator.script(Answer(text="You are welcome."))
    thanks = [*answer.messages, Message("user", "Thanks")]
    assert flask_llm.complete(thanks, model=NEW).text == "You are welcome."


def test_model_that_only_pauses_is_stopped(app, emulator):
    emulator.script(*[paused("Hm. ")] * 5)

    with pytest.raises(RoundsExceeded) as caught:
        flask_llm.run_tools("Hi", model=NEW, tools=[weather], max_rounds=2)

    assert len(emulator.requests) == 2
    assert caught.value.completion.finish_reason == "pause"
    assert [turn.role for turn in caught.value.messages[1:]] == ["assistant"] * 2


def test_pause_within_a_structured_answer_says_that_it_is_cut_short(app, emulator):
    emulator.script(paused('{"answer": '))

    with pytest.raises(ResponseError) as caught:
        flask_llm.complete("Hi", model=NEW, schema=SCHEMA)

    assert (caught.value.code, caught.value.text) == ("truncated", '{"answer": ')


# --- Histories -----------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["complete", "stream"])
def test_three_rounds_of_tools_send_all_thinking_back(app, emulator, ask):
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

    turns = emulator.requests[-1].body["messages"]
    said = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    assert said == [answer.raw["content"] for answer in answers]
    assert [block["type"] for block in said[0]] == [
        "thinking",
        "text",
        "tool_use",
        "tool_use",
    ]


def _ask(ask, history, **options):
    if ask == "complete":
        return flask_llm.complete(history, model=NEW, **options)
    with flask_llm.stream(history, model=NEW, **options) as stream:
        for _ in stream:
            pass
    return stream.completion
