"""Structured answers, end to end: native forms, parsed, mended, refused, cut short."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from decimal import Decimal

import pydantic
import pytest

import flask_llm
from flask_llm import (
    ContentFilteredError,
    InvalidRequestError,
    OverloadedError,
    QuotaExceeded,
    ResponseError,
    SchemaError,
    Text,
)
from flask_llm.chat import Prompt, read_messages, read_tools
from flask_llm.emulator import Answer, Fault
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import BUILT_IN
from flask_llm.schema import read_schema
from flask_llm.signals import completion_finished

each_api = pytest.mark.parametrize(
    "api", ["openai", "responses", "anthropic", "google"]
)

USAGE = {"input_tokens": 1000, "output_tokens": 200}
COST = Decimal("0.00027")
"""What USAGE costs at OpenAI's model."""


@dataclass
class City:
    """A city.

    :param name: in its own language
    """

    name: str
    population: int
    twin: City | None = None


@dataclass
class Notes:
    by_day: dict[str, str]


class Place(pydantic.BaseModel):
    name: str
    population: int = pydantic.Field(ge=0)


OSLO = '{"name": "Oslo", "population": 717710}'
WRONG = '{"name": "Oslo", "population": "many"}'

SCHEMA = {
    "title": "city",
    "type": "object",
    "properties": {"name": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["name", "population"],
}


@pytest.fixture
def models(models):
    return models | {"responses": "openai/gpt-6-luna"}


def ask(**options):
    return flask_llm.complete("Tell me of Oslo.", **{"schema": City} | options)


def bodies(emulator):
    return [arrival.body for arrival in emulator.requests]


# --- Answers that fit ------------------------------------------------------------


@each_api
@pytest.mark.parametrize(
    ("schema", "parsed"),
    [
        (City, City("Oslo", 717710)),
        (Place, Place(name="Oslo", population=717710)),
        (SCHEMA, {"name": "Oslo", "population": 717710}),
    ],
    ids=["dataclass", "pydantic", "dict"],
)
def test_answer_is_parsed(app, rows, emulator, models, api, schema, parsed):
    emulator.script(Answer(text=OSLO))

    answer = ask(model=models[api], schema=schema)

    assert answer.parsed == parsed
    assert answer.text == OSLO
    assert rows()[0].status == "ok"


@each_api
def test_model_is_held_to_the_schema(app, emulator, models, api):
    answer = ask(model=models[api])

    assert isinstance(answer.parsed, City)


@each_api
@pytest.mark.parametrize("schema", [City, Place, SCHEMA])
def test_answer_without_a_script_fits(app, emulator, models, api, schema):
    assert ask(model=models[api], schema=schema).parsed


def test_without_a_schema_nothing_is_parsed(app, emulator):
    assert flask_llm.complete("Hi").parsed is None


def test_nulls_of_strict_answers_become_defaults(app, emulator):
    emulator.script(Answer(text='{"name": "Oslo", "population": 7, "twin": null}'))

    assert ask().parsed == City("Oslo", 7)


# --- Requests --------------------------------------------------------------------


def rendered(model, schema=City, tools=(), **options):
    name, _, rest = model.partition("/")
    (provider,) = [row for row in BUILT_IN if row.name == name]
    prompt = Prompt(
        provider=name,
        model=rest,
        messages=read_messages("Hi"),
        schema=read_schema(schema),
        tools=read_tools(tools),
        **options,
    )
    return PROTOCOLS[provider.protocol].render(prompt, provider, stream=False).body


def test_openai_is_asked_strictly():
    form = rendered("openai/gpt-4.1")["response_format"]

    assert form["type"] == "json_schema"
    assert (form["json_schema"]["name"], form["json_schema"]["strict"]) == (
        "City",
        True,
    )
    assert form["json_schema"]["schema"]["required"] == ["name", "population", "twin"]


def test_openai_is_asked_loosely_where_the_schema_is_open():
    form = rendered("openai/gpt-4.1", Notes)["response_format"]["json_schema"]

    assert form["strict"] is False
    assert form["schema"] == read_schema(Notes).json


def test_compatible_server_gets_the_schema_and_nothing_more():
    form = rendered("groq/openai/gpt-oss-120b")["response_format"]["json_schema"]

    assert form == {"name": "City", "schema": read_schema(City).json}


def test_server_that_knows_json_alone_is_told_the_schema_in_words():
    body = rendered("deepseek/deepseek-chat", system="Be brief.")

    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["role"] == "system"
    assert body["messages"][0]["content"].startswith("Be brief.\n\nAnswer with JSON")
    assert '"population"' in body["messages"][0]["content"]


def test_anthropic_gets_its_output_format_beside_the_effort():
    config = rendered("anthropic/claude-opus-5-5", reasoning="low")["output_config"]

    assert config["effort"] == "low"
    assert config["format"]["type"] == "json_schema"
    assert config["format"]["schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        ("anthropic/claude-3-5-haiku-20241022", City),
        ("anthropic/claude-opus-4-1", City),
        ("anthropic/claude-opus-5-5", Notes),
    ],
)
def test_anthropic_is_told_in_words_where_it_has_no_field(model, schema):
    body = rendered(model, schema)

    assert "output_config" not in body
    assert "JSON schema" in body["system"]


