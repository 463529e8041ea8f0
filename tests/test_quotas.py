"""Quotas: counted in Flask-Limiter's storage, never overshot, and given back."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from engines import redis_server
from flask import Flask
from flask_limiter import Limiter
from sockets import free_port, serving, wait_until
from test_keys import Clock

from flask_llm.chat import Message, Prompt
from flask_llm.errors import ConfigError, QuotaExceeded
from flask_llm.guards.counting import Storage
from flask_llm.guards.quotas import Quotas
from flask_llm.guards.shared import Shared
from flask_llm.settings.rules import quotas as read

REDIS_OPTIONS = {"socket_timeout": 1, "socket_connect_timeout": 1}


def prompt(**options):
    options = {"provider": "openai", "model": "m"} | options
    return Prompt(messages=(Message("user", "Hi"),), **options)


ADA = prompt(user="ada@example.com", tenant="t", feature="f")
BOB = prompt(user="bob@example.com", tenant="t", feature="f")


PLACES = ("limiter", "shared", "now")
"""What belongs to the storage."""


def make(*rules, app=None, **options):
    places = {name: options.pop(name) for name in PLACES if name in options}
    return Quotas(read(rules), Storage(app or Flask("host"), **places), **options)


def host(**options):
    """Make an app that has a Limiter of its own."""
    app = Flask("host")
    options = {"storage_uri": "memory://"} | options
    return app, Limiter(lambda: "somebody", app=app, **options)


def admitted(quotas, asked, times=1):
    return sum(passes(quotas, asked) for _ in range(times))


def passes(quotas, asked=ADA):
    try:
        quotas.check(asked)
    except QuotaExceeded:
        return False
    return True


STORAGES = ["memory", "redis", "lent-fixed", "lent-redis-fixed", "lent-moving"]


@pytest.fixture(params=STORAGES)
def storage(request):
    """Options of each place and way to count in."""
    if request.param == "memory":
        yield {}
        return
    url = request.getfixturevalue("redis_url") if "redis" in request.param else None
    if request.param == "redis":
        shared = Shared(url)
        yield {"shared": shared}
        shared.close()
        return
    strategy = "moving-window" if "moving" in request.param else "fixed-window"
    app, limiter = host(storage_uri=url or "memory://", strategy=strategy)
    yield {"app": app, "limiter": limiter}


# --- Counting --------------------------------------------------------------------


def test_so_many_calls_are_let_through(storage):
    quotas = make("3/day per user", **storage)

    assert admitted(quotas, ADA, 10) == 3
    assert admitted(quotas, BOB, 10) == 3


def test_a_refusal_names_the_quota_and_nobody(storage):
    quotas = make("1/day per user", **storage)
    quotas.check(ADA)

    with pytest.raises(QuotaExceeded) as raised:
        quotas.check(ADA)

    assert str(raised.value).startswith(
        "The quota '1/day per user' (LLM_QUOTAS) is used up by this user; "
    )
    assert "ada" not in str(raised.value)
    assert raised.value.code == "quota_exceeded"
    assert 0 < raised.value.retry_after <= 86_401


def test_a_quota_of_the_app_is_nobodys():
    quotas = make("1/day")
    quotas.check(ADA)

    with pytest.raises(QuotaExceeded, match="is used up; there is room"):
        quotas.check(BOB)


def test_there_is_room_again_when_the_refusal_said(storage):
    quotas = make("2/2 seconds", **storage)
    assert admitted(quotas, ADA, 2) == 2
    with pytest.raises(QuotaExceeded) as raised:
        quotas.check(ADA)

    assert 0 < raised.value.retry_after <= 2.5
    assert wait_until(lambda: passes(quotas), raised.value.retry_after + 3)


@pytest.mark.parametrize(
    ("scope", "alike", "unlike"),
    [
        ("app", BOB, None),
        ("user", prompt(user="ada@example.com"), BOB),
        ("user", None, prompt(user="")),
        ("tenant", BOB, prompt(tenant="u")),
        ("feature", BOB, prompt(feature="g")),
        ("provider", prompt(model="n"), prompt(provider="google")),
        ("model", prompt(user="eve"), prompt(model="n")),
        ("model", None, prompt(provider="google")),
    ],
)
def test_calls_are_counted_by_scope(scope, alike, unlike):
    quotas = make(f"1/day per {scope}")
    quotas.check(ADA)

    assert alike is None or not passes(quotas, alike)
    assert unlike is None or passes(quotas, unlike)


def test_calls_without_a_user_are_counted_together():
    quotas = make("2/day per user")

    assert admitted(quotas, prompt(), 3) == 2


def test_all_quotas_count_and_the_tightest_decides(storage):
    quotas = make("5/day", "2/day per user", **storage)

    assert admitted(quotas, ADA, 9) == 2
    assert admitted(quotas, BOB, 9) == 2
    assert admitted(quotas, prompt(user="eve"), 9) == 1


def test_only_the_scopes_asked_for_are_counted():
    quotas = make("1/day per user", "2/day per model")
    quotas.check(ADA)

    quotas.check(ADA, scopes={"model", "provider"})

    with pytest.raises(QuotaExceeded, match="by this model"):
        quotas.check(ADA, scopes={"model"})


def test_a_quota_written_twice_counts_once():
    quotas = make("2/minute per user", "2 per minute per user", "2 per 1 minute")

    assert admitted(quotas, ADA, 9) == 2


def test_without_quotas_every_call_passes():
    assert admitted(make(), ADA, 9) == 9


# --- Giving back -----------------------------------------------------------------


GIVING = pytest.mark.parametrize("storage", STORAGES[:4], indirect=True)


@GIVING
def test_what_was_taken_is_given_back(storage):
    quotas = make("1/day per user", "1/day per tenant", **storage)

    quotas.check(ADA).refund()

    assert admitted(quotas, ADA, 3) == 1


@GIVING
def test_giving_back_twice_gives_once(storage):
    quotas = make("2/day", **storage)
    taken = quotas.check(ADA)
    quotas.check(ADA)

    taken.refund()
    taken.refund()

    assert admitted(quotas, ADA, 3) == 1


@pytest.mark.parametrize("storage", ["lent-moving"], indirect=True)
def test_a_moving_window_gives_nothing_back(storage):
    quotas = make("2/day", **storage)

    quotas.check(ADA).refund()

    assert admitted(quotas, ADA, 3) == 1


def test_a_refused_call_eats_nothing_of_other_quotas(storage):
    quotas = make("5/day per tenant", "1/day per user", **storage)

    assert admitted(quotas, ADA, 9) == 1
    assert admitted(quotas, BOB, 9) == 1
    assert sum(passes(quotas, prompt(user=f"u{i}", tenant="t")) for i in range(9)) == 3


@pytest.mark.parametrize("storage", ["lent-fixed", "lent-redis-fixed"], indirect=True)
def test_nothing_is_given_back_into_the_next_window(storage):
    quotas = make("1/2 seconds", **storage)
    taken = quotas.check(ADA)
    assert wait_until(lambda: passes(quotas), 10)

    taken.refund()

    assert not passes(quotas)


def test_giving_back_to_a_storage_that_went_down_is_let_be(tmp_path):
    with redis_server(tmp_path) as redis:
        quotas = make("1/day", shared=Shared(redis.url))
        taken = quotas.check(ADA)

    taken.refund()
    taken.refund()


# --- Racing ----------------------------------------------------------------------


def race(quotas, asked, threads=50):
    start = threading.Barrier(threads)

    def one(_):
        start.wait()
        return passes(quotas, asked)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, range(threads)))


def test_racing_threads_never_overshoot(storage):
    quotas = make("20/day per user", **storage)

    assert race(quotas, ADA) == 20
    assert not passes(quotas)


@GIVING
def test_racing_threads_overshoot_none_of_several_quotas(storage):
    quotas = make("30/day", "20/day per user", **storage)

    first = race(quotas, ADA)
    rest = admitted(quotas, ADA, 30) + admitted(quotas, BOB, 30)

    assert first <= 20
    assert first + rest == 30


def work(url):
    shared = Shared(url)
    found = race(make("20/day per user", shared=shared), ADA, 16)
    shared.close()
    return found


def test_four_processes_share_one_quota(redis_url):
    spawn = multiprocessing.get_context("spawn")

    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        found = list(pool.map(work, [redis_url] * 4))

    assert sum(found) == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_counts_by_itself_and_is_not_stuck():
    quotas = make("2/day")
    quotas.check(ADA)

    storage = quotas._storage
    with storage._lock, storage._found._lock:
        worker = os.fork()
        if worker == 0:
            signal.alarm(10)
            os._exit(0 if admitted(quotas, ADA, 5) == 2 else 1)
    _, status = os.waitpid(worker, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert admitted(quotas, ADA, 5) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_shares_the_quota_in_redis(redis_url):
    shared = Shared(redis_url)
    quotas = make("3/day", shared=shared)
    quotas.check(ADA)

    worker = os.fork()
    if worker == 0:
        signal.alarm(10)
        os._exit(0 if admitted(quotas, ADA) == 1 else 1)
    _, status = os.waitpid(worker, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert admitted(quotas, ADA, 5) == 1
    shared.close()


# --- What is stored --------------------------------------------------------------


def test_no_name_stands_in_the_storage(redis_url):
    shared = Shared(redis_url)
    quotas = make("5/day per user", "5/day per model", shared=shared)

    quotas.check(ADA)

    keys = [key.decode() for key in shared.client.scan_iter("*")]
    assert len(keys) == 2
    assert all(key.startswith("llm:quota:{llm/") for key in keys)
    assert not any("ada" in key or "openai" in key for key in keys)
    assert all(0 < shared.client.ttl(key) <= 2 * 86_400 for key in keys)
    shared.close()


def test_our_keys_in_a_storage_that_is_lent_stand_apart(redis_url):
    app, limiter = host(storage_uri=redis_url)

    make("5/day per user", app=app, limiter=limiter).check(ADA)

    keys = Shared(redis_url).client.keys()
    assert [key.startswith(b"LIMITS:llm/user/") for key in keys] == [True]


@pytest.mark.parametrize("other", ["a/5/1/day", "a/", "A", "a\n", "a:b", "{a}"])
def test_no_two_users_share_a_key(other):
    quotas = make("1/day per user")
    quotas.check(prompt(user="a"))

    assert passes(quotas, prompt(user=other))


# --- The storage down ------------------------------------------------------------

MEANWHILE = [
    ("local", 2, "each process counts by itself"),
    ("allow", 9, "all calls are allowed"),
    ("deny", 0, "all calls are refused"),
]


@pytest.fixture(params=["own", "lent"])
def at_port(request):
    """Make quotas that count in the Redis at a port."""

    def at_port(port, *rules, **options):
        url = f"redis://127.0.0.1:{port}/0"
        if request.param == "own":
            return make(*rules, shared=Shared(url), **options)
        app, limiter = host(storage_uri=url, storage_options=REDIS_OPTIONS)
        return make(*rules, app=app, limiter=limiter, **options)

    return at_port


@pytest.mark.parametrize(("storage_down", "count", "words"), MEANWHILE)
def test_what_happens_while_the_storage_is_down(
    at_port, caplog, storage_down, count, words
):
    quotas = at_port(free_port(), "2/day per user", storage_down=storage_down)
    caplog.set_level(logging.WARNING, "flask_llm")

    assert admitted(quotas, ADA, 9) == count
    (line,) = caplog.messages
    assert line == (
        f"The storage of quotas cannot be reached (ConnectionError): until it is back, "
        f"{words}."
    )


def test_a_denial_says_why_and_how_long(at_port):
    quotas = at_port(free_port(), "2/day", storage_down="deny")

    with pytest.raises(QuotaExceeded, match="LLM_STORAGE_DOWN") as raised:
        quotas.check(ADA)

    assert raised.value.code == "quota_storage_down"
    assert 0 < raised.value.retry_after <= 5
    assert raised.value.__context__ is None


def test_a_storage_that_stops_and_comes_back(at_port, caplog, tmp_path):
    caplog.set_level(logging.WARNING, "flask_llm")
    clock = Clock()
    with redis_server(tmp_path) as redis:
        quotas = at_port(redis.port, "3/day per user", clock=clock)
        counts = [admitted(quotas, ADA, 2)]
        redis.stop()
        counts.append(admitted(quotas, ADA, 9))
        clock.now += 6
        counts.append(admitted(quotas, ADA, 9))
        redis.start()
        counts.append(admitted(quotas, ADA, 9))
        clock.now += 6
        counts.append(admitted(quotas, ADA, 9))

    assert counts == [2, 3, 0, 0, 3]
    assert [message.partition(" (")[0] for message in caplog.messages] == [
        "The storage of quotas cannot be reached",
        "The storage of quotas is back.",
    ]


def test_a_storage_that_is_started_anew_is_not_noticed(caplog, tmp_path):
    with redis_server(tmp_path) as redis:
        quotas = make("3/day per user", shared=Shared(redis.url))
        quotas.check(ADA)
        redis.restart()
        quotas.check(ADA)

    assert caplog.messages == []


def test_a_storage_that_hangs_is_waited_for_briefly_and_by_few(at_port):
    with serving(lambda hung, _: hung.closing.wait(60)) as hung:
        quotas = at_port(hung.port, "3/day per user")

        began = time.monotonic()
        first = passes(quotas)
        middle = time.monotonic()
        others = race(quotas, ADA, 16)
        ended = time.monotonic()

    assert (first, others) == (True, 2)
    assert middle - began < 8
    assert ended - middle < 0.9


def test_the_end_of_an_outage_is_found_out_by_one_caller(at_port):
    clock = Clock()
    with serving(lambda hung, _: hung.closing.wait(60)) as hung:
        quotas = at_port(hung.port, "3/day per user", clock=clock)
        quotas.check(ADA)
        before = hung.accepted
        clock.now += 6
        race(quotas, ADA, 16)

        assert hung.accepted - before <= 2


def test_a_call_from_before_an_outage_does_not_end_it(caplog):
    clock = Clock()
    quotas = make("3/day", clock=clock)
    began = clock.now
    clock.now += 1
    quotas._outage.failed(ConnectionError())

    quotas._outage.ended(began)

    assert not quotas._outage.is_over()
    assert len(caplog.messages) == 1


# --- The host's Limiter ----------------------------------------------------------


def test_the_only_limiter_of_the_app_is_found_even_where_it_comes_later():
    app = Flask("host")
    quotas = make("2/day", app=app, limiter=True)
    limiter = Limiter(lambda: "somebody", app=app, storage_uri="memory://")

    quotas.check(ADA)

    assert [key[:8] for key in limiter.storage.storage] == ["llm/app/"]


def several():
    app, _ = host()
    Limiter(lambda: "somebody", app=app, storage_uri="memory://")
    return {"app": app, "limiter": True}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (several, "LLM_LIMITER=True: the app has 2 Limiters"),
        (lambda: {"limiter": True}, "LLM_LIMITER=True: the app has no Limiters"),
        (lambda: {"limiter": Limiter(str)}, "did you forget limiter.init_app"),
        (lambda: {"limiter": "mine"}, "LLM_LIMITER is a Limiter or True, not str"),
    ],
)
def test_a_limiter_that_cannot_be_found_is_named(options, words):
    quotas = make("2/day", **options())

    with pytest.raises(ConfigError, match=words):
        quotas.check(ADA)


@pytest.mark.parametrize("named", [True, False], ids=["itself", "the-only-one"])
def test_a_limiter_that_is_switched_off_lends_nothing_and_quotas_count(named):
    app = Flask("host")
    app.config["RATELIMIT_ENABLED"] = False
    limiter = Limiter(lambda: "somebody", app=app)
    quotas = make("2/day", app=app, limiter=limiter if named else True)

    assert admitted(quotas, ADA, 9) == 2


def limited_app():
    app, limiter = host(
        default_limits=["3/day"], headers_enabled=True, strategy="fixed-window"
    )

    @app.get("/")
    def index():
        return "fine"

    return app, limiter


def hooks(app):
    functions = (app.before_request_funcs, app.after_request_funcs)
    functions += (app.teardown_request_funcs, app.error_handler_spec)
    return [
        {name: [*map(str, each)] for name, each in found.items()} for found in functions
    ], set(app.extensions.get("limiter", ()))


def seen(app):
    answers = [app.test_client().get("/") for _ in range(5)]
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining")
    return [
        (answer.status_code, *(answer.headers.get(name) for name in names))
        for answer in answers
    ]


@pytest.mark.parametrize("borrow", [True, False], ids=["lent", "own"])
def test_the_hosts_limits_headers_and_hooks_are_as_they_were(borrow):
    plain, _ = limited_app()
    app, limiter = limited_app()
    before = hooks(app)
    quotas = make("2/day", app=app, limiter=limiter if borrow else None)

    with app.test_request_context("/"):
        assert admitted(quotas, ADA, 9) == 2

    assert hooks(app) == before
    assert seen(app) == seen(plain)
    assert seen(plain)[-1][0] == 429
    assert not passes(quotas)


# --- What it costs ---------------------------------------------------------------

PROBE = """
import sys, threading
from flask import Flask
from flask_llm.chat import Message, Prompt
from flask_llm.guards.counting import Storage
from flask_llm.guards.quotas import Quotas
from flask_llm.guards.shared import Shared
from flask_llm.settings.rules import quotas

prompt = Prompt(provider="p", model="m", messages=(Message("user", "Hi"),))
started = []
threading.Thread.start = lambda thread, start=threading.Thread.start: (
    started.append(thread), start(thread)
)
Quotas((), Storage(Flask("host"))).check(prompt)
made = Quotas(quotas("2/day"), Storage(Flask("host"), shared={shared}))
print("flask_limiter" in sys.modules, len(started))
made.check(prompt)
print("flask_limiter" in sys.modules, len(started))
"""


@pytest.mark.parametrize(
    ("shared", "loaded"), [("None", "False"), ("Shared('redis://127.0.0.1:1')", "True")]
)
def test_flask_limiter_is_loaded_for_calls_that_it_counts(shared, loaded):
    probe = PROBE.format(shared=shared)

    found = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    )

    assert found.stdout.split() == ["False", "0", loaded, "0"]
