"""prompt_cache: what providers are told to keep, what that costs and what it saves."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from conftest import read_rows
from oracles import known

import flask_llm
from flask_llm import File, Image, Message, tokens
from flask_llm.chat import Prompt, ProviderState, Usage, read_messages, read_tools
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import InvalidRequestError
from flask_llm.guards import worst_case
from flask_llm.pricing import Prices
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import BUILT_IN

CLAUDE = "anthropic/claude-haiku-4-5"
TABLE = {provider.name: provider for provider in BUILT_IN}
LOOK = {"name": "look", "description": "Look.", "parameters": {"type": "object"}}
SHORT = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Go on."},
]


def prompt(said="Hi", provider="anthropic", **options):
    options = {"model": "claude-haiku-4-5", "prompt_cache": True} | options
    return Prompt(provider=provider, messages=read_messages(said), **options)


def body(asked, protocol=None):
    row = TABLE.get(asked.provider, TABLE["openai"])
    protocol = protocol or row.protocol
    return PROTOCOLS[protocol].render(asked, row, stream=False).body


def marks(sent):
    """Return where the marks stand in a request of Anthropic's, and what they say."""
    found = {}
    for name in ("tools", "system"):
        for place, block in enumerate(sent.get(name) or []):
            found[name, place] = block.get("cache_control")
    for number, message in enumerate(sent["messages"]):
        for place, block in enumerate(message["content"]):
            found[number, place] = block.get("cache_control")
    return {place: control for place, control in found.items() if control}


# --- Anthropic -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "options", "expected"),
    [
        ("Hi", {"system": "Be brief."}, {("system", 0)}),
        ("Hi", {"tools": read_tools([LOOK, LOOK | {"name": "see"}])}, {("tools", 1)}),
        ("Hi", {"system": "s", "tools": read_tools([LOOK])}, {("system", 0)}),
        ("Hi", {}, {(0, 0)}),
        (TALK, {}, {(2, 0)}),
        (TALK, {"system": "Be brief."}, {("system", 0), (2, 0)}),
        (
            Message("user", [File(data=b"%PDF", media_type="application/pdf"), "Why?"]),
            {"system": "Be brief."},
            {("system", 0), (0, 0)},
        ),
        (
            Message("user", [Image(url="https://example.com/a.png"), "Why?"]),
            {},
            {(0, 0)},
        ),
    ],
)
def test_what_is_marked_is_what_the_next_request_begins_with(said, options, expected):
    sent = body(prompt(said, **options))

    assert marks(sent) == dict.fromkeys(expected, SHORT)


@pytest.mark.parametrize(
    ("value", "control"), [(True, SHORT), ("5m", SHORT), ("1h", HOUR)]
)
def test_the_lifetime_is_said(value, control):
    sent = body(prompt(TALK, system="Be brief.", prompt_cache=value))

    assert list(marks(sent).values()) == [control, control]


@pytest.mark.parametrize("value", [None, False])
def test_nothing_is_marked_unasked(value):
    asked = prompt(TALK, system="Be brief.", prompt_cache=value)

    sent = body(asked)

    assert sent["system"] == "Be brief."
    assert marks(sent | {"system": []}) == {}


def test_a_result_of_a_tool_is_marked():
    history = [
        {"role": "user", "content": "Look."},
        Message("assistant", [flask_llm.ToolCall("t1", "look", {})]),
        Message("tool", [flask_llm.ToolResult("t1", "a cat")]),
    ]

    assert set(marks(body(prompt(history, tools=read_tools([LOOK]))))) == {
        ("tools", 0),
        (2, 0),
    }


def test_state_that_goes_back_is_left_as_it_came():
    state = [{"type": "text", "text": "Hello."}]
    turns = (
        Message("user", "Hi"),
        Message(
            "assistant",
            "Hello.",
            ProviderState("anthropic", "claude-haiku-4-5", state),
        ),
    )

    body(replace(prompt(), messages=turns))

    assert state == [{"type": "text", "text": "Hello."}]


@pytest.mark.parametrize("said", ["Hi", TALK])
@pytest.mark.parametrize("options", [{}, {"system": "s"}, {"tools": [LOOK]}], ids=str)
@pytest.mark.parametrize("value", [True, "1h"])
def test_anthropic_s_types_and_the_emulator_take_the_marks(
    app, emulator, said, options, value
):
    told = flask_llm.complete(said, model=CLAUDE, prompt_cache=value, **options)

    (request,) = emulator.requests
    assert told.text
    assert known("anthropic_messages", request.body) == request.body
    assert marks(request.body)


