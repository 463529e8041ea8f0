"""run_tools() and Tool.from_function(): schemas, rounds, threads, histories."""

from __future__ import annotations

import contextvars
import functools
import json
import threading
import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import permutations
from typing import Annotated, Literal
from uuid import UUID

import flask
import pydantic
import pytest

import flask_llm
from flask_llm import (
    BudgetExceeded,
    DeadlineExceeded,
    InvalidRequestError,
    Message,
    OverloadedError,
    RoundsExceeded,
    Tool,
)
from flask_llm.chat import Image, Prompt, Text, read_messages, tool_output
from flask_llm.chat.results import tool_text
from flask_llm.emulator import Answer, Fault
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import BUILT_IN

each_api = pytest.mark.parametrize(
    "api", ["openai", "responses", "anthropic", "google"]
)

USAGE = {"input_tokens": 1000, "output_tokens": 200}
MODELS = {
    "openai": "openai/gpt-4.1",
    "responses": "openai/gpt-6-luna",
    "anthropic": "anthropic/claude-haiku-4-5",
    "google": "google/gemini-3.8-flash",
}


@dataclass
class Spot:
    lat: float
    lon: float


def weather(
    city: str,
    day: date | None = None,
    unit: Literal["C", "F"] = "C",
    spot: Spot | None = None,
    hours: Annotated[int, "how far ahead"] = 24,
) -> str:
    """Tell the weather.

    Of today, or of any day.

    :param city: as in an atlas,
        in English
    :param day: today if left out
    :return: words
    """
    return f"{city} {day!r} {unit} {spot} {hours}"


def call(name="weather", **arguments):
    return {"name": name, "arguments": arguments}


def asks(*calls, **fields):
    return Answer(tool_calls=list(calls), usage=USAGE, **fields)


def says(text="Sunny."):
    return Answer(text=text, usage=USAGE)


def results_of(answer):
    return [result for m in answer.messages for result in m.tool_results]


def run(*tools, **options):
    tools = tools or (weather,)
    return flask_llm.run_tools("Weather in Oslo?", **{"tools": tools} | options)


# --- From functions --------------------------------------------------------------


def test_function_becomes_a_tool():
    tool = Tool.from_function(weather)

    assert tool.name == "weather"
    assert tool.description == "Tell the weather.\n\nOf today, or of any day."
    assert tool.parameters["required"] == ["city"]
    assert tool.parameters["additionalProperties"] is False
    properties = tool.parameters["properties"]
    assert properties["city"] == {
        "type": "string",
        "description": "as in an atlas, in English",
    }
    assert properties["unit"] == {"type": "string", "enum": ["C", "F"], "default": "C"}
    assert properties["hours"]["description"] == "how far ahead"
    assert properties["day"]["anyOf"][0]["format"] == "date"
    assert properties["spot"]["anyOf"][0]["required"] == ["lat", "lon"]


def test_arguments_come_as_the_types_of_the_function():
    tool = Tool.from_function(weather)

    said = tool.run({"city": "Oslo", "day": "2026-11-23", "spot": {"lat": 1, "lon": 2}})

    assert said == "Oslo datetime.date(2026, 11, 23) C Spot(lat=1.0, lon=2.0) 24"


def test_what_a_partial_has_filled_in_is_not_the_models():
    tool = Tool.from_function(functools.partial(weather, unit="F"), name="fahrenheit")

    assert "unit" not in tool.parameters["properties"]
    assert tool.description.startswith("Tell the weather.")
    assert tool.run({"city": "Oslo"}) == "Oslo None F None 24"


def test_method_of_an_object_is_a_function():
    class Station:
        def read(self, sensor: int) -> int:
            """Read a sensor."""
            return sensor + 1

    tool = Tool.from_function(Station().read)

    assert list(tool.parameters["properties"]) == ["sensor"]
    assert tool.run({"sensor": 1}) == 2


async def asynchronous():
    pass


def positional(x, /):
    pass


def several(*words):
    pass


@pytest.mark.parametrize(
    "function",
    [asynchronous, positional, several, lambda x: x, 7, functools.partial(weather)],
    ids=["async", "positional", "several", "lambda", "number", "nameless"],
)
def test_what_cannot_be_called_by_name_is_no_tool(function):
    with pytest.raises(InvalidRequestError):
        Tool.from_function(function)


def test_two_tools_of_one_name_are_refused(app):
    with pytest.raises(InvalidRequestError, match="Two tools"):
        run(weather, weather)


@each_api
def test_complete_takes_functions(app, emulator, api):
    answer = flask_llm.complete(
        "Weather in Oslo?", tools=[weather], model=MODELS[api], max_tokens=900
    )

    assert answer.tool_calls[0].name == "weather"