def test_google_gets_a_json_schema():
    config = rendered("google/gemini-3.8-flash")["generationConfig"]

    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["required"] == ["name", "population"]


@pytest.mark.parametrize(
    ("model", "native"), [("gemini-2.5-flash", False), ("gemini-3.8-flash", True)]
)
def test_google_before_gemini_3_is_told_in_words_beside_tools(model, native):
    body = rendered(f"google/{model}", tools=[{"name": "look_up"}])

    assert ("responseJsonSchema" in body["generationConfig"]) is native
    assert ("systemInstruction" in body) is not native


def test_extra_wins_over_what_the_schema_says():
    body = rendered("openai/gpt-4.1", extra={"response_format": {"type": "text"}})

    assert body["response_format"] == {"type": "text"}


@pytest.mark.parametrize("schema", [City, Place, SCHEMA, Notes])
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
def test_official_sdk_takes_the_request(model, module, name, schema):
    body = rendered(model, schema, max_tokens=10)
    kind = getattr(pytest.importorskip(module), name)

    read = pydantic.TypeAdapter(kind).validate_python(body)

    assert set(body) <= set(kind.__annotations__) | set(
        *[base.__annotations__ for base in kind.__orig_bases__]
    )
    assert read["model"] == body["model"]


@pytest.mark.parametrize("schema", [City, Place, SCHEMA, Notes])
def test_google_sdk_takes_the_config(schema):
    config = rendered("google/gemini-3.8-flash", schema)["generationConfig"]

    google_types = pytest.importorskip("google.genai.types")
    read = google_types.GenerationConfig.model_validate(config)

    assert read.response_json_schema == config["responseJsonSchema"]


# --- Answers that do not ---------------------------------------------------------


@each_api
def test_misfit_keeps_text_usage_and_cost(app, rows, emulator, models, api):
    emulator.script(Answer(text=WRONG, usage=USAGE))

    with pytest.raises(SchemaError) as caught:
        ask(model=models[api])

    error = caught.value
    assert error.problems == ("$.population: integer is needed, not string",)
    assert error.text == error.completion.text == WRONG
    assert error.usage.total_tokens == 1200
    assert error.usage.source == "provider"
    assert error.cost_usd == error.completion.cost_usd > 0
    (row,) = rows()
    assert (row.status, row.error_code) == ("failed", "schema_mismatch")
    assert row.cost_nanos == int(error.cost_usd * 10**9)
    assert (row.input_tokens, row.output_tokens) == (1000, 200)
    assert (error.request_id, error.attempts) == (row.request_id, 1)


def test_misfit_does_not_quote_the_answer(app, emulator, caplog):
    emulator.script(Answer(text='{"name": "secret", "population": -1}'))

    with pytest.raises(SchemaError) as caught, caplog.at_level(logging.DEBUG):
        ask(schema=Place)

    assert "secret" not in str(caught.value)
    assert "secret" not in "".join(caught.value.__notes__)
    assert "secret" not in caplog.text


@each_api
def test_refusal_is_no_misfit(app, rows, emulator, models, api):
    emulator.script(Answer(refusal="I will not.", usage=USAGE))

    with pytest.raises(ContentFilteredError) as caught:
        ask(model=models[api], schema_retries=1)

    assert caught.value.code == "refused"
    assert caught.value.completion.finish_reason == "content_filter"
    (row,) = rows()
    assert (row.status, row.error_code) == ("failed", "refused")
    assert row.cost_nanos > 0


