"""Batches: handed over, looked at, fetched and settled, in whatever process."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import typing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pydantic
import pytest
import requests
from conftest import KEY, MODELS, read_rows
from oracles import known, known_as
from sockets import free_port, wait_until
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import OperationalError

import flask_llm
from flask_llm import batches, signals
from flask_llm.chat import Usage
from flask_llm.client.batches.answers import Reader
from flask_llm.emulator import Answer, BatchCourse, Fault
from flask_llm.errors import (
    BudgetExceeded,
    ConfigError,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequestError,
    LLMError,
    NotFoundError,
    OverloadedError,
    QuotaExceeded,
    RateLimitError,
    RequestTooLarge,
    ResponseError,
    SchemaError,
    ServerError,
    UnknownPriceError,
)
from flask_llm.pricing import Prices, cost
from flask_llm.protocols import PROTOCOLS
from flask_llm.protocols.batches import BATCHES, BatchState, Result
from flask_llm.retry import Deadline
from flask_llm.usage import key_of, place_of
from flask_llm.usage.models import batches as table
from flask_llm.usage.models import spend
from flask_llm.wire import Reply

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STATE = BatchState(provider_id="b", status="ended")

APIS = ["openai", "responses", "anthropic", "google"]
USAGE = {"input_tokens": 1000, "output_tokens": 100}
QUESTIONS = ["One?", "Two?", "Three?"]

each_api = pytest.mark.parametrize("api", APIS)

processes = multiprocessing.get_context("fork")


def model(api):
    return MODELS.get(api, MODELS["openai"])


def half(api):
    """Return what the usage of one answer costs in a batch."""
    usage = Usage(**USAGE)
    whole, price = cost(model(api), usage), cost(model(api), usage, batch=True)
    assert price.usd == whole.usd / 2
    return price.usd


def answers(*texts):
    return [Answer(text=said, usage=USAGE) for said in texts]


def submit(api, *prompts, **options):
    options = {"model": model(api), "max_tokens": 200} | options
    return batches.submit(prompts or QUESTIONS, **options)


def batch_rows(app):
    with app.extensions["llm"].database.begin() as connection:
        return connection.execute(select(table)).all()


def reader_of(provider="openai", protocol="chat_completions"):
    return Reader(
        batch_id="b",
        provider=provider,
        protocol=protocol,
        model=MODELS[provider],
        created_at=NOON,
        ended_at=NOON,
        prices=Prices.load(),
    )


def statuses(app):
    return [row.status for row in read_rows(app)]


def spent(app):
    """Return what the only budget has spent and reserved, in nano-dollars."""
    with app.extensions["llm"].database.begin() as connection:
        found = connection.execute(select(spend)).all()
    (row,) = found or [None]
    return (row.spent_nanos, row.reserved_nanos) if row else (0, 0)


def paths(emulator, method="POST"):
    asked = [arrival for arrival in emulator.requests if arrival.method == method]
    return [arrival.path.partition("/emulator")[2] for arrival in asked]


def created(emulator):
    """Count the requests that make a batch."""
    ends = ("/batches", ":batchGenerateContent")
    return sum(path.endswith(ends) for path in paths(emulator))


def later(app, batch, **time):
    """Make a batch as old as if time had passed."""
    with app.extensions["llm"].database.begin() as connection:
        lost_at = datetime.now(UTC) - timedelta(**time)
        changed = update(table).where(table.c.id == batch.id).values(lost_at=lost_at)
        connection.execute(changed)


# --- The whole way ---------------------------------------------------------------


@each_api
def test_results_come_in_the_order_of_the_prompts(app, emulator, rows, api):
    emulator.script(*answers("1", "2", "3"))

    batch = submit(api, user="ann", tags={"job": "night"})
    found = batches.results(batch.id)

    assert [answer.text for answer in found] == ["1", "2", "3"]
    assert [answer.cost_usd for answer in found] == [half(api)] * 3
    assert {answer.request_id for answer in found} == {batch.id}
    assert [row.id for row in rows()] == [key_of(batch.id, at) for at in range(3)]
    for row in rows():
        assert (row.request_id, row.operation, row.status) == (batch.id, "batch", "ok")
        assert (row.user_id, row.tags, row.attempts) == ("ann", {"job": "night"}, 1)
        assert (row.input_tokens, row.output_tokens) == (1000, 100)
        assert row.cost_nanos == int(half(api) * 10**9)


@each_api
def test_batch_says_how_it_stands(app, emulator, api):
    emulator.script(*answers("1", "2", "3"), BatchCourse(polls=1))

    states = [submit(api)]
    states += [batches.status(states[0].id) for _ in range(2)]
    batches.results(states[0].id)
    settled = batches.status(states[0].id)

    begun = "running" if api == "anthropic" else "submitted"
    assert [state.status for state in states] == [begun, "running", "ended"]
    assert [state.is_over for state in states] == [False, False, True]
    assert [state.is_settled for state in [*states, settled]] == [False] * 3 + [True]
    assert (settled.prompts, settled.succeeded) == (3, 3)
    assert settled.cost_usd == 3 * half(api)
    assert settled.model == model(api)
    assert settled.provider_id
    assert batches.list() == [settled]


@each_api
def test_another_process_goes_on_with_a_batch(make_app, emulator, database_uri, api):
    emulator.script(*answers("1", "2", "3"))
    first = make_app(LLM_DATABASE_URI=database_uri, LLM_AUTO_MIGRATE=True)
    with first.app_context():
        batch = submit(api)
    first.extensions["llm"].close()

    second = make_app(LLM_DATABASE_URI=database_uri)
    with second.app_context():
        (listed,) = batches.list(unsettled=True)
        found = batches.results(listed.id)
        left = batches.list(unsettled=True)

    assert listed.id == batch.id
    assert [answer.text for answer in found] == ["1", "2", "3"]
    assert left == []
    assert statuses(second) == ["ok"] * 3


@each_api
def test_results_that_are_not_there_yet_say_when_to_ask(app, emulator, api):
    emulator.script(BatchCourse(outcome="in_progress"))
    batch = submit(api)

    with pytest.raises(LLMError, match="has no results yet") as caught:
        batches.results(batch.id)

    assert caught.value.code == "batch_not_over"
    assert (caught.value.is_retryable, caught.value.retry_after) == (True, 60)
    assert statuses(app) == ["pending"] * 3


@each_api
def test_no_prompt_and_no_answer_stands_in_a_table(app, emulator, api):
    emulator.script(Answer(text="Oslo, surely"))

    batches.results(submit(api, "Quo vadis?").id)

    with app.extensions["llm"].database.begin() as connection:
        for name in ("llm_batches", "llm_usage", "llm_spend"):
            kept = str(connection.execute(text(f"SELECT * FROM {name}")).all())
            assert "vadis" not in kept
            assert "Oslo" not in kept


def test_answers_are_read_by_a_schema(app, emulator):
    @dataclass
    class Mood:
        stars: int

    refused = Fault(status=400)
    emulator.script(*answers('{"stars": 4}', '{"stars": "many"}'), refused)
    batch = submit("openai", "Good.", "Bad.", "Ugly.", schema=Mood)

    good, bad, ugly = batches.results(batch.id, schema=Mood)
    plain, *_ = batches.results(batch.id)

    assert good.parsed == Mood(4)
    assert isinstance(bad, SchemaError)
    assert (bad.cost_usd, bad.text) == (half("openai"), '{"stars": "many"}')
    assert isinstance(ugly, InvalidRequestError)
    assert plain.parsed is None
    assert statuses(app) == ["ok", "ok", "failed"]


@each_api
def test_tool_calls_come_back(app, emulator, api):
    def weather(city: str) -> str:
        """Tell the weather."""
        return city

    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    emulator.script(Answer(tool_calls=[call]))

    (answer,) = batches.results(submit(api, "Rain?", tools=[weather]).id)

    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls[0].arguments == {"city": "Oslo"}


# --- What fails ------------------------------------------------------------------


@each_api
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=400), InvalidRequestError),
        (Fault(status=404), NotFoundError),
        (Fault(status=429), RateLimitError),
        (Fault(status=500), ServerError),
        (Fault(status=529), OverloadedError),
    ],
    ids=["400", "404", "429", "500", "529"],
)
def test_one_prompt_fails_as_a_call_would(app, emulator, rows, api, fault, kind):
    good, other = answers("1", "3")
    if (api, fault.status) == ("google", 529):  # which only Anthropic has
        fault = Fault(status=503)
    emulator.script(good, fault, other)

    batch = submit(api)
    first, failed, third = batches.results(batch.id)

    assert (first.text, third.text) == ("1", "3")
    assert isinstance(failed, kind)
    assert (failed.model, failed.request_id) == (model(api), batch.id)
    assert [row.status for row in rows()] == ["ok", "failed", "ok"]
    assert rows()[1].cost_nanos is None
    assert rows()[1].error_code
    assert batches.status(batch.id).cost_usd == 2 * half(api)


def test_answer_that_failed_costs_what_it_used(app):
    usage = {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}
    body = {
        "id": "resp_1",
        "status": "failed",
        "error": {"code": "server_error", "message": "Sorry."},
        "output": [],
        "usage": usage,
    }
    response = {"status_code": 200, "request_id": "req_1", "body": body}
    line = {"custom_id": "a", "response": response, "error": None}
    reader = reader_of(protocol="responses")

    error = reader.answer(BATCHES["responses"].result(line), STATE)
    outcome = reader.outcome(error)

    assert isinstance(error, ServerError)
    assert (error.usage.output_tokens, error.provider_request_id) == (5, "req_1")
    assert error.cost_usd == cost(MODELS["openai"], error.usage, batch=True).usd
    assert (outcome.status, outcome.usage) == ("failed", error.usage)
    assert outcome.cost_nanos == 2175


def test_answer_without_a_count_of_tokens_costs_what_was_reserved(
    make_app, emulator, rows
):
    app = make_app(LLM_BUDGETS=["$1/day"])
    emulator.script(Fault(answer=Answer(text="1"), usage_missing=True))

    with app.app_context():
        batch = submit("openai", "One?")
        _, reserved = spent(app)
        (answer,) = batches.results(batch.id)

    assert answer.cost_usd is None
    assert spent(app) == (reserved, 0)
    assert read_rows(app)[0].cost_source == "reserved"


@each_api
def test_prompts_that_expired_cost_nothing(make_app, emulator, api):
    app = make_app(LLM_BUDGETS=["$1/day"])
    emulator.script(*answers("1", "2", "3"), BatchCourse(outcome="expired", done=1))

    with app.app_context():
        batch = submit(api)
        first, *rest = batches.results(batch.id)
        batch = batches.status(batch.id)

    assert batch.status == "expired"
    assert first.text == "1"
    for error in rest:
        assert isinstance(error, OverloadedError)
        assert (error.code, error.is_retryable) == ("batch_expired", True)
    assert statuses(app) == ["ok", "failed", "failed"]
    assert [row.cost_nanos for row in read_rows(app)][1:] == [0, 0]
    assert spent(app) == (int(half(api) * 10**9), 0)


@each_api
def test_batch_is_cancelled(make_app, emulator, api):
    app = make_app(LLM_BUDGETS=["$1/day"])
    emulator.script(*answers("1", "2", "3"), BatchCourse(polls=3, done=1))

    with app.app_context():
        batch = submit(api)
        asked = batches.cancel(batch.id)
        over = batches.status(batch.id)
        again = batches.cancel(batch.id)
        first, *rest = batches.results(batch.id)

    assert asked.status == ("cancelled" if api == "google" else "cancelling")
    assert over.status == again.status == "cancelled"
    assert first.text == "1"
    assert [error.code for error in rest] == ["batch_cancelled"] * 2
    assert statuses(app) == ["ok", "cancelled", "cancelled"]
    assert spent(app) == (int(half(api) * 10**9), 0)


def test_batch_that_has_ended_meanwhile_is_not_cancelled(app, emulator):
    emulator.script(*answers("1", "2", "3"))
    batch = submit("openai")

    assert batches.cancel(batch.id).status == "ended"


@each_api
def test_batch_that_fails_as_a_whole_fails_every_prompt(make_app, emulator, api):
    app = make_app(LLM_BUDGETS=["$1/day"])
    course = BatchCourse(outcome="failed", code="invalid_json_line", message="No.")
    emulator.script(course)

    with app.app_context():
        batch = submit(api)
        found = batches.results(batch.id)
        batch = batches.status(batch.id)

    assert all(isinstance(error, flask_llm.ProviderError) for error in found)
    assert len({id(error) for error in found}) == 3
    assert batch.status == ("ended" if api == "anthropic" else "failed")
    assert statuses(app) == ["failed"] * 3
    assert (batch.cost_usd, batch.is_settled) == (0, True)
    assert spent(app) == (0, 0)


@each_api
def test_refusal_gives_everything_back(make_app, emulator, api):
    app = make_app(LLM_BUDGETS=["$1/day"])
    emulator.script(BatchCourse(on_submit=Fault(status=400)))

    with app.app_context():
        with pytest.raises(InvalidRequestError) as caught:
            submit(api)
        (batch,) = batches.list()
        errors = batches.results(batch.id)

    assert caught.value.request_id == batch.id
    assert (batch.status, batch.is_settled, batch.cost_usd) == ("failed", True, 0)
    assert [error.code for error in errors] == [batch.error_code] * 3
    assert statuses(app) == ["failed"] * 3
    assert spent(app) == (0, 0)


def test_provider_out_of_reach_is_not_asked_twice(make_app, provider_rows):
    nowhere = {"api_key": KEY, "base_url": f"http://127.0.0.1:{free_port()}/v1"}
    app = make_app(
        LLM_PROVIDERS=provider_rows | {"openai": nowhere},
        LLM_BUDGETS=["$1/day"],
        LLM_QUOTAS=["1/day"],
    )

    with app.app_context():
        for _ in range(2):  # the quota was given back
            with pytest.raises(ConnectionFailed):
                submit("openai", retries=0)

    assert set(statuses(app)) == {"failed"}
    assert {batch.status for batch in batch_rows(app)} == {"failed"}
    assert spent(app) == (0, 0)


def test_answer_of_an_odd_shape_is_an_error_and_may_be_billed():
    reader = reader_of("openai")
    result = Result("k", Reply.of({"id": "x", "choices": []}))

    error = reader.answer(result, STATE)

    assert isinstance(error, ResponseError)
    assert reader.outcome(error).may_be_billed


@pytest.mark.parametrize("protocol", BATCHES)
def test_batch_that_failed_without_a_word_is_an_error(protocol):
    state = replace(STATE, status="failed")

    assert isinstance(reader_of(protocol=protocol).answer(None, state), ServerError)


def test_budget_limit_that_is_none_is_a_mistake_of_the_app(make_app, emulator):
    llm = flask_llm.LLM()
    llm.budget_limit(lambda *_: "a lot")
    app = make_app(register=False, LLM_BUDGETS=["$1/day"])
    llm.init_app(app)

    with app.app_context(), pytest.raises(ConfigError):
        submit("openai")

    assert (emulator.requests, read_rows(app)) == ([], [])


@pytest.mark.parametrize("how", ["expired", "cancelled"])
def test_prompt_that_no_result_is_about_was_left_over(how):
    error = reader_of().answer(None, replace(STATE, status=how))

    assert error.code == f"batch_{how}"
    assert reader_of().outcome(error).cost_nanos == 0


# --- What nobody heard of --------------------------------------------------------


@each_api
@pytest.mark.parametrize(
    "fault",
    [Fault(reset_after=0), Fault(cut_after=10), Fault(hang=True)],
    ids=["reset", "cut", "hang"],
)
def test_answer_that_is_lost_is_found_again(app, emulator, api, fault):
    emulator.script(*answers("1", "2", "3"), BatchCourse(on_submit=fault))

    batch = submit(api, timeout=1)
    found = batches.status(batch.id)

    assert (batch.status, batch.provider_id) == ("preparing", None)
    assert (found.status, found.is_over) == ("ended", True)
    assert created(emulator) == 1
    assert [answer.text for answer in batches.results(batch.id)] == ["1", "2", "3"]


@each_api
def test_server_error_may_have_made_a_batch_and_is_not_repeated(app, emulator, api):
    emulator.script(BatchCourse(on_submit=Fault(status=500)))

    batch = submit(api)

    assert batch.status == "preparing"
    assert batches.status(batch.id).status == "preparing"
    assert created(emulator) == 1


@each_api
def test_rate_limit_has_made_none_and_is_waited_for(app, emulator, api):
    limit = Fault(status=429, retry_after=0)
    emulator.script(BatchCourse(on_submit=limit), *answers("1", "2", "3"))

    batch = submit(api)

    assert batch.provider_id
    assert created(emulator) == 2


@each_api
def test_worker_killed_while_it_submits_loses_nothing(make_app, emulator, api):
    emulator.script(*answers("1", "2", "3"), BatchCourse(on_submit=Fault(hang=True)))
    app = make_app(LLM_BUDGETS=["$1/day"])
    app.extensions["llm"].database.prepare()
    app.extensions["llm"].close()

    def work():
        with app.app_context():
            submit(api, timeout=60)

    worker = processes.Process(target=work)
    worker.start()
    assert wait_until(lambda: created(emulator) == 1, 20)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()

    with app.app_context():
        (batch,) = batches.list(unsettled=True)
        found = batches.results(batch.id)

    assert batch.status == "preparing"
    assert [answer.text for answer in found] == ["1", "2", "3"]
    assert spent(app) == (3 * int(half(api) * 10**9), 0)


@each_api
def test_batch_that_was_never_sent_is_given_up_in_time(make_app, emulator, api):
    app = make_app(LLM_BUDGETS=["$1/day"])
    emulator.script(BatchCourse(on_submit=Fault(reset_after=0)))

    with app.app_context():
        batch = submit(api)
        emulator.reset()  # as if it had never arrived
        waiting = batches.status(batch.id)
        held = spent(app)
        later(app, batch, hours=1)
        lost = batches.status(batch.id)
        errors = batches.results(batch.id)

    assert waiting.status == "preparing"
    assert held[1] > 0
    assert (lost.status, lost.error_code) == ("failed", "batch_never_sent")
    assert [error.code for error in errors] == ["batch_never_sent"] * 3
    assert statuses(app) == ["failed"] * 3
    assert spent(app) == (0, 0)


def test_running_batch_of_anthropic_is_ours_once_its_results_say_so(app, emulator):
    lost = BatchCourse(on_submit=Fault(reset_after=0), polls=1)
    emulator.script(*answers("1", "2", "3"), lost)
    batch = submit("anthropic")
    later(app, batch, hours=0)

    undecided = batches.status(batch.id)
    (name,) = [item["id"] for item in anthropic_batches(app)]
    for _ in range(2):
        anthropic_batches(app, f"/{name}")

    assert undecided.status == "preparing"
    assert batches.status(batch.id).provider_id == name


def test_batches_of_others_are_left_alone(app, emulator):
    emulator.script(
        *answers("1", "2", "3", "4", "5", "6"),
        BatchCourse(),
        BatchCourse(on_submit=Fault(reset_after=0)),
    )
    first, second = submit("anthropic"), submit("anthropic")
    stranger(app, prompts=3)

    found = batches.results(second.id)

    assert [answer.text for answer in found] == ["4", "5", "6"]
    assert batches.status(second.id).provider_id != first.provider_id


def anthropic_batches(app, rest=""):
    provider = app.extensions["llm"].client.providers["anthropic"]
    url = f"{provider.base_url}/v1/messages/batches{rest}"
    headers = {"x-api-key": KEY, "anthropic-version": "2026-10-21"}
    return requests.get(url, headers=headers, timeout=5).json().get("data")


def stranger(app, prompts):
    """Submit a batch that is none of ours to the same account."""
    provider = app.extensions["llm"].client.providers["anthropic"]
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    items = [{"custom_id": f"r{at}", "params": params} for at in range(prompts)]
    url = f"{provider.base_url}/v1/messages/batches"
    headers = {"x-api-key": KEY, "anthropic-version": "2026-10-21"}
    body = {"requests": items}
    assert requests.post(url, json=body, headers=headers, timeout=5).ok


def test_batch_is_found_behind_many_others(app, emulator):
    lost = BatchCourse(on_submit=Fault(reset_after=0))
    emulator.script(*answers("1", "2", "3"), lost)
    batch = submit("google")
    for _ in range(25):
        submit("google", "Hi")

    found = batches.results(batch.id)

    assert [answer.text for answer in found] == ["1", "2", "3"]
    pages = [item for item in emulator.requests if item.query.startswith("pageSize")]
    assert len(pages) == 2


def test_search_ends_where_batches_are_older_than_ours(app, emulator):
    emulator.script(BatchCourse(on_submit=Fault(reset_after=0)))
    batch = submit("google")
    emulator.reset()
    for _ in range(25):
        submit("google", "Hi")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with app.extensions["llm"].database.begin() as connection:
        mine = update(table).where(table.c.id == batch.id)
        connection.execute(mine.values(created_at=tomorrow, lost_at=tomorrow))

    found = batches.status(batch.id)

    assert found.status == "preparing"
    pages = [item for item in emulator.requests if item.query.startswith("pageSize")]
    assert len(pages) == 1


def test_batch_that_may_not_be_there_cannot_be_cancelled_yet(app, emulator):
    emulator.script(BatchCourse(on_submit=Fault(status=500)))
    batch = submit("openai")

    with pytest.raises(LLMError, match="is preparing and cannot be cancelled yet"):
        batches.cancel(batch.id)


def test_batch_is_not_given_up_where_the_account_cannot_be_asked(
    make_app, emulator, provider_rows
):
    emulator.script(BatchCourse(on_submit=Fault(reset_after=0)))
    app = make_app()
    with app.app_context():
        batch = submit("openai")
        later(app, batch, hours=1)
    lost = provider_rows["openai"]["base_url"] + "/nowhere"
    uri = f"sqlite:///{app.instance_path}/llm.sqlite"
    rows = provider_rows | {"openai": {"api_key": KEY, "base_url": lost}}
    other = make_app(LLM_PROVIDERS=rows, LLM_DATABASE_URI=uri)

    with other.app_context(), pytest.raises(NotFoundError):
        batches.status(batch.id)

    assert statuses(app) == ["pending"] * 3


@contextlib.contextmanager
def table_gone(app, emulator):
    """Take the table of batches away while the provider makes a batch."""
    database = app.extensions["llm"].database

    def rename(old, new):
        with database.begin() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    def work():
        assert wait_until(lambda: created(emulator) == 1, 20)
        rename("llm_batches", "llm_elsewhere")

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()
    rename("llm_elsewhere", "llm_batches")


def test_database_that_fails_after_the_submit_loses_nothing(app, emulator, caplog):
    slow = BatchCourse(on_submit=Fault(delay_seconds=1))
    emulator.script(*answers("1", "2", "3"), slow)

    with table_gone(app, emulator):
        batch = submit("openai")
    found = batches.results(batch.id)

    assert batch.status == "preparing"
    assert "is not noted as submitted" in caplog.text
    assert [answer.text for answer in found] == ["1", "2", "3"]
    assert created(emulator) == 1


def test_database_that_fails_after_a_refusal_hides_nothing(app, emulator, caplog):
    emulator.script(BatchCourse(on_submit=Fault(status=400, delay_seconds=1)))

    with table_gone(app, emulator), pytest.raises(InvalidRequestError):
        submit("openai")
    (batch,) = batches.list()
    later(app, batch, hours=1)

    assert "may still be written down as preparing" in caplog.text
    assert batches.status(batch.id).status == "failed"
    assert statuses(app) == ["failed"] * 3


def test_account_is_found_by_trying_each_key(make_app, emulator, provider_rows):
    keys = [f"{KEY}-{number}" for number in range(3)]
    rows = {name: row | {"api_key": keys} for name, row in provider_rows.items()}
    app = make_app(LLM_PROVIDERS=rows)
    emulator.script(*answers(*"123456789"))

    with app.app_context():
        made = [submit("openai") for _ in keys]
        found = [batches.results(batch.id)[0].text for batch in made]

    assert found == ["1", "4", "7"]
    posts = [item for item in emulator.requests if item.method == "POST"]
    tokens = [item.headers["authorization"] for item in posts]
    assert tokens[0::2] == tokens[1::2] == [f"Bearer {key}" for key in keys]


def test_batch_whose_key_is_gone_says_so(make_app, emulator, provider_rows):
    app = make_app()
    with app.app_context():
        batch = submit("openai")
    openai = provider_rows["openai"] | {"api_key": "another-key"}
    uri = f"sqlite:///{app.instance_path}/llm.sqlite"
    other = make_app(
        LLM_PROVIDERS=provider_rows | {"openai": openai}, LLM_DATABASE_URI=uri
    )

    with other.app_context(), pytest.raises(NotFoundError):
        batches.results(batch.id)

    assert statuses(app) == ["pending"] * 3


def test_batch_of_a_provider_that_is_gone_says_so(make_app, emulator, provider_rows):
    own = provider_rows["openai"] | {"protocol": "chat_completions"}
    app = make_app(LLM_PROVIDERS=provider_rows | {"mine": own})
    with app.app_context():
        batch = batches.submit(["Hi"], model="mine/gpt-4o-mini")
    uri = f"sqlite:///{app.instance_path}/llm.sqlite"
    other = make_app(LLM_DATABASE_URI=uri)

    with other.app_context(), pytest.raises(ConfigError, match="'mine'"):
        batches.status(batch.id)


# --- Once and once only ----------------------------------------------------------


@each_api
def test_fetching_twice_counts_once(make_app, emulator, api):
    app = make_app(LLM_BUDGETS=["$1/day"])
    emulator.script(answers("1")[0], Fault(status=400), answers("3")[0])

    with app.app_context():
        batch = submit(api)
        first = batches.results(batch.id)
        rows, money = read_rows(app), spent(app)
        second = batches.results(batch.id)

    assert first[0::2] == second[0::2]
    assert repr(first[1]) == repr(second[1])
    assert (read_rows(app), spent(app)) == (rows, money)
    assert money == (2 * int(half(api) * 10**9), 0)


def test_workers_that_fetch_at_once_count_once(make_app, emulator, database_uri):
    config = {"LLM_DATABASE_URI": database_uri, "LLM_BUDGETS": ["$1/day", "$1/hour"]}
    apps = [make_app(**config) for _ in range(4)]
    database = apps[0].extensions["llm"].database
    database.migrations().upgrade(database.engine)
    texts = [str(number) for number in range(250)]
    emulator.script(*answers(*texts))
    with apps[0].app_context():
        batch = submit("openai", *texts)

    def fetch(app):
        with app.app_context():
            return batches.results(batch.id)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fetch, apps))

    assert [[answer.text for answer in each] for each in found] == [texts] * 4
    assert set(statuses(apps[0])) == {"ok"}
    nanos = 250 * int(half("openai") * 10**9)
    with database.begin() as connection:
        money = connection.execute(select(spend)).all()
    assert [(row.spent_nanos, row.reserved_nanos) for row in money] == [(nanos, 0)] * 2


def test_rows_that_were_given_up_are_put_right(make_app, emulator):
    app = make_app(LLM_BUDGETS=["$1/day"])
    emulator.script(*answers("1", "2", "3"))

    with app.app_context():
        batch = submit("openai")
        _, reserved = spent(app)
        app.extensions["llm"].ledger.sweep(batch.expires_at + timedelta(seconds=1))
        swept, feared = statuses(app), spent(app)
        batches.results(batch.id)

    assert swept == ["abandoned"] * 3
    assert feared == (reserved, 0)
    assert statuses(app) == ["ok"] * 3
    assert spent(app) == (3 * int(half("openai") * 10**9), 0)


def test_sweep_leaves_a_batch_its_time(app, emulator):
    batch = submit("openai")
    day = timedelta(days=1)

    assert app.extensions["llm"].ledger.sweep(batch.created_at + 3 * day) == 0
    assert batch.expires_at - batch.created_at == 4 * day


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_prompt_that_results_say_nothing_of_waits_for_the_next_try(
    make_app, emulator, api
):
    app = make_app(LLM_BUDGETS=["$1/day"])
    cut = BatchCourse(on_results=[Fault(body="\n"), Fault(body="\n")])
    emulator.script(*answers("1", "2", "3"), cut)

    with app.app_context():
        batch = submit(api)
        missing = batches.results(batch.id)
        before = batches.status(batch.id)
        expire(app, batch)
        feared = batches.results(batch.id)
        settled = batches.status(batch.id)

    assert [error.code for error in missing + feared] == ["no_result"] * 6
    assert (before.is_settled, settled.is_settled) == (False, True)
    assert {row.cost_source for row in read_rows(app)} == {"reserved"}
    assert spent(app) == (sum(row.reserved_nanos for row in read_rows(app)), 0)


def expire(app, batch):
    with app.extensions["llm"].database.begin() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        mine = update(table).where(table.c.id == batch.id)
        connection.execute(mine.values(expires_at=past))


# --- Limits ----------------------------------------------------------------------


def test_worst_case_is_reserved_at_the_price_of_batches(make_app, emulator):
    app = make_app(LLM_BUDGETS=["$1/day per user"])
    emulator.script(BatchCourse(outcome="in_progress"))

    with app.app_context():
        submit("openai", user="ann")

    most = cost(MODELS["openai"], Usage(output_tokens=600), batch=True).usd
    rows = read_rows(app)
    reserved = [row.reserved_nanos for row in rows]
    assert spent(app) == (0, sum(reserved))
    assert int(most * 10**9) < sum(reserved) < int(most * 10**9 * 2)


@pytest.mark.parametrize("row", ["first", "later"])
def test_batch_over_budget_is_refused_as_a_whole(make_app, emulator, database_uri, row):
    app = make_app(LLM_DATABASE_URI=database_uri, LLM_BUDGETS=["$0.0002/day"])
    database = app.extensions["llm"].database
    database.migrations().upgrade(database.engine)
    heard = []

    with (
        app.app_context(),
        signals.budget_exceeded.connected_to(
            lambda _app, **facts: heard.append(facts), app
        ),
    ):
        if row == "later":
            submit("openai", "Hi", max_tokens=100)
        before = len(emulator.requests)
        with pytest.raises(BudgetExceeded) as caught:
            submit("openai", max_tokens=1000)

    assert len(emulator.requests) == before
    assert [row.status for row in batch_rows(app)] == ["submitted"] * (row == "later")
    refused = read_rows(app)[-1]
    assert (refused.status, refused.operation) == ("refused", "batch")
    assert refused.request_id == caught.value.request_id == heard[0]["request_id"]
    assert spent(app)[0] == 0


def test_unknown_price_is_refused_where_a_budget_applies(
    make_app, emulator, provider_rows
):
    own = provider_rows["openai"] | {"protocol": "chat_completions"}
    app = make_app(LLM_PROVIDERS=provider_rows | {"mine": own}, LLM_BUDGETS=["$1/day"])

    with app.app_context(), pytest.raises(UnknownPriceError, match="in batches"):
        batches.submit(["Hi"], model="mine/model")

    assert emulator.requests == []
    assert statuses(app) == ["refused"]


def test_unknown_price_is_no_price(make_app, emulator, provider_rows, caplog):
    address = provider_rows["openai"]["base_url"]
    own = {"protocol": "chat_completions", "base_url": address}
    app = make_app(LLM_PROVIDERS=provider_rows | {"mine": own})

    with app.app_context():
        batch = batches.submit(["Hi"], model="mine/model")
        (answer,) = batches.results(batch.id)
        batch = batches.status(batch.id)

    assert (answer.cost_usd, batch.cost_usd, batch.is_settled) == (None, None, True)
    assert "mine/model in batches is not known" in caplog.text


def test_batch_is_one_call_for_a_quota(make_app, emulator):
    app = make_app(LLM_QUOTAS=["2/day per user"])

    with app.app_context():
        for _ in range(2):
            submit("openai", user="ann")
        with pytest.raises(QuotaExceeded):
            submit("openai", user="ann")

    assert created(emulator) == 2
    assert statuses(app)[-1] == "refused"


def test_slots_are_waited_for(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)
    state = app.extensions["llm"]
    provider = state.client.providers["openai"]

    with (
        app.app_context(),
        state.client._gate.slot(provider, Deadline(9)),
        pytest.raises(DeadlineExceeded),
    ):
        submit("openai", timeout=0.2)

    assert emulator.requests == []
    assert statuses(app) == ["refused"] * 3


def test_provider_that_keeps_failing_is_left_alone(make_app, emulator):
    app = make_app(LLM_BREAKER_FAILURES=1)
    emulator.script(Fault(status=500))

    with app.app_context():
        with pytest.raises(ServerError):
            flask_llm.complete("Hi", model=MODELS["anthropic"], retries=0)
        with pytest.raises(OverloadedError) as caught:
            submit("anthropic")

    assert caught.value.code == "circuit_open"
    assert created(emulator) == 0


# --- What is given ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "options", "words"),
    [
        ("Hi", {}, "a list of prompts"),
        ([], {}, "needs a prompt"),
        (["Hi", ""], {}, "empty"),
        (["Hi"], {"cache": True}, "takes no cache"),
        (["Hi"], {"fallbacks": ["openai/gpt-4.1"]}, "takes no fallbacks"),
        (["Hi"], {"schema_retries": 1}, "takes no schema_retries"),
        (["Hi"], {"service_tier": "flex"}, "takes no service_tier"),
        (["Hi"], {"temprature": 1}, "Did you mean 'temperature'"),
        (["Hi"], {"timeout": 0}, "timeout"),
        (["Hi"], {"model": "nobody/model"}, "Unknown provider"),
        (["Hi"] * 50_001, {}, "50,000 prompts in a batch, and these are 50,001"),
        (["Hi" * 10**7, "!"], {"model": MODELS["google"]}, "20 MB in a batch"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    app, emulator, rows, prompts, options, words
):
    with pytest.raises(InvalidRequestError, match=words):
        batches.submit(prompts, **options)

    assert (emulator.requests, rows(), batches.list()) == ([], [], [])


def test_prompt_that_cannot_be_is_named(app):
    with pytest.raises(InvalidRequestError) as caught:
        batches.submit(["Hi", "Ho", 7])

    assert caught.value.__notes__ == ["It is prompt 2 of the batch."]


def test_too_many_is_too_large(app):
    with pytest.raises(RequestTooLarge) as caught:
        batches.submit(["Hi"] * 50_001)

    assert caught.value.code == "batch_too_large"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: batches.status("nothing"),
        lambda: batches.results("nothing"),
        lambda: batches.cancel("nothing"),
    ],
    ids=["status", "results", "cancel"],
)
def test_unknown_batch_is_named(app, ask):
    with pytest.raises(InvalidRequestError, match="no batch 'nothing'") as caught:
        ask()

    assert (caught.value.code, caught.value.http_status) == ("unknown_batch", 404)


@pytest.mark.parametrize("verb", [batches.status, batches.results, batches.cancel])
def test_batch_goes_by_its_id(app, emulator, verb):
    batch = submit("openai")

    with pytest.raises(InvalidRequestError, match="not Batch: pass its id"):
        verb(batch)
    with pytest.raises(InvalidRequestError, match="not NoneType: keep that of submit"):
        verb(None)
    with pytest.raises(InvalidRequestError, match="it goes by our own id"):
        verb(batch.provider_id)


@pytest.mark.parametrize("key", ["model", "custom_id", "params"])
def test_request_is_no_prompt(app, key):
    with pytest.raises(InvalidRequestError, match="a batch for each model") as caught:
        batches.submit(["Hi", {key: "x", "messages": []}], model="openai/gpt-4o-mini")

    assert caught.value.__notes__ == ["It is prompt 1 of the batch."]


@pytest.mark.parametrize("prompts", [None, 5])
def test_prompts_are_a_list(app, prompts):
    with pytest.raises(InvalidRequestError, match=r"submit\(\) takes a list"):
        batches.submit(prompts)


def test_no_prompt_is_blamed_for_an_option(app):
    with pytest.raises(InvalidRequestError) as caught:
        batches.submit(["Hi"], model="nobody/model")

    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("limit", [0, -1, "all", 10**30])
def test_list_has_a_limit(app, limit):
    with pytest.raises(InvalidRequestError):
        batches.list(limit=limit)


@pytest.mark.parametrize("terms", [{"timeout": 0}, {"retries": -1}])
def test_terms_are_checked(app, terms):
    with pytest.raises(InvalidRequestError):
        batches.status("nothing", **terms)


def test_newest_batch_is_listed_first(app, emulator):
    made = [submit("openai").id for _ in range(3)]

    assert [batch.id for batch in batches.list(limit=2)] == made[:0:-1]


def test_loader_is_asked_for_the_user_once(make_app, emulator):
    asked = []
    llm = flask_llm.LLM()
    llm.user_loader(lambda: asked.append(1) or "ann")
    app = make_app(register=False)
    llm.init_app(app)

    with app.test_request_context("/"):
        submit("openai", *"abcdef")

    assert len(asked) == 1
    assert {row.user_id for row in read_rows(app)} == {"ann"}


def test_listeners_hear_of_a_batch(app, emulator):
    heard = []

    def hear(sender, batch):
        heard.append((sender, batch.id, batch.is_settled))

    with (
        signals.batch_submitted.connected_to(hear, app),
        signals.batch_settled.connected_to(hear, app),
    ):
        batch = submit("openai")
        batches.results(batch.id)
        batches.results(batch.id)

    assert heard == [(app, batch.id, False), (app, batch.id, True)]


def test_budget_is_warned_of_once_when_results_take_it_past_the_line(
    make_app, emulator, monkeypatch
):
    monkeypatch.setattr("flask_llm.usage.batches.SETTLED_ROWS", 1)
    three = 3 * half("openai")
    app = make_app(LLM_BUDGETS=[f"${three}/day per tenant", "$9/day"])
    emulator.script(*answers("1", "2", "3"))
    heard = []

    def hear(sender, prompt, request_id, budget, **facts):
        heard.append((prompt, request_id, budget.text, budget.spent_usd))

    with app.app_context(), signals.budget_warning.connected_to(hear, app):
        batch = submit("openai", max_tokens=100, tenant="acme")
        batches.results(batch.id)
        batches.results(batch.id)

    assert heard == [(None, batch.id, f"${three}/day per tenant", three)]


def test_results_reach_whom_the_limit_of_a_budget_is_kept_from(make_app, emulator):
    limits = iter(["1"])
    llm = flask_llm.LLM()
    llm.budget_limit(lambda *_: next(limits))
    app = make_app(register=False, LLM_BUDGETS=["$1/day"])
    llm.init_app(app)
    emulator.script(*answers("1", "2", "3"))

    with app.app_context():
        found = batches.results(submit("openai").id)

    assert [answer.text for answer in found] == ["1", "2", "3"]
    assert spent(app) == (3 * int(half("openai") * 10**9), 0)


def test_listeners_hear_of_a_price_that_is_not_known(make_app, provider_rows):
    address = provider_rows["openai"]["base_url"]
    own = {"protocol": "chat_completions", "base_url": address}
    app = make_app(LLM_PROVIDERS=provider_rows | {"mine": own})
    heard = []

    def hear(sender, prompt, request_id, model, **facts):
        heard.append((prompt, request_id, model))

    with app.app_context(), signals.price_unknown.connected_to(hear, app):
        batch = batches.submit(["Hi"], model="mine/model")
        batches.results(batch.id)

    assert heard == [(None, batch.id, "mine/model")]


@contextlib.contextmanager
def at_place(app, place, act):
    """Do something where the row of a prompt is about to be written."""

    def execute(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("INSERT INTO llm_usage") and row in repr(parameters):
            act()

    row = f"{place:06x}'"
    engine = app.extensions["llm"].database.engine
    event.listen(engine, "before_cursor_execute", execute)
    yield
    event.remove(engine, "before_cursor_execute", execute)


def test_rows_are_written_in_parts_that_others_can_wait_for(
    make_app, database_uri, emulator, monkeypatch
):
    monkeypatch.setattr("flask_llm.usage.batches.WRITTEN_ROWS", 10)
    config = {"LLM_DATABASE_URI": database_uri, "LLM_BUDGETS": ["$1/day"]}
    app, other = make_app(**config), make_app(**config)
    database = app.extensions["llm"].database
    database.migrations().upgrade(database.engine)

    seen = []

    with app.app_context(), at_place(app, 10, lambda: seen.append(balance(other))):
        batch = submit("openai", *map(str, range(25)))

    reserved, _ = balance(app)
    assert seen == [(reserved, (0, reserved))]
    assert balance(app) == (reserved, (0, reserved))
    assert [row.id for row in read_rows(app)] == [
        key_of(batch.id, at) for at in range(25)
    ]
    assert len({row.reserved_nanos for row in read_rows(app)}) == 2  # "9" and "10"


def balance(app):
    """Return what the rows have reserved, and what the budget has."""
    return sum(row.reserved_nanos for row in read_rows(app)), spent(app)


def test_database_that_fails_while_rows_are_written_holds_nothing(
    make_app, emulator, monkeypatch
):
    monkeypatch.setattr("flask_llm.usage.batches.WRITTEN_ROWS", 2)
    app = make_app(LLM_BUDGETS=["$1/day"])

    def fail():
        raise OperationalError("INSERT", {}, OSError())

    with app.app_context(), pytest.raises(LLMError) as caught, at_place(app, 2, fail):
        submit("openai")

    assert caught.value.code == "database_failed"
    assert (emulator.requests, spent(app)) == ([], (0, 0))
    assert {row.status for row in read_rows(app)} == {"failed", "refused"}
    assert [batch.status for batch in batch_rows(app)] == ["failed"]


def test_worker_killed_while_rows_are_written_leaves_the_books_right(
    make_app, emulator, monkeypatch
):
    monkeypatch.setattr("flask_llm.usage.batches.WRITTEN_ROWS", 1)
    app = make_app(LLM_BUDGETS=["$1/day"])
    app.extensions["llm"].database.prepare()

    def work():
        with app.app_context(), at_place(app, 2, lambda: os._exit(9)):
            submit("openai")

    worker = processes.Process(target=work)
    worker.start()
    worker.join()
    found = balance(app)
    with app.app_context():
        (batch,) = batches.list()
        later(app, batch, hours=1)
        failed = batches.results(batch.id)

    assert worker.exitcode == 9
    assert found == (found[0], (0, found[0]))
    assert found[0] > 0
    assert [error.code for error in failed] == ["batch_never_sent"] * 3
    assert balance(app)[1] == (0, 0)


def test_all_that_results_ask_has_one_deadline(app, emulator):
    slow = Fault(delay_seconds=0.7)
    emulator.script(BatchCourse(polls=0, on_poll=[slow, slow]))
    batch = submit("openai")

    with pytest.raises(LLMError):
        batches.results(batch.id, timeout=1, retries=0)


# --- Large ones ------------------------------------------------------------------


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_all_results_may_be_larger_than_one_answer(make_app, emulator, api):
    app = make_app(LLM_MAX_RESPONSE_BYTES=2048)
    emulator.script(*answers(*["x" * 500] * 20))

    with app.app_context():
        found = batches.results(submit(api, *"abcdefghijklmnopqrst").id)

    assert [len(answer.text) for answer in found] == [500] * 20


@pytest.mark.parametrize("size", [4_000, 400_000])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_one_result_may_not(make_app, emulator, api, size):
    app = make_app(LLM_MAX_RESPONSE_BYTES=2048)
    emulator.script(*answers("x" * size))

    with app.app_context():
        batch = submit(api, "a")
        with pytest.raises(ResponseError) as caught:
            batches.results(batch.id)

    assert caught.value.code == "answer_too_large"
    assert statuses(app) == ["pending"]


@pytest.mark.parametrize("size", [1, 7, 500])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_results_may_come_in_any_pieces(app, emulator, api, size):
    slow = Fault(trickle_seconds=0.0001, trickle_bytes=size)
    emulator.script(*answers("1", "2", "3\u2028"), BatchCourse(on_results=[slow]))

    found = batches.results(submit(api).id)

    assert [answer.text for answer in found] == ["1", "2", "3\u2028"]


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_results_that_break_off_are_fetched_again(app, emulator, api):
    cut = BatchCourse(on_results=[Fault(cut_after=300)])
    emulator.script(*answers("1", "2", "3"), cut)
    batch = submit(api)

    broken = batches.results(batch.id)
    before = statuses(app)
    found = batches.results(batch.id)

    assert [error.code for error in broken] == ["no_result"] * 3
    assert before == ["pending"] * 3
    assert [answer.text for answer in found] == ["1", "2", "3"]


def line_of(api, key, said):
    """Return the line of results that says an answer."""
    if api == "anthropic":
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5",
            "content": [{"type": "text", "text": said}],
            "stop_reason": "end_turn",
            "usage": USAGE,
        }
        return {"custom_id": key, "result": {"type": "succeeded", "message": message}}
    message = {"role": "assistant", "content": said}
    body = {
        "id": "chatcmpl-1",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
    }
    return {"custom_id": key, "response": {"status_code": 200, "body": body}}


ODD_LINES = [
    "no JSON",
    "[1]",
    "{}",
    '{"custom_id": 5}',
    '{"custom_id": "KEY", "response": {"status_code": null, "body": {}}}',
    '{"custom_id": "KEY", "result": {"type": "succeeded"}}',
]


@pytest.mark.parametrize("odd", ODD_LINES)
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_result_that_cannot_be_read_hides_no_other(make_app, emulator, api, odd):
    app = make_app(LLM_BUDGETS=["$1/day"])
    faults = []
    emulator.script(*answers("1", "2", "3"), BatchCourse(on_results=faults))

    with app.app_context():
        batch = submit(api)
        keys = [key_of(batch.id, at) for at in range(3)]
        good = [json.dumps(line_of(api, key, "now")) for key in keys]
        lines = [good[2], odd.replace("KEY", keys[1]), good[0]]
        faults.append(Fault(body="\n".join(lines)))
        first, second, third = batches.results(batch.id)
        before = statuses(app)
        mended = batches.results(batch.id)

    assert (first.text, third.text) == ("now", "now")
    assert second.code == "no_result"
    assert before == ["ok", "pending", "ok"]
    assert mended[1].text == "2"
    assert statuses(app) == ["ok"] * 3
    assert spent(app) == (3 * int(half(api) * 10**9), 0)


def test_first_of_two_results_counts_and_those_of_others_do_not(app, emulator):
    faults = []
    emulator.script(BatchCourse(on_results=faults))
    batch = submit("openai", "One?", "Two?")
    one, two, beyond = (key_of(batch.id, at) for at in range(3))
    refused = {"custom_id": one, "error": {"code": "server_error", "message": "No."}}
    said = [(two, "2"), (one, "1"), (two, "other"), (beyond, "?"), ("theirs", "?")]
    lines = [line_of("openai", *each) for each in said] + [refused]
    faults.append(Fault(body="\n".join(map(json.dumps, lines))))

    found = batches.results(batch.id)

    assert [answer.text for answer in found] == ["1", "2"]
    assert statuses(app) == ["ok"] * 2
    assert batches.status(batch.id).cost_usd == 2 * half("openai")


def test_result_that_is_missing_is_an_error(app, emulator):
    submit("openai")
    reader = Reader.of(batch_rows(app)[0], Prices.load())

    error = reader.answer(None, STATE)
    outcome = reader.outcome(error)

    assert isinstance(error, ResponseError)
    assert (error.code, outcome.may_be_billed) == ("no_result", True)


# --- Wire ------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["openai", "responses"])
def test_openai_sdk_knows_all_that_is_sent(app, emulator, api):
    options = {"system": "Be brief.", "temperature": 0.5, "reasoning": None}
    submit(api, *QUESTIONS, **options)
    upload, create = emulator.requests

    content = openai_file(app, create.body["input_file_id"])
    lines = [json.loads(line) for line in content.splitlines()]

    assert upload.headers["content-type"].startswith("multipart/form-data; boundary=")
    module = "openai.types.batch_create_params"
    assert known_as(module, "BatchCreateParams", create.body) == create.body
    assert [line["url"] for line in lines] == [create.body["endpoint"]] * 3
    protocol = "responses" if api == "responses" else "chat_completions"
    for line in lines:
        assert set(line) == {"custom_id", "method", "url", "body"}
        assert known(protocol, line["body"]) == line["body"]


def openai_file(app, name):
    provider = app.extensions["llm"].client.providers["openai"]
    url = f"{provider.base_url}/files/{name}/content"
    headers = {"Authorization": f"Bearer {KEY}"}
    return requests.get(url, headers=headers, timeout=5).text


def test_anthropic_sdk_knows_all_that_is_sent(app, emulator):
    submit(
        "anthropic", *QUESTIONS, system="Be brief.", reasoning="low", max_tokens=4_000
    )
    (create,) = emulator.requests

    types = pytest.importorskip("anthropic.types.messages.batch_create_params")
    assert set(create.body) <= set(types.BatchCreateParams.__annotations__)
    module = "anthropic.types.message_create_params"
    kind = pytest.importorskip(module).MessageCreateParamsNonStreaming
    for item in create.body["requests"]:
        assert set(item) == set(types.Request.__annotations__)
        assert set(item["params"]) <= set(typing.get_type_hints(kind))
        pydantic.TypeAdapter(kind).validate_python(item["params"])


def test_anthropic_is_asked_by_the_version_that_takes_the_options(app, emulator):
    submit("anthropic", *QUESTIONS, temperature=0.5)

    (create,) = emulator.requests
    assert create.headers["anthropic-version"] == "2023-06-01"


def test_google_sdk_sends_the_same_shape(app, emulator, provider_rows):
    genai = pytest.importorskip("google.genai", reason="an SDK is the oracle here")
    submit("google", "Hi")
    address = {"base_url": provider_rows["google"]["base_url"]}
    sdk = genai.Client(api_key=KEY, http_options=address)
    items = [{"contents": "Hi", "metadata": {"key": "a"}}]
    options = {"display_name": "a batch"}
    sdk.batches.create(model="gemini-2.5-flash", src=items, config=options)

    ours, theirs = emulator.requests

    assert (ours.path, ours.method) == (theirs.path, theirs.method)
    assert shape(ours.body, "request") == shape(theirs.body, "request")


def shape(value, *opaque):
    """Return the names in a body, without its values."""
    if isinstance(value, dict):
        return {
            name: ... if name in opaque else shape(inner, *opaque)
            for name, inner in value.items()
        }
    return [shape(item, *opaque) for item in value] if isinstance(value, list) else ...


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("validating", "submitted"),
        ("in_progress", "running"),
        ("finalizing", "running"),
        ("completed", "ended"),
        ("failed", "failed"),
        ("expired", "expired"),
        ("cancelling", "cancelling"),
        ("cancelled", "cancelled"),
        ("of tomorrow", "running"),
    ],
)
def test_states_of_openai(word, ours):
    raw = {"id": "batch_1", "object": "batch", "status": word}

    assert BATCHES["chat_completions"].state(raw).status == ours


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("PENDING", "submitted"),
        ("RUNNING", "running"),
        ("SUCCEEDED", "ended"),
        ("FAILED", "failed"),
        ("CANCELLED", "cancelled"),
        ("EXPIRED", "expired"),
        ("UNSPECIFIED", "submitted"),
    ],
)
def test_states_of_google(word, ours):
    raw = {"name": "batches/1", "metadata": {"state": f"BATCH_STATE_{word}"}}

    assert BATCHES["generate_content"].state(raw).status == ours


@pytest.mark.parametrize(
    ("word", "counts", "ours"),
    [
        ("in_progress", {"processing": 2}, "running"),
        ("canceling", {"processing": 2}, "cancelling"),
        ("ended", {"succeeded": 2}, "ended"),
        ("ended", {"errored": 2}, "ended"),
        ("ended", {"succeeded": 1, "expired": 1}, "expired"),
        ("ended", {"expired": 1, "canceled": 1}, "cancelled"),
    ],
)
def test_states_of_anthropic(word, counts, ours):
    none = dict.fromkeys(
        ("processing", "succeeded", "errored", "canceled", "expired"), 0
    )
    raw = {"id": "m", "processing_status": word, "request_counts": none | counts}

    state = BATCHES["anthropic_messages"].state(raw)

    assert (state.status, state.prompts) == (ours, sum(counts.values()))


def test_results_of_google_may_be_in_a_file():
    form = BATCHES["generate_content"]
    about = {"state": "BATCH_STATE_SUCCEEDED", "output": {"responsesFile": "files/b1"}}

    state = form.state({"name": "batches/1", "metadata": about, "done": True})
    (call,) = form.answers(state)
    result = form.result({"key": "k", "response": {"candidates": []}})

    assert (call.method, call.path) == ("GET", "/v1/files/b1:download?alt=media")
    assert (result.key, result.reply.json) == ("k", {"candidates": []})


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (3, InvalidRequestError),
        (5, NotFoundError),
        (8, RateLimitError),
        (13, ServerError),
        (14, OverloadedError),
        (99, ServerError),
        (None, ServerError),
    ],
)
def test_codes_of_grpc_are_understood(code, kind):
    form = BATCHES["generate_content"]
    error = {"message": "Sorry."} | ({} if code is None else {"code": code})

    result = form.result({"metadata": {"key": "k"}, "error": error})

    assert isinstance(PROTOCOLS["generate_content"].error(result.reply), kind)


@pytest.mark.parametrize("protocol", BATCHES)
@pytest.mark.parametrize("raw", [{}, {"id": 7}, {"name": None, "metadata": []}])
@pytest.mark.parametrize("read", ["state", "result"])
def test_odd_shapes_are_named(protocol, raw, read):
    with pytest.raises(ResponseError):
        getattr(BATCHES[protocol], read)(raw)


def test_place_is_found_in_a_key():
    ident = "0123456789abcdef0123456789abcdef"

    assert key_of(ident, 255) == "0123456789abcdef01234567890000ff"
    assert place_of(ident, key_of(ident, 99_999)) == 99_999
    assert place_of(ident, "request-1") is None
    assert place_of("f" * 32, key_of(ident, 1)) is None
