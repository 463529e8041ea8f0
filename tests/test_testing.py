"""The test kit for apps: scripts, calls, the guard, recordings, plugin, docs."""

import contextlib
import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
import unittest
from configparser import ConfigParser
from decimal import Decimal
from pathlib import Path

import pytest
import requests
import responses
from conftest import KEY, MODELS, read_rows
from flask import Flask

import flask_llm
from flask_llm import errors, llm_bp
from flask_llm.testing import (
    SETTINGS,
    Answer,
    FakeLLM,
    Fault,
    NetworkBlocked,
    ScriptLeftWarning,
    Unscripted,
)
from flask_llm.testing.failures import failure

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "flask_llm" / "testing" / "pytest_plugin" / "fixtures.py"

COMPATIBLE = {"mistral": "mistral/mistral-large", "deepseek": "deepseek/deepseek-chat"}

NATIVE = MODELS | {"responses": "openai/gpt-6-luna"}

each_model = pytest.mark.parametrize("model", NATIVE.values(), ids=NATIVE)


@pytest.fixture
def llm():
    with FakeLLM() as fake:
        yield fake


def new_app(**config):
    app = Flask("app")
    app.config.update(SETTINGS, **config)
    app.register_blueprint(llm_bp)
    return app


@pytest.fixture
def app(llm):
    app = new_app()
    with app.app_context():
        yield app
    app.extensions["llm"].close()


# What the models say


@pytest.mark.parametrize("model", [*NATIVE.values(), *COMPATIBLE.values()])
def test_answer_is_given_in_each_wire_format(app, llm, model):
    llm.answer("A short text.", usage={"input_tokens": 10, "output_tokens": 3})

    answer = flask_llm.complete("Summarise.", model=model)

    assert answer.text == "A short text."
    assert answer.usage.total_tokens == 13
    assert answer.model == model


def test_answer_of_a_dict_is_json(app, llm):
    llm.answer({"city": "Málaga"})

    answer = flask_llm.complete("Where?")

    assert json.loads(answer.text) == {"city": "Málaga"}


def test_answer_may_have_all_that_the_emulator_can_say(app, llm):
    llm.answer(Answer(text="So", reasoning="Because."), finish_reason="length")

    answer = flask_llm.complete("Why?", model=MODELS["anthropic"])

    assert (answer.text, answer.reasoning) == ("So", "Because.")
    assert answer.finish_reason == "length"


@each_model
def test_stream_comes_in_the_very_pieces(app, llm, model):
    llm.stream("Once", " upon a", " time")

    with flask_llm.stream("Tell.", model=model) as story:
        texts = [chunk.text for chunk in story]

    assert texts == ["Once", " upon a", " time"]
    assert story.completion.cost_usd > 0


@each_model
def test_broken_stream_keeps_what_has_come(app, llm, model):
    llm.stream("Once", " upon", broken=True)
    story = flask_llm.stream("Tell.", model=model)

    with pytest.raises(flask_llm.StreamInterrupted) as caught:
        list(story)

    assert caught.value.text == "Once upon"


def test_pieces_that_are_not_the_text_are_left_alone(app, llm):
    llm.answer(Answer(text="one two", chunks=["one"]))

    with flask_llm.stream("Count.") as story:
        texts = [chunk.text for chunk in story]

    assert texts == ["one ", "two"]


@each_model
def test_tool_call_brings_its_arguments(app, llm, model):
    llm.tool_call("forecast", {"city": "Oslo"})

    answer = flask_llm.complete(
        "Umbrella?", model=model, tools=[flask_llm.Tool("forecast")]
    )

    (call,) = answer.tool_calls
    assert (call.name, call.arguments) == ("forecast", {"city": "Oslo"})


@pytest.mark.parametrize("model", [*NATIVE.values(), *COMPATIBLE.values()])
@pytest.mark.parametrize(
    "error",
    [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.ProviderError)
        and kind
        not in (errors.ProviderError, errors.SchemaError, errors.StreamInterrupted)
    ],
)
def test_failure_is_raised_as_its_class(app, llm, model, error):
    llm.fail(error)

    with pytest.raises(flask_llm.LLMError) as caught:
        flask_llm.complete("Hi", model=model)

    assert type(caught.value) is error


