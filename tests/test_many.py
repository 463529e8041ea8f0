"""complete_many(): order, errors in place, context and attribution in the threads."""

import threading

import pytest
from conftest import read_rows

import flask_llm
from flask_llm import Completion, InvalidRequestError, LLMError, RateLimitError
from flask_llm.emulator import Fault


def test_results_come_in_the_order_of_the_prompts(app, emulator):
    emulator.script(Fault(delay_seconds=0.2), Fault(), Fault(delay_seconds=0.1))

    first, second, third = flask_llm.complete_many(["first", "second", "third"])

    assert "first" in first.text
    assert "second" in second.text
    assert "third" in third.text


def test_error_stands_in_the_place_of_its_prompt(app):
    results = flask_llm.complete_many(["a", "", "b"])

    kinds = [type(result) for result in results]
    assert kinds == [Completion, InvalidRequestError, Completion]


def test_failed_call_does_not_stop_the_others(app, emulator):
    emulator.script(*[Fault(status=429)] * 2)

    results = flask_llm.complete_many(list("abcd"), retries=0)

    assert sum(isinstance(result, RateLimitError) for result in results) == 2
    assert sum(isinstance(result, Completion) for result in results) == 2
    assert len(read_rows(app)) == 4


def test_each_result_is_told_with_its_place(app):
    told = {}

    results = flask_llm.complete_many(["a", "b", "c"], on_result=told.__setitem__)

    assert [told[place] for place in range(3)] == results


def test_attribution_is_carried_into_the_threads(make_app):
    app = make_app(register=False)
    llm = flask_llm.LLM()
    llm.user_loader(lambda: "ann")
    llm.tenant_loader(lambda: "acme")
    llm.init_app(app)

    @app.get("/many")
    def many():
        return {"n": len(flask_llm.complete_many(["a", "b"]))}

    app.test_client().get("/many")

    with app.app_context():
        rows = read_rows(app)
    assert {(row.user_id, row.tenant, row.feature) for row in rows} == {
        ("ann", "acme", "many")
    }


def test_never_more_threads_than_the_provider_has_slots(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=2)
    names = set()

    def note(_sender, **_facts):
        names.add(threading.current_thread().name)

    with app.app_context(), flask_llm.signals.completion_started.connected_to(note):
        flask_llm.complete_many([str(n) for n in range(8)], max_workers=50)

    assert len(names) <= 2
    assert emulator.max_in_flight <= 2


def test_no_thread_is_left_behind(app):
    flask_llm.complete_many(["a", "b", "c"])

    assert [t for t in threading.enumerate() if t.name.startswith("flask_llm")] == []


def test_interrupt_cancels_what_has_not_begun(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)

    def interrupt(_place, _result):
        raise KeyboardInterrupt

    with app.app_context(), pytest.raises(KeyboardInterrupt):
        flask_llm.complete_many([str(n) for n in range(20)], on_result=interrupt)

    assert len(emulator.requests) < 5
    assert [t for t in threading.enumerate() if t.name.startswith("flask_llm")] == []


def test_no_prompts_are_no_results(app):
    assert flask_llm.complete_many([]) == []


def test_unknown_option_is_refused_before_anything_is_sent(app, emulator):
    with pytest.raises(LLMError, match="Did you mean 'temperature'"):
        flask_llm.complete_many(["a", "b"], temprature=0.5)

    assert emulator.requests == []


@pytest.mark.parametrize("prompts", ["hello", b"hello", {"role": "user"}])
def test_single_prompt_is_not_taken_for_many(app, emulator, prompts):
    with pytest.raises(InvalidRequestError, match="a list of prompts"):
        flask_llm.complete_many(prompts)

    assert emulator.requests == []


@pytest.mark.parametrize("workers", [0, -1, "a", True])
def test_number_of_threads_is_checked(app, workers):
    with pytest.raises(InvalidRequestError, match="max_workers="):
        flask_llm.complete_many(["a"], max_workers=workers)