@pytest.mark.parametrize(
    ("model", "module", "name"),
    [
        (
            "openai/gpt-4.1",
            "openai.types.chat.completion_create_params",
            "CompletionCreateParamsNonStreaming",
        ),
        (
            "anthropic/claude-opus-5-5",
            "anthropic.types.message_create_params",
            "MessageCreateParamsNonStreaming",
        ),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_official_sdk_takes_the_tool(model, module, name, strict):
    kind = getattr(pytest.importorskip(module), name)
    body = rendered(model, Tool.from_function(weather, strict=strict))

    assert pydantic.TypeAdapter(kind).validate_python(body)


def test_google_sdk_takes_the_tool():
    types = pytest.importorskip("google.genai.types")
    body = rendered("google/gemini-3.8-flash", Tool.from_function(weather))

    assert types.Tool.model_validate(body["tools"][0])


def rendered(model, tool):
    name, _, rest = model.partition("/")
    (provider,) = [row for row in BUILT_IN if row.name == name]
    prompt = Prompt(
        provider=name,
        model=rest,
        messages=read_messages("Hi"),
        tools=(tool,),
        max_tokens=9,
    )
    return PROTOCOLS[provider.protocol].render(prompt, provider, stream=False).body


def test_strict_tool_gives_every_argument(app, emulator):
    emulator.script(asks(call(city="Oslo", day=None, hours=None, unit=None)), says())

    answer = run(Tool.from_function(weather, strict=True))

    assert results_of(answer)[0].content == "Oslo None C None 24"


# --- Results ---------------------------------------------------------------------


PHOTO = Image(data=b"\x89PNG\r\n\x1a\n")


class Reading(pydantic.BaseModel):
    celsius: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"c": 4, "é": [1.5]}, '{"c": 4, "é": [1.5]}'),
        (Spot(1, 2), '{"lat": 1, "lon": 2}'),
        ([Reading(celsius=4)], '[{"celsius": 4}]'),
        (Decimal("0.10"), '"0.10"'),
        (date(2026, 11, 23), '"2026-11-23"'),
        ({"x": {1}}, '{"x": [1]}'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    ],
    ids=str,
)
def test_result_is_written_for_the_model(value, text):
    assert tool_text(value) == text


@pytest.mark.parametrize(
    ("value", "text", "media"),
    [
        ("Fine.", "Fine.", ()),
        (["a", "b"], '["a", "b"]', ()),
        (PHOTO, "", (PHOTO,)),
        (["Look:", PHOTO, {"by": "Ann"}], 'Look:\n{"by": "Ann"}', (PHOTO,)),
        ((PHOTO, PHOTO), "", (PHOTO, PHOTO)),
        (Text("Fine."), "Fine.", ()),
        ([Text("Look:"), PHOTO], "Look:", (PHOTO,)),
    ],
    ids=["text", "list", "image", "both", "images", "part", "parts"],
)
def test_images_in_a_result_stand_beside_the_text(value, text, media):
    assert tool_output(value) == (text, media)


# --- Rounds ----------------------------------------------------------------------


@each_api
def test_tools_are_run_until_there_is_an_answer(app, rows, emulator, api):
    emulator.script(
        asks(call(city="Oslo"), call(city="Rome")), asks(call(city="Bern")), says()
    )

    answer = run(model=MODELS[api])

    assert (answer.text, answer.finish_reason) == ("Sunny.", "stop")
    assert [result.content.split()[0] for result in results_of(answer)] == [
        "Oslo",
        "Rome",
        "Bern",
    ]
    assert {row.request_id for row in rows()} == {answer.request_id}
    assert [row.status for row in rows()] == ["ok"] * 3
    assert answer.usage.total_tokens == 3600
    assert answer.cost_usd * 10**9 == sum(row.cost_nanos for row in rows())
    assert [m.role for m in answer.messages] == [
        *["user", "assistant", "tool", "assistant", "tool"],
        "assistant",
    ]


def test_answer_without_tools_is_the_answer(app, emulator):
    emulator.script(says())

    answer = run()

    assert [m.text for m in answer.messages] == ["Weather in Oslo?", "Sunny."]


def test_history_goes_on(app, emulator):
    emulator.script(asks(call(city="Oslo")), says(), says("Yes."))

    first = run()
    second = flask_llm.run_tools(
        [*first.messages, Message("user", "Sure?")], tools=[weather]
    )

    assert second.text == "Yes."
    assert len(second.messages) == 6