@each_model
def test_answer_is_held_against_its_schema(app, llm, model):
    llm.answer({"city": 7})
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}

    with pytest.raises(flask_llm.SchemaError) as caught:
        flask_llm.complete("Where?", model=model, schema=schema)

    assert caught.value.text == '{"city": 7}'


@each_model
def test_default_fills_a_schema(app, llm, model):
    llm.default()
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}

    with flask_llm.stream("Where?", model=model, schema=schema) as stream:
        list(stream)

    assert stream.completion.parsed.keys() == {"city"}


@each_model
def test_tools_are_run_between_scripted_rounds(app, llm, model):
    def forecast(city: str) -> str:
        return f"Sun in {city}"

    llm.tool_call("forecast", {"city": "Oslo"})
    llm.answer("No umbrella.")

    answer = flask_llm.run_tools("Umbrella?", tools=[forecast], model=model)

    assert answer.text == "No umbrella."
    assert [call.status for call in llm.calls] == ["ok", "ok"]
    assert llm.calls[1].messages[-1].tool_results[0].content == "Sun in Oslo"


@each_model
def test_tool_that_is_called_for_ever_exceeds_the_rounds(app, llm, model):
    def forecast(city: str) -> str:
        return f"Sun in {city}"

    llm.tool_call("forecast", {"city": "Oslo"}, times=None)

    with pytest.raises(flask_llm.RoundsExceeded):
        flask_llm.run_tools("Umbrella?", tools=[forecast], model=model, max_rounds=3)

    assert len(llm.calls) == 3


def test_default_makes_vectors_of_texts(app, llm):
    llm.default()

    vectors = flask_llm.embed(["one", "two"], model="openai/text-embedding-3-small")

    assert len(vectors) == 2


def test_texts_that_were_embedded_can_be_asserted_on(app, llm):
    llm.default()

    flask_llm.embed(["one", "two"], model="openai/text-embedding-3-small", user="ann")

    llm.assert_called_with(texts=("one", "two"), user="ann")
    with pytest.raises(AssertionError):
        llm.assert_called_with(texts=("three",))


@each_model
def test_interrupted_stream_can_be_scripted_as_its_class(app, llm, model):
    llm.fail(flask_llm.StreamInterrupted)

    with pytest.raises(flask_llm.StreamInterrupted):
        list(flask_llm.stream("Hi", model=model))


def test_failure_has_the_words_it_was_given(app, llm):
    llm.fail(status=418, message="I am a teapot.", code="teapot")

    with pytest.raises(flask_llm.ProviderError) as caught:
        flask_llm.complete("Coffee, please.")

    assert (caught.value.status, caught.value.code) == (418, "teapot")
    assert caught.value.provider_message == "I am a teapot."


def test_failure_may_be_any_fault_of_the_emulator(app, llm):
    llm.fail(Fault(empty=True))

    with pytest.raises(flask_llm.ResponseError):
        flask_llm.complete("Hi")


def test_failure_is_for_all_tries_of_a_call(app, llm):
    llm.fail(flask_llm.OverloadedError)
    llm.answer("Back again.")

    with pytest.raises(flask_llm.OverloadedError) as caught:
        flask_llm.complete("Hi", retries=2)
    answer = flask_llm.complete("Hi")

    assert caught.value.attempts == 3
    assert answer.text == "Back again."


def test_failure_of_one_try_lets_the_next_one_through(app, llm):
    llm.fail(flask_llm.ConnectionFailed, tries=1)
    llm.answer("Here I am.")

    answer = flask_llm.complete("Hi")

    assert (answer.text, answer.attempts) == ("Here I am.", 2)


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (errors.QuotaExceeded, "LLM_QUOTAS"),
        (errors.SchemaError, "does not fit the schema"),
        (errors.RoundsExceeded, "tool calls"),
        (errors.ProviderError, "subclasses"),
        (ValueError, "RateLimitError"),
    ],
)
def test_failure_that_no_provider_causes_is_refused(error, cure):
    with pytest.raises(TypeError, match=cure):
        failure(error)