@each_api
def test_truncated_answer_is_no_misfit(app, rows, emulator, models, api):
    cut = Answer(text=OSLO[:20], finish_reason="length", usage=USAGE)
    emulator.script(cut)

    with pytest.raises(ResponseError, match="max_tokens=50") as caught:
        ask(model=models[api], max_tokens=50, schema_retries=1)

    assert caught.value.code == "truncated"
    assert caught.value.text == OSLO[:20]
    (row,) = rows()
    assert (row.status, row.error_code, row.finish_reason) == (
        "failed",
        "truncated",
        "length",
    )


def test_answer_that_is_whole_at_its_cap_is_parsed(app, emulator):
    emulator.script(Answer(text=OSLO, finish_reason="length"))

    assert ask().parsed == City("Oslo", 717710)


def test_answer_that_asks_for_a_tool_is_parsed_later(app, emulator):
    emulator.script(Answer(tool_calls=[{"name": "look_up", "arguments": {}}]))

    answer = ask(tools=[{"name": "look_up"}])

    assert (answer.finish_reason, answer.parsed) == ("tool_calls", None)


def test_listeners_hear_of_a_misfit(app, emulator):
    emulator.script(Answer(text=WRONG))
    heard = []

    def listen(sender, status, error, **facts):
        heard.append((status, type(error)))

    with completion_finished.connected_to(listen), pytest.raises(SchemaError):
        ask()

    assert heard == [("failed", SchemaError)]


@pytest.mark.parametrize("schema", [City("x", 1), list[City], {"type": "array"}])
def test_bad_schema_is_found_before_anything_is_sent(app, rows, emulator, schema):
    with pytest.raises(InvalidRequestError):
        ask(schema=schema)

    assert (emulator.requests, rows()) == ([], [])


# --- Mending ---------------------------------------------------------------------


@each_api
def test_model_mends_its_answer(app, rows, emulator, models, api):
    emulator.script(Answer(text=WRONG, usage=USAGE), Answer(text=OSLO, usage=USAGE))

    answer = ask(model=models[api], schema_retries=1)

    assert answer.parsed == City("Oslo", 717710)
    first, second = rows()
    assert (first.status, second.status) == ("failed", "ok")
    assert first.request_id == second.request_id == answer.request_id
    assert answer.usage.total_tokens == 2400
    assert answer.cost_usd * 10**9 == first.cost_nanos + second.cost_nanos
    assert answer.attempts == 2


@each_api
def test_model_is_told_what_was_wrong(app, emulator, models, api):
    emulator.script(Answer(text=WRONG), Answer(text=OSLO))

    ask(model=models[api], schema_retries=1)

    said = json.dumps(bodies(emulator)[1])
    assert "$.population: integer is needed, not string" in said
    assert "many" in said


def test_model_is_asked_again_no_more_often_than_was_said(app, rows, emulator):
    emulator.script(*[Answer(text=WRONG, usage=USAGE)] * 5)

    with pytest.raises(SchemaError) as caught:
        ask(schema_retries=2)

    assert len(rows()) == 3
    assert {row.status for row in rows()} == {"failed"}
    assert caught.value.cost_usd == 3 * COST
    assert caught.value.usage.total_tokens == 3600
    assert caught.value.completion.cost_usd == COST


def test_setting_lets_all_answers_be_mended(make_app, emulator):
    emulator.script(Answer(text=WRONG), Answer(text=OSLO))

    with make_app(LLM_SCHEMA_RETRIES=1).app_context():
        assert ask().parsed == City("Oslo", 717710)


def test_mending_counts_as_no_further_call_of_the_user(make_app, emulator):
    emulator.script(Answer(text=WRONG), Answer(text=OSLO))

    with make_app(LLM_QUOTAS=["1/day per user"]).app_context():
        assert ask(schema_retries=1, user="ann").parsed
        with pytest.raises(QuotaExceeded):
            ask(user="ann")


def test_answer_of_nothing_can_be_mended(app, emulator):
    emulator.script(Answer(text=""), Answer(text=OSLO))

    assert ask(schema_retries=1).parsed == City("Oslo", 717710)
    assert len(bodies(emulator)[1]["messages"]) == 2


