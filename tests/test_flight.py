"""Single flight: one asks, the others wait, and nobody waits for the dead."""

import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from engines import redis_server
from sockets import free_port, wait_until

from flask_llm.chat import Completion, Text, ToolCall, Usage
from flask_llm.errors import DeadlineExceeded
from flask_llm.guards.cache import AnswerCache, Lead, backend
from flask_llm.guards.cache.local import GRACE_SECONDS
from flask_llm.guards.cache.remote import LEASE_SECONDS
from flask_llm.guards.shared import Shared
from flask_llm.retry import Deadline

KEY = "k" * 64
LOCK = f"llm:flight:{KEY}"

FOUR = Completion(
    content=(Text("Four."),),
    usage=Usage(input_tokens=9, output_tokens=2),
    cost_usd=Decimal("0.00123"),
    raw={"secret": "of the one who asked"},
)
UNFIT = {
    "truncated": replace(FOUR, finish_reason="length"),
    "refused": replace(FOUR, refusal="I would rather not."),
    "tool": replace(FOUR, content=(Text("Four."), ToolCall("c", "add", {}, "{}"))),
    "empty": replace(FOUR, content=(Text(" "),)),
}

each_unfit = pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)


class Broken:
    """A back end that cannot be reached."""

    def get(self, *_):
        raise OSError

    def set(self, *_, timeout):
        assert timeout
        raise OSError


def answer_cache(kept=None, **options):
    kept = backend(None) if kept is None else kept
    return AnswerCache(kept, secret=b"secret", scope="app", **options)


@pytest.fixture(params=["SimpleCache", "NullCache", "FileSystemCache", "Redis"])
def kept(request, tmp_path):
    """Each of the back ends."""
    if request.param == "Redis":
        return backend(request.getfixturevalue("redis_url"))
    given = {"CACHE_TYPE": request.param, "CACHE_DIR": str(tmp_path / "answers")}
    return backend(None, given=given)


@pytest.fixture
def sharing(redis_url):
    """Make caches that meet in Redis, as those of several processes do."""
    with contextlib.ExitStack() as opened:

        def make(kept=None, url=redis_url, **options):
            shared, looks = Shared(url), []
            opened.callback(shared.close)

            def sleep(seconds):
                looks.append(seconds)
                time.sleep(seconds)

            kept = backend(url) if kept is None else kept
            cache = answer_cache(kept, shared=shared, sleep=sleep, **options)
            cache.looks = looks
            return cache

        yield make


class Askers:
    """Threads that ask the same question and keep what they get."""

    def __init__(self, cache, number=1, seconds=20.0):
        self.outcomes = []
        self._cache = cache
        self._seconds = seconds
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _ask(self):
        try:
            found = self._cache.find(KEY, Deadline(self._seconds))
        except DeadlineExceeded as error:
            found = error
        self.outcomes.append(found)

    @property
    def leads(self):
        return [found for found in self.outcomes if isinstance(found, Lead)]

    @property
    def answers(self):
        return [found for found in self.outcomes if isinstance(found, Completion)]

    def join(self):
        for thread in self._threads:
            thread.join(30)
        return self


def together(actions):
    """Do several things at a time and wait for all of them."""
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def lead_of(cache, seconds=20.0):
    """Take the lead, in a thread of its own."""
    (lead,) = Askers(cache, seconds=seconds).join().outcomes
    assert isinstance(lead, Lead)
    return lead


def waiting(cache):
    """Count the threads that wait for the answer."""
    flight = cache._flights._flights.get(KEY)
    return flight.waiting if flight else 0


def waiters(cache, number=1, seconds=20.0):
    """Start askers, and return when all of them wait."""
    askers = Askers(cache, number, seconds)
    assert wait_until(lambda: waiting(cache) == number, 20)
    return askers


def poller(cache, seconds=20.0):
    """Start one that waits for another process, and return when it does."""
    askers = Askers(cache, seconds=seconds)
    assert wait_until(lambda: cache.looks, 20)
    assert askers.outcomes == []
    return askers


# --- In one process --------------------------------------------------------------


def test_two_hundred_who_ask_together_make_one_call(kept):
    cache = answer_cache(kept)
    lead = lead_of(cache)
    others = waiters(cache, 199)

    lead.finish(FOUR, 60)
    others.join()

    assert len(others.answers) == 199
    assert {found.text for found in others.answers} == {"Four."}
    assert len(cache._flights) == 0


