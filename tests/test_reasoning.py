"""How hard a model reasons: in efforts or tokens, in the answer and in the row."""

import pytest
from conftest import read_rows

import flask_llm
from flask_llm.emulator import Answer
from flask_llm.errors import InvalidRequestError

ADAPTIVE = {"type": "adaptive", "display": "summarized"}


def sent(emulator, model, tokens):
    flask_llm.complete("Hi", model=model, reasoning=tokens, max_tokens=20_000)
    body = emulator.requests[-1].body
    names = ("reasoning", "reasoning_effort", "thinking", "output_config")
    found = {name: body[name] for name in names if name in body}
    return found or body["generationConfig"]["thinkingConfig"]


@pytest.mark.parametrize(
    ("model", "tokens", "expected"),
    [
        ("openai/gpt-6-luna", 0, {"reasoning_effort": "none"}),
        ("openai/gpt-6-luna", 2_048, {"reasoning_effort": "low"}),
        ("openai/gpt-6-luna", 2_049, {"reasoning_effort": "medium"}),
        ("openai/gpt-6-luna", 50_000, {"reasoning_effort": "high"}),
        (
            "anthropic/claude-haiku-4-5",
            3_000,
            {"thinking": {"type": "enabled", "budget_tokens": 3_000}},
        ),
        (
            "anthropic/claude-sonnet-4-6",
            3_000,
            {"thinking": {"type": "enabled", "budget_tokens": 3_000}},
        ),
        ("anthropic/claude-haiku-4-5", 0, {"thinking": {"type": "disabled"}}),
        (
            "anthropic/claude-opus-5",
            9_000,
            {"thinking": ADAPTIVE, "output_config": {"effort": "high"}},
        ),
        (
            "google/gemini-2.5-flash",
            3_000,
            {"thinkingBudget": 3_000, "includeThoughts": True},
        ),
        ("google/gemini-2.5-flash", 0, {"thinkingBudget": 0}),
        (
            "google/gemini-3.8-flash",
            3_000,
            {"thinkingLevel": "MEDIUM", "includeThoughts": True},
        ),
    ],
)
@pytest.mark.usefixtures("app")
def test_tokens_for_reasoning_are_said_in_the_words_of_the_model(
    emulator, model, tokens, expected
):
    assert sent(emulator, model, tokens) == expected


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("protocol", ["responses"])
def test_tokens_for_reasoning_are_an_effort_in_responses(emulator, protocol):
    del protocol  # the fixture of the provider's row reads it

    found = sent(emulator, "openai/gpt-6-luna", 2_000)

    assert found == {"reasoning": {"effort": "low", "summary": "auto"}}


@pytest.mark.usefixtures("app")
def test_tokens_that_a_model_refuses_come_back_with_their_name():
    with pytest.raises(InvalidRequestError) as caught:
        flask_llm.complete(
            "Hi", model="anthropic/claude-haiku-4-5", reasoning=100, max_tokens=2_000
        )

    assert "budget_tokens" in str(caught.value.param)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("wrong", [-1, True, 1.5, "hard", ["low"]])
def test_what_is_no_effort_is_refused_before_anything_is_sent(emulator, wrong):
    with pytest.raises(InvalidRequestError, match="a number of tokens"):
        flask_llm.complete("Hi", reasoning=wrong)

    assert not emulator.requests


def test_reasoning_is_in_answer_stream_and_row(app, emulator):
    thought = Answer(
        text="Nine.", reasoning="One by one.", usage={"reasoning_tokens": 12}
    )
    emulator.script(thought, thought)
    asked = {"model": "anthropic/claude-opus-5", "reasoning": "low"}

    answer = flask_llm.complete("How many?", **asked)
    with flask_llm.stream("How many?", **asked) as stream:
        streamed = "".join(chunk.reasoning for chunk in stream)

    assert answer.reasoning == streamed == "One by one."
    assert answer.usage.reasoning_tokens == 12
    assert [row.reasoning_tokens for row in read_rows(app)] == [12, 12]
