"""Pacing: in order, so many at a time, so far apart, and never past the deadline."""

import gc
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sockets import wait_until

import flask_llm
from flask_llm import signals
from flask_llm.emulator import Answer, Fault
from flask_llm.errors import DeadlineExceeded, LLMError, RateLimitError
from flask_llm.guards import Pacing, Slot
from flask_llm.guards.pacing import GRACE_SECONDS
from flask_llm.providers import Provider
from flask_llm.retry import Deadline


def provider(**options):
    options = {"min_interval": 0.0, "max_concurrent": 1} | options
    return Provider(name="p", base_url="http://127.0.0.1:1", **options)


def soon():
    return Deadline(5)


def together(actions):
    """Do several things at a time and wait for all of them."""
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def queue_up(pacing, names, served):
    """Start waiting callers one after the other; return their threads."""
    threads = []
    for name in names:

        def wait(name=name):
            with pacing.slot(provider(), soon()):
                served.append(name)

        thread = threading.Thread(target=wait)
        thread.start()
        threads.append(thread)
        line = pacing._line("p")
        wait_until(lambda: len(line._waiting) == len(threads))  # noqa: B023
    return threads


def join(threads):
    for thread in threads:
        thread.join(5)


def test_whoever_came_first_is_served_first():
    pacing, served = Pacing(), []
    slot = pacing.acquire(provider(), soon())
    threads = queue_up(pacing, "abcdefgh", served)

    slot.release()
    join(threads)

    assert served == list("abcdefgh")


def test_a_caller_that_gave_up_holds_nobody_up():
    pacing, served = Pacing(), []
    slot = pacing.acquire(provider(), soon())
    failed = []

    def give_up():
        try:
            pacing.acquire(provider(), Deadline(0.1))
        except DeadlineExceeded as error:
            failed.append(error)

    first = threading.Thread(target=give_up)
    first.start()
    wait_until(lambda: len(pacing._line("p")._waiting) == 1)
    second = threading.Thread(
        target=lambda: pacing.acquire(provider(), soon()) and served.append("second")
    )
    second.start()
    first.join()
    slot.release()
    second.join(5)

    assert (len(failed), served) == (1, ["second"])


def test_no_slot_in_time_names_the_cure():
    pacing = Pacing()
    pacing.acquire(provider(), soon())
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded, match="LLM_MAX_CONCURRENT") as raised:
        pacing.acquire(provider(), Deadline(0.1))

    assert raised.value.retry_after is None
    assert 0.09 < time.monotonic() - began < 1


def test_an_interval_beyond_the_deadline_is_not_waited_for():
    pacing = Pacing()
    pacing.acquire(provider(max_concurrent=9, min_interval=30), soon()).release()
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded) as raised:
        pacing.acquire(provider(max_concurrent=9, min_interval=30), soon())

    assert raised.value.retry_after == pytest.approx(30, abs=1)
    assert time.monotonic() - began < 1


def test_a_slot_given_back_twice_counts_once():
    pacing = Pacing()
    first = pacing.acquire(provider(max_concurrent=2), soon())
    pacing.acquire(provider(max_concurrent=2), soon())

    first.release()
    first.release()
    pacing.acquire(provider(max_concurrent=2), soon())

    with pytest.raises(DeadlineExceeded):
        pacing.acquire(provider(max_concurrent=2), Deadline(0.05))


def test_a_slot_that_nobody_gave_back_expires():
    now = [100.0]
    pacing = Pacing(clock=lambda: now[0])
    pacing.acquire(provider(), Deadline(5, clock=lambda: now[0]))

    now[0] += 5 + GRACE_SECONDS - 1
    with pytest.raises(DeadlineExceeded):
        pacing.acquire(provider(), Deadline(0.01))
    now[0] += 2
    slot = pacing.acquire(provider(), Deadline(0.01))

    assert isinstance(slot, Slot)


def test_a_slot_is_given_back_when_its_holder_fails():
    pacing = Pacing()

    with pytest.raises(ZeroDivisionError):
        fail_in(pacing)

    pacing.acquire(provider(), Deadline(0.05))