# --- OpenAI ----------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["chat_completions", "responses"])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5.4", "gpt-6.2"])
@pytest.mark.parametrize("value", [None, False, True, "5m", "1h"])
def test_openai_is_told_in_its_own_words(protocol, model, value):
    key = "k" * 32 if value else None
    asked = prompt(
        provider="openai", model=model, prompt_cache=value, prompt_cache_key=key
    )

    sent = body(asked, protocol)

    assert known(protocol, sent) == sent
    told = {name: item for name, item in sent.items() if name.startswith("prompt_c")}
    if value:
        assert told == {"prompt_cache_key": key}
    elif value is False and model == "gpt-6.2":
        assert told == {"prompt_cache_options": {"mode": "explicit"}}
    else:
        assert told == {}


def sent_key(emulator, **options):
    flask_llm.complete("Hi", prompt_cache=True, **options)
    return emulator.requests[-1].body["prompt_cache_key"]


def test_the_key_is_stable_and_says_nothing(app, emulator):
    first = sent_key(emulator, user="ann", tenant="acme")

    assert first == sent_key(emulator, user="ann", tenant="acme", feature="other")
    assert first != sent_key(emulator, user="bob", tenant="acme")
    assert first != sent_key(emulator, user="ann", tenant="other")
    assert first != sent_key(emulator)
    assert len(first) == 32
    assert "ann" not in first


def test_the_key_is_another_in_another_app(make_app, emulator):
    keys = set()
    for secret in ("one", b"two", None):
        with make_app(SECRET_KEY=secret).app_context():
            keys.add(sent_key(emulator, user="ann"))

    assert len(keys) == 3


@pytest.mark.parametrize(
    ("scope", "shared"), [("user", False), ("tenant", True), ("app", True)]
)
def test_who_shares_answers_shares_the_key(make_app, emulator, scope, shared):
    with make_app(LLM_CACHE_SCOPE=scope).app_context():
        ann = sent_key(emulator, user="ann", tenant="acme")
        bob = sent_key(emulator, user="bob", tenant="acme")
        eve = sent_key(emulator, user="eve", tenant="other")

    assert (ann == bob) == shared
    assert (ann == eve) == (scope == "app")


def test_kept_answers_are_found_by_all_who_share_them(make_app, emulator):
    with make_app(LLM_CACHE_SCOPE="app").app_context():
        for user in ("ann", "bob"):
            flask_llm.complete("Hi", cache=True, prompt_cache=True, user=user)

    assert len(emulator.requests) == 1


def test_a_key_of_one_s_own_wins(app, emulator):
    assert sent_key(emulator, extra={"prompt_cache_key": "mine"}) == "mine"


@pytest.mark.parametrize("value", [True, False, "1h"])
@pytest.mark.parametrize("provider", ["google", "groq", "mistral"])
def test_others_are_told_nothing(provider, value):
    asked = prompt(provider=provider, model="gpt-6.2", prompt_cache=value)
    plain = replace(asked, prompt_cache=None)

    asked = replace(asked, prompt_cache_key="k")

    assert body(asked) == body(plain)


@pytest.mark.parametrize("value", ["5 minutes", "24h", 300, 1.5, ["5m"]])
def test_other_lifetimes_are_refused(app, emulator, value):
    with pytest.raises(InvalidRequestError, match="'5m' or '1h'") as refused:
        flask_llm.complete("Hi", prompt_cache=value)

    assert refused.value.param == "prompt_cache"
    assert emulator.requests == []


# --- What it costs, and saves ----------------------------------------------------

MILLION = 1_000_000
RATES = {
    "input": "1",
    "output": "1",
    "cache_read": "0.1",
    "cache_write": "1.25",
    "cache_write_1h": "2",
}


def saved(usage, model="p/m", rates=RATES):
    prices = Prices.load({"p/m": rates})
    return prices.cost(model, Usage(**usage)).prompt_saved_nanos


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({}, "0"),
        ({"cache_read_tokens": MILLION}, "0.9"),
        ({"cache_read_tokens": MILLION // 2}, "0.45"),
        ({"cache_write_tokens": MILLION}, "-0.25"),
        ({"cache_write_tokens": MILLION, "cache_write_1h_tokens": MILLION}, "-1"),
        ({"cache_write_tokens": 500_000, "cache_read_tokens": 500_000}, "0.325"),
    ],
)
def test_what_was_saved_is_reading_less_writing(usage, usd):
    counts = {"input_tokens": MILLION, "output_tokens": 5} | usage

    assert Decimal(saved(counts)).scaleb(-9) == Decimal(usd)


def test_what_was_saved_is_unknown_without_a_price():
    assert saved({"input_tokens": 9, "cache_read_tokens": 9}, model="p/other") is None