@pytest.mark.parametrize(
    "kept", ["SimpleCache", "FileSystemCache", "Redis"], indirect=True
)
def test_two_hundred_who_come_as_they_please_make_one_call(kept):
    cache = answer_cache(kept)
    outcomes = Counter()

    def ask():
        found = cache.find(KEY, Deadline(20))
        if isinstance(found, Lead):
            outcomes["asked"] += 1
            found.finish(FOUR, 60)
        else:
            outcomes[found.text] += 1

    together([ask] * 200)

    assert outcomes == {"asked": 1, "Four.": 199}
    assert len(cache._flights) == 0


def test_who_waited_gets_what_the_cache_would_give():
    cache = answer_cache()
    lead = lead_of(cache)
    others = waiters(cache, 2)

    lead.finish(FOUR, 60)
    one, two = others.join().answers

    assert one == two == cache.get(KEY) == cache.find(KEY, Deadline(0))
    assert (one.cached, one.cost_usd) == (True, Decimal("0.00123"))
    assert (one.raw, two.raw) == ({}, {})
    assert one.raw is not two.raw


def test_those_who_wait_are_woken_at_once():
    cache = answer_cache()
    lead = lead_of(cache)
    others = waiters(cache)
    began = time.monotonic()

    lead.finish(FOUR, 60)
    others.join()

    assert time.monotonic() - began < 0.9  # less than they would look by themselves


def test_other_questions_do_not_wait():
    cache = answer_cache()
    lead = lead_of(cache)

    other = cache.find("other", Deadline(0.1))

    assert isinstance(other, Lead)
    assert lead is not other


def test_a_broken_back_end_is_told_of_once_and_still_makes_one_call(caplog):
    cache = answer_cache(Broken())
    lead = lead_of(cache)
    others = waiters(cache, 5)

    lead.finish(FOUR, 60)

    assert len(others.join().answers) == 5
    assert caplog.text.count("The cache of answers cannot be reached") == 1


def test_where_one_fails_exactly_one_other_asks_next():
    cache = answer_cache()
    lead = lead_of(cache)
    others = waiters(cache, 20)

    lead.finish(None, 60)
    assert wait_until(lambda: len(others.leads) == 1)
    assert waiting(cache) == 19
    others.leads[0].finish(FOUR, 60)
    others.join()

    assert (len(others.leads), len(others.answers)) == (1, 19)


def test_each_of_them_asks_where_all_fail():
    cache = answer_cache()
    outcomes = []

    def fail():
        lead = cache.find(KEY, Deadline(20))
        outcomes.append(type(lead))
        lead.finish(None, 60)

    together([fail] * 20)

    assert outcomes == [Lead] * 20
    assert len(cache._flights) == 0


@each_unfit
def test_an_answer_for_nobody_else_lets_all_of_them_ask(unfit):
    cache = answer_cache()
    lead = lead_of(cache)
    others = waiters(cache, 20)

    lead.finish(unfit, 60)
    others.join()

    assert len(others.leads) == 20
    assert cache.get(KEY) is None
    assert len(cache._flights) == 0


def test_who_asks_for_himself_keeps_no_one_waiting_and_keeps_his_answer():
    cache = answer_cache()
    lead = lead_of(cache)
    others = waiters(cache, 2)
    lead.finish(UNFIT["truncated"], 60)
    alone, other = others.join().leads
    assert isinstance(lead_of(cache), Lead)

    other.finish(None, 60)
    alone.finish(FOUR, 60)

    assert cache.get(KEY).text == "Four."


def test_a_kept_answer_is_handed_out_but_not_kept_again():
    cache = answer_cache()
    lead = lead_of(cache)
    others = waiters(cache)

    lead.finish(replace(FOUR, cached=True), 60)

    assert len(others.join().answers) == 1
    assert cache.get(KEY) is None


def test_who_waits_too_long_is_told_so():
    cache = answer_cache()
    lead = lead_of(cache)
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded, match="being asked already") as raised:
        cache.find(KEY, Deadline(0.1))

    assert 0.09 < time.monotonic() - began < 2
    assert raised.value.__notes__ == ["Raise timeout, or ask without cache."]
    lead.finish(FOUR, 60)
    assert cache.get(KEY)
    assert len(cache._flights) == 0


