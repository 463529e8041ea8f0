"""The answer cache: whose answer, to which question, for how long, what it saves."""

import json
import logging
import re
from decimal import Decimal

import pytest
import redis
from conftest import read_rows
from flask_caching import Cache
from sockets import free_port

import flask_llm
from flask_llm import Message, Tool
from flask_llm.chat import Completion, Prompt, Text, Usage
from flask_llm.emulator import Answer, Fault
from flask_llm.guards import AnswerCache
from flask_llm.guards.cache import JITTER
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers import Provider

each_api = pytest.mark.parametrize("api", ["openai", "anthropic", "google"])

GOOD = Answer(text="Four.", usage={"input_tokens": 1000, "output_tokens": 200})


class Shelf(dict):
    """A back end that keeps what it is told, and for how long."""

    def set(self, key, value, timeout):
        self[key] = value, timeout


def answer_cache(kept=None, *, scope="user", secret=b"secret", jitter=0.0):
    kept = Shelf() if kept is None else kept
    return AnswerCache(kept, secret=secret, scope=scope, jitter=lambda: jitter)


OPENAI = Provider(name="openai", base_url="https://api.openai.com/v1")
PLAIN = {
    "provider": "openai",
    "model": "gpt-4o-mini",
    "messages": (Message("user", "Hi"),),
    "max_tokens": 9,
    "user": "ada",
    "tenant": "acme",
}


def key_of(keeper=None, /, *, provider=OPENAI, **changes):
    prompt = Prompt(**PLAIN | changes)
    call = PROTOCOLS[provider.protocol].render(prompt, provider, stream=False)
    return (keeper or answer_cache()).key(prompt, provider, call)


# --- The key ---------------------------------------------------------------------


def test_a_key_is_a_sha256_in_hex_and_always_the_same():
    assert re.fullmatch(r"[0-9a-f]{64}", key_of())
    assert key_of() == key_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "gpt-4o"},
        {"messages": (Message("user", "hi"),)},
        {"messages": (Message("user", "Hi"), Message("user", "Hi"))},
        {"messages": (Message("system", "Hi"), Message("user", "Hi"))},
        {"messages": (Message("user", [Text("H"), Text("i!")]),)},
        {"system": "Be brief."},
        {"max_tokens": 10},
        {"temperature": 0.0},
        {"top_p": 0.5},
        {"stop": ("END",)},
        {"seed": 0},
        {"tools": (Tool("add"),)},
        {"tools": (Tool("add", "Adds."),)},
        {"tools": (Tool("add"),), "tool_choice": "add"},
        {"tools": (Tool("add"),), "parallel_tool_calls": False},
        {"reasoning": "low"},
        {"service_tier": "flex"},
        {"extra": {"logit_bias": {"1": 2}}},
        {"user": "bob"},
        {"user": None},
        {"tenant": "other"},
        {"tenant": None},
        {"user": "acme", "tenant": "ada"},
    ],
    ids=str,
)
def test_whatever_shapes_an_answer_is_in_its_key(changes):
    assert key_of(**changes) != key_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout": 5.0},
        {"retries": 0},
        {"feature": "digest"},
        {"tags": {"job": "7"}},
        {"cache": 60},
    ],
    ids=str,
)
def test_what_does_not_shape_an_answer_is_not(changes):
    assert key_of(**changes) == key_of()


@pytest.mark.parametrize(
    ("scope", "changes", "shared"),
    [
        ("user", {"user": "bob"}, False),
        ("user", {"tenant": "other"}, False),
        ("tenant", {"user": "bob"}, True),
        ("tenant", {"tenant": "other"}, False),
        ("app", {"user": "bob"}, True),
        ("app", {"tenant": "other"}, True),
    ],
)
def test_the_scope_says_who_shares_an_answer(scope, changes, shared):
    cache = answer_cache(scope=scope)

    assert (key_of(cache, **changes) == key_of(cache)) is shared