def test_broken_line_has_no_words():
    with pytest.raises(TypeError, match="retry_after"):
        failure(errors.ConnectionFailed, retry_after=3)


def test_request_that_the_provider_would_refuse_is_refused(app, llm):
    llm.answer("Fine.")
    llm.answer("Fine.")

    with pytest.raises(flask_llm.InvalidRequestError):
        flask_llm.complete("Hi", extra={"no_such_parameter": 1})
    answer = flask_llm.complete("Hi")

    assert answer.text == "Fine."


# Which calls a line is for


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ({"model": "openai/gpt-4.1-mini"}, True),
        ({"model": "gpt-4.1-mini"}, True),
        ({"model": "openai/*"}, True),
        ({"model": "anthropic/*"}, False),
        ({"prompt": "Why [not]?"}, True),
        ({"prompt": "Why*"}, True),
        ({"prompt": "Why"}, False),
        ({"prompt": lambda call: call.user == "ann"}, True),
        ({"prompt": lambda call: call.user == "bob"}, False),
    ],
)
def test_line_is_for_calls_that_it_fits(app, llm, condition, fits):
    llm.answer("Meant.", times=None, **condition)
    llm.default("Not meant.")

    answer = flask_llm.complete("Why [not]?", model="openai/gpt-4.1-mini", user="ann")

    assert answer.text == ("Meant." if fits else "Not meant.")


def test_lines_come_in_their_order_and_as_often_as_they_say(app, llm):
    llm.answer("one", times=2)
    llm.answer("two")
    llm.default("more")

    texts = [flask_llm.complete("Count.").text for _ in range(4)]

    assert texts == ["one", "one", "two", "more"]


@pytest.mark.parametrize("wrong", [0, -1, "2"])
def test_number_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="times"):
        FakeLLM().answer("Hi", times=wrong)


def test_default_without_words_quotes_the_prompt(app, llm):
    llm.default()

    assert "Good morning" in flask_llm.complete("Good morning").text


def test_prompts_side_by_side_get_each_their_own(app, llm):
    for number in range(20):
        llm.answer(f"answer {number}", prompt=f"question {number}")

    results = flask_llm.complete_many([f"question {number}" for number in range(20)])

    assert [result.text for result in results] == [
        f"answer {number}" for number in range(20)
    ]
    assert len(llm.calls) == 20


def test_model_that_stands_in_is_asked_in_turn(app, llm):
    llm.fail(flask_llm.ServerError, model="openai/*")
    llm.answer("Instead.", model="anthropic/*")

    answer = flask_llm.complete(
        "Hi", model=MODELS["openai"], fallbacks=[MODELS["anthropic"]]
    )

    assert answer.text == "Instead."
    assert [call.status for call in llm.calls] == ["failed", "ok"]


# What was not scripted


def test_unscripted_call_fails_and_says_how_to_script_it(make_app):
    llm = FakeLLM()
    llm.answer("For another.", prompt="Else*")

    with make_app().app_context(), pytest.raises(Unscripted) as caught, llm:
        flask_llm.complete("Summarise this, please.", feature="digest")

    message = str(caught.value)
    assert "prompt: 'Summarise this, please.'" in message
    assert "feature: digest" in message.replace("'", "")
    assert "llm.answer('…', model='openai/gpt-4o-mini'" in message
    assert "llm.answer('For another.', prompt='Else*')" in message


def test_unscripted_call_fails_even_where_the_app_catches_it(make_app):
    app = make_app()

    @app.get("/")
    def swallow():
        try:
            flask_llm.complete("Hi")
        except Exception:  # noqa: BLE001 - as such apps do
            return "sorry"

    with pytest.raises(Unscripted, match="'Hi'"), FakeLLM():
        assert app.test_client().get("/").text == "sorry"