def test_each_waits_within_a_deadline_of_its_own():
    cache = answer_cache()
    lead = lead_of(cache)
    patient, hasty = waiters(cache), Askers(cache, seconds=0.05)

    (error,) = hasty.join().outcomes
    lead.finish(FOUR, 60)

    assert isinstance(error, DeadlineExceeded)
    assert len(patient.join().answers) == 1


def test_one_whose_own_deadline_passed_is_replaced():
    now = [0.0]
    cache = answer_cache(clock=lambda: now[0])
    slow = lead_of(cache, seconds=5)
    others = waiters(cache, 2)

    now[0] = 5 + GRACE_SECONDS + 0.1
    assert wait_until(lambda: others.leads)
    slow.finish(None, 60)

    assert len(others.leads) == 1
    assert waiting(cache) == 1
    others.leads[0].finish(FOUR, 60)
    assert len(others.join().answers) == 1


def test_the_late_answer_of_one_who_was_replaced_serves_all_the_same():
    now = [0.0]
    cache = answer_cache(clock=lambda: now[0])
    slow = lead_of(cache, seconds=5)
    others = waiters(cache, 2)
    now[0] = 5 + GRACE_SECONDS + 0.1
    assert wait_until(lambda: others.leads)

    slow.finish(FOUR, 60)
    others.join()
    others.leads[0].finish(UNFIT["truncated"], 60)

    assert len(others.answers) == 1
    assert cache.get(KEY).text == "Four."
    assert len(cache._flights) == 0


def test_of_two_answers_the_first_one_is_handed_out():
    now = [0.0]
    cache = answer_cache(clock=lambda: now[0])
    slow = lead_of(cache, seconds=5)
    others = waiters(cache, 2)
    now[0] = 5 + GRACE_SECONDS + 0.1
    assert wait_until(lambda: others.leads)

    others.leads[0].finish(FOUR, 60)
    slow.finish(replace(FOUR, content=(Text("4"),)), 60)

    assert [found.text for found in others.join().answers] == ["Four."]
    assert len(cache._flights) == 0


def test_a_lead_that_is_dropped_is_replaced():
    cache = answer_cache()
    lead = lead_of(cache)
    others = waiters(cache, 2)

    del lead
    gc.collect()

    assert wait_until(lambda: others.leads)
    others.leads[0].finish(FOUR, 60)
    assert len(others.join().answers) == 1


def test_a_lead_that_nobody_waited_for_leaves_nothing_behind():
    cache = answer_cache()
    lead_of(cache).abandon()
    gc.collect()

    lead = cache.find("other", Deadline(1))

    assert len(cache._flights) == 1
    assert list(cache._flights._abandoned) == []
    assert isinstance(lead, Lead)


def test_a_lead_is_left_without_waiting_for_the_lock():
    cache = answer_cache()
    lead = lead_of(cache)

    with cache._flights._lock:
        lead.abandon()

    assert isinstance(cache.find(KEY, Deadline(0)), Lead)


@pytest.mark.parametrize("again", [FOUR, None, UNFIT["truncated"]], ids=str)
def test_to_finish_again_does_nothing(again):
    cache = answer_cache()
    lead = lead_of(cache)
    lead.finish(None, 60)
    next_lead = lead_of(cache)

    lead.finish(again, 60)
    lead.abandon()

    with pytest.raises(DeadlineExceeded):
        cache.find(KEY, Deadline(0.05))
    assert cache.get(KEY) is None
    next_lead.finish(None, 60)


def test_many_threads_may_finish_at_the_same_time():
    cache = answer_cache()
    lead = lead_of(cache)
    others = waiters(cache, 5)

    together([lambda: lead.finish(None, 60)] * 20)

    assert wait_until(lambda: len(others.leads) == 1)
    assert waiting(cache) == 4
    others.leads[0].finish(FOUR, 60)
    others.join()


