"""The tree of errors: what each is, what it carries, and what it never says."""

import copy
import inspect
import pickle
from decimal import Decimal

import pytest
import requests
from conftest import KEY, MODELS

import flask_llm
from flask_llm import Completion, LLMError, StreamInterrupted, Text, Usage, errors
from flask_llm.emulator import Fault

TREE = [
    ("LLMError", "Exception", 500, False),
    ("ConfigError", "LLMError", 500, False),
    ("LimitError", "LLMError", 429, False),
    ("QuotaExceeded", "LimitError", 429, True),
    ("BudgetExceeded", "LimitError", 402, False),
    ("UnknownPriceError", "LimitError", 402, False),
    ("DeadlineExceeded", "LimitError", 504, True),
    ("RoundsExceeded", "LimitError", 502, False),
    ("ProviderError", "LLMError", 502, False),
    ("AuthenticationError", "ProviderError", 502, False),
    ("PermissionDeniedError", "ProviderError", 502, False),
    ("NotFoundError", "ProviderError", 502, False),
    ("InvalidRequestError", "ProviderError", 400, False),
    ("ContextLengthExceeded", "InvalidRequestError", 400, False),
    ("UnsupportedParameter", "InvalidRequestError", 400, False),
    ("RequestTooLarge", "InvalidRequestError", 413, False),
    ("ContentFilteredError", "ProviderError", 422, False),
    ("RateLimitError", "ProviderError", 429, True),
    ("QuotaExhaustedError", "ProviderError", 503, False),
    ("OverloadedError", "ProviderError", 503, True),
    ("ServerError", "ProviderError", 502, True),
    ("ConnectionFailed", "ProviderError", 502, True),
    ("ReadTimeout", "ProviderError", 504, True),
    ("StreamInterrupted", "ProviderError", 502, False),
    ("ResponseError", "ProviderError", 502, False),
    ("SchemaError", "ProviderError", 502, False),
]
NAMES = [name for name, *_ in TREE]

FACTS = {
    "code": "rate_limit",
    "provider": "openai",
    "model": "openai/gpt-4o-mini",
    "request_id": "0123",
    "retry_after": 1.5,
    "attempts": 3,
    "usage": Usage(input_tokens=3, output_tokens=4),
    "cost_usd": Decimal("0.000012"),
    "status": 429,
    "type": "requests",
    "param": "model",
    "provider_message": "slow down",
    "provider_request_id": "req_1",
    "should_retry": True,
}

RETRYABLE = [
    (408, True),
    (429, True),
    (500, True),
    (502, True),
    (503, True),
    (504, True),
    (529, True),
    (400, False),
    (401, False),
    (403, False),
    (404, False),
    (413, False),
    (422, False),
]


@pytest.mark.parametrize(("name", "parent", "http_status", "is_retryable"), TREE)
def test_error_has_its_place_in_the_tree(name, parent, http_status, is_retryable):
    error = getattr(errors, name)

    assert error.__base__.__name__ == parent
    assert (error.http_status, error.is_retryable) == (http_status, is_retryable)


