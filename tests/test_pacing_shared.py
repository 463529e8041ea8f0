"""Pacing across threads, workers and machines: one line in Redis, else one each."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import statistics
import threading
import time
from itertools import pairwise

import pytest
from engines import redis_server
from sockets import free_port, serving, wait_until

from flask_llm.errors import DeadlineExceeded
from flask_llm.guards.outage import REST_SECONDS
from flask_llm.guards.pacing import Pacing, Slot, scripts
from flask_llm.guards.pacing.headers import HOLD_MAX_SECONDS, brake
from flask_llm.guards.pacing.pacing import _heartbeat
from flask_llm.guards.pacing.queue import AWAKE_SECONDS
from flask_llm.guards.pacing.ticket import Ticket
from flask_llm.guards.shared import Down, Shared
from flask_llm.providers import Provider
from flask_llm.retry import Deadline

SPAWN = multiprocessing.get_context("spawn")
NOW = 1_795_000_000.0  # 2026-11-18T11:06:40Z

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
quiet_fork = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def provider(**options):
    options = {"min_interval": 0.0, "max_concurrent": 1} | options
    return Provider(name="p", base_url="http://127.0.0.1:1", **options)


def soon():
    return Deadline(20)


def wait_for(pacing, tokens=0, **options):
    """Return how long it is certain that nobody starts; 0 where one just did."""
    try:
        # Shorter than any wait that is looked for, so it is refused at once.
        slot = pacing.acquire(provider(**options), Deadline(0.05), tokens)
    except DeadlineExceeded as error:
        return error.retry_after
    slot.release()
    return 0


class Counting(Shared):
    """Redis as it is, with the scripts counted and a clock that can be put forward."""

    def __init__(self, url):
        self.skipped = 0.0
        self.scripts = 0
        self.before = {}
        """What happens, once, just before a script."""
        super().__init__(url, clock=lambda: time.monotonic() + self.skipped)

    def run(self, script, keys, arguments=()):
        self.scripts += 1
        self.before.pop(script, lambda: None)()
        return super().run(script, keys, arguments)

    def rest_is_over(self):
        self.skipped += REST_SECONDS + 1


@pytest.fixture
def connect():
    """Make connections to a Redis, closed at the end."""
    made = []

    def make(url):
        made.append(Counting(url))
        return made[-1]

    yield make
    for shared in made:
        shared.close()


@pytest.fixture
def make_pacing(redis_url, connect):
    """Make what stands for one more process under the same Redis.

    What it still holds at the end is given back: it would be renewed in later tests.
    """
    made = []

    def make(**options):
        made.append(Pacing(connect(redis_url), **options))
        return made[-1]

    yield make
    for pacing in made:
        for line in pacing._lines.values():
            for ticket in list(line._held):
                line.leave(ticket)


@pytest.fixture
def redis_client(redis_url):
    with pytest.importorskip("redis").Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def private_redis(tmp_path):
    with redis_server(tmp_path) as server:
        yield server


@contextlib.contextmanager
def worker(target, *arguments):
    """Run a function in a process of its own, which is killed at the end."""
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def queue_up(pacing, name, served, ready, **options):
    """Start a caller that waits, and go on when `ready` says that it does."""

    def wait():
        with pacing.slot(provider(**options), soon()):
            served.append(name)

    thread = threading.Thread(target=wait)
    thread.start()
    assert wait_until(ready, 10)
    return thread


def join(threads):
    for thread in threads:
        thread.join(20)


# --- One line for all ------------------------------------------------------------


def test_order_of_arrival_holds_over_all_processes(make_pacing, redis_client):
    pacings, served, threads = [make_pacing(), make_pacing()], [], []
    slot = pacings[0].acquire(provider(), soon())
    for place, name in enumerate("abcdefgh", start=1):
        pacing = pacings[place % 3 % 2]
        waiting = lambda place=place: redis_client.zcard("llm:pacing:p:queue") == place  # noqa: E731
        threads.append(queue_up(pacing, name, served, waiting))

    slot.release()
    join(threads)

    assert served == list("abcdefgh")


def test_slots_of_one_process_are_taken_for_all(make_pacing):
    here, there = make_pacing(), make_pacing()

    with here.slot(provider(), soon()):
        refused = wait_for(there)
    free = wait_for(there)

    assert (refused, free) == (None, 0)


def test_an_interval_holds_for_all_and_is_known_beforehand(make_pacing):
    here, there = make_pacing(), make_pacing()
    here.acquire(provider(min_interval=30), soon()).release()
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded) as raised:
        there.acquire(provider(min_interval=30), soon())

    assert raised.value.retry_after == pytest.approx(30, abs=5)
    assert time.monotonic() - began < 5


def test_a_caller_that_gave_up_leaves_no_place(make_pacing, redis_client):
    here, there = make_pacing(), make_pacing()

    with here.slot(provider(), soon()), pytest.raises(DeadlineExceeded):
        there.acquire(provider(), Deadline(0.1))

    assert redis_client.zcard("llm:pacing:p:queue") == 0


@pytest.mark.parametrize("where", ["this process", "redis"])
def test_a_slot_given_back_calls_the_next_one_at_once(request, where):
    make = request.getfixturevalue("make_pacing") if where == "redis" else Pacing
    pacing, rounds = make(), 20
    line = pacing._line("p")

    def hand_over(number):
        for round_ in range(rounds):
            with pacing.slot(provider(), soon()):
                last = round_ == rounds - 1
                wait_until(lambda: line._waiting or last, 2)  # noqa: B023

    began = time.monotonic()
    threads = [threading.Thread(target=hand_over, args=[n]) for n in range(2)]
    for thread in threads:
        thread.start()
    join(threads)

    # Forty times that somebody only looked by himself would take 20 s, or 40 s.
    assert time.monotonic() - began < 10


def test_places_in_a_process_are_in_the_order_of_redis():
    line = Pacing()._line("p")
    tickets = [Ticket(provider(), 0, arrival=arrival) for arrival in (11, 10, 12)]

    for ticket in tickets:  # as their threads got hold of the lock
        line._line_up(ticket)

    assert [ticket.arrival for ticket in line._waiting] == [10, 11, 12]


def test_a_call_that_need_not_wait_costs_two_scripts(redis_url, connect):
    shared = connect(redis_url)
    pacing = Pacing(shared)

    with pacing.slot(provider(), soon()) as slot:
        slot.release(5)

    assert shared.scripts == 2


def test_only_the_first_caller_of_a_process_looks(redis_url, connect, make_pacing):
    shared = connect(redis_url)
    pacing, served, threads = Pacing(shared), [], []
    line = pacing._line("p")
    slot = make_pacing().acquire(provider(), soon())
    for place in range(1, 6):
        waiting = lambda place=place: len(line._waiting) == place  # noqa: E731
        threads.append(queue_up(pacing, place, served, waiting))
    looked = shared.scripts

    wait_until(lambda: shared.scripts > looked + 10)
    running = time.monotonic()
    looked = shared.scripts
    wait_until(lambda: time.monotonic() > running + 1)
    looked = shared.scripts - looked
    slot.release()
    join(threads)

    assert 1 <= looked <= 1 / 0.02 + 2
    assert served == [1, 2, 3, 4, 5]


def test_nothing_stays_in_redis_for_ever(make_pacing, redis_client):
    pacing = make_pacing()
    options = {"requests_per_minute": 9, "tokens_per_minute": 9}

    waiting = lambda: redis_client.exists("llm:pacing:p:queue")  # noqa: E731
    with pacing.slot(provider(**options), soon(), 5):
        pacing.heed(provider(), openai("requests", 100, 5, "1s"))
        pacing.hold(provider(), 0.5)
        thread = queue_up(make_pacing(), "next", [], waiting, **options)
        keys = redis_client.keys("*")
        lives = [redis_client.pttl(key) for key in keys]
    join([thread])

    assert len(keys) == 6
    assert all(key.startswith(b"llm:pacing:p:") for key in keys)
    assert min(lives) > 0


def test_a_slot_whose_holder_is_gone_is_free_again(make_pacing):
    pacing, other = make_pacing(lease_seconds=0.6), make_pacing()
    slot = pacing.acquire(provider(), soon())

    slot.abandon()

    assert isinstance(other.acquire(provider(), soon()), Slot)


def test_asking_twice_is_like_asking_once(make_pacing, redis_client):
    pacing = make_pacing()
    options = {"requests_per_minute": 9, "max_concurrent": 2}
    slot = pacing.acquire(provider(**options), soon())
    queue, ticket = pacing._line("p")._queue, slot._ticket

    again = queue.ask(ticket)

    assert again is None
    assert redis_client.zcard("llm:pacing:p:held") == 1
    assert redis_client.hvals("llm:pacing:p:requests") == [b"1"]


def test_a_place_that_redis_was_not_told_is_left_holds_nobody_up(
    make_pacing, redis_client
):
    pacing, other, served = make_pacing(), make_pacing(), []
    queue = pacing._line("p")._queue
    with other.slot(provider(), soon()):
        # A caller that came, and left when Redis was away.
        redis_client.zadd("llm:pacing:p:queue", {f"{queue._process}:0": 1})
        waiting = lambda: redis_client.zcard("llm:pacing:p:awake") == 1  # noqa: E731
        thread = queue_up(pacing, "here", served, waiting)
    join([thread])

    assert served == ["here"]
    assert redis_client.zcard("llm:pacing:p:queue") == 0


# --- Real processes --------------------------------------------------------------


def call_often(url, path, threads, calls, options):
    pacing = Pacing(Shared(url))
    calls_made = []

    def call():
        for _ in range(calls):
            with pacing.slot(provider(**options), Deadline(60)):
                began = time.monotonic()
                time.sleep(0.03)
                calls_made.append((began, time.monotonic()))

    running = [threading.Thread(target=call) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    path.write_text(json.dumps(calls_made))


def most_at_a_time(calls):
    changes = sorted(
        [(end, -1) for _, end in calls] + [(begin, 1) for begin, _ in calls]
    )
    running, most = 0, 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def in_processes(url, folder, options, processes=4, threads=6, calls=3):
    """Let processes call, and return when each call began and ended.

    Both are taken while the slot is held, on a clock that all processes share.
    """
    paths = [folder / f"{number}.json" for number in range(processes)]
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(worker(call_often, url, path, threads, calls, options))
            for path in paths
        ]
        for process in running:
            process.join(90)
    return sorted(tuple(one) for path in paths for one in json.loads(path.read_text()))


def test_processes_together_never_have_more_slots_than_there_are(redis_url, tmp_path):
    calls = in_processes(redis_url, tmp_path, {"max_concurrent": 3})

    assert len(calls) == 4 * 6 * 3
    assert most_at_a_time(calls) == 3


def test_processes_together_keep_the_interval(redis_url, tmp_path):
    options = {"max_concurrent": 4, "min_interval": 0.05}

    calls = in_processes(redis_url, tmp_path, options, threads=4, calls=2)

    # A start is noted a little after it was granted, how little is up to the machine.
    # Tolerance: 100 ms over all, a fifth of the interval for half of the gaps, and half
    # of it for nine of ten.
    gaps = sorted(after - before for (before, _), (after, _) in pairwise(calls))
    assert calls[-1][0] - calls[0][0] >= 0.05 * (len(calls) - 1) - 0.1
    assert statistics.median(gaps) >= 0.04
    assert gaps[len(gaps) // 10] >= 0.025
    assert most_at_a_time(calls) <= 4


def hold_slots(url, holding, slots):
    pacing = Pacing(Shared(url), lease_seconds=2.0)
    held = [
        pacing.acquire(provider(max_concurrent=slots), soon()) for _ in range(slots)
    ]
    holding.set()
    threading.Event().wait(60)
    del held


def test_slots_of_a_killed_process_come_back(redis_url, make_pacing):
    pacing, holding = make_pacing(), SPAWN.Event()
    with worker(hold_slots, redis_url, holding, 2) as holder:
        assert holding.wait(30)
        refused = wait_for(pacing, max_concurrent=2)

        kill(holder)
        slots = [pacing.acquire(provider(max_concurrent=2), soon()) for _ in range(2)]

    assert refused is None
    assert len(slots) == 2
    for slot in slots:
        slot.release()


def wait_in_line(url, threads):
    pacing = Pacing(Shared(url))

    def wait():
        with (
            contextlib.suppress(DeadlineExceeded),
            pacing.slot(provider(), Deadline(60)),
        ):
            threading.Event().wait(60)

    for _ in range(threads):
        threading.Thread(target=wait).start()


def test_killed_callers_hold_nobody_up(redis_url, make_pacing, redis_client):
    pacing, served = make_pacing(), []
    places = lambda: redis_client.zcard("llm:pacing:p:queue")  # noqa: E731
    slot = make_pacing().acquire(provider(), soon())
    with worker(wait_in_line, redis_url, 3) as waiting:
        assert wait_until(lambda: places() == 3, 30)
        thread = queue_up(pacing, "next", served, lambda: places() == 4)
        kill(waiting)
    killed = time.monotonic()

    slot.release()
    join([thread])

    assert served == ["next"]
    assert time.monotonic() - killed < AWAKE_SECONDS + 5
    assert places() == 0


# --- Leases ----------------------------------------------------------------------


def test_a_long_call_keeps_its_slot(make_pacing):
    pacing, other = make_pacing(lease_seconds=0.9), make_pacing()

    with pacing.slot(provider(), soon()), pytest.raises(DeadlineExceeded):
        other.acquire(provider(), Deadline(3))

    assert wait_for(other) == 0


def lease_threads():
    return [one for one in threading.enumerate() if one.name == "flask-llm-leases"]


def count_threads(url, results):
    pacings = [Pacing(Shared(url), lease_seconds=0.3) for _ in range(3)]
    counts = [len(lease_threads())]
    for _ in range(2):
        with contextlib.ExitStack() as held:
            for pacing in pacings:
                held.enter_context(pacing.slot(provider(max_concurrent=3), soon()))
            counts.append(len(lease_threads()))
        wait_until(lambda: not lease_threads(), 10)
        counts.append(len(lease_threads()))
    results.put(counts)


def test_one_thread_renews_and_ends_when_nothing_is_held(redis_url):
    results = SPAWN.Queue()

    with worker(count_threads, redis_url, results):
        counts = results.get(timeout=60)

    assert counts == [0, 1, 0, 1, 0]


def test_without_redis_there_is_no_thread():
    before = len(lease_threads())

    with Pacing().slot(provider(), soon()):
        assert len(lease_threads()) == before


@fork
@quiet_fork
def test_a_forked_worker_is_a_process_of_its_own(make_pacing):
    pacing, other = make_pacing(lease_seconds=1.5), make_pacing()
    slot = pacing.acquire(provider(max_concurrent=2), soon())

    child = os.fork()
    if child == 0:
        try:
            slot.release()  # the parent's: not this process's to give back
            mine = pacing.acquire(provider(max_concurrent=2), soon())
            refused = wait_for(pacing, max_concurrent=2) is None
            time.sleep(3)  # longer than a lease
            refused = refused and wait_for(pacing, max_concurrent=2) is None
            mine.release()
        except BaseException:  # noqa: BLE001 - nothing of pytest's runs in the child
            os._exit(2)
        os._exit(0 if refused else 1)
    _, status = os.waitpid(child, 0)
    free = wait_for(other, max_concurrent=2)
    refused = wait_for(other, max_concurrent=1)
    slot.release()

    assert os.waitstatus_to_exitcode(status) == 0
    assert (free, refused) == (0, None)


def test_a_slot_given_back_while_it_is_renewed_is_free(
    redis_url, connect, redis_client
):
    shared = connect(redis_url)
    pacing = Pacing(shared)
    slot = pacing.acquire(provider(), soon())
    shared.before[scripts.RENEW] = slot.release

    pacing._line("p").renew()

    assert shared.before == {}
    assert redis_client.zcard("llm:pacing:p:held") == 0


def test_who_has_a_slot_waits_no_more(make_pacing, redis_client):
    pacing = make_pacing()
    queue, ticket = pacing._line("p")._queue, Ticket(provider(), 0)
    with make_pacing().slot(provider(), soon()):
        assert queue.ask(ticket).look_seconds > 0
        before = redis_client.zcard("llm:pacing:p:queue")

        queue.renew([ticket])  # let through by its own process, when Redis was away

    assert (before, redis_client.zcard("llm:pacing:p:queue")) == (1, 0)


@fork
@quiet_fork
def test_a_worker_may_be_forked_while_leases_are_seen_to(make_pacing):
    pacing, seeing, over = make_pacing(), threading.Event(), threading.Event()

    def see_to():
        with _heartbeat._changed:
            seeing.set()
            over.wait(20)

    thread = threading.Thread(target=see_to)
    thread.start()
    seeing.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # or it would wait for ever
        pacing.acquire(provider(), soon()).release()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    over.set()
    thread.join(10)

    assert os.waitstatus_to_exitcode(status) == 0


# --- Redis goes away and comes back ----------------------------------------------


def test_without_redis_each_process_has_a_line_of_its_own(connect):
    url = f"redis://127.0.0.1:{free_port()}/0"
    here, there = Pacing(connect(url)), Pacing(connect(url))

    with here.slot(provider(), soon()):
        refused, free = wait_for(here), wait_for(there)

    assert (refused, free, wait_for(here)) == (None, 0, 0)


def test_a_redis_that_hangs_is_not_waited_for_long(connect):
    with serving(lambda server, _: server.closing.wait(30), tls=None) as server:
        pacing = Pacing(connect(f"redis://127.0.0.1:{server.port}/0"))
        began = time.monotonic()

        pacing.acquire(provider(), soon()).release()

        assert time.monotonic() - began < 10


def test_a_slot_outlives_the_redis_that_gave_it(private_redis, connect):
    pacing = Pacing(connect(private_redis.url))
    slot = pacing.acquire(provider(), soon())

    private_redis.stop()
    refused = wait_for(pacing)
    slot.release()

    assert (refused, wait_for(pacing)) == (None, 0)


def test_a_slot_that_redis_did_not_give_counts_there_when_it_is_back(
    private_redis, connect
):
    shared = connect(private_redis.url)
    pacing, other = Pacing(shared), Pacing(connect(private_redis.url))
    private_redis.stop()
    slot = pacing.acquire(provider(max_concurrent=2), soon())
    private_redis.start()
    shared.rest_is_over()

    wait_for(pacing, max_concurrent=2)  # whoever comes next tells Redis
    refused = wait_for(other)
    slot.release()

    assert (refused, wait_for(other)) == (None, 0)


def test_a_redis_that_was_only_out_of_reach_is_told_what_it_missed(
    private_redis, connect
):
    shared = connect(private_redis.url)
    pacing, other = Pacing(shared), Pacing(connect(private_redis.url))
    pacing.acquire(provider(), soon()).release()
    private_redis.freeze()
    pacing.hold(provider(), 0.001)  # finds out
    slot = pacing.acquire(provider(max_concurrent=2), soon())
    private_redis.thaw()
    shared.rest_is_over()

    wait_for(pacing, max_concurrent=2)
    refused = wait_for(other)
    slot.release()

    assert (refused, wait_for(other)) == (None, 0)


def test_a_redis_that_forgot_everything_is_told_of_what_is_held(private_redis, connect):
    here, there = Pacing(connect(private_redis.url)), Pacing(connect(private_redis.url))
    with here.slot(provider(), soon()):
        private_redis.restart()

        refused = wait_for(here), wait_for(there)

    assert refused == (None, None)


def test_leases_that_redis_forgot_are_renewed_by_themselves(private_redis, connect):
    shared = connect(private_redis.url)
    pacing = Pacing(shared, lease_seconds=0.9)
    held = lambda: other._shared.client.zcard("llm:pacing:p:held")  # noqa: E731
    other = Pacing(connect(private_redis.url))
    with pacing.slot(provider(), soon()):
        private_redis.restart()
        shared.rest_is_over()

        assert wait_until(lambda: held() == 1, 10)
        assert wait_for(other) is None


def test_callers_in_line_go_on_without_redis_and_then_with_it(private_redis, connect):
    shared = connect(private_redis.url)
    pacing, served = Pacing(shared), []
    line = pacing._line("p")
    slot = pacing.acquire(provider(), soon())
    threads = [
        queue_up(pacing, name, served, lambda n=place: len(line._waiting) == n)
        for place, name in enumerate("abc", start=1)
    ]

    private_redis.stop()
    threads.append(queue_up(pacing, "d", served, lambda: len(line._waiting) == 4))
    private_redis.start()
    shared.rest_is_over()
    back = Pacing(connect(private_redis.url))._shared.client
    in_redis = wait_until(lambda: back.zcard("llm:pacing:p:queue") > 0, 10)
    slot.release()
    join(threads)

    assert in_redis
    assert served == list("abcd")
    assert back.zcard("llm:pacing:p:queue") == 0


def test_every_call_ends_well_while_redis_comes_and_goes(private_redis, connect):
    pacings = [Pacing(connect(private_redis.url)) for _ in range(2)]
    done, over = [], threading.Event()

    def call(pacing):
        while not over.is_set():
            with pacing.slot(provider(max_concurrent=2), Deadline(30)):
                done.append(pacing)

    threads = [threading.Thread(target=call, args=[one]) for one in pacings * 4]
    for thread in threads:
        thread.start()
    for _ in range(2):
        for change in (private_redis.stop, private_redis.start):
            change()
            for pacing in pacings:
                pacing._shared.rest_is_over()
            count = len(done)
            assert wait_until(lambda: len(done) > count + 20, 30)  # noqa: B023
    over.set()
    join(threads)
    for pacing in pacings:
        pacing._shared.rest_is_over()

    assert [one for one in threads if one.is_alive()] == []
    assert [pacing._line("p").held for pacing in pacings] == [False, False]
    # Whatever Redis was not told runs out, at the latest with its lease.
    assert isinstance(pacings[0].acquire(provider(max_concurrent=2), soon()), Slot)


def test_redis_being_away_is_for_pacing_no_error(connect):
    shared = connect(f"redis://127.0.0.1:{free_port()}/0")
    pacing = Pacing(shared)

    pacing.hold(provider(), 5)

    with pytest.raises(Down):
        shared.run("return 1", [])
    assert wait_for(pacing) == pytest.approx(5, abs=2)


# --- So much in a minute ---------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_no_more_requests_in_a_minute_than_allowed():
    clock = Clock()
    pacing, options = Pacing(clock=clock), {"requests_per_minute": 2}
    first = [wait_for(pacing, **options) for _ in range(2)]

    third = wait_for(pacing, **options)
    clock.now += third
    later = [wait_for(pacing, **options) for _ in range(3)]

    assert first == [0, 0]
    assert 60 <= third <= 61
    assert later == [0, 0, pytest.approx(61, abs=1)]


def test_tokens_are_counted_as_estimated_and_then_as_used():
    clock = Clock()
    pacing, options = Pacing(clock=clock), {"tokens_per_minute": 100}
    slot = pacing.acquire(provider(**options), soon(), 90)
    before = wait_for(pacing, 20, **options | {"max_concurrent": 2})

    slot.release(used_tokens=30)
    fits = wait_for(pacing, 70, **options)
    full = wait_for(pacing, 1, **options)

    # While a call is under way it may turn out smaller: nothing is certain.
    assert (before, fits) == (None, 0)
    assert 60 <= full <= 61


def test_a_call_larger_than_the_limit_goes_when_nothing_else_does():
    clock = Clock()
    pacing, options = Pacing(clock=clock), {"tokens_per_minute": 100}
    alone = wait_for(pacing, 10_000, **options)

    after = wait_for(pacing, 1, **options)
    clock.now += 61
    wait_for(pacing, 1, **options)
    large = wait_for(pacing, 10_000, **options)

    assert alone == 0
    assert 60 <= after <= 61
    assert 60 <= large <= 61


def test_a_true_up_that_comes_late_changes_nothing():
    clock = Clock()
    pacing, options = Pacing(clock=clock), {"tokens_per_minute": 100}
    options["max_concurrent"] = 2
    slot = pacing.acquire(provider(**options), soon(), 90)
    clock.now += 62

    fits = wait_for(pacing, 100, **options)
    slot.release(used_tokens=0)

    assert fits == 0
    assert wait_for(pacing, 1, **options) == pytest.approx(60, abs=1)


def test_a_call_that_was_not_sent_is_not_counted():
    options = {"tokens_per_minute": 100, "requests_per_minute": 1}
    pacing = Pacing(clock=Clock())
    slot = pacing.acquire(provider(**options), soon(), 100)

    slot.refund()
    slot.release(100)

    assert wait_for(pacing, 100, **options) == 0


@pytest.mark.parametrize("seed", range(5))
def test_no_minute_wherever_it_begins_holds_more_than_the_limit(seed):
    chance, clock, starts = random.Random(seed), Clock(), []
    pacing = Pacing(clock=clock)
    options = {"requests_per_minute": 7, "tokens_per_minute": 300}
    while len(starts) < 120:
        clock.now += chance.expovariate(0.3)
        tokens = chance.randrange(120)
        wait = wait_for(pacing, tokens, **options)
        if not wait:
            starts.append((clock.now, tokens))

    windows = [
        [tokens for at, tokens in starts if begin <= at < begin + 60]
        for begin, _ in starts
    ]

    assert max(len(window) for window in windows) == 7
    assert 200 < max(sum(window) for window in windows) <= 300
    assert len(pacing._line("p")._meter._tokens._counts) <= 61


def test_no_more_requests_in_a_window_than_allowed_for_all(make_pacing):
    pacings = [make_pacing(window_seconds=2.0) for _ in range(2)]
    options = {"requests_per_minute": 3, "max_concurrent": 9}
    starts = []

    def call(pacing):
        with pacing.slot(provider(**options), soon()):
            starts.append(time.monotonic())

    threads = [threading.Thread(target=call, args=[one]) for one in pacings * 4]
    for thread in threads:
        thread.start()
    join(threads)

    # Noted a little after they were granted: 0.3 s of tolerance.
    starts.sort()
    assert len(starts) == 8
    assert starts[3] - starts[0] >= 1.7
    assert starts[6] - starts[3] >= 1.7
    assert starts[-1] - starts[0] < 15


def test_tokens_are_counted_and_corrected_for_all(make_pacing):
    here, there = [make_pacing(window_seconds=600.0) for _ in range(2)]
    options = {"tokens_per_minute": 100, "max_concurrent": 2}
    slot = here.acquire(provider(**options), soon(), 90)
    uncertain = wait_for(there, 20, **options)

    slot.release(used_tokens=30)
    slot.release(used_tokens=90)
    fits = wait_for(there, 70, **options)
    full = wait_for(here, 1, **options)
    large = wait_for(here, 10_000, **options)

    assert (uncertain, fits) == (None, 0)
    assert 590 <= full <= 611
    assert 590 <= large <= 611


def test_a_call_that_was_not_sent_is_not_counted_for_anybody(make_pacing):
    options = {"tokens_per_minute": 100, "requests_per_minute": 1}
    slot = make_pacing().acquire(provider(**options), soon(), 100)

    slot.refund()

    assert wait_for(make_pacing(), 100, **options) == 0


# --- What the provider says ------------------------------------------------------


def openai(kind, limit, remaining, reset):
    values = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{name}-{kind}": str(value) for name, value in values.items()}


def anthropic(kind, limit, remaining, reset):
    values = {"limit": limit, "remaining": remaining, "reset": reset}
    return {
        f"anthropic-ratelimit-{kind}-{name}": str(value)
        for name, value in values.items()
    }


@pytest.fixture(params=["this process", "redis"])
def paced(request):
    """Two of the same: what one is told, the other must heed."""
    if request.param == "redis":
        make = request.getfixturevalue("make_pacing")
        return make(now=lambda: NOW), make()
    pacing = Pacing(now=lambda: NOW)
    return pacing, pacing


HOLDS = {
    "none_left": (openai("requests", 60, 0, "12s"), 12),
    "compound": (openai("requests", 60, 0, "0m12.5s"), 12.5),
    "bare_seconds": (openai("requests", 60, 0, "12.5"), 12.5),
    "minutes": (openai("requests", 60, 0, "6m0s"), HOLD_MAX_SECONDS),
    "hours": (openai("requests", 60, 0, "1h2m3s"), HOLD_MAX_SECONDS),
    "none_left_today": (openai("requests", 14_400, 0, "23h59m"), HOLD_MAX_SECONDS),
    "date": (anthropic("requests", 50, 0, "2026-11-18T11:06:52Z"), 12),
    "date_elsewhere": (anthropic("requests", 50, 0, "2026-11-18T12:06:52+01:00"), 12),
    "date_without_zone": (anthropic("requests", 50, 0, "2026-11-18T11:06:52"), 12),
    "output": (anthropic("output-tokens", 8000, 0, "2026-11-18T11:07:30Z"), 5),
    "input": (anthropic("input-tokens", 8000, 400, "2026-11-18T11:07:30Z"), 2.63),
    "longest": (
        openai("requests", 60, 0, "7s")
        | anthropic("output-tokens", 8000, 0, "2026-11-18T11:07:30Z"),
        7,
    ),
}


@pytest.mark.parametrize("case", HOLDS)
def test_nobody_starts_before_the_provider_has_room(paced, case):
    headers, seconds = HOLDS[case]

    paced[0].heed(provider(), headers)

    assert wait_for(paced[1]) == pytest.approx(seconds, abs=2)
    assert brake(headers, NOW).hold_seconds == pytest.approx(seconds, abs=0.01)


SPACINGS = {
    "minute": (openai("requests", 500, 49, "54.12s"), 0.12),
    "slow": (openai("requests", 30, 2, "56s"), 2.0),
    "replenished": (anthropic("requests", 100, 9, "2026-11-18T11:07:11Z"), 31 / 91),
    "day_with_plenty": (openai("requests", 14_400, 1439, "21h36m"), 60 / 1439),
    "day_with_few": (openai("requests", 14_400, 3, "23h59m40s"), 86_380 / 14_397),
}


@pytest.mark.parametrize("case", SPACINGS)
def test_what_is_scarce_is_spread_out(case):
    headers, seconds = SPACINGS[case]

    advice = brake(headers, NOW)

    assert advice.spacing_seconds == pytest.approx(seconds)
    assert 0 < advice.spaced_seconds <= HOLD_MAX_SECONDS
    assert advice.hold_seconds == 0


def test_starts_are_as_far_apart_as_requests_come_back(paced):
    here, there = paced
    here.heed(provider(), openai("requests", 30, 2, "56s"))

    first, second = wait_for(here), wait_for(there)

    assert first == 0
    assert second == pytest.approx(2, abs=1)


def test_spacing_ends_with_the_reset():
    clock = Clock()
    pacing = Pacing(clock=clock)
    pacing.heed(provider(), openai("requests", 30, 2, "28s"))
    wait_for(pacing)

    spaced = wait_for(pacing)
    clock.now += 28.1
    free = [wait_for(pacing) for _ in range(3)]

    assert spaced == pytest.approx(1)
    assert free == [0, 0, 0]


@pytest.mark.parametrize(
    ("tokens", "seconds"), [(450, 5), (500, 10), (1000, 60), (50_000, 60)]
)
def test_a_call_waits_until_enough_tokens_have_come_back(tokens, seconds):
    clock = Clock()
    pacing = Pacing(clock=clock)
    pacing.heed(provider(), openai("tokens", 1000, 400, "60s"))

    before = wait_for(pacing, tokens)
    clock.now += seconds
    after = wait_for(pacing, tokens)

    assert before == pytest.approx(seconds)
    assert after == 0


@pytest.mark.parametrize("tokens", [0, 1, 400])
def test_a_call_that_fits_what_is_left_does_not_wait(tokens):
    pacing = Pacing(clock=Clock())

    pacing.heed(provider(), openai("tokens", 1000, 400, "60s"))

    assert wait_for(pacing, tokens) == 0


def test_tokens_that_are_scarce_are_so_for_all(paced):
    here, there = paced
    here.heed(provider(), openai("tokens", 1000, 400, "30s"))

    small, large = wait_for(there, 300), wait_for(there, 300)

    # 300 of 400 are taken; 200 are missing, and 20 come back in a second.
    assert small == 0
    assert large == pytest.approx(10, abs=2)


IGNORED = {
    "nothing": {},
    "plenty": openai("requests", 60, 30, "30s") | openai("tokens", 1000, 600, "1s"),
    "full": openai("requests", 60, 60, "0s") | openai("tokens", 1000, 1000, "0s"),
    "azure": openai("requests", -1, -1, "0"),
    "azure_zero": openai("requests", 0, 0, "12s"),
    "no_reset": {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
    },
    "only_remaining": {"x-ratelimit-remaining-requests": "0"},
    "more_than_there_is": openai("requests", 60, 99, "5s"),
    "words": openai("requests", "many", "few", "soon"),
    "empty": openai("requests", "", "", ""),
    "not_a_number": openai("requests", "nan", "nan", "nan"),
    "no_remaining_number": openai("requests", 60, "nan", "5s"),
    "endless": openai("requests", "inf", 0, "5s"),
    "endless_reset": openai("requests", 60, 0, "inf"),
    "negative_reset": openai("requests", 60, 0, "-5"),
    "epoch": openai("requests", 60, 0, "1795000012"),
    "huge": openai("requests", "1" * 400, 0, "9" * 400 + "s"),
    "past": anthropic("requests", 50, 0, "2026-11-18T11:06:00Z"),
    "no_date": anthropic("requests", 50, 0, "tomorrow"),
    "no_such_date": anthropic("requests", 50, 0, "2026-02-31T00:00:00Z"),
    "first_date": anthropic("requests", 50, 0, "0001-01-01T00:00:00+14:00"),
    "other_case_of_unit": openai("requests", 60, 0, "12S"),
}


@pytest.mark.parametrize("case", IGNORED)
def test_what_says_nothing_or_nonsense_is_ignored(case):
    advice = brake(IGNORED[case], NOW)

    assert not advice


def test_advice_that_is_no_news_is_not_passed_on(redis_url, connect):
    shared = connect(redis_url)
    pacing = Pacing(shared)

    pacing.heed(provider(), openai("requests", 60, 30, "30s"))

    assert shared.scripts == 0


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(20, 20), (3600, 60), (float("inf"), 60), (0, 0), (-5, 0), (float("nan"), 0)],
)
def test_a_hold_keeps_everybody_back(paced, asked, kept):
    paced[0].hold(provider(), asked)

    assert wait_for(paced[1]) == pytest.approx(kept, abs=3)


def test_a_hold_is_made_longer_and_never_shorter(paced):
    paced[0].hold(provider(), 40)
    paced[0].hold(provider(), 5)

    assert wait_for(paced[1]) == pytest.approx(40, abs=3)


def test_a_hold_ends(paced):
    paced[0].hold(provider(), 0.3)

    began = time.monotonic()
    paced[1].acquire(provider(), soon()).release()

    assert 0.25 <= time.monotonic() - began < 5