def fail_in(pacing):
    with pacing.slot(provider(), soon()):
        _ = 1 / 0


def test_providers_do_not_wait_for_one_another():
    pacing = Pacing()
    other = Provider(name="other", base_url="http://127.0.0.1:1", max_concurrent=1)
    pacing.acquire(provider(), soon())

    assert pacing.acquire(other, Deadline(0.05))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_begins_with_empty_lines():
    pacing = Pacing()
    pacing.acquire(provider(), soon())

    worker = os.fork()
    if worker == 0:
        try:
            pacing.acquire(provider(), Deadline(0.2))
        except BaseException:  # noqa: BLE001 - nothing of pytest's runs in the child
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(worker, 0)

    assert os.waitstatus_to_exitcode(status) == 0


# --- As the provider sees it -----------------------------------------------------


def asking(app, verb="complete", **options):
    def ask():
        with app.app_context():
            answer = getattr(flask_llm, verb)("Hi", **options)
            if verb == "stream":
                list(answer)

    return ask


@pytest.mark.parametrize("verb", ["complete", "stream"])
@pytest.mark.parametrize("most", [1, 3])
def test_never_more_at_a_time_than_allowed(make_app, emulator, verb, most):
    app = make_app(LLM_MAX_CONCURRENT=most)
    emulator.script(*[Fault(delay_seconds=0.05)] * 9)

    together([asking(app, verb)] * 9)

    assert len(emulator.requests) == 9
    assert emulator.max_in_flight == most


def test_a_providers_own_row_wins(make_app, emulator, provider_rows):
    rows = provider_rows | {"openai": provider_rows["openai"] | {"max_concurrent": 2}}
    app = make_app(LLM_MAX_CONCURRENT=1, LLM_PROVIDERS=rows)
    emulator.script(*[Fault(delay_seconds=0.05)] * 6)

    together([asking(app)] * 6)

    assert emulator.max_in_flight == 2


@pytest.mark.parametrize("verb", ["complete", "stream"])
def test_requests_arrive_so_far_apart(make_app, emulator, verb):
    app = make_app(LLM_MIN_INTERVAL=0.1)

    together([asking(app, verb)] * 5)

    times = sorted(arrival.time for arrival in emulator.requests)
    gaps = [after - before for before, after in pairwise(times)]
    assert len(gaps) == 4
    assert times[-1] - times[0] >= 0.3
    assert min(gaps) > 0.05


@pytest.mark.parametrize("verb", ["complete", "stream"])
def test_signals_tell_how_long_a_call_has_waited(make_app, emulator, verb):
    app = make_app(LLM_MAX_CONCURRENT=1)
    emulator.script(Fault(delay_seconds=0.3), Fault(delay_seconds=0.3))
    told = []

    def listen(sender, *, queued_ms, row, **facts):
        told.append((queued_ms, row["duration_ms"]))

    with signals.completion_finished.connected_to(listen, app):
        together([asking(app, verb)] * 2)

    (at_once, taken), (waited, whole) = told
    assert at_once < 100
    assert 250 < waited <= whole
    assert taken >= 300


def test_signals_tell_how_long_a_call_has_waited_in_vain(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)
    told = []

    def listen(sender, *, queued_ms, **facts):
        told.append(queued_ms)

    with app.app_context(), flask_llm.stream("First"):
        listening = signals.completion_finished.connected_to(listen, app)
        with listening, pytest.raises(DeadlineExceeded):
            flask_llm.complete("Second", timeout=0.2)

    assert 150 < told[0] < 2_000


ENDINGS = {
    "answered": Answer(text="Fine."),
    "refused": Fault(status=400),
    "tried-again": Fault(status=503),
    "reset": Fault(reset_after=0),
    "hung": Fault(hang=True),
    "garbage": Fault(garbage=True),
    "cut": Fault(cut_after=2),
}