def test_unscripted_call_is_written_down_as_failed(make_app):
    app = make_app()

    with app.app_context(), pytest.raises(Unscripted), FakeLLM():
        flask_llm.complete("Hi")

    assert [row.status for row in read_rows(app)] == ["failed"]


def test_leftover_is_a_warning():
    with pytest.warns(ScriptLeftWarning, match="Never asked"), FakeLLM() as llm:
        llm.answer("Never asked.")


def test_leftover_is_a_failure_where_that_is_wanted():
    with (
        pytest.raises(AssertionError, match="RateLimitError"),
        FakeLLM(strict=True) as llm,
    ):
        llm.fail(flask_llm.RateLimitError)


def test_error_of_the_test_is_not_hidden_by_leftovers():
    llm = FakeLLM(strict=True)
    llm.answer("Never asked.")

    with pytest.raises(ZeroDivisionError), llm:
        raise ZeroDivisionError


# What the app asked


def test_call_holds_what_was_asked_and_answered(app, llm):
    llm.answer("Oslo.", usage={"input_tokens": 1000, "output_tokens": 100})

    answer = flask_llm.complete(
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "The capital of Norway?"},
        ],
        system="Be brief.",
        temperature=0,
        user="ann",
        tenant="acme",
        feature="quiz",
        tags={"team": "blue"},
    )

    (call,) = llm.calls
    assert (call.model, call.prompt) == (answer.model, "The capital of Norway?")
    assert [message.role for message in call.messages] == ["user", "assistant", "user"]
    assert (call.system, call.options["temperature"]) == ("Be brief.", 0)
    assert (call.user, call.tenant, call.feature) == ("ann", "acme", "quiz")
    assert (call.status, call.attempts, call.tags) == ("ok", 1, {"team": "blue"})
    assert call.completion == answer
    assert call.cost_usd == answer.cost_usd > 0


def test_call_cannot_be_changed(app, llm):
    llm.answer("Hello")
    flask_llm.complete("Hi")

    with pytest.raises(dataclasses.FrozenInstanceError):
        llm.calls[0].status = "failed"


def test_call_is_pending_while_its_stream_is_read(app, llm):
    llm.stream("One", " two")

    with flask_llm.stream("Count.") as counting:
        next(counting)
        during = llm.calls[0].status
    after = llm.calls[0].status

    assert (during, after) == ("pending", "cancelled")


def test_call_from_the_cache_and_a_refused_one_are_calls_too(llm):
    app = new_app(SECRET_KEY="test", LLM_QUOTAS=["2/hour"])
    llm.answer("Hello")

    with app.app_context():
        flask_llm.complete("Hi", cache=True)
        flask_llm.complete("Hi", cache=True)
        with pytest.raises(flask_llm.QuotaExceeded):
            flask_llm.complete("Hi", cache=True)
    app.extensions["llm"].close()

    assert [call.status for call in llm.calls] == ["ok", "cached", "refused"]
    assert [call.attempts for call in llm.calls] == [1, 0, 0]


def test_calls_of_all_apps_are_seen(llm):
    llm.default("Hello")
    apps = [new_app(LLM_MODEL=model) for model in MODELS.values()]

    for app in apps:
        with app.app_context():
            flask_llm.complete("Hi")
        app.extensions["llm"].close()

    assert [call.model for call in llm.calls] == list(MODELS.values())


def test_cost_is_that_of_all_calls(app, llm):
    llm.default("Hello", usage={"input_tokens": 1_000_000, "output_tokens": 0})

    flask_llm.complete("Hi", model="openai/gpt-4o-mini")
    flask_llm.complete("Hi", model="openai/gpt-4o-mini")

    assert llm.cost_usd == Decimal("0.30")


def test_cost_is_unknown_where_one_is(app, llm):
    llm.default("Hello")

    flask_llm.complete("Hi")
    flask_llm.complete("Hi", model="ollama/unheard-of")

    assert llm.cost_usd is None


