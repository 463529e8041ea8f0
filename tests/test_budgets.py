"""Budgets: which ones a call draws on, what it may cost, and what is said when full."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, Inexact, localcontext

import pytest
from conftest import read_rows
from sqlalchemy import select

import flask_llm
from flask_llm import (
    LLM,
    BudgetExceeded,
    ConfigError,
    File,
    Image,
    InvalidRequestError,
    Message,
    Text,
    UnknownPriceError,
    llm_bp,
    signals,
    tokens,
)
from flask_llm.chat import Prompt, ProviderState, Tool, ToolResult
from flask_llm.emulator import Answer, Fault
from flask_llm.guards.budgets import Budgets, BudgetState
from flask_llm.pricing import Prices
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import BUILT_IN
from flask_llm.settings.rules import budgets as read_budgets
from flask_llm.usage import Hold, Share, Standing
from flask_llm.usage.models import spend
from flask_llm.wire import Call

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

PRICES = {"openai/gpt-4o-mini": {"input": "0", "output": "1000"}}
"""A thousandth of a dollar for each token of an answer."""


def prompt(content="Hi", **options):
    defaults = {"max_tokens": 100, "user": "ann", "tenant": "acme", "feature": "chat"}
    return Prompt(
        provider="openai",
        model="gpt-4o-mini",
        messages=(Message("user", content),),
        **defaults | options,
    )


def call(**body):
    return Call(path="/", body={"max_tokens": 100} | body)


def guard(*lines, prices=PRICES, **options):
    return Budgets(
        read_budgets(list(lines)), Prices.load(prices), now=lambda: NOON, **options
    )


def sent(asked, name="openai"):
    (row,) = [provider for provider in BUILT_IN if provider.name == name]
    return PROTOCOLS[row.protocol].render(asked, row, stream=False).body


def shares(reservation):
    return [tuple(hold.share) for hold in reservation.holds]


# What a call draws on


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("$1/day", ("app", "", "2026-11-23")),
        ("$1/day per user", ("user", "ann", "2026-11-23")),
        ("$1/month per tenant", ("tenant", "acme", "2026-11")),
        ("$1/week per feature", ("feature", "chat", "2026-W48")),
        ("$1/hour per provider", ("provider", "openai", "2026-11-23T12+0000")),
        ("$1/hour per model", ("model", "openai/gpt-4o-mini", "2026-11-23T12+0000")),
    ],
)
def test_call_draws_on_its_subject_s_budget_of_the_period(line, share):
    assert shares(guard(line).reservation(prompt(), call())) == [share]


def test_calls_of_nobody_draw_on_one_budget_together():
    nobody = prompt(user=None)

    assert shares(guard("$1/day per user").reservation(nobody, call())) == [
        ("user", "", "2026-11-23")
    ]


def test_holds_come_in_one_order_whatever_the_settings_say():
    lines = ("$5/day per user", "$1/month", "$9/hour per model", "$2/day")

    held = guard(*lines).reservation(prompt(), call())
    turned = guard(*reversed(lines)).reservation(prompt(), call())

    assert held == turned
    assert shares(held) == sorted(shares(held))


def test_of_two_budgets_for_the_same_the_lower_one_counts_once():
    held = guard("$5/day per user", "$2/day per user").reservation(prompt(), call())

    (hold,) = held.holds
    assert hold.limit_nanos == 2_000_000_000


def test_without_budgets_nothing_is_reserved_and_no_price_is_needed():
    unknown = replace(prompt(), model="no-such-model")

    assert guard().reservation(unknown, call()).holds == ()


def test_periods_begin_where_the_time_zone_says():
    zoned = guard("$1/day", zone="Pacific/Auckland")

    assert shares(zoned.reservation(prompt(), call())) == [("app", "", "2026-11-24")]


# The worst case


def test_worst_case_is_the_cap_at_the_dearest_price():
    assert guard("$1/day").reservation(prompt(), call()).nanos == 100_000_000


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 250},
        {"max_completion_tokens": 250},
        {"max_output_tokens": 250},
        {"generationConfig": {"maxOutputTokens": 250}},
        {"max_tokens": 50, "n": 5},
        {"generationConfig": {"maxOutputTokens": 125, "candidateCount": 2}},
        {"generation_config": {"max_output_tokens": 125, "candidate_count": 2}},
    ],
)
def test_cap_is_read_from_what_is_sent(body):
    assert tokens.output_ceiling(body) == 250


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"max_tokens": None},
        {"max_tokens": "100"},
        {"max_tokens": 100.0},
        {"max_tokens": True},
        {"max_tokens": 100, "n": 250.0},
        {"max_tokens": 100, "generationConfig": {"candidateCount": "8"}},
        {"generationConfig": None},
    ],
    ids=str,
)
def test_call_that_nothing_caps_is_refused_where_a_budget_applies(body):
    with pytest.raises(InvalidRequestError, match="set max_tokens"):
        guard("$1/day").reservation(prompt(), Call(path="/", body=body))


def test_tier_in_extra_is_the_one_that_is_reserved_for():
    fast = guard("$1/day", prices=None)

    by_option = fast.reservation(prompt(), call(service_tier="priority"))

    assert by_option.nanos > fast.reservation(prompt(), call()).nanos


def test_other_model_in_extra_is_refused_where_a_budget_applies():
    with pytest.raises(InvalidRequestError, match="name it by model="):
        guard("$1/day").reservation(prompt(), call(model="gpt-6.1-sol"))


def test_huge_call_is_refused_as_one_that_does_not_fit(budgeted):
    app = budgeted("$1/day")

    with pytest.raises(BudgetExceeded):
        flask_llm.complete("Hi", max_tokens=10**18)

    assert [row.status for row in read_rows(app)] == ["refused"]


@pytest.mark.parametrize(
    ("content", "least"),
    [
        ("x" * 1000, 1000),
        ("ї" * 1000, 2000),
        ((Text("Hi"), Image(url="https://example.com/a.png")), 5000),
        ((File(data=b"%PDF" + bytes(10**6), media_type="application/pdf"),), 100_000),
        ((File(data=b"a" * 10**5, media_type="text/plain", filename="a"),), 100_000),
        ((ToolResult("a", "x" * 1000, media=(File(file_id="f"),)),), 6000),
    ],
)
def test_input_ceiling_is_above_what_a_text_can_have(content, least):
    asked = prompt(content)

    ceiling = tokens.input_ceiling(asked, sent(asked))

    assert least <= ceiling <= least + 300
    assert ceiling > tokens.input_estimate(asked)


@pytest.mark.parametrize(
    "options",
    [
        {"system": "s" * 1000},
        {"tools": (Tool("t", "d" * 1000),)},
        {"extra": {"more": "e" * 1000}},
    ],
)
def test_input_ceiling_counts_all_that_is_sent(options):
    asked = prompt(**options)

    more = tokens.input_ceiling(asked, sent(asked)) - tokens.input_ceiling(
        prompt(), sent(prompt())
    )

    assert more >= 1000


def test_input_ceiling_counts_state_that_goes_back():
    state = ProviderState("deepseek", "m", {"reasoning_content": "z" * 4000})
    turns = (Message("assistant", "Hi", provider_state=state), Message("user", "Go on"))
    asked = replace(prompt(), provider="deepseek", model="m", messages=turns)

    assert tokens.input_ceiling(asked, sent(asked, "deepseek")) >= 4000


@pytest.mark.parametrize(
    ("rates", "usd"),
    [
        ({"input": "1", "output": "1"}, "0.002"),
        ({"input": "1", "output": "1", "cache_write": "1.25"}, "0.00225"),
        ({"input": "1", "output": "1", "cache_write_1h": "2"}, "0.002"),
        ({"input": "1", "output": "1", "reasoning": "3"}, "0.004"),
        ({"input": "1", "output": "1", "cache_read": "0.1"}, "0.002"),
    ],
)
def test_dearest_price_that_may_apply_counts(rates, usd):
    prices = Prices.load({"openai/m": rates})

    cost = prices.ceiling("openai/m", input_tokens=1000, output_tokens=1000)

    assert cost.usd == Decimal(usd)


def test_cache_of_an_hour_counts_where_it_may_be_asked_for():
    prices = Prices.load({"p/m": {"input": "1", "output": "1", "cache_write_1h": "2"}})

    cost = prices.ceiling("p/m", input_tokens=1000, output_tokens=0, hour_cache=True)

    assert cost.usd == Decimal("0.002")


def test_dearer_tier_counts_where_it_is_asked_for():
    prices = Prices.load()
    given = {"input_tokens": 1000, "output_tokens": 500}

    standard = prices.ceiling("openai/gpt-4o-mini", **given)
    priority = prices.ceiling("openai/gpt-4o-mini", **given, service_tier="priority")
    flex = prices.ceiling("openai/gpt-5-mini", **given, service_tier="flex")

    assert priority.usd > standard.usd
    assert flex.usd == prices.ceiling("openai/gpt-5-mini", **given).usd


def test_unknown_price_is_refused_where_a_budget_applies():
    with pytest.raises(UnknownPriceError, match="LLM_UNKNOWN_PRICE"):
        guard("$1/day", prices=None).reservation(
            replace(prompt(), model="no-such-model"), call()
        )


def test_unknown_price_reserves_nothing_where_it_is_allowed():
    unknown = replace(prompt(), model="no-such-model")

    held = guard("$1/day", prices=None, allow_unknown=True).reservation(unknown, call())

    assert held.nanos == 0
    assert len(held.holds) == 1


# Limits of the app's own


def test_limit_is_asked_for_with_scope_subject_and_period():
    asked = []
    limited = guard("$1/day per user", limit=lambda *facts: asked.append(facts))

    held = limited.reservation(prompt(), call())

    assert asked == [("user", "ann", "day")]
    assert held.holds[0].limit_nanos == 1_000_000_000


@pytest.mark.parametrize("limit", ["2.50", 2.5, Decimal("2.5")])
def test_limit_of_the_app_s_own_counts(limit):
    held = guard("$1/day", limit=lambda *_: limit).reservation(prompt(), call())

    assert held.holds[0].limit_nanos == 2_500_000_000


def test_limit_may_be_without_end():
    held = guard("$1/day", limit=lambda *_: float("inf")).reservation(prompt(), call())

    assert held.holds[0].limit_nanos > 10**18


@pytest.mark.parametrize("limit", ["much", -1, float("nan"), object()])
def test_limit_that_is_no_amount_is_a_named_error(limit):
    with pytest.raises(ConfigError, match="budget_limit"):
        guard("$1/day", limit=lambda *_: limit).reservation(prompt(), call())


# What is told


def test_budget_is_told_in_plain_dollars():
    hold = Hold(Share("app", "", "2026-11"), 100 * 10**9, "$100/month", NOON)

    state = BudgetState.of(hold, Standing(1_500_000_000, 250_000))

    assert str(state.limit_usd) == "100"
    assert str(state.spent_usd) == "1.5"
    assert str(state.reserved_usd) == "0.00025"
    assert str(state.left_usd) == "98.49975"


# In an app


@pytest.fixture
def budgeted(make_app):
    """Make an app with budgets, within its context; an answer costs what it has."""
    contexts = []

    def make(*lines, **config):
        app = make_app(
            **{"LLM_BUDGETS": list(lines), "LLM_PRICES": PRICES, "LLM_MAX_TOKENS": 100}
            | config
        )
        app.extensions["llm"].database.prepare()
        contexts.append(app.app_context())
        contexts[-1].push()
        return app

    yield make
    for context in reversed(contexts):
        context.pop()


def used(output_tokens):
    return Answer(text="x", usage={"input_tokens": 5, "output_tokens": output_tokens})


def standings(app):
    with app.extensions["llm"].database.begin() as connection:
        return {
            (row.scope, row.subject): (row.spent_nanos, row.reserved_nanos)
            for row in connection.execute(select(spend))
        }


def test_answer_is_charged_what_it_cost(budgeted, emulator):
    app = budgeted("$1/day", "$1/day per user")
    emulator.script(used(40))

    answer = flask_llm.complete("Hi", user="ann")

    assert answer.cost_usd == Decimal("0.04")
    assert standings(app) == {
        ("app", ""): (40_000_000, 0),
        ("user", "ann"): (40_000_000, 0),
    }


def test_full_budget_refuses_before_anybody_is_asked(budgeted, emulator):
    app = budgeted("$0.15/day per user")
    emulator.script(used(100))
    flask_llm.complete("Hi", user="ann")

    with pytest.raises(BudgetExceeded) as refused:
        flask_llm.complete("Hi", user="ann")

    error = refused.value
    assert len(emulator.requests) == 1
    assert (error.http_status, error.is_retryable) == (402, False)
    assert error.limit_usd == Decimal("0.15")
    assert error.spent_usd == Decimal("0.1")
    assert error.reserved_usd == 0
    assert error.resets_at > datetime.now(UTC)
    assert "$0.15/day per user" in error.message
    assert [row.status for row in read_rows(app)] == ["ok", "refused"]
    assert read_rows(app)[1].error_code == "budget_exceeded"
    assert error.request_id == read_rows(app)[1].request_id


def test_full_budget_of_one_user_is_nobody_else_s(budgeted, emulator):
    budgeted("$0.10/day per user")
    emulator.script(used(100), used(100))
    flask_llm.complete("Hi", user="ann")

    assert flask_llm.complete("Hi", user="bob").text


def test_refusal_tells_a_browser_where_it_stands(budgeted):
    app = budgeted("$0.05/day")

    @app.get("/ask")
    def ask():
        return flask_llm.complete("Hi").text

    answer = app.test_client().get("/ask")

    assert answer.status_code == 402
    assert answer.content_type == "application/problem+json"
    assert answer.json["limit_usd"] == "0.05"
    assert answer.json["spent_usd"] == answer.json["reserved_usd"] == "0"
    assert answer.json["resets_at"].startswith("20")
    assert answer.json["code"] == "budget_exceeded"


def test_stream_left_early_is_charged_what_had_come(budgeted, emulator):
    app = budgeted("$1/day")
    emulator.script(Answer(text="word " * 50))

    with flask_llm.stream("Hi") as story:
        next(story)

    ((spent, reserved),) = standings(app).values()
    assert 0 < spent < 50_000_000
    assert reserved == 0
    assert read_rows(app)[0].cost_nanos == spent


@pytest.mark.parametrize(
    ("fault", "spent"),
    [
        (Fault(status=500), 0),
        (Fault(status=400), 0),
        (Fault(reset_after=0), 100_000_000),
        (Fault(garbage=True), 100_000_000),
        (Fault(hang=True), 100_000_000),
    ],
    ids=["500", "400", "reset", "garbage", "hang"],
)
def test_failed_call_is_charged_only_where_it_may_be_billed(
    budgeted, emulator, fault, spent
):
    app = budgeted("$1/day")
    emulator.script(fault)

    with pytest.raises(flask_llm.ProviderError):
        flask_llm.complete("Hi", retries=0, timeout=1)

    assert standings(app) == {("app", ""): (spent, 0)}


def test_call_that_never_reached_anybody_is_free(budgeted, provider_rows):
    provider_rows["openai"] |= {"base_url": "http://127.0.0.1:9/v1"}
    app = budgeted("$1/day")

    with pytest.raises(flask_llm.ConnectionFailed):
        flask_llm.complete("Hi", retries=0)

    assert standings(app) == {("app", ""): (0, 0)}


def test_unknown_price_is_refused_in_an_app(budgeted, emulator):
    app = budgeted("$1/day")

    with pytest.raises(UnknownPriceError):
        flask_llm.complete("Hi", model="openai/no-such-model")

    assert emulator.requests == []
    assert [row.status for row in read_rows(app)] == ["refused"]


def test_unknown_price_is_let_through_where_that_is_set(budgeted):
    app = budgeted("$1/day", LLM_UNKNOWN_PRICE="allow")

    answer = flask_llm.complete("Hi", model="openai/no-such-model")

    assert answer.cost_usd is None
    assert standings(app) == {("app", ""): (0, 0)}
    assert read_rows(app)[0].cost_nanos is None


def test_kept_answer_draws_on_no_budget(budgeted, emulator):
    app = budgeted("$0.10/day")
    emulator.script(used(90))
    flask_llm.complete("Hi", cache=True)

    assert flask_llm.complete("Hi", cache=True).cached
    assert standings(app) == {("app", ""): (90_000_000, 0)}


def test_limit_hook_may_come_after_the_set_up(make_app, emulator):
    app = make_app(
        register=False,
        LLM_BUDGETS=["$0.05/day per user"],
        LLM_PRICES=PRICES,
        LLM_MAX_TOKENS=100,
    )
    llm = LLM(app)
    app.register_blueprint(llm_bp)
    llm.budget_limit(lambda _, subject, __: 5 if subject == "vip" else None)

    with app.app_context():
        assert flask_llm.complete("Hi", user="vip").text
        with pytest.raises(BudgetExceeded):
            flask_llm.complete("Hi", user="ann")


def test_warning_is_sent_once_when_a_budget_passes_four_fifths(budgeted, emulator):
    app = budgeted("$0.40/day per user")
    emulator.script(used(100), used(100), used(90), used(30), used(10))
    told = []

    def listen(sender, budget, **_):
        told.append((sender, budget.text, budget.subject, str(budget.spent_usd)))

    with signals.budget_warning.connected_to(listen):
        for _ in range(4):
            flask_llm.complete("Hi", user="ann", max_tokens=100)

    assert told == [(app, "$0.40/day per user", "ann", "0.32")]


def test_listeners_hear_of_a_full_budget(budgeted):
    budgeted("$0.05/day")
    told = []

    def listen(sender, error, **_):
        told.append(error)

    with (
        signals.budget_exceeded.connected_to(listen),
        pytest.raises(BudgetExceeded) as refused,
    ):
        flask_llm.complete("Hi")

    assert told == [refused.value]


@pytest.mark.parametrize("precision", [1, 3])
def test_host_s_own_arithmetic_changes_no_limit(budgeted, precision):
    budgeted("$0.12345/day")

    with (
        localcontext(prec=precision, traps=[Inexact]),
        pytest.raises(BudgetExceeded) as refused,
    ):
        flask_llm.complete("Hi", max_tokens=200)

    assert str(refused.value.limit_usd) == "0.12345"


def test_answer_whose_price_turns_out_unknown_costs_what_was_reserved(
    budgeted, emulator
):
    app = budgeted("$1/day")
    answer = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "service_tier": "scale",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 40, "total_tokens": 45},
    }
    emulator.script(Fault(body=json.dumps(answer)))

    completion = flask_llm.complete("Hi")

    (row,) = read_rows(app)
    assert completion.cost_usd is None
    assert standings(app) == {("app", ""): (100_000_000, 0)}
    assert (row.status, row.cost_nanos, row.cost_source) == (
        "ok",
        100_000_000,
        "reserved",
    )


def _vault_is_down():
    raise RuntimeError("the vault is down")


@pytest.mark.parametrize("key", [lambda: "sk-a\nb", _vault_is_down])
def test_call_that_was_never_sent_is_free(budgeted, provider_rows, key):
    provider_rows["openai"] |= {"api_key": key}
    app = budgeted("$1/day")

    with pytest.raises((ConfigError, RuntimeError)):
        flask_llm.complete("Hi")

    assert standings(app) == {("app", ""): (0, 0)}
    assert [row.cost_nanos for row in read_rows(app)] == [None]


def test_spaces_at_the_end_make_no_other_user(budgeted, emulator):
    app = budgeted("$1/day per user")

    flask_llm.complete("Hi", user="ann  ")

    assert list(standings(app)) == [("user", "ann")]