def test_model_that_never_ends_is_stopped(app, rows, emulator):
    ran = []

    def again(n: int) -> int:
        ran.append(n)
        return n

    emulator.script(*[asks(call("again", n=n)) for n in range(9)])

    with pytest.raises(RoundsExceeded) as caught:
        run(again, max_rounds=3)

    error = caught.value
    assert ran == [0, 1]
    assert len(rows()) == len(emulator.requests) == 3
    assert error.usage.total_tokens == 3600
    assert error.completion.tool_calls[0].arguments == {"n": 2}
    assert error.request_id == rows()[0].request_id
    assert error.messages[-1].role == "tool"
    emulator.reset()
    assert flask_llm.run_tools(error.messages, tools=[again]).text


def test_tool_that_is_forced_is_forced_once(app, emulator):
    emulator.script(asks(call(city="Oslo")), says())

    run(tool_choice="required")

    choices = [arrival.body.get("tool_choice") for arrival in emulator.requests]
    assert choices == ["required", None]


def test_calls_of_an_answer_that_was_cut_short_are_not_run(app, emulator):
    ran = []

    def note(text: str) -> None:
        ran.append(text)

    emulator.script(asks(call("note", text="x"), finish_reason="length"))

    answer = run(note)

    assert (answer.finish_reason, ran) == ("length", [])
    assert len(answer.messages) == 1


def test_answer_that_speaks_of_tools_and_asks_for_none_is_the_last(app, emulator):
    emulator.script(Answer(text="Hm.", finish_reason="tool_calls"))

    assert run().text == "Hm."


def test_last_answer_is_parsed(app, emulator):
    emulator.script(asks(call(city="Oslo")), says('{"lat": 59.9, "lon": 10.7}'))

    assert run(schema=Spot).parsed == Spot(59.9, 10.7)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("no tool 'snow'", call("snow")),
        ("no JSON object", {"name": "weather", "arguments": '{"city": '}),
        ("$.city: string is needed", call(city=7)),
        ("'city' is missing", call()),
        ("a key that the schema does not know", call(city="Oslo", colour="red")),
    ],
)
def test_bad_call_is_told_to_the_model_and_not_run(app, emulator, said, asked):
    emulator.script(asks(asked), says())

    answer = run()

    (result,) = results_of(answer)
    assert result.is_error
    assert said in result.content


def test_error_of_a_tool_is_told_without_its_traceback(app, emulator, caplog):
    def broken(city: str) -> str:
        raise KeyError(city)

    emulator.script(asks(call("broken", city="Oslo")), says())

    answer = run(broken)

    (result,) = results_of(answer)
    assert (result.content, result.is_error) == ("KeyError: 'Oslo'", True)
    assert "Traceback" not in json.dumps([a.body for a in emulator.requests])
    assert "The tool broken failed." in caplog.text


# --- Approval --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (False, "The call was not approved."),
        (None, "The call was not approved."),
        ("", "The call was not approved."),
        ("Not on Sundays.", "Not on Sundays."),
    ],
)
def test_call_that_is_not_approved_is_not_run(app, emulator, verdict, told):
    emulator.script(asks(call(city="Oslo"), call(city="Rome")), says())

    answer = run(approve=lambda call: call.arguments["city"] == "Oslo" or verdict)

    first, second = results_of(answer)
    assert not first.is_error
    assert (second.content, second.is_error) == (told, True)


# --- Threads ---------------------------------------------------------------------


def test_calls_of_a_round_run_side_by_side(app, emulator):
    meeting = threading.Barrier(3, timeout=20)

    def meet(n: int) -> int:
        meeting.wait()
        return n

    emulator.script(asks(*[call("meet", n=n) for n in range(3)]), says())

    answer = run(meet)

    assert [result.content for result in results_of(answer)] == ["0", "1", "2"]


def test_one_worker_runs_them_in_the_callers_thread(app, emulator):
    def where(n: int) -> bool:
        return threading.current_thread() is threading.main_thread()

    emulator.script(asks(call("where", n=1), call("where", n=2)), says())

    answer = run(where, max_workers=1)

    assert [result.content for result in results_of(answer)] == ["true", "true"]


VISITOR = contextvars.ContextVar("VISITOR")


def test_tools_see_the_callers_context_and_an_app_context_of_their_own(app, emulator):
    def look(n: int) -> list:
        fresh = "seen" not in flask.g
        flask.g.seen = n
        return [VISITOR.get(), flask.current_app.name, flask.request.path, fresh]

    emulator.script(asks(call("look", n=1), call("look", n=2)), says())
    VISITOR.set("ann")

    with app.test_request_context("/here"):
        flask.g.seen = 0
        answer = run(look)
        assert flask.g.seen == 0

    assert [json.loads(result.content) for result in results_of(answer)] == [
        ["ann", "app", "/here", True]
    ] * 2