def test_scopes_and_secrets_share_nothing():
    keys = {
        key_of(answer_cache(scope=scope, secret=secret))
        for scope in ("user", "tenant", "app")
        for secret in (b"one", b"two")
    }

    assert len(keys) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"base_url": "https://other.example/v1"},
        {"protocol": "anthropic_messages"},
    ],
    ids=str,
)
def test_another_server_is_another_key(change):
    row = {"name": "openai", "base_url": "https://api.openai.com/v1"} | change

    assert key_of(provider=Provider(**row)) != key_of()


# --- What is kept ----------------------------------------------------------------


def answer(**changes):
    fields = {
        "content": (Text("Four."),),
        "usage": Usage(input_tokens=9, output_tokens=2),
        "cost_usd": Decimal("0.00123"),
        "served_model": "gpt-4o-mini-2024",
        "response_id": "r1",
    }
    return Completion(**fields | changes)


@pytest.mark.parametrize("cost", [Decimal("0.00123"), Decimal(0), None])
def test_an_answer_comes_back_as_it_was(cost):
    cache = answer_cache()

    cache.set("k", answer(cost_usd=cost, reasoning="Hm."), 60)
    cache._kept["k"] = cache._kept["k"][0]
    found = cache.get("k")

    assert found.cached
    assert (found.text, found.reasoning) == ("Four.", "Hm.")
    assert (found.cost_usd, found.served_model) == (cost, "gpt-4o-mini-2024")
    assert found.usage == Usage(input_tokens=9, output_tokens=2)


@pytest.mark.parametrize(
    "changes",
    [
        {"finish_reason": "length"},
        {"finish_reason": "content_filter"},
        {"finish_reason": "tool_calls"},
        {"finish_reason": "pause"},
        {"finish_reason": "error"},
        {"finish_reason": "other"},
        {"content": ()},
    ],
    ids=str,
)
def test_an_answer_that_is_not_whole_is_not_kept(changes):
    kept = Shelf()

    answer_cache(kept).set("k", answer(**changes), 60)

    assert kept == {}


@pytest.mark.parametrize(
    ("seconds", "jitter", "lifetime"),
    [(86_400, 0.0, 86_400), (86_400, 1.0, 77_760), (1, 1.0, 1), (100, 0.5, 95)],
)
def test_chance_takes_a_tenth_of_a_lifetime_at_most(seconds, jitter, lifetime):
    kept = Shelf()

    answer_cache(kept, jitter=jitter).set("k", answer(), seconds)

    assert kept["k"][1] == lifetime
    assert JITTER == 0.1


@pytest.mark.parametrize(
    "kept", ["", "no json", "[]", "{}", "5", '{"text": 5}', b"\x80\x04.", 5, object()]
)
def test_what_cannot_be_read_is_a_miss(kept):
    assert answer_cache({"k": kept}).get("k") is None


# --- End to end ------------------------------------------------------------------


@each_api
def test_the_same_question_is_asked_once(app, rows, emulator, models, api):
    emulator.script(GOOD)

    first = flask_llm.complete("Two and two?", model=models[api], cache=True)
    second = flask_llm.complete("Two and two?", model=models[api], cache=True)

    asked, found = rows()
    assert len(emulator.requests) == 1
    assert (second.text, second.usage) == (first.text, first.usage)
    assert (first.cached, second.cached) == (False, True)
    assert (second.cost_usd, second.cost_source) == (Decimal(0), "cache")
    assert (second.attempts, second.model) == (0, models[api])
    assert second.request_id not in {"", first.request_id}
    assert (asked.status, asked.saved_nanos) == ("ok", None)
    assert (found.status, found.cost_nanos) == ("cached", 0)
    assert found.saved_nanos == asked.cost_nanos > 0
    assert (found.attempts, found.request_id) == (0, second.request_id)


def test_an_answer_without_a_price_saves_nobody_knows_how_much(app, rows, emulator):
    emulator.script(GOOD)

    repeat(2, lambda: flask_llm.complete("Hi", model="openai/no-such", cache=True))

    assert [(row.cost_nanos, row.saved_nanos) for row in rows()] == [
        (None, None),
        (0, None),
    ]


