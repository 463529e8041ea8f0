"""The answer cache: whose answer, to which question, for how long, what it saves."""

import hashlib
import json
import logging
import os
import pickle
import re
import struct
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from conftest import read_rows
from flask import Flask
from flask_caching import Cache
from flask_caching.backends import FileSystemCache, NullCache
from hypothesis import given
from hypothesis import strategies as st
from sockets import free_port, serving

import flask_llm
from flask_llm import Message, Tool
from flask_llm.chat import Completion, Image, Prompt, Text, ToolCall, Usage
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import ConfigError
from flask_llm.guards.cache import JITTER, AnswerCache, backend
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
        {"headers": {"OpenAI-Project": "other"}},
    ],
    ids=str,
)
def test_another_server_is_another_key(change):
    row = {"name": "openai", "base_url": "https://api.openai.com/v1"} | change

    assert key_of(provider=Provider(**row)) != key_of()


options = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["gpt-4o", "gpt-4o-mini"]),
        "system": st.text(min_size=1, max_size=9),
        "max_tokens": st.integers(1, 999),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "seed": st.integers(0, 999),
        "stop": st.tuples(st.text(min_size=1, max_size=3)),
        "extra": st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    },
)
names = st.none() | st.sampled_from(["", "None", "null", "[]", "ada"])
whom = st.tuples(names, names)


def sent(changes):
    prompt = Prompt(**PLAIN | changes)
    return PROTOCOLS[OPENAI.protocol].render(prompt, OPENAI, stream=False).body


@given(options, options)
def test_options_that_send_something_else_have_another_key(one, other):
    same = json.dumps(sent(one), sort_keys=True) == json.dumps(
        sent(other), sort_keys=True
    )

    assert (key_of(**one) == key_of(**other)) is same


@given(whom, whom)
def test_no_two_people_have_the_same_key(one, other):
    keys = [key_of(tenant=tenant, user=user) for tenant, user in (one, other)]

    assert (keys[0] == keys[1]) is (one == other)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=9,
)


@given(st.dictionaries(st.text(max_size=3), json_values))
def test_the_order_of_a_dict_does_not_matter(extra):
    assert key_of(extra=backwards(extra)) == key_of(extra=extra)


def backwards(value):
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


def test_names_that_are_no_strings_are_those_that_are_sent():
    mixed = {"logit_bias": {50256: -100, "a": 1}}

    assert key_of(extra=mixed) == key_of(extra={"logit_bias": {"a": 1, "50256": -100}})


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
        {"content": (Text(" \n"),)},
        {"content": (Text("Four."), ToolCall("c1", "add", {}, "{}"))},
        {"content": (Text("Four."), Image(data=b"\x89PNG\r\n\x1a\n"))},
        {"refusal": "I would rather not."},
        {"cached": True},
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


KEPT = {
    "texts": ["Four."],
    "usage": {"input_tokens": 9, "source": "provider"},
    "cost_usd": "0.1",
    "reasoning": None,
    "finish_reason": "stop",
    "raw_finish_reason": None,
    "service_tier": None,
    "served_model": None,
    "response_id": None,
}


def test_what_is_kept_is_this():
    found = answer_cache({"k": json.dumps(KEPT)}).get("k")

    assert (found.text, found.usage.input_tokens) == ("Four.", 9)


@pytest.mark.parametrize(
    "changes",
    [
        {"texts": "Four."},
        {"texts": [""]},
        {"usage": None},
        {"usage": {}},
        {"usage": {"input_tokens": "9", "source": "provider"}},
        {"usage": {"input_tokens": True, "source": "provider"}},
        {"usage": {"input_tokens": -9, "source": "provider"}},
        {"usage": {"source": 5}},
        {"usage": {"source": "provider", "gold": 5}},
        {"cost_usd": 0.1},
        {"cost_usd": "NaN"},
        {"cost_usd": "-1"},
        {"cost_usd": "much"},
        {"reasoning": {"a": 1}},
        {"finish_reason": "length"},
        {"finish_reason": None},
    ],
    ids=str,
)
def test_an_answer_of_another_shape_is_a_miss(changes):
    assert answer_cache({"k": json.dumps(KEPT | changes)}).get("k") is None