def test_tool_that_takes_too_long_ends_the_run(app, emulator):
    leave = threading.Event()

    def stall(n: int) -> int:
        if n:
            leave.wait(30)
        return n

    emulator.script(asks(call("stall", n=0), call("stall", n=1)), says())
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded) as caught:
        run(stall, timeout=2)

    leave.set()
    assert time.monotonic() - began < 15
    done, late = caught.value.messages[-1].tool_results
    assert (done.content, late.is_error) == ("0", True)
    assert "may have taken effect" in late.content
    assert caught.value.usage.total_tokens == 1200
    assert caught.value.request_id


# --- Failures between rounds -----------------------------------------------------


def test_no_other_model_stands_in_once_tools_have_run(app, emulator):
    emulator.script(asks(call(city="Oslo")), Fault(status=503))

    with pytest.raises(OverloadedError) as caught:
        run(retries=0, fallbacks=[MODELS["anthropic"]])

    assert len(emulator.requests) == 2
    assert caught.value.messages[-1].role == "tool"
    assert caught.value.usage.total_tokens == 1200


def test_model_that_stood_in_answers_all_further_rounds(app, rows, emulator):
    emulator.script(Fault(status=503), asks(call(city="Oslo")), says())

    answer = run(retries=0, fallbacks=[MODELS["anthropic"]])

    assert [row.provider for row in rows()] == ["openai", "anthropic", "anthropic"]
    assert len({row.request_id for row in rows()}) == 1
    assert answer.model == MODELS["anthropic"]


def test_run_that_failed_goes_on_without_running_tools_again(app, emulator):
    ran = []

    def pay(amount: int) -> str:
        ran.append(amount)
        return "paid"

    emulator.script(asks(call("pay", amount=5)), Fault(status=503), says("Paid."))
    with pytest.raises(OverloadedError) as caught:
        run(pay, retries=0)

    answer = flask_llm.run_tools(caught.value.messages, tools=[pay])

    assert (answer.text, ran) == ("Paid.", [5])


def test_budget_holds_between_rounds(make_app, emulator):
    emulator.script(*[asks(call(city="Oslo"))] * 9)

    with (
        make_app(LLM_BUDGETS=["$0.001/day"]).app_context(),
        pytest.raises(BudgetExceeded) as caught,
    ):
        run()

    assert caught.value.cost_usd > 0


@pytest.mark.parametrize(
    "options",
    [
        {"max_rounds": 0},
        {"max_rounds": "3"},
        {"max_workers": 0},
        {"tools": [{"name": "bare"}]},
        {"tools": [Tool("bad", parameters={"if": {}}, function=print)]},
        {"tools": "weather"},
        {"modle": "x"},
    ],
)
def test_bad_input_is_found_before_anything_is_sent(app, emulator, options):
    with pytest.raises(InvalidRequestError):
        run(**options)

    assert emulator.requests == []


def quote(day):
    return repr(day)


def test_tool_with_a_schema_of_its_own_gets_plain_values(app, emulator):
    tool = Tool(
        "add",
        parameters={"type": "object", "properties": {"day": {"type": "string"}}},
        function=quote,
    )
    emulator.script(asks(call("add", day="2026-11-23")), says())

    assert results_of(run(tool))[0].content == "'2026-11-23'"


# --- Histories -------------------------------------------------------------------


@each_api
def test_what_the_provider_wants_back_goes_back_as_it_came(app, emulator, api):
    emulator.script(asks(call(city="Oslo"), reasoning="Hm."), says())

    answer = run(model=MODELS[api], reasoning="low", max_tokens=4000)

    state = answer.messages[1].provider_state
    body = json.dumps(emulator.requests[1].body)
    parts = state.raw if api != "openai" and state else []
    assert api == "openai" or parts
    assert all(json.dumps(part) in body for part in parts)


PAIRS = [
    (one, other)
    for one, other in permutations(MODELS, 2)
    if {one, other} != {"openai", "responses"}  # an app asks OpenAI by one of them
]


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_history_crosses_from_one_provider_to_another(app, emulator, first, then):
    emulator.script(
        asks(call(city="Oslo"), call(city="Rome"), reasoning="Hm."),
        asks(call(city="Bern")),
        says(),
        asks(call(city="Kyiv")),
        says("There too."),
    )
    options = {"reasoning": "low", "max_tokens": 4000}
    if "openai" in {first, then}:
        options = {}

    here = run(model=MODELS[first], **options)
    there = flask_llm.run_tools(
        [*here.messages, Message("user", "And in Kyiv?")],
        tools=[weather],
        model=MODELS[then],
        **options,
    )

    assert there.text == "There too."
    assert [result.content.split()[0] for result in results_of(there)] == [
        *["Oslo", "Rome", "Bern"],
        "Kyiv",
    ]