def repeat(times, action):
    return [action() for _ in range(times)]


@pytest.mark.parametrize("cache", [None, False, 0])
def test_without_being_asked_to_nothing_is_kept(app, emulator, cache):
    repeat(2, lambda: flask_llm.complete("Hi", cache=cache))

    assert len(emulator.requests) == 2


@pytest.mark.parametrize("verbs", [("complete", "stream"), ("stream", "complete")])
@each_api
def test_streams_and_whole_answers_share_what_is_kept(
    app, rows, emulator, models, api, verbs
):
    emulator.script(GOOD)

    said = [ask(verb, model=models[api], cache=True) for verb in verbs]

    assert said == ["Four.", "Four."]
    assert len(emulator.requests) == 1
    streamed = [verb == "stream" for verb in verbs]
    assert [(row.status, row.streamed) for row in rows()] == list(
        zip(["ok", "cached"], streamed, strict=True)
    )


def ask(verb, **options):
    answer = getattr(flask_llm, verb)("Hi", **options)
    if verb == "complete":
        return answer.text
    with answer:
        return "".join(piece.text for piece in answer)


def test_a_kept_answer_replays_as_a_stream(app, emulator, models):
    emulator.script(Answer(text="Four.", reasoning="Two, and two."))
    options = {"model": models["anthropic"], "cache": True}
    first = flask_llm.stream("Hi", **options)
    list(first)

    stream = flask_llm.stream("Hi", **options)
    pieces = list(stream)

    assert "".join(piece.text for piece in pieces) == "Four."
    assert "".join(piece.reasoning for piece in pieces) == first.completion.reasoning
    assert stream.completion.cached
    assert stream.completion.cost_usd == 0


@each_api
@pytest.mark.parametrize("verb", ["complete", "stream"])
@pytest.mark.parametrize(
    "scripted",
    [
        Answer(text="Four and", finish_reason="length"),
        Answer(refusal="I would rather not."),
        Answer(tool_calls=[{"name": "add", "arguments": {}}]),
    ],
    ids=["truncated", "refused", "tool"],
)
def test_what_is_no_final_answer_is_asked_again(
    app, emulator, models, api, verb, scripted
):
    emulator.script(scripted, GOOD)
    options = {"model": models[api], "cache": True, "tools": [Tool("add")]}

    ask(verb, **options)
    again = ask(verb, **options)

    assert (again, len(emulator.requests)) == ("Four.", 2)


def test_a_stream_left_early_is_not_kept(app, emulator):
    emulator.script(Answer(text="a b c", chunks=3, interval_seconds=0.05), GOOD)

    with flask_llm.stream("Hi", cache=True) as stream:
        next(stream)
    again = ask("complete", cache=True)

    assert again == "Four."


def test_a_failure_is_not_kept(app, emulator):
    emulator.script(Fault(status=400), GOOD)

    with pytest.raises(flask_llm.InvalidRequestError):
        ask("complete", cache=True)

    assert ask("complete", cache=True) == "Four."


def test_users_do_not_see_one_anothers_answers(app, emulator):
    emulator.script(GOOD, Answer(text="Five."))

    ada = flask_llm.complete("Hi", user="ada", cache=True)
    bob = flask_llm.complete("Hi", user="bob", cache=True)

    assert (ada.text, bob.text, bob.cached) == ("Four.", "Five.", False)


def test_an_app_may_share_its_answers(make_app, emulator):
    app = make_app(LLM_CACHE_SCOPE="app")
    emulator.script(GOOD)

    with app.app_context():
        flask_llm.complete("Hi", user="ada", cache=True)
        bob = flask_llm.complete("Hi", user="bob", cache=True)

    assert bob.cached


def test_a_kept_answer_takes_no_slot(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)

    with app.app_context():
        flask_llm.complete("Hi", cache=True)
        with flask_llm.stream("Other"):
            found = flask_llm.complete("Hi", cache=True, timeout=0.1)

    assert found.cached