def test_an_answer_without_end_is_a_miss():
    assert answer_cache({"k": "[" * 100_000}).get("k") is None


# --- Back ends -------------------------------------------------------------------


OWN = ["SimpleCache", "FileSystemCache", "NullCache", "RedisCache"]


@pytest.fixture(params=OWN)
def settings(request, tmp_path):
    """LLM_CACHE for each back end of ours."""
    found = {"CACHE_TYPE": request.param}
    if request.param == "FileSystemCache":
        found["CACHE_DIR"] = str(tmp_path / "answers")
    if request.param == "RedisCache":
        found["CACHE_REDIS_URL"] = request.getfixturevalue("redis_url")
    return found


def test_each_back_end_keeps_answers_as_text(settings):
    cache = answer_cache(backend(None, given=settings))

    cache.set("k", answer(), 60)
    found = cache.get("k")

    if settings["CACHE_TYPE"] == "NullCache":
        assert found is None
    else:
        assert (found.text, found.cost_usd) == ("Four.", Decimal("0.00123"))


class Bomb:
    """What goes off when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def plant(kept, settings, key, value):
    """Write bytes into a back end, past its serializer."""
    match settings["CACHE_TYPE"]:
        case "SimpleCache":
            kept.make()._cache[key] = (0, value)
        case "FileSystemCache":
            name = hashlib.sha256(key.encode()).hexdigest()
            path = Path(settings["CACHE_DIR"], name)
            path.write_bytes(struct.pack("I", 0) + value)
        case "RedisCache":
            with redis.Redis.from_url(settings["CACHE_REDIS_URL"]) as client:
                client.set(f"llm:answer:{key}", value)


def test_what_is_planted_in_a_back_end_is_what_is_read(settings):
    kept = backend(None, given=settings)

    plant(kept, settings, "k", json.dumps(KEPT).encode())

    found = answer_cache(kept).get("k")
    assert bool(found) is (settings["CACHE_TYPE"] != "NullCache")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("before", [b"", b"!"])
def test_a_pickle_in_a_back_end_is_a_miss_and_runs_nothing(
    settings, tmp_path, protocol, before
):
    bomb = pickle.dumps(Bomb(tmp_path / "went-off"), protocol)
    kept = backend(None, given=settings)
    cache = answer_cache(kept)

    plant(kept, settings, "k", before + bomb)

    assert cache.get("k") is None
    assert not (tmp_path / "went-off").exists()
    pickle.loads(bomb).close()
    assert (tmp_path / "went-off").exists()


@pytest.mark.parametrize(
    "planted", [b"", b"5", b"{", b"\xff{", b"9" * 5000, b"[]", b'{"text": "\xc3"}']
)
def test_garbage_in_a_back_end_is_a_miss(settings, caplog, planted):
    kept = backend(None, given=settings)
    plant(kept, settings, "k", planted)

    assert answer_cache(kept).get("k") is None
    assert caplog.records == []


def files_of(folder):
    return [path for path in Path(folder).iterdir() if path.is_file()]


@pytest.mark.parametrize("before", [None, pickle.dumps(7), b"c\nc\n", b"no number"])
def test_files_are_counted_and_the_oldest_given_up(tmp_path, before):
    folder = tmp_path / "answers"
    if before is not None:
        FileSystemCache(str(folder)).set("host", {"a": 1})
    given = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": str(folder)}
    kept = backend(None, given=given | {"CACHE_THRESHOLD": 5})
    if before is not None:
        plant(kept, given, FileSystemCache._fs_count_file, before)

    for number in range(20):
        answer_cache(kept).set(str(number), answer(), 60 + number)

    assert 3 <= len(files_of(folder)) <= 8
    assert answer_cache(kept).get("19").text == "Four."


def test_files_that_were_there_before_are_counted(tmp_path):
    given = {
        "CACHE_TYPE": "FileSystemCache",
        "CACHE_DIR": str(tmp_path / "answers"),
        "CACHE_THRESHOLD": 5,
    }
    kept = backend(None, given=given)
    for number in range(4):
        answer_cache(kept).set(str(number), answer(), 60 + number)

    again = backend(None, given=given)

    assert again.make()._file_count == 4


def test_redis_settings_without_an_address_mean_the_one_that_is_set(redis_url):
    kept = backend(redis_url, given={"CACHE_TYPE": "RedisCache"})

    answer_cache(kept).set("k", answer(), 60)

    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == [b"llm:answer:k"]


def test_a_back_end_may_have_a_prefix_of_its_own(redis_url):
    given = {"CACHE_TYPE": "RedisCache", "CACHE_KEY_PREFIX": "mine:"}

    answer_cache(backend(redis_url, given=given)).set("k", answer(), 60)

    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == [b"mine:k"]


def test_a_redis_that_says_nothing_is_waited_for_once_and_then_left_alone(caplog):
    with serving(lambda server, _: server.closing.wait()) as server:
        given = {
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_HOST": "127.0.0.1",
            "CACHE_REDIS_PORT": server.port,
            "CACHE_OPTIONS": {"socket_timeout": 0.1},
        }
        cache = answer_cache(backend(None, given=given))
        began = time.monotonic()

        found = [cache.get("k") for _ in range(3)]

    assert found == [None] * 3
    assert time.monotonic() - began < 2
    assert server.accepted <= 2
    (record,) = caplog.records
    assert "The cache of answers cannot be reached (TimeoutError)" in record.message


class Own(NullCache):
    """A back end that somebody else wrote."""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("RedisCache", "not str"),
        (False, "not False"),
        (5, "not int"),
        ({}, "CACHE_TYPE is missing"),
        ({"CACHE_TYPE": None}, "CACHE_TYPE is missing"),
        ({"TYPE": "SimpleCache"}, "'TYPE' is no setting"),
        ({"CACHE_TYPE": "SimplCache"}, "Did you mean 'SimpleCache'"),
        ({"CACHE_TYPE": "no.such.module"}, "no back end 'no.such.module'"),
        ({"CACHE_TYPE": "."}, "no back end"),
        ({"CACHE_TYPE": "json.loads"}, "no back end"),
        ({"CACHE_TYPE": "MemcachedCache"}, "unpickles"),
        ({"CACHE_TYPE": "FileSystemCache"}, "TypeError"),
        ({"CACHE_TYPE": "RedisCache", "CACHE_OPTIONS": 5}, "TypeError"),
        ({"CACHE_TYPE": "SimpleCache", "CACHE_SERIALIZER": 1}, "leave CACHE_SERIAL"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_with_the_cure(app, given, words):
    with pytest.raises(ConfigError, match=f"LLM_CACHE.*{words}"):
        backend(None, given=given, app=app)


def test_a_back_end_of_somebody_elses_is_named_in_full(monkeypatch):
    monkeypatch.setitem(sys.modules, "theirs", sys.modules[__name__])

    kept = backend(None, given={"CACHE_TYPE": "theirs.Own"})

    assert isinstance(kept.make(), Own)


def test_flask_caching_is_loaded_when_an_answer_is_looked_for():
    code = """
