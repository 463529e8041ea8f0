"""The breaker: who keeps failing is left alone, by all workers, and tried again."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from engines import redis_server
from sockets import free_port, wait_until
from test_keys import Clock

from flask_llm.errors import (
    AuthenticationError,
    ConnectionFailed,
    ContentFilteredError,
    DeadlineExceeded,
    InvalidRequestError,
    LLMError,
    NotFoundError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitError,
    ReadTimeout,
    ResponseError,
    SchemaError,
    ServerError,
    StreamInterrupted,
)
from flask_llm.guards.breaker import Breaker
from flask_llm.guards.shared import Shared
from flask_llm.providers import Provider

PROVIDER = Provider(name="p", base_url="http://127.0.0.1:1")
OTHER = Provider(name="q", base_url="http://127.0.0.1:1")
BROKEN = ServerError("It broke.", status=500)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["alone", "redis"])
def shared(request):
    """None for a process by itself, else Redis."""
    if request.param == "alone":
        yield None
        return
    shared = Shared(request.getfixturevalue("redis_url"))
    yield shared
    shared.close()


def passes(breaker, provider=PROVIDER):
    try:
        breaker.check(provider)
    except OverloadedError:
        return False
    return True


def fail(breaker, times=1, error=BROKEN):
    for _ in range(times):
        breaker.note(PROVIDER, error)


def opened(shared, **options):
    """Make a breaker that has just opened."""
    breaker = Breaker(shared, **{"failures": 2, "seconds": 30.0} | options)
    fail(breaker, 2)
    return breaker


def test_so_many_failures_in_a_row_open_it(shared):
    breaker = Breaker(shared, failures=3, seconds=30)
    fail(breaker, 2)
    before = passes(breaker)

    fail(breaker)

    assert (before, passes(breaker)) == (True, False)
    assert passes(breaker, OTHER)


def test_a_refusal_says_what_happened_and_what_to_do(shared):
    breaker = opened(shared)

    with pytest.raises(OverloadedError) as raised:
        breaker.check(PROVIDER)

    assert str(raised.value).startswith(
        "p failed 2 times in a row and is left alone for another 30 s: "
    )
    assert "LLM_FALLBACKS" in str(raised.value)
    assert (raised.value.code, raised.value.provider) == ("circuit_open", "p")
    assert raised.value.retry_after == pytest.approx(30, abs=5)


def test_a_success_in_between_begins_the_row_anew(shared):
    breaker = Breaker(shared, failures=2, seconds=30)

    fail(breaker)
    breaker.note(PROVIDER, None)
    fail(breaker)

    assert passes(breaker)


FAILURES = [OverloadedError, ServerError, ConnectionFailed, ReadTimeout]


@pytest.mark.parametrize("kind", FAILURES)
def test_failures_of_the_provider_count(kind):
    breaker = Breaker(None, failures=1, seconds=30)

    fail(breaker, error=kind("It failed."))

    assert not passes(breaker)


NEITHER = [
    RateLimitError("Slower.", status=429),
    QuotaExhaustedError("Pay.", status=402),
    InvalidRequestError("Seen before it was sent."),
    ResponseError("What is that?"),
    StreamInterrupted("It broke off."),
    DeadlineExceeded("No slot."),
    OverloadedError("Left alone.", code="circuit_open"),
    KeyboardInterrupt(),
    GeneratorExit(),
]


@pytest.mark.parametrize("error", NEITHER, ids=lambda error: type(error).__name__)
def test_what_says_nothing_counts_as_neither(error):
    breaker = Breaker(None, failures=2, seconds=30)

    fail(breaker)
    fail(breaker, 5, error)
    before = passes(breaker)
    fail(breaker)

    assert (before, passes(breaker)) == (True, False)


SIGNS_OF_LIFE = [
    InvalidRequestError("No.", status=400),
    AuthenticationError("Who?", status=401),
    NotFoundError("Where?", status=404),
    ContentFilteredError("Never.", status=400),
    SchemaError("It does not fit."),
]


@pytest.mark.parametrize("error", SIGNS_OF_LIFE, ids=lambda error: type(error).__name__)
def test_whoever_refuses_is_alive(error):
    breaker = Breaker(None, failures=2, seconds=30)

    fail(breaker)
    fail(breaker, 1, error)
    fail(breaker)

    assert passes(breaker)


def test_no_failures_allowed_for_means_never(shared):
    breaker = Breaker(shared, failures=0, seconds=30)

    fail(breaker, 20)

    assert passes(breaker)
    assert breaker.state(PROVIDER).state == "closed"


def test_after_its_time_one_caller_is_let_through(clock):
    breaker = opened(None, clock=clock)

    clock.now += 31

    assert [passes(breaker) for _ in range(5)] == [True, False, False, False, False]


def test_the_success_of_the_trial_closes_it(clock):
    breaker = opened(None, clock=clock)
    clock.now += 31
    breaker.check(PROVIDER)

    breaker.note(PROVIDER, None)

    assert all(passes(breaker) for _ in range(5))
    assert breaker.state(PROVIDER).failures == 0


def test_the_failure_of_the_trial_opens_it_again(clock):
    breaker = opened(None, clock=clock)
    clock.now += 31
    breaker.check(PROVIDER)

    fail(breaker)
    clock.now += 29
    before = passes(breaker)
    clock.now += 2

    assert (before, passes(breaker)) == (False, True)


def test_a_trial_of_which_nothing_is_heard_gives_way_to_another(clock):
    breaker = opened(None, clock=clock)
    clock.now += 31
    breaker.check(PROVIDER)

    clock.now += 29
    before = passes(breaker)
    clock.now += 2

    assert (before, passes(breaker)) == (False, True)


def test_calls_under_way_when_it_opened_change_nothing(shared):
    breaker = opened(shared)

    fail(breaker, 5)
    breaker.note(PROVIDER, None)

    assert not passes(breaker)
    assert breaker.state(PROVIDER).failures == 2


def test_failures_far_apart_are_not_in_a_row(clock):
    breaker = Breaker(None, failures=2, seconds=30, clock=clock)

    fail(breaker)
    clock.now += 601
    fail(breaker)

    assert passes(breaker)


def test_the_state_can_be_read_without_taking_the_trial(clock):
    breaker = Breaker(None, failures=2, seconds=30, clock=clock)
    states = [breaker.state(PROVIDER)]

    fail(breaker)
    states.append(breaker.state(PROVIDER))
    fail(breaker)
    states.append(breaker.state(PROVIDER))
    clock.now += 31
    states.append(breaker.state(PROVIDER))

    assert [(each.state, each.failures, each.seconds) for each in states] == [
        ("closed", 0, 0),
        ("closed", 1, 0),
        ("open", 2, 30),
        ("half_open", 2, 0),
    ]
    assert passes(breaker)


def test_racing_threads_make_one_trial(shared):
    breaker = opened(shared, seconds=0.3)
    wait_until(lambda: breaker.state(PROVIDER).state == "half_open")
    start = threading.Barrier(16)

    def race(_):
        start.wait()
        return passes(breaker)

    with ThreadPoolExecutor(16) as pool:
        passed = list(pool.map(race, range(16)))

    assert sum(passed) == 1


# --- Over several workers --------------------------------------------------------


@pytest.fixture
def workers(redis_url):
    """Make breakers that meet in Redis, each with connections of its own."""
    made = []

    def make(count, **options):
        for _ in range(count):
            shared = Shared(redis_url)
            options = {"failures": 4, "seconds": 30.0} | options
            made.append((Breaker(shared, **options), shared))
        return [breaker for breaker, _ in made]

    yield make
    for _, shared in made:
        shared.close()


def test_workers_count_failures_together(workers):
    breakers = workers(4)

    for breaker in breakers:
        fail(breaker)

    assert [breaker.state(PROVIDER).failures for breaker in breakers] == [4] * 4
    assert not passes(breakers[3])
    assert wait_until(lambda: not any(map(passes, breakers)))


def test_the_success_of_one_workers_trial_lets_all_through(workers):
    breakers = workers(3, seconds=0.3)
    fail(breakers[0], 4)
    assert wait_until(lambda: breakers[1].state(PROVIDER).state == "half_open", 20)

    trials = [passes(breaker) for breaker in breakers]
    breakers[trials.index(True)].note(PROVIDER, None)

    assert sum(trials) == 1
    assert wait_until(lambda: all(map(passes, breakers)))


def test_a_worker_that_died_with_the_trial_does_not_keep_it_shut(workers):
    first, second = workers(2, seconds=0.3)
    fail(first, 4)
    assert wait_until(lambda: passes(first))

    assert wait_until(lambda: passes(second))


def test_a_closed_circuit_costs_one_look_a_second(tmp_path):
    clock = Clock()
    with redis_server(tmp_path) as redis:
        shared = Shared(redis.url)
        breaker = Breaker(shared, failures=4, seconds=30, clock=clock)
        breaker.check(PROVIDER)  # sends the script, once and for all
        shared.client.config_resetstat()
        for _ in range(250):
            breaker.check(PROVIDER)
            breaker.note(PROVIDER, None)
            clock.now += 0.01
        commands = shared.client.info("commandstats")
        shared.close()

    assert commands["cmdstat_evalsha"]["calls"] == 2


def test_what_is_kept_in_redis_ends_by_itself(workers):
    (breaker,) = workers(1)

    fail(breaker, 4)

    client = breaker._shared.client
    assert client.keys() == [b"llm:breaker:p"]
    assert 0 < client.pttl("llm:breaker:p") <= 600_000


def work(url):
    """Fail twice, wait for it to open, and count the trials that were got."""
    breaker = Breaker(Shared(url), failures=8, seconds=3.0)
    for _ in range(2):
        breaker.note(PROVIDER, BROKEN)
    opened = wait_until(lambda: breaker.state(PROVIDER).state == "open", 60)
    ends = time.monotonic() + 4.5
    trials = 0
    while opened and time.monotonic() < ends:
        trials += passes(breaker)
        time.sleep(0.005)
    return trials, breaker.state(PROVIDER).failures


def test_four_processes_open_it_together_and_make_one_trial(redis_url):
    spawn = multiprocessing.get_context("spawn")

    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        found = list(pool.map(work, [redis_url] * 4))

    trials, failures = zip(*found, strict=True)
    assert failures == (8,) * 4
    assert sum(trials) == 1


def test_without_redis_each_process_goes_by_what_it_knows():
    shared = Shared(f"redis://127.0.0.1:{free_port()}/0")

    breaker = opened(shared, seconds=0.3)

    assert not passes(breaker)
    assert breaker.state(PROVIDER).state == "open"
    assert wait_until(lambda: passes(breaker))
    assert not passes(breaker)
    breaker.note(PROVIDER, None)
    assert passes(breaker)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_forked_while_the_lock_is_held_is_not_stuck():
    breaker = opened(None)

    with breaker._lock:
        worker = os.fork()
        if worker == 0:
            signal.alarm(5)
            os._exit(1 if passes(breaker) else 0)
    _, status = os.waitpid(worker, 0)

    assert os.waitstatus_to_exitcode(status) == 0


def test_a_refusal_is_an_error_like_any_other():
    with pytest.raises(LLMError) as raised:
        opened(None).check(PROVIDER)

    assert (raised.value.is_retryable, raised.value.http_status) == (True, 503)