def test_a_cache_without_a_price_of_its_own_saves_nothing():
    used = {"input_tokens": MILLION, "cache_read_tokens": MILLION}

    assert saved(used, rates={"input": "1", "output": "1"}) == 0


def test_a_long_prompt_saves_at_its_own_rates():
    prices = Prices.load()
    used = {"input_tokens": 300_000, "cache_read_tokens": 300_000}

    cost = prices.cost("openai/gpt-6-astra", Usage(**used))

    assert (cost.usd, cost.uncached_usd) == (Decimal("0.6"), Decimal(6))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_row_says_what_was_saved(app, emulator, rows, streamed):
    emulator.script(
        Answer(usage={"input_tokens": 1000, "cache_write_tokens": 900}),
        Answer(
            usage={
                "input_tokens": 1000,
                "cache_write_tokens": 900,
                "cache_write_1h_tokens": 900,
            }
        ),
        Answer(usage={"input_tokens": 1000, "cache_read_tokens": 900}),
        Answer(usage={"input_tokens": 1000}),
    )

    for _ in range(4):
        if streamed:
            with flask_llm.stream("Hi", model=CLAUDE, prompt_cache="1h") as story:
                list(story)
        else:
            flask_llm.complete("Hi", model=CLAUDE, prompt_cache="1h")

    # Haiku 4.5: $1 a million; a write 1.25 or 2, a read 0.1.
    kept = [row.prompt_saved_nanos for row in rows()]
    assert kept == [-225_000, -900_000, 810_000, 0]
    assert [row.saved_nanos for row in rows()] == [None] * 4


def test_an_answer_of_our_own_cache_saves_there(app, emulator, rows):
    emulator.script(Answer(text="A", usage={"cache_read_tokens": 3, "input_tokens": 9}))

    for _ in range(2):
        flask_llm.complete("Hi", cache=True)

    first, second = rows()
    assert (first.saved_nanos, first.prompt_saved_nanos > 0) == (None, True)
    assert (second.saved_nanos, second.prompt_saved_nanos) == (first.cost_nanos, None)


def test_the_provider_s_own_figure_says_nothing_of_what_was_saved(
    make_app, emulator, provider_rows
):
    row = {"api_key": "k", "base_url": provider_rows["openai"]["base_url"]}
    app = make_app(LLM_PROVIDERS={"openrouter": row})
    emulator.script(Fault(body=json.dumps(ROUTED)))

    with app.app_context():
        flask_llm.complete("Hi", model="openrouter/openai/gpt-4o")

    (row,) = read_rows(app)
    assert (row.cost_source, row.cost_nanos) == ("provider", 1_000_000)
    assert (row.cache_read_tokens, row.prompt_saved_nanos) == (9, None)


ROUTED = {
    "choices": [{"index": 0, "message": {"content": "A"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 9},
        "cost": 0.001,
    },
}


def test_the_report_and_the_command_show_it(app, emulator):
    emulator.script(
        Answer(usage={"input_tokens": 1000, "cache_read_tokens": 900}),
        Answer(usage={"input_tokens": 9000, "cache_write_tokens": 9000}),
    )
    bearer = {"Authorization": "Bearer letmein"}
    run = app.test_cli_runner().invoke

    flask_llm.complete("Hi", model=CLAUDE, prompt_cache=True)
    first = app.test_client().get("/llm/usage", headers=bearer).json["total"]
    saving = run(args=["llm", "usage"]).output
    flask_llm.complete("Hi", model=CLAUDE, prompt_cache=True)
    second = app.test_client().get("/llm/usage", headers=bearer).json["total"]
    losing = run(args=["llm", "usage"]).output

    assert (first["prompt_saved_usd"], first["saved_usd"]) == (
        "0.000810000",
        "0.000000000",
    )
    assert "The providers' prompt caches saved 0.000810000 USD." in saving
    assert second["prompt_saved_usd"] == "-0.001440000"
    assert "prompt caches cost 0.001440000 USD more than none." in losing


@pytest.mark.parametrize(
    ("value", "dearest"), [(None, "1.25"), (True, "1.25"), ("5m", "1.25"), ("1h", "2")]
)
def test_a_budget_reserves_for_all_that_may_be_written(value, dearest):
    asked = prompt("x" * 1000, prompt_cache=value, max_tokens=1)
    prices = Prices.load()

    worst = worst_case(asked, body(asked))

    rate = Decimal(dearest).scaleb(-6)
    assert worst.cost(prices, 0).usd == worst.input_tokens * rate
    assert worst.input_tokens == tokens.input_ceiling(asked, body(asked))