import sys
from flask_llm.guards.cache import AnswerCache, backend
cache = AnswerCache(backend(None), secret=b"", scope="app")
print("flask_caching" in sys.modules)
cache.get("k")
print("flask_caching" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.split() == ["False", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_makes_its_own_back_end():
    kept = backend(None)
    cache = answer_cache(kept)
    cache.set("k", answer(), 60)

    with kept.make()._lock:
        worker = os.fork()
        if worker == 0:
            os._exit(0 if cache.get("k") is None else 1)
    _, status = os.waitpid(worker, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert cache.get("k")


# --- The app's own Cache ---------------------------------------------------------


@pytest.fixture
def host():
    """An app with a Cache of its own."""
    app = Flask("host")
    app.config["CACHE_TYPE"] = "SimpleCache"
    return app


@pytest.mark.parametrize("named", [True, False])
def test_a_cache_of_the_apps_is_borrowed(host, named):
    theirs = Cache(host)
    cache = answer_cache(backend(None, given=theirs if named else True, app=host))

    cache.set("k", answer(), 60)

    with host.app_context():
        assert json.loads(theirs.get("llm:answer:k"))["texts"] == ["Four."]
        assert cache.get("k").text == "Four."
        theirs.clear()
    assert cache.get("k") is None


def test_a_borrowed_cache_may_be_set_up_later(host):
    theirs = Cache()
    cache = answer_cache(backend(None, given=theirs, app=host))

    theirs.init_app(host)
    cache.set("k", answer(), 60)

    assert cache.get("k")


def test_a_borrowed_cache_keeps_its_settings_and_what_it_has(host):
    theirs = Cache(host)
    there = host.extensions["cache"][theirs]
    before = vars(there).copy()
    with host.app_context():
        theirs.set("mine", {"a": 1})

    cache = answer_cache(backend(None, given=theirs, app=host))
    cache.set("k", answer(), 60)
    cache.get("k")

    assert vars(there) == before
    assert there.serializer is type(there).serializer
    with host.app_context():
        assert theirs.get("mine") == {"a": 1}


@pytest.mark.parametrize("planted", [b"{}", 5, {"text": "x"}, ["x"], Decimal(1), "x"])
def test_what_is_no_text_of_ours_in_a_borrowed_cache_is_a_miss(host, planted):
    theirs = Cache(host)
    with host.app_context():
        theirs.set("llm:answer:k", planted)

    assert answer_cache(backend(None, given=theirs, app=host)).get("k") is None


def test_a_cache_that_was_never_set_up_is_a_mistake(host):
    cache = answer_cache(backend(None, given=Cache(), app=host))

    with pytest.raises(ConfigError, match=r"LLM_CACHE.*init_app"):
        cache.get("k")


def test_the_only_cache_of_an_app_that_has_none_is_a_mistake(host):
    with pytest.raises(ConfigError, match=r"LLM_CACHE.*init_app"):
        answer_cache(backend(None, given=True, app=host)).get("k")


def test_the_only_cache_of_an_app_that_has_two_is_a_mistake(host):
    Cache(host)
    Cache(host)

    with pytest.raises(ConfigError, match=r"LLM_CACHE is True.*2"):
        answer_cache(backend(None, given=True, app=host)).get("k")


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


def test_redis_may_be_set_to_give_texts(make_app, emulator, redis_url):
    app = make_app(LLM_REDIS_URL=f"{redis_url}?decode_responses=true")

    answers = repeat(2, lambda: ask_in(app))

    assert [answer.cached for answer in answers] == [False, True]


def test_redis_keeps_json_for_a_day_less_chance(make_app, emulator, redis_url):
    app = make_app(LLM_REDIS_URL=redis_url)
    emulator.script(GOOD)

    with app.app_context():
        flask_llm.complete("Two and two?", cache=True)

    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys("llm:answer:*")
        value, seconds = client.get(key), client.ttl(key)
    kept = json.loads(value)
    assert re.fullmatch(rb"llm:answer:[0-9a-f]{64}", key)
    assert 0.9 * 86_400 - 60 <= seconds <= 86_400
    assert (kept["texts"], kept["cost_usd"]) == (["Four."], "0.00027")
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
        assert least <= client.ttl(client.keys("llm:answer:*")[0]) <= most


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
        client.set(client.keys("llm:answer:*")[0], planted)

    answer = ask_in(app)

    assert not answer.cached
    assert len(emulator.requests) == 2


def test_a_redis_that_is_down_costs_nobody_an_answer(make_app, emulator, caplog):
    app = make_app(LLM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    answers = repeat(2, lambda: ask_in(app))

    logged = [r for r in caplog.records if "cache of answers cannot" in r.getMessage()]
    assert [answer.cached for answer in answers] == [False, False]
    assert [row.status for row in read_rows(app)] == ["ok", "ok"]
    assert [record.levelno for record in logged] == [logging.WARNING]


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