def test_the_apps_own_cache_is_left_alone(make_app, emulator):
    app = make_app(register=False, CACHE_TYPE="SimpleCache")
    cache = Cache(app)
    app.register_blueprint(flask_llm.llm_bp)

    with app.app_context():
        cache.set("mine", {"a": 1})
        flask_llm.complete("Hi", cache=True)
        mine = cache.get("mine")
        cache.clear()
        found = flask_llm.complete("Hi", cache=True)

    assert mine == {"a": 1}
    assert found.cached


# --- Redis -----------------------------------------------------------------------


def test_redis_keeps_json_for_a_day_less_chance(make_app, emulator, redis_url):
    app = make_app(LLM_REDIS_URL=redis_url)
    emulator.script(GOOD)

    with app.app_context():
        flask_llm.complete("Two and two?", cache=True)

    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys()
        value, seconds = client.get(key), client.ttl(key)
    kept = json.loads(value)
    assert re.fullmatch(rb"llm:answer:[0-9a-f]{64}", key)
    assert 0.9 * 86_400 - 60 <= seconds <= 86_400
    assert (kept["text"], kept["cost_usd"]) == ("Four.", "0.00027")
    assert b"Two and two" not in value


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [({"cache": 100}, 80, 100), ({"cache": True}, 40, 50)],
)
def test_a_call_may_say_how_long(make_app, emulator, redis_url, options, least, most):
    app = make_app(LLM_REDIS_URL=redis_url, LLM_CACHE_TTL=50)

    with app.app_context():
        flask_llm.complete("Hi", **options)

    with redis.Redis.from_url(redis_url) as client:
        assert least <= client.ttl(client.keys()[0]) <= most


def test_apps_of_one_secret_share_redis(make_app, emulator, redis_url):
    first, second = (make_app(LLM_REDIS_URL=redis_url) for _ in range(2))

    answers = [ask_in(app) for app in (first, second)]

    assert [answer.cached for answer in answers] == [False, True]
    assert [row.status for row in read_rows(second)] == ["cached"]


def ask_in(app):
    with app.app_context():
        return flask_llm.complete("Hi", cache=True)


def test_apps_of_other_secrets_do_not(make_app, emulator, redis_url):
    first = make_app(LLM_REDIS_URL=redis_url)
    second = make_app(LLM_REDIS_URL=redis_url, SECRET_KEY="other")

    answers = [ask_in(app) for app in (first, second)]

    assert [answer.cached for answer in answers] == [False, False]


@pytest.mark.parametrize(
    "planted", [b"\x80\x04\x95.", b"{", b"", b"null", b"\xff\xfe", b'{"text": "x"}']
)
def test_what_somebody_else_wrote_there_is_a_miss(
    make_app, emulator, redis_url, planted
):
    app = make_app(LLM_REDIS_URL=redis_url)
    ask_in(app)
    with redis.Redis.from_url(redis_url) as client:
        client.set(client.keys()[0], planted)

    answer = ask_in(app)

    assert not answer.cached
    assert len(emulator.requests) == 2


def test_a_redis_that_is_down_costs_nobody_an_answer(make_app, emulator, caplog):
    app = make_app(LLM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    answers = repeat(2, lambda: ask_in(app))

    logged = [r for r in caplog.records if "answer cache cannot" in r.getMessage()]
    assert [answer.cached for answer in answers] == [False, False]
    assert [row.status for row in read_rows(app)] == ["ok", "ok"]
    assert {record.levelno for record in logged} == {logging.WARNING}
    assert len(logged) == 4


def test_the_hosts_own_cache_settings_are_none_of_ours(make_app):
    app = make_app(
        CACHE_TYPE="RedisCache",
        CACHE_ARGS=["a"],
        CACHE_OPTIONS={"db": 3},
        CACHE_KEY_PREFIX="host:",
    )

    with app.app_context():
        flask_llm.complete("Hi", cache=True)
        again = flask_llm.complete("Hi", cache=True)

    assert again.cached
    assert "cache" not in app.extensions