@pytest.mark.parametrize(
    "wanted",
    [
        {"prompt": "Hi"},
        {"prompt": "H*", "model": "gpt-4o-mini"},
        {"prompt": lambda call: len(call.messages) == 1},
        {"user": "ann", "temperature": 0.5, "seed": None, "status": "ok"},
    ],
)
def test_call_that_was_made_is_found(app, llm, wanted):
    llm.answer("Hello")
    flask_llm.complete("Hi", user="ann", temperature=0.5)

    llm.assert_called_with(**wanted)


def test_call_that_was_not_made_is_told_from_those_that_were(app, llm):
    llm.answer("Hello")
    flask_llm.complete("Hi", user="ann")

    with pytest.raises(AssertionError) as caught:
        llm.assert_called_with(prompt="Hi", user="bob")

    lines = str(caught.value).splitlines()
    assert "    prompt = 'Hi'" in lines
    assert "  ≠ user = 'ann'" in lines


def test_word_that_no_call_knows_is_refused(llm):
    with pytest.raises(TypeError, match="Did you mean 'temperature'"):
        llm.assert_called_with(temprature=1)


def test_calls_are_shown_where_there_should_be_none(app, llm):
    llm.answer("Hello")
    flask_llm.complete("Hi")

    with pytest.raises(AssertionError, match=r"gpt-4o-mini: 'Hi'"):
        llm.assert_not_called()


# The way out


def test_request_to_elsewhere_fails():
    with pytest.raises(NetworkBlocked, match=r"https://example\.com"), FakeLLM():
        requests.get("https://example.com/", timeout=1)


def test_request_to_elsewhere_fails_even_where_it_is_caught():
    with pytest.raises(Unscripted, match="reached the network"), FakeLLM():
        catch_all(requests.get, "https://example.com/", timeout=1)


def catch_all(function, *arguments, **options):
    with contextlib.suppress(Exception):
        function(*arguments, **options)


def test_request_that_is_mocked_is_answered(llm):
    llm.http.get("https://api.example.com/", json={"sky": "blue"})

    answer = requests.get("https://api.example.com/", timeout=1)

    assert answer.json() == {"sky": "blue"}


def test_mock_that_was_there_before_gets_what_is_not_ours():
    with responses.RequestsMock() as theirs:
        theirs.get("https://api.example.com/", json={"sky": "blue"})
        with FakeLLM() as llm:
            llm.answer("Hello")
            app = new_app()
            with app.app_context():
                text = flask_llm.complete("Hi").text
            answer = requests.get("https://api.example.com/", timeout=1)

    app.extensions["llm"].close()
    assert (text, answer.json()) == ("Hello", {"sky": "blue"})


def test_request_to_this_machine_passes(llm, provider_rows):
    url = provider_rows["google"]["base_url"]

    answer = requests.get(f"{url}/control", timeout=10)

    assert answer.json()["requests"] == 0


def test_network_is_back_afterwards():
    before = requests.adapters.HTTPAdapter.send

    with FakeLLM():
        during = requests.adapters.HTTPAdapter.send

    assert during is not before
    assert requests.adapters.HTTPAdapter.send is before