def test_error_while_mending_is_raised_under_the_same_id(app, rows, emulator):
    emulator.script(Answer(text=WRONG), Fault(status=503))

    with pytest.raises(OverloadedError):
        ask(schema_retries=1, retries=0)

    first, second = rows()
    assert first.request_id == second.request_id
    assert (first.error_code, second.error_status) == ("schema_mismatch", 503)


def test_unknown_price_of_a_misfit_is_not_zero(app, emulator):
    emulator.script(Answer(text=WRONG), Answer(text=OSLO))

    answer = ask(model="openai/gpt-unheard-of", schema_retries=1)

    assert answer.cost_usd is None


# --- The cache -------------------------------------------------------------------


def test_kept_answer_is_parsed_again(app, rows, emulator):
    emulator.script(Answer(text=OSLO))

    first, second = ask(cache=True), ask(cache=True)

    assert second.cached
    assert first.parsed == second.parsed == City("Oslo", 717710)
    assert first.parsed is not second.parsed
    assert [row.status for row in rows()] == ["ok", "cached"]


def test_misfit_is_not_kept(app, emulator):
    emulator.script(Answer(text=WRONG), Answer(text=OSLO))

    with pytest.raises(SchemaError):
        ask(cache=True)

    assert not ask(cache=True).cached


@each_api
def test_answer_to_another_schema_is_another(app, emulator, models, api):
    emulator.script(Answer(text=OSLO), Answer(text="Oslo is a city."))

    ask(model=models[api], cache=True)
    other = ask(model=models[api], cache=True, schema=None)

    assert not other.cached


def test_kept_answer_that_its_class_refuses_today_is_asked_for_anew(app, emulator):
    emulator.script(Answer(text=OSLO), Answer(text='{"name": "O", "population": 1}'))
    ask(cache=True)

    @dataclass
    class Small(City):
        def __post_init__(self):
            if self.population > 1000:
                raise ValueError

    Small.__name__, Small.__doc__ = "City", City.__doc__
    answer = ask(cache=True, schema={**read_schema(City).json, "title": "City"})
    assert answer.cached
    answer = ask(cache=True, schema=Small)

    assert not answer.cached
    assert answer.parsed == Small("O", 1)


# --- Streams ---------------------------------------------------------------------


@each_api
def test_stream_is_parsed_at_its_end(app, rows, emulator, models, api):
    emulator.script(Answer(text=OSLO))

    with flask_llm.stream("Oslo?", model=models[api], schema=City) as stream:
        text = "".join(chunk.text for chunk in stream)

    assert text == OSLO
    assert stream.completion.parsed == City("Oslo", 717710)
    assert rows()[0].status == "ok"


@each_api
def test_stream_that_does_not_fit_fails_at_its_end(app, rows, emulator, models, api):
    emulator.script(Answer(text=WRONG, usage=USAGE))
    said = []

    with (
        flask_llm.stream("Oslo?", model=models[api], schema=City) as stream,
        pytest.raises(SchemaError) as caught,
    ):
        said.extend(chunk.text for chunk in stream)

    assert caught.value.completion.content == (Text(WRONG),)
    assert caught.value.cost_usd > 0
    (row,) = rows()
    assert (row.status, row.error_code, row.output_tokens) == (
        "failed",
        "schema_mismatch",
        200,
    )


def test_stream_is_not_mended(app, emulator):
    emulator.script(Answer(text=WRONG), Answer(text=OSLO))

    with (
        flask_llm.stream("Oslo?", schema=City, schema_retries=1) as stream,
        pytest.raises(SchemaError),
    ):
        list(stream)

    assert len(emulator.requests) == 1


def test_browser_is_told_of_a_misfit_at_the_end(app, emulator):
    emulator.script(Answer(text=WRONG))
    app.add_url_rule(
        "/oslo", view_func=lambda: flask_llm.stream_response("Oslo?", schema=City)
    )

    body = app.test_client().get("/oslo").text

    assert body.count("event: delta") > 0
    assert "event: error" in body
    assert "event: done" not in body


def test_kept_answer_is_parsed_in_a_stream_too(app, emulator):
    emulator.script(Answer(text=OSLO))
    ask(cache=True)

    with flask_llm.stream("Tell me of Oslo.", schema=City, cache=True) as stream:
        list(stream)

    assert stream.completion.cached
    assert stream.completion.parsed == City("Oslo", 717710)
