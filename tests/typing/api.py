"""What users write and a type checker accepts, and what it must not.

Nothing here is run. A mistake that became legal is an unused ``type: ignore``, which
mypy --strict reports.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from decimal import Decimal
from typing import assert_type

from flask import Flask, Response
from flask.blueprints import Blueprint

import flask_llm
from flask_llm import (
    LLM,
    Batch,
    Chunk,
    Completion,
    Embeddings,
    Estimate,
    Image,
    LLMError,
    Message,
    RateLimitError,
    Stream,
    StreamInterrupted,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
    complete,
    complete_many,
    embed,
    estimate,
    llm_bp,
    run_tools,
    stream,
    stream_response,
)

app = Flask(__name__)
app.register_blueprint(llm_bp)
assert_type(llm_bp, Blueprint)


def ask() -> None:
    """Ask in every way that the contract knows."""
    assert_type(complete("Hi"), Completion)
    complete(Message("user", (Text("Hi"),)))
    complete({"role": "user", "content": "Hi"})
    complete([{"role": "user", "content": "Hi"}, Message("user", (Text("Hi"),))])
    complete(
        "Hi",
        model="openai/gpt-4o-mini",
        system="Be brief.",
        max_tokens=300,
        temperature=0.2,
        top_p=0.9,
        stop=["\n"],
        seed=7,
        tools=[Tool("weather"), {"name": "time"}],
        tool_choice="auto",
        parallel_tool_calls=False,
        fetch=True,
        reasoning="low",
        schema=Message,
        schema_retries=1,
        service_tier="flex",
        cache=True,
        prompt_cache="1h",
        timeout=10,
        retries=0,
        user="ann",
        tenant="acme",
        feature="greet",
        tags={"team": "blue"},
        extra={"logit_bias": {"50256": -100}},
    )
    complete("Hi", model=None, max_tokens=None, cache=3600, stop="\n")
    complete("Hi", prompt_cache=False)


def ask_wrongly() -> None:
    """Make the mistakes that a checker is there to find."""
    complete()  # type: ignore[call-arg]
    complete(7)  # type: ignore[arg-type]
    complete(b"Hi")  # type: ignore[arg-type]
    complete("Hi", None)  # type: ignore[call-arg]
    complete("Hi", modle="openai/gpt-4o-mini")  # type: ignore[call-arg]
    complete("Hi", max_tokens="many")  # type: ignore[arg-type]
    complete("Hi", temperature="warm")  # type: ignore[arg-type]
    complete("Hi", prompt_cache="1 hour")  # type: ignore[arg-type]
    complete("Hi", stop=7)  # type: ignore[arg-type]
    complete("Hi", tools="weather")  # type: ignore[arg-type]
    complete("Hi", tags={"team": 7})  # type: ignore[dict-item]
    complete("Hi", user=7)  # type: ignore[arg-type]
    stream("Hi", timeot=3)  # type: ignore[call-arg]
    stream_response("Hi", timeout="soon")  # type: ignore[arg-type]
    complete_many("Hi", max_worker=3)  # type: ignore[call-arg]


def read(answer: Completion) -> None:
    """Read an answer."""
    assert_type(answer.text, str)
    assert_type(answer.cost_usd, Decimal | None)
    assert_type(answer.usage, Usage)
    assert_type(answer.usage.total_tokens, int)
    assert_type(answer.tool_calls, tuple[ToolCall, ...])
    assert_type(answer.cached, bool)
    assert_type(answer.to_message(), Message)
    history: list[Message] = [answer.to_message()]
    complete(history)


def read_wrongly(answer: Completion) -> None:
    """Misread an answer."""
    answer.text = "mine"  # type: ignore[misc]
    answer.cost_usd + 1  # type: ignore[operator]
    answer.txt  # type: ignore[attr-defined]  # noqa: B018 - that is the mistake


def listen() -> None:
    """Read a stream."""
    with stream("Hi", model="google/gemini-2.5-flash") as story:
        assert_type(story, Stream)
        for chunk in story:
            assert_type(chunk, Chunk)
            assert_type(chunk.text, str)
            assert_type(chunk.tool_call, ToolCall | None)
    assert_type(story.completion, Completion)


@app.get("/stream")
def view() -> Response:
    """Stream from a view."""
    return stream_response("Hi", feature="view")


def look_up(city: str) -> str:
    """Look something up."""
    return city


def use_tools() -> None:
    """Let the model use tools."""
    assert_type(run_tools("Hi", tools=[look_up], max_rounds=3, user="ann"), Completion)
    run_tools("Hi", tools=[look_up, Tool("time"), {"name": "bare"}], max_workers=1)
    run_tools("Hi", tools=[look_up], approve=lambda call: call.name == "look_up")
    run_tools("Hi", tools=[look_up], approve=lambda call: f"not {call.name}")
    run_tools("Hi")  # type: ignore[call-arg]
    run_tools("Hi", tools="look_up")  # type: ignore[arg-type]
    run_tools("Hi", tools=[look_up], approve=3)  # type: ignore[arg-type]
    complete("Hi", tools=[look_up])


def ask_many() -> None:
    """Ask several prompts side by side."""
    results = complete_many(["Hi", "Ho"], max_workers=2, user="ann")
    assert_type(results, list[Completion | LLMError])
    failed: Sequence[LLMError] = [r for r in results if isinstance(r, LLMError)]
    assert_type(failed[0].is_retryable, bool)


def embed_texts() -> None:
    """Turn texts into vectors."""
    answer = embed(["Hi", "Ho"], dimensions=256, cache=True, user="ann")
    assert_type(answer, Embeddings)
    assert_type(answer[0], array[float])
    assert_type(len(answer), int)
    assert_type([number for vector in answer for number in vector], list[float])
    assert_type(answer.cost_usd, Decimal | None)
    embed(text for text in ("Hi", "Ho"))
    embed(7)  # type: ignore[arg-type]
    embed("Hi", temperature=1)  # type: ignore[call-arg]


def reckon() -> None:
    """Ask what a call would cost."""
    told = estimate("Hi", model="openai/gpt-4o-mini", max_tokens=9, count=True)
    assert_type(told, Estimate)
    assert_type(told.input_tokens, int)
    assert_type(told.max_output_tokens, int | None)
    assert_type(told.max_cost_usd, Decimal | None)
    estimate("Hi", count="yes")  # type: ignore[arg-type]
    estimate(7)  # type: ignore[arg-type]
    told.max_cost_usd + 1  # type: ignore[operator]


def turn(call: ToolCall) -> Message:
    """Answer a tool call, with a picture."""
    result = ToolResult(call.id, "sunny")
    return Message("tool", (result, Image(url="https://example.com/sky.png")))


def wait_a_day() -> None:
    """Hand prompts over, and come back for the answers."""
    batch = flask_llm.batches.submit(["Hi", Message("user", "Ho")], max_tokens=9)
    assert_type(batch, Batch)
    assert_type(batch.cost_usd, Decimal | None)
    flask_llm.batches.submit(["Hi"], cache=True)  # type: ignore[call-arg]
    flask_llm.batches.submit(["Hi"], fallbacks=[])  # type: ignore[call-arg]
    assert_type(flask_llm.batches.status(batch.id), Batch)
    results = flask_llm.batches.results(batch.id, timeout=60)
    assert_type(results, list[Completion | LLMError])
    assert_type(flask_llm.batches.cancel(batch.id), Batch)
    assert_type(flask_llm.batches.list(unsettled=True), list[Batch])


def fail() -> None:
    """Look at an error."""
    try:
        complete("Hi")
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.original_error, BaseException | None)
        assert_type(error.http_status, int)
    except StreamInterrupted as error:
        assert_type(error.text, str)
    except flask_llm.LLMError as error:
        assert_type(error.cost_usd, Decimal | None)


def hook() -> LLM:
    """Hang functions of one's own on the extension."""
    llm = LLM()

    @llm.user_loader
    def user() -> str:
        return "ann"

    @llm.reports_authorizer
    def allowed() -> bool:
        return user() == "ann"

    @llm.tenant_loader  # type: ignore[type-var]
    def tenant(of: int) -> str:
        return str(of)

    assert_type(allowed(), bool)
    assert_type(tenant(7), str)
    llm.init_app(app)
    llm.init_app("app")  # type: ignore[arg-type]
    return llm