def test_keys_are_there_meanwhile_and_no_longer(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    with FakeLLM():
        during = dict(os.environ)

    assert during["OPENAI_API_KEY"] != KEY == during["ANTHROPIC_API_KEY"]
    assert "OPENAI_API_KEY" not in os.environ


def test_unittest_needs_no_pytest():
    class Case(unittest.TestCase):
        def setUp(self):
            self.llm = self.enterContext(FakeLLM())

        def test_it(self):
            self.llm.answer("Hello")
            app = new_app()
            with app.app_context():
                assert flask_llm.complete("Hi").text == "Hello"
            app.extensions["llm"].close()

    result = unittest.TestResult()
    Case("test_it").run(result)

    assert (result.testsRun, result.errors, result.failures) == (1, [], [])


# Recordings


@pytest.fixture
def tape(tmp_path):
    return tmp_path / "llm" / "greeting.json"


@pytest.fixture
def recorded(tape, make_app, emulator):
    """A recording of a whole answer and a streamed one, and what the app made of it."""
    answers = Answer(text="Hello from org-abcdef0123456789", reasoning="Polite.")
    emulator.script(answers, answers)
    with make_app("recorded").app_context(), FakeLLM(live=True) as llm:
        llm.record(tape)
        return [*asked_twice()]


def asked_twice():
    yield flask_llm.complete("Hi", model=MODELS["anthropic"]).text
    with flask_llm.stream("Hi again", model=MODELS["openai"]) as story:
        yield "".join(chunk.text for chunk in story)


def test_recording_is_replayed_without_the_provider(recorded, tape, make_app, emulator):
    emulator.reset()

    with make_app().app_context(), FakeLLM() as llm:
        llm.record(tape)
        replayed = [*asked_twice()]

    assert len(emulator.requests) == 0
    assert len(recorded) == 2
    assert replayed == ["Hello from org-***"] * 2


def test_recording_holds_no_key_and_no_account(recorded, tape):
    written = tape.read_text("utf-8")

    assert KEY not in written
    assert "org-abcdef" not in written
    assert "organization" not in written
    assert "Hello from" in written


@pytest.mark.usefixtures("recorded")
def test_request_that_was_not_recorded_fails(tape, make_app):
    llm = FakeLLM()
    llm.record(tape)
    words = "no answer to this request"

    with make_app().app_context(), pytest.raises(Unscripted, match=words), llm:
        flask_llm.complete("Something else", model=MODELS["openai"])


@pytest.mark.usefixtures("recorded")
def test_recording_is_not_made_anew(tape, make_app, emulator):
    before = tape.read_bytes()
    emulator.reset()

    with make_app().app_context(), FakeLLM(live=True) as llm:
        llm.record(tape)
        replayed = [*asked_twice()]

    assert len(replayed) == 2
    assert (tape.read_bytes(), emulator.requests) == (before, [])


def test_nobody_is_asked_without_the_switch(tape):
    with pytest.raises(FileNotFoundError, match="--llm-record"), FakeLLM() as llm:
        llm.record(tape)

    assert not tape.exists()


def test_nobody_is_asked_with_a_key_that_opens_nothing(tape, llm):
    fake = FakeLLM(live=True)
    fake.record(tape)

    with pytest.raises(NetworkBlocked, match="real key"), fake:
        ask_in(new_app())

    assert not tape.exists()


def ask_in(app):
    with app.app_context():
        try:
            return flask_llm.complete("Hi")
        finally:
            app.extensions["llm"].close()


def test_error_is_recorded_as_it_came(tape, make_app, emulator):
    emulator.script(Fault(status=429, retry_after=60))
    with make_app("recorded").app_context(), FakeLLM(live=True) as llm:
        llm.record(tape)
        with pytest.raises(flask_llm.RateLimitError):
            flask_llm.complete("Hi")

    with make_app().app_context(), FakeLLM() as llm:
        llm.record(tape)
        with pytest.raises(flask_llm.RateLimitError) as caught:
            flask_llm.complete("Hi")

    assert caught.value.retry_after == 60


@pytest.mark.usefixtures("recorded")
def test_line_of_the_script_goes_before_the_recording(tape, make_app):
    with make_app().app_context(), FakeLLM() as llm:
        llm.record(tape)
        llm.answer("Scripted.", model="anthropic/*")
        texts = [*asked_twice()]

    assert texts == ["Scripted.", "Hello from org-***"]


# The plugin

OPTIONS = ("-p", "no:flask_llm", "-p", "flask_llm.testing.pytest_plugin.fixtures")


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a user's tests in a process of their own, with the plugin as installed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(*arguments, **files):
        pytester.makepyfile(**files)
        return pytester.runpytest_subprocess(*OPTIONS, *arguments)

    return run


APP = """
import flask_llm
from flask import Flask
from flask_llm.testing import SETTINGS


def create_app():
    app = Flask(__name__)
    app.config.update(SETTINGS)
    app.register_blueprint(flask_llm.llm_bp)

    @app.get("/")
    def index():
        try:
            return flask_llm.complete("Hi").text
        except Exception:
            return "sorry"

    return app
"""

CONFTEST = """
import pytest
from app import create_app


@pytest.fixture(scope="session")
def client():
    return create_app().test_client()
"""


def blocks(page):
    text = page.read_text("utf-8")
    code = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    named = (re.match(r"# (\w+)\.py\n", block) for block in code)
    return {found[1]: block for found, block in zip(named, code, strict=True) if found}


def test_test_file_of_the_documentation_passes(run):
    files = blocks(ROOT / "docs" / "testing.md")

    result = run("-W", "error", **files)

    tests = files["test_summaries"].count("def test_")
    result.assert_outcomes(passed=tests)


def test_recording_of_the_documentation(run, provider_rows, emulator, monkeypatch):
    page = ROOT / "docs" / "testing.md"
    section = page.read_text("utf-8").partition("## Recordings\n")[2]
    (example,) = re.findall(
        r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL
    )
    files = blocks(page)
    files["test_summaries"] += example
    name = re.search(r"def (test_\w+)", example)[1]
    row = provider_rows["openai"]
    monkeypatch.setenv("OPENAI_API_KEY", row["api_key"])
    monkeypatch.setenv("OPENAI_BASE_URL", row["base_url"])

    run("-k", name, "--llm-record", **files).assert_outcomes(passed=1)
    asked = len(emulator.requests)
    run("-k", name, **files).assert_outcomes(passed=1)

    assert asked == len(emulator.requests) == 1


def test_settings_of_the_documentation_are_those_of_the_package():
    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(\{.*?\})\n```", page, re.MULTILINE | re.DOTALL)

    assert eval(code) == SETTINGS


def test_app_of_the_session_has_a_key_even_if_made_before(run):
    result = run(
        app=APP,
        conftest=CONFTEST,
        test_it="""
        import os

        def test_first(client):
            assert os.environ["OPENAI_API_KEY"]

        def test_second(client, llm):
            llm.answer("Hello")
            assert client.get("/").text == "Hello"
        """,
    )

    result.assert_outcomes(passed=2)


def test_test_that_would_pass_only_by_luck_fails(run):
    result = run(
        app=APP,
        conftest=CONFTEST,
        test_it="""
        def test_swallowed(client, llm):
            assert client.get("/").text == "sorry"

        def test_left_over(client, llm):
            llm.answer("Hello")
        """,
    )

    result.assert_outcomes(passed=1, failed=1, warnings=1)
    result.stdout.fnmatch_lines(["*nothing is scripted for it*", "*ScriptLeftWarning*"])


def test_strictness_is_a_setting_of_pytest(run, pytester):
    pytester.makeini("[pytest]\nllm_strict = true")

    result = run(test_it="def test_left_over(llm): llm.answer('Hello')")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*llm.answer('Hello')*"])


def test_fixture_of_the_same_name_is_left_alone(run):
    result = run(
        test_it="""
        import os, pytest

        @pytest.fixture
        def llm():
            return 7

        def test_mine(llm):
            assert llm == 7
            assert "ANTHROPIC_API_KEY" not in os.environ
        """
    )

    result.assert_outcomes(passed=1)


def test_recording_needs_the_switch(run):
    test = "def test_it(llm): llm.record('none.json'); assert llm._tape.is_recording"

    without, given = run(test_it=test), run("--llm-record", test_it=test)

    without.assert_outcomes(failed=1)
    given.assert_outcomes(passed=1)


def test_plugin_loads_nothing_before_it_is_used():
    code = f"""
import importlib.util, sys, pytest
spec = importlib.util.spec_from_file_location("plugin", {str(PLUGIN)!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print([name for name in ("flask", "flask_llm", "responses", "requests")
       if name in sys.modules])
"""

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


def test_plugin_is_announced_under_the_name_that_our_own_tests_block(pytestconfig):
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")

    point = config["options.entry_points"]["pytest11"].strip()
    folder = config["options"]["package_dir"]

    assert point == "flask_llm = pytest_flask_llm.fixtures"
    assert "pytest_flask_llm = flask_llm/testing/pytest_plugin" in folder
    assert pytestconfig.pluginmanager.is_blocked("flask_llm")