def test_nobody_waits_for_himself():
    cache = answer_cache()
    lead = cache.find(KEY, Deadline(20))

    again = cache.find(KEY, Deadline(20))

    assert isinstance(again, Lead)
    again.finish(None, 60)
    others = waiters(cache)
    lead.finish(FOUR, 60)
    assert len(others.join().answers) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_waits_for_nobody_of_its_parents(sharing):
    cache = sharing()
    lead = lead_of(cache)
    others = waiters(cache)

    worker = os.fork()
    if worker == 0:
        try:
            lead.finish(FOUR, 60)  # the parent's to finish
            assert cache.get(KEY) is None
            assert len(cache._flights) == 0
            with pytest.raises(DeadlineExceeded):  # the parent's lock in Redis
                cache.find(KEY, Deadline(0.2))
            assert isinstance(cache.find("other", Deadline(0.2)), Lead)
        except BaseException:  # noqa: BLE001 - nothing of pytest's runs in the child
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(worker, 0)
    lead.finish(FOUR, 60)

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(others.join().answers) == 1


# --- Across processes ------------------------------------------------------------


def test_another_process_waits_for_the_answer(sharing):
    here, there = sharing(), sharing()
    lead = lead_of(here)
    first = poller(there)
    others = waiters(there, 5)

    lead.finish(FOUR, 60)

    assert len(first.join().answers + others.join().answers) == 6
    assert len(here._flights) == len(there._flights) == 0


def test_another_process_asks_where_one_fails(sharing):
    here, there, elsewhere = sharing(), sharing(), sharing()
    lead = lead_of(here)
    askers = [poller(there), poller(elsewhere)]

    lead.finish(None, 60)
    looks = len(there.looks + elsewhere.looks)
    assert wait_until(lambda: len(there.looks + elsewhere.looks) > looks + 3)
    leads = askers[0].leads + askers[1].leads
    assert len(leads) == 1
    leads[0].finish(FOUR, 60)

    assert sum(len(asker.join().answers) for asker in askers) == 1


def test_those_of_the_same_process_are_asked_first(sharing, redis_url):
    here, there = sharing(), sharing()
    lead = lead_of(here)
    neighbour = waiters(here)
    stranger = poller(there)

    lead.finish(None, 60)
    (heir,) = neighbour.join().leads
    heir.finish(FOUR, 60)

    assert len(stranger.join().answers) == 1


@each_unfit
def test_an_answer_for_nobody_else_lets_other_processes_ask_too(sharing, unfit):
    here, there = sharing(), sharing()
    lead = lead_of(here)
    first = poller(there)
    others = waiters(there, 5)

    lead.finish(unfit, 60)

    assert len(first.join().leads + others.join().leads) == 6
    assert len(there._flights) == 0


def test_answers_that_processes_do_not_share_make_one_call_in_each(sharing):
    here, there = sharing(backend(None)), sharing(backend(None))
    lead = lead_of(here)
    first = poller(there)
    others = waiters(there, 5)

    lead.finish(FOUR, 60)
    (own,) = first.join().leads
    assert waiting(there) == 5
    own.finish(FOUR, 60)

    assert len(others.join().answers) == 5


def test_who_waits_too_long_for_another_process_is_told_so(sharing):
    here, there = sharing(), sharing()
    lead = lead_of(here)

    with pytest.raises(DeadlineExceeded, match="being asked already"):
        there.find(KEY, Deadline(0.3))

    assert len(there._flights) == 0
    lead.finish(None, 60)


def test_who_watches_for_the_others_is_followed_by_one_of_them(sharing):
    here, there = sharing(), sharing()
    lead = lead_of(here)
    hasty = Askers(there, seconds=1)
    assert wait_until(lambda: len(there._flights) == 1)
    others = waiters(there, 3)
    (error,) = hasty.join().outcomes

    lead.finish(FOUR, 60)

    assert isinstance(error, DeadlineExceeded)
    assert len(others.join().answers) == 3


@pytest.mark.parametrize(
    ("seconds", "least", "most"),
    [(1, 1, 1 + GRACE_SECONDS), (600, LEASE_SECONDS - 5, LEASE_SECONDS)],
)
def test_a_lock_runs_out_by_itself(sharing, redis_url, seconds, least, most):
    lead = lead_of(sharing(), seconds=seconds)

    with redis.Redis.from_url(redis_url) as client:
        left = client.pttl(LOCK) / 1000
        lead.finish(None, 60)

        assert least < left <= most
        assert not client.exists(LOCK)


def test_a_call_that_outlives_its_lock_may_be_made_twice(sharing, redis_url):
    here, there = sharing(), sharing()
    slow = lead_of(here)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(LOCK)  # as when it runs out
        second = lead_of(there)
        owner = client.get(LOCK)

        slow.finish(None, 60)

        assert client.get(LOCK) == owner
    second.finish(FOUR, 60)
    assert here.find(KEY, Deadline(1)).text == "Four."