@pytest.mark.parametrize("verb", ["complete", "stream"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_gives_the_slot_back(make_app, emulator, verb, ending):
    app = make_app(LLM_MAX_CONCURRENT=1)
    emulator.script(ENDINGS[ending])

    with app.app_context():
        attempt(verb)
        answer = flask_llm.complete("Next", timeout=2)

    assert answer.finish_reason == "stop"


def attempt(verb):
    try:
        answer = getattr(flask_llm, verb)("Hi", timeout=1.5)
        if verb == "stream":
            list(answer)
    except LLMError:
        pass


def test_a_stream_holds_its_slot_until_it_is_over(make_app, emulator):
    app = make_app(LLM_MAX_CONCURRENT=1)

    with app.app_context():
        stream = flask_llm.stream("Hi")
        with pytest.raises(DeadlineExceeded):
            flask_llm.complete("Next", timeout=0.1)
        stream.close()
        answer = flask_llm.complete("Next", timeout=2)

    assert answer.finish_reason == "stop"


def test_a_slot_whose_holder_is_gone_is_free_again():
    pacing = Pacing()
    slot = pacing.acquire(provider(), soon())

    slot.abandon()

    assert isinstance(pacing.acquire(provider(), Deadline(0.05)), Slot)


def test_a_stream_dropped_without_being_closed_gives_its_slot_back(make_app):
    app = make_app(LLM_MAX_CONCURRENT=1)

    with app.app_context():
        stream = flask_llm.stream("Hi")
        stream._events.close()  # the socket is not what this is about
        del stream
        gc.collect()
        answer = flask_llm.complete("Hi", timeout=5)

    assert answer.finish_reason == "stop"


HEADERS = {
    "openai": {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    },
    "anthropic": {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "0",
    },
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_provider_that_has_none_left_is_left_alone(app, emulator, models, name):
    headers = dict(HEADERS[name])
    if name == "anthropic":
        reset = datetime.now(UTC) + timedelta(seconds=2)
        headers["anthropic-ratelimit-requests-reset"] = reset.isoformat()
    emulator.script(Fault(headers=headers))

    for _ in range(2):
        assert flask_llm.complete("Hi", model=models[name]).text

    first, second = emulator.requests
    assert second.time - first.time > 0.8


def test_a_provider_that_is_out_for_longer_than_the_deadline_is_not_waited_for(
    app, emulator
):
    headers = HEADERS["openai"] | {"x-ratelimit-reset-requests": "50s"}
    emulator.script(Fault(headers=headers))
    flask_llm.complete("Hi")

    with pytest.raises(DeadlineExceeded) as refused:
        flask_llm.complete("Hi", timeout=20)

    assert 40 < refused.value.retry_after <= 50
    assert len(emulator.requests) == 1


def test_a_rate_limit_of_one_caller_holds_the_others_too(app, emulator):
    emulator.script(Fault(status=429, retry_after=40))
    with pytest.raises(RateLimitError):
        flask_llm.complete("Hi", timeout=20)

    with pytest.raises(DeadlineExceeded):
        flask_llm.complete("Hi", timeout=20)

    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    "limits",
    [{"requests_per_minute": 2}, {"tokens_per_minute": 1_200}],
    ids=["requests", "tokens"],
)
def test_a_minute_holds_no_more_than_the_account(
    make_app, emulator, provider_rows, limits
):
    provider_rows["openai"] |= limits
    used = {"input_tokens": 10, "output_tokens": 490}
    emulator.script(*[Answer(text="x", usage=used)] * 2)
    app = make_app()

    with app.app_context():
        for _ in range(2):
            flask_llm.complete("Hi")
        with pytest.raises(DeadlineExceeded) as refused:
            flask_llm.complete("Hi", timeout=20)

    assert 20 < refused.value.retry_after <= 62
    assert len(emulator.requests) == 2


def test_tokens_that_were_not_used_are_free_for_the_next_call(
    make_app, emulator, provider_rows
):
    provider_rows["openai"] |= {"tokens_per_minute": 1_200}
    used = {"input_tokens": 10, "output_tokens": 10}
    emulator.script(*[Answer(text="x", usage=used)] * 4)
    app = make_app()

    with app.app_context():
        for _ in range(4):
            assert flask_llm.complete("Hi", timeout=5).text