def test_tree_is_complete_and_public():
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, LLMError)
    }

    assert defined == set(NAMES)
    assert defined <= set(flask_llm.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_tree_is_drawn_where_it_is_defined(name):
    assert name in errors.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_error_says_for_strangers_what_went_wrong(name):
    title = getattr(errors, name).title

    assert title[0].isupper()
    assert not title.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_error_carries_the_original_one(name):
    original = ValueError("below")

    error = getattr(errors, name)("What to do.", original)

    assert error.original_error is original
    assert (str(error), error.message) == ("What to do.", "What to do.")


@pytest.mark.parametrize("name", NAMES)
def test_error_has_every_fact_whether_known_or_not(name):
    error = getattr(errors, name)("x")

    assert (error.provider, error.model, error.request_id) == (None, None, None)
    assert (error.retry_after, error.usage, error.cost_usd) == (None, None, None)
    assert (error.attempts, error.original_error) == (0, None)


def test_facts_travel_as_attributes():
    error = errors.RateLimitError("Wait.", **FACTS)

    assert {name: getattr(error, name) for name in FACTS} == FACTS


def test_facts_of_one_error_are_not_the_next_ones():
    errors.RateLimitError("Wait.", retry_after=2)

    assert errors.RateLimitError("Wait.").retry_after is None


def test_misspelt_fact_is_a_mistake():
    with pytest.raises(TypeError, match="RateLimitError has no attribute 'retry_in'"):
        errors.RateLimitError("Wait.", retry_in=2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "remake",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
)
def test_error_survives_a_journey_to_another_process(name, remake):
    error = getattr(errors, name)("Wait.", TimeoutError("slow"), retry_after=1.5)

    again = remake(error)

    assert type(again) is type(error)
    assert (str(again), again.message, again.retry_after) == ("Wait.", "Wait.", 1.5)
    assert str(again.original_error) == "slow"


def test_interrupted_stream_survives_with_what_had_arrived():
    error = StreamInterrupted("Broke off.")
    error.completion = Completion(content=(Text("Once upon"),))

    again = pickle.loads(pickle.dumps(error))

    assert again.text == "Once upon"


def test_stream_interrupted_before_any_text_has_none():
    assert StreamInterrupted("Broke off.").text == ""


@pytest.mark.parametrize("model", MODELS.values())
@pytest.mark.parametrize(("status", "is_retryable"), RETRYABLE)
def test_status_says_whether_it_is_worth_another_try(
    app, emulator, model, status, is_retryable
):
    emulator.script(Fault(status=status))

    with pytest.raises(errors.ProviderError) as caught:
        flask_llm.complete("Hi", model=model, retries=0)

    assert (caught.value.status, caught.value.is_retryable) == (status, is_retryable)


@pytest.mark.parametrize("model", MODELS.values())
def test_failed_call_says_which_row_of_the_books_it_is(app, emulator, rows, model):
    emulator.script(Fault(status=503), Fault(status=503))

    with pytest.raises(errors.ProviderError) as caught:
        flask_llm.complete("Hi", model=model, retries=1)

    (row,) = rows()
    error = caught.value
    assert (error.request_id, error.model) == (row.request_id, model)
    assert (error.attempts, row.attempts) == (2, 2)
    assert error.provider == row.provider


@pytest.mark.parametrize("model", MODELS.values())
def test_words_of_the_provider_are_an_attribute_and_in_no_text(app, emulator, model):
    words = f"You sent 'my secret prompt' with the key {KEY}, tut-tut"
    emulator.script(Fault(status=400, message=words))

    with pytest.raises(errors.InvalidRequestError) as caught:
        flask_llm.complete("my secret prompt", model=model)

    told = "".join([str(caught.value), repr(caught.value), *caught.value.__notes__])
    assert "tut-tut" in caught.value.provider_message
    assert KEY not in caught.value.provider_message
    assert "tut-tut" not in told
    assert "my secret prompt" not in told
    assert KEY not in told


@pytest.mark.parametrize("log_content", [False, True])
def test_words_of_the_provider_are_in_a_traceback_only_when_asked_for(
    make_app, emulator, log_content
):
    app = make_app(LLM_LOG_CONTENT=log_content)
    emulator.script(Fault(status=400, message="tut-tut"))

    with app.app_context(), pytest.raises(errors.InvalidRequestError) as caught:
        flask_llm.complete("Hi", model=MODELS["openai"])

    assert ("tut-tut" in "".join(caught.value.__notes__)) is log_content


@pytest.mark.parametrize("model", MODELS.values())
@pytest.mark.parametrize("fault", ["reset", "hang", "garbage", "fault-401"])
def test_failure_of_any_kind_shows_no_key_and_no_prompt(app, emulator, model, fault):
    name = model.partition("/")[0]

    with pytest.raises(LLMError) as caught:
        flask_llm.complete(
            "my secret prompt", model=f"{name}/{fault}", retries=0, timeout=0.5
        )

    error = caught.value
    told = repr([error, error.__notes__, error.__dict__, error.original_error])
    assert KEY not in told
    assert "my secret prompt" not in told


def test_failure_below_survives_a_journey_to_another_process(make_app):
    rows = {"openai": {"api_key": KEY, "base_url": "http://127.0.0.1:9/v1"}}
    app = make_app(LLM_PROVIDERS=rows)

    with app.app_context(), pytest.raises(errors.ConnectionFailed) as caught:
        flask_llm.complete("my secret prompt", model=MODELS["openai"], retries=0)

    pickled = pickle.dumps(caught.value)
    again = pickle.loads(pickled)
    assert again.request_id == caught.value.request_id
    assert isinstance(again.original_error, requests.RequestException)
    assert KEY.encode() not in pickled
    assert b"my secret prompt" not in pickled


@pytest.mark.parametrize(
    ("word", "hint"),
    [("opnai", " Did you mean 'openai'?"), ("zzz", ""), (5, "")],
)
def test_nearest_word_is_suggested_or_nothing(word, hint):
    assert errors.nearest(word, ["openai", "google"]) == hint