def test_who_watches_for_the_others_hears_of_an_answer_of_this_process(
    sharing, redis_url
):
    now = [0.0]
    null = backend(None, given={"CACHE_TYPE": "NullCache"})
    here, there = sharing(null, clock=lambda: now[0]), sharing()
    slow = lead_of(here, seconds=5)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(LOCK)  # as when it runs out
    other = lead_of(there)
    now[0] = 5 + GRACE_SECONDS + 0.1
    watcher = poller(here)

    slow.finish(FOUR, 60)

    assert len(watcher.join().answers) == 1
    other.finish(None, 60)


def test_nothing_of_an_answer_is_in_the_lock(sharing, redis_url):
    lead = lead_of(sharing(backend(None)))

    lead.finish(FOUR, 60)

    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == [LOCK.encode()]
        assert client.get(LOCK) == b"done"
        assert 0 < client.pttl(LOCK) <= 2000


WORKER = """
import json, sys, threading, time
from flask_llm.chat import Completion, Text
from flask_llm.guards.cache import AnswerCache, Lead, backend
from flask_llm.guards.shared import Shared
from flask_llm.retry import Deadline

url, key, threads, seconds, work = sys.argv[1:]
cache = AnswerCache(backend(url), secret=b"secret", scope="app", shared=Shared(url))
outcomes = []

def ask():
    found = cache.find(key, Deadline(float(seconds)))
    if isinstance(found, Lead):
        outcomes.append("asked")
        print("asking", flush=True)
        time.sleep(float(work))
        found.finish(Completion(content=(Text("Four."),)), 60)
    else:
        outcomes.append(found.text)

print("ready", flush=True)
sys.stdin.readline()
asking = [threading.Thread(target=ask) for _ in range(int(threads))]
for thread in asking:
    thread.start()
for thread in asking:
    thread.join()
print(json.dumps(outcomes), flush=True)
"""


@contextlib.contextmanager
def worker(url, *, threads=1, seconds=30.0, work=1.0):
    """Run a process that asks when it is told to."""
    arguments = [url, KEY, threads, seconds, work]
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def begin(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_four_processes_of_eight_threads_make_one_call(redis_url):
    with contextlib.ExitStack() as started:
        workers = [
            started.enter_context(worker(redis_url, threads=8)) for _ in range(4)
        ]

        for process in workers:
            begin(process)
        said = [process.communicate(timeout=60)[0] for process in workers]

    outcomes = [word for text in said for word in json.loads(text.splitlines()[-1])]
    assert Counter(outcomes) == {"asked": 1, "Four.": 31}


def test_a_process_that_is_killed_holds_nobody_up_for_longer_than_its_lock(
    sharing, redis_url
):
    cache = sharing()
    with worker(redis_url, seconds=1, work=60) as process:
        begin(process)
        assert process.stdout.readline() == "asking\n"
        began = time.monotonic()
        askers = poller(cache)

        process.kill()
        (lead,) = askers.join().leads

    assert time.monotonic() - began < (1 + GRACE_SECONDS) * 3
    lead.finish(FOUR, 60)


# --- Redis comes and goes --------------------------------------------------------


@pytest.fixture
def own_redis(tmp_path):
    """A Redis server of the test's own."""
    with redis_server(tmp_path) as server:
        yield server


def test_each_process_asks_by_itself_where_redis_goes_away(sharing, own_redis):
    here, there = sharing(url=own_redis.url), sharing(url=own_redis.url)
    lead = lead_of(here)
    neighbours = waiters(here, 3)
    stranger = poller(there)
    others = waiters(there, 3)

    own_redis.stop()
    (own,) = stranger.join().leads
    own.finish(FOUR, 60)
    lead.finish(FOUR, 60)

    assert len(others.join().answers) == 3
    assert len(neighbours.join().answers) == 3
    assert len(here._flights) == len(there._flights) == 0


def test_a_redis_that_is_down_leaves_single_flight_to_the_process(sharing):
    cache = sharing(url=f"redis://127.0.0.1:{free_port()}/0")
    lead = lead_of(cache)
    others = waiters(cache, 5)

    lead.finish(FOUR, 60)

    assert len(others.join().answers) == 5
