"""Limits, budgets and cache across threads and processes, through the public API.

The provider is the emulator, in this process and across real sockets; the workers are
processes of their own; Redis and the databases are real.

Tolerances. A request reaches the emulator a little after its turn came, how little is
up to the scheduler, so one that was held up is followed too soon by one that was not.
Each stretch of arrivals, whatever its length, may therefore be `JITTER_SECONDS` shorter
than its intervals add up to, and of single gaps nine in ten are more than half of the
interval. A call may end `LATE_SECONDS` after its deadline: what it waits for then is an
engine that hangs, or its own row.
"""

import contextlib
import re
import select
import socket
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from conftest import read_rows
from engines import redis_server
from sockets import serving, wait_until
from sqlalchemy import create_engine
from sqlalchemy import select as select_rows
from workers import (
    Crew,
    Worker,
    ask,
    ask_together,
    ask_until_interrupted,
    make_app,
    outcome,
)

from flask_llm.emulator import Answer, Fault
from flask_llm.usage.models import spend

JITTER_SECONDS = 0.15
LATE_SECONDS = 5.0
LEASE_SECONDS = 15.0
"""How long a slot stays taken when its worker is killed, as docs/limits.md has it."""
BUSY = 60
"""Seconds in which a busy machine gets to anything that is waited for."""

SHA_256_KEY = re.compile("llm:answer:[0-9a-f]{64}")

COST_NANOS = 10_000_000
"""What a call costs at most, and each scripted answer does: 10 tokens at $1,000 a
million."""


class Site:
    """An app with its workers, its books and its folder, which all of them share."""

    def __init__(self, folder, config):
        self.folder = folder
        self.config = config
        self.app = make_app(folder, config)
        self.state = self.app.extensions["llm"]
        self.state.database.prepare()
        self._workers = contextlib.ExitStack()

    def crew(self, count, work, **options):
        """Start workers that wait for the word."""
        workers = [
            Worker(self.folder, self.config, work, options) for _ in range(count)
        ]
        for worker in workers:
            self._workers.callback(worker.kill)
        return Crew(workers)

    def run(self, count, work, **options):
        """Let workers do something at the same time; return what they bring."""
        crew = self.crew(count, work, **options)
        crew.begin()
        return crew.results()

    def close(self):
        self._workers.close()
        self.state.close()

    @property
    def ledger(self):
        return self.state.ledger

    def rows(self):
        return read_rows(self.app)

    def standings(self):
        """Return what each budget has spent and reserved."""
        with self.state.database.begin() as connection:
            return [tuple(row) for row in connection.execute(_TAKEN)]

    def sweep(self):
        """Sweep as one would a day later."""
        return self.ledger.sweep(datetime.now(UTC) + timedelta(days=1))

    @contextlib.contextmanager
    def sampled(self):
        """Look at the budget again and again; yields what is seen."""
        stop, samples = threading.Event(), []
        engine = create_engine(self.config["LLM_DATABASE_URI"])

        def sample():
            while not stop.wait(0.002):
                with engine.connect() as connection:
                    samples.extend(connection.execute(_TAKEN).all())

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            yield samples
        finally:
            stop.set()
            sampler.join(BUSY)
            engine.dispose()


_TAKEN = select_rows(spend.c.spent_nanos, spend.c.reserved_nanos)


@pytest.fixture
def make_site(tmp_path, provider_rows):
    """Make an app whose workers are processes, with settings of the test's own."""
    made = []

    def make(**config):
        defaults = {
            "LLM_PROVIDERS": provider_rows,
            "LLM_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.sqlite'}",
            "LLM_MIN_INTERVAL": 0,
            "LLM_MAX_CONCURRENT": 1000,
        }
        made.append(Site(tmp_path / "instance", defaults | config))
        return made[-1]

    yield make
    for site in made:
        site.close()


def budget_for(calls, **config):
    """Settings under which a budget has room for exactly so many calls."""
    return {
        "LLM_BUDGETS": [f"${calls * COST_NANOS / 1e9:.2f}/month"],
        "LLM_PRICES": {"openai/*": {"input": "0", "output": "1000"}},
        "LLM_MAX_TOKENS": 10,
    } | config


def paid(seconds):
    """Answer after a while, and use all the tokens that were reserved."""
    usage = {"input_tokens": 5, "output_tokens": 10}
    return Fault(delay_seconds=seconds, answer=Answer(text="Yes.", usage=usage))


def kinds(outcomes):
    return Counter(one.kind for one in outcomes)


def ids(outcomes):
    return sorted(one.request_id for one in outcomes)


def unnamed(outcomes):
    return [one for one in outcomes if not one.is_named]


def slowest(outcomes):
    return max(one.seconds for one in outcomes)


def costs(rows):
    return sum(row.cost_nanos or 0 for row in rows)


def most_taken(samples):
    return max(spent + reserved for spent, reserved in samples)


def arrivals(emulator):
    return [request.time for request in emulator.requests]


def hurry(times, interval):
    """Return by how many seconds any stretch of arrivals was too short, at most."""
    slack = [time - place * interval for place, time in enumerate(times)]
    return max(max(slack[: place + 1]) - one for place, one in enumerate(slack))


def short_gap(times):
    """Return the gap that only one in ten is shorter than."""
    gaps = sorted(after - before for before, after in pairwise(times))
    return gaps[len(gaps) // 10]


def wait_for_more(emulator, count):
    """Wait until so many more requests have arrived."""
    wanted = len(emulator.requests) + count
    assert wait_until(lambda: len(emulator.requests) >= wanted, BUSY)


# --- Budgets ---------------------------------------------------------------------


def test_a_budget_admits_exactly_the_calls_that_fit(make_site, emulator, database_uri):
    site = make_site(LLM_DATABASE_URI=database_uri, **budget_for(40))
    emulator.script(*[paid(0.02)] * 128)

    with site.sampled() as samples:
        outcomes = site.run(4, ask, threads=16, calls=2)

    rows = site.rows()
    assert kinds(outcomes) == {"ok": 40, "budget_exceeded": 88}
    assert len(emulator.requests) == 40
    assert most_taken(samples) == 40 * COST_NANOS
    assert max(reserved for _, reserved in samples) > COST_NANOS
    assert site.standings() == [(40 * COST_NANOS, 0)]
    assert costs(rows) == 40 * COST_NANOS
    assert Counter(row.status for row in rows) == {"ok": 40, "refused": 88}
    assert sorted(row.request_id for row in rows) == ids(outcomes)
    assert not site.ledger.journal


def test_a_worker_killed_in_mid_call_leaves_the_books_right_after_the_sweep(
    make_site, emulator, database_uri
):
    site = make_site(LLM_DATABASE_URI=database_uri, **budget_for(30))
    emulator.script(*[paid(0.05)] * 300, model="gpt-4o-mini")
    models = ("openai/hang", "openai/gpt-4o-mini")
    victim = site.crew(1, ask, threads=6, models=models, pause=0.02)
    others = site.crew(3, ask, threads=8, calls=4)

    with site.sampled() as samples:
        victim.begin()
        assert wait_until(lambda: emulator.in_flight >= 3, BUSY)
        others.begin()
        wait_for_more(emulator, 5)
        victim.workers[0].kill()
        outcomes = others.results()
        ((spent, held),) = site.standings()
        swept = site.sweep()

    rows = site.rows()
    statuses = Counter(row.status for row in rows)
    abandoned = [row for row in rows if row.status == "abandoned"]
    assert set(kinds(outcomes)) == {"ok", "budget_exceeded"}
    assert spent + held == 30 * COST_NANOS
    assert swept == len(abandoned) >= 1
    assert {(row.cost_nanos, row.cost_source) for row in abandoned} == {
        (COST_NANOS, "reserved")
    }
    assert held == len(abandoned) * COST_NANOS
    assert site.standings() == [(30 * COST_NANOS, 0)]
    assert costs(rows) == 30 * COST_NANOS
    assert statuses["ok"] + len(abandoned) == 30
    assert set(statuses) <= {"ok", "refused", "abandoned"}
    assert most_taken(samples) <= 30 * COST_NANOS
    assert len(set(ids(outcomes))) == len(outcomes)
    assert set(ids(outcomes)) <= {row.request_id for row in rows}
    assert wait_until(lambda: emulator.in_flight == 0)


# --- Pacing ----------------------------------------------------------------------


def test_workers_together_keep_the_interval_and_the_number_at_a_time(
    make_site, emulator, redis_url
):
    site = make_site(
        LLM_REDIS_URL=redis_url, LLM_MIN_INTERVAL=0.1, LLM_MAX_CONCURRENT=3
    )

    outcomes = site.run(4, ask, threads=4, calls=2, models=["openai/slow-0.35"])

    times = arrivals(emulator)
    assert kinds(outcomes) == {"ok": 32}
    assert emulator.max_in_flight == 3
    assert hurry(times, 0.1) <= JITTER_SECONDS
    assert short_gap(times) >= 0.05
    assert sorted(row.request_id for row in site.rows()) == ids(outcomes)


def test_workers_go_on_when_one_is_killed_that_held_slots(
    make_site, emulator, redis_url
):
    site = make_site(
        LLM_REDIS_URL=redis_url, LLM_MIN_INTERVAL=0.1, LLM_MAX_CONCURRENT=3
    )
    victim = site.crew(1, ask, threads=2, calls=1, models=["openai/hang"])
    models = ["openai/slow-0.01", "openai/slow-0.5"]
    others = site.crew(3, ask, threads=4, models=models)
    victim.begin()
    assert wait_until(lambda: emulator.in_flight == 2, BUSY)
    others.begin()
    wait_for_more(emulator, 3)
    most_before = emulator.max_in_flight

    victim.workers[0].kill()
    killed = time.monotonic()
    assert wait_until(lambda: emulator.abandoned == 2, BUSY)
    emulator.reset()
    wait_for_more(emulator, 5)
    went_on = time.monotonic() - killed
    assert wait_until(lambda: emulator.max_in_flight >= 3, BUSY)
    all_back = time.monotonic() - killed
    meanwhile = len(emulator.requests)
    wait_for_more(emulator, 15)
    outcomes = others.end()

    times = arrivals(emulator)
    assert most_before <= 3
    assert went_on < LEASE_SECONDS / 2
    assert all_back < LEASE_SECONDS + LATE_SECONDS
    assert emulator.max_in_flight == 3
    assert hurry(times, 0.1) <= JITTER_SECONDS
    assert short_gap(times[meanwhile:]) >= 0.05
    assert set(kinds(outcomes)) == {"ok"}


# --- The cache -------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 4])
def test_two_hundred_threads_with_one_question_make_one_call(
    make_site, emulator, redis_url, processes
):
    shared = {"LLM_REDIS_URL": redis_url} if processes > 1 else {}
    site = make_site(LLM_PRICES=budget_for(1)["LLM_PRICES"], **shared)
    emulator.script(paid(1.0))
    threads = 200 // processes

    outcomes = site.run(
        processes, ask, threads=threads, calls=1, prompt="What is it?", cache=True
    )

    rows = site.rows()
    cached = [row for row in rows if row.status == "cached"]
    assert kinds(outcomes) == {"ok": 1, "cached": 199}
    assert {one.text for one in outcomes} == {"Yes."}
    assert len(emulator.requests) == 1
    assert Counter(row.status for row in rows) == {"ok": 1, "cached": 199}
    assert {(row.cost_nanos, row.saved_nanos) for row in cached} == {(0, COST_NANOS)}
    assert costs(rows) == COST_NANOS
    assert sorted(row.request_id for row in rows) == ids(outcomes)


# --- Quotas ----------------------------------------------------------------------


def test_workers_share_a_quota(make_site, emulator, redis_url):
    site = make_site(LLM_REDIS_URL=redis_url, LLM_QUOTAS=["20/minute"])

    outcomes = site.run(4, ask, threads=8, calls=2)

    rows = site.rows()
    assert kinds(outcomes) == {"ok": 20, "quota_exceeded": 44}
    assert len(emulator.requests) == 20
    assert Counter(row.status for row in rows) == {"ok": 20, "refused": 44}
    assert sorted(row.request_id for row in rows) == ids(outcomes)


# --- Engines that stop and start -------------------------------------------------


@pytest.fixture
def private_redis(tmp_path):
    with redis_server(tmp_path) as server:
        yield server


def test_workers_outlive_a_redis_that_is_stopped_and_started(
    make_site, emulator, private_redis
):
    site = make_site(
        LLM_REDIS_URL=private_redis.url,
        LLM_QUOTAS=["1000000/minute"],
        LLM_MAX_CONCURRENT=4,
        LLM_MIN_INTERVAL=0.02,
        LLM_TIMEOUT=10,
    )
    crew = site.crew(
        4, ask, threads=4, models=["openai/slow-0.1"], repeats=2, cache=True
    )
    crew.begin()
    wait_for_more(emulator, 40)
    most_before = emulator.max_in_flight

    private_redis.stop()
    wait_for_more(emulator, 80)
    most_between = emulator.max_in_flight
    private_redis.start()
    back = ("Redis is back.", "The storage of quotas is back.")
    assert wait_until(lambda: all(map(crew.have_logged, back)), BUSY)
    wait_for_more(emulator, 16)  # what began without Redis has ended
    emulator.reset()
    wait_for_more(emulator, 60)
    most_after, times = emulator.max_in_flight, arrivals(emulator)
    outcomes = crew.end()

    assert unnamed(outcomes) == []
    assert set(kinds(outcomes)) == {"ok", "cached"}
    assert slowest(outcomes) < 10 + LATE_SECONDS
    assert most_before <= 4
    assert most_between <= 4 * 4
    assert most_after <= 4
    assert hurry(times, 0.02) <= JITTER_SECONDS
    assert sorted(row.request_id for row in site.rows()) == ids(outcomes)


def test_calls_end_in_time_while_redis_hangs(make_site, emulator, private_redis):
    site = make_site(
        LLM_REDIS_URL=private_redis.url,
        LLM_QUOTAS=["1000000/minute"],
        LLM_MAX_CONCURRENT=4,
        LLM_TIMEOUT=3,
    )
    crew = site.crew(
        4, ask, threads=4, models=["openai/slow-0.1"], repeats=2, cache=True
    )
    crew.begin()
    wait_for_more(emulator, 20)

    private_redis.freeze()
    wait_for_more(emulator, 60)
    private_redis.thaw()
    outcomes = crew.end()

    assert unnamed(outcomes) == []
    assert slowest(outcomes) < 3 + LATE_SECONDS
    assert sorted(row.request_id for row in site.rows()) == ids(outcomes)


@pytest.mark.parametrize(
    ("name", "settings", "budgets", "expected"),
    [
        pytest.param("plain", {}, 0, {"ok"}, id="without-a-budget"),
        pytest.param(
            "budgeted",
            budget_for(100_000),
            1,
            {"ok", "database_failed"},
            id="with-a-budget",
        ),
    ],
)
def test_no_row_is_lost_when_the_database_crashes_and_comes_back(
    make_site, emulator, postgres, name, settings, budgets, expected
):
    uri = postgres.create(name)
    site = make_site(LLM_DATABASE_URI=uri, LLM_TIMEOUT=10, **settings)
    crew = site.crew(3, ask, threads=4, models=["openai/slow-0.05"], pause=0.02)
    crew.begin()
    wait_for_more(emulator, 40)

    postgres.stop()
    assert wait_until(lambda: bool(site.ledger.journal), BUSY)
    assert wait_until(lambda: crew.have_logged("A usage row could not be"), BUSY)
    postgres.start()
    wait_for_more(emulator, 60)
    outcomes = crew.end()
    site.ledger.replay()
    site.sweep()

    rows = site.rows()
    assert unnamed(outcomes) == []
    assert set(kinds(outcomes)) == expected
    assert slowest(outcomes) < 10 + LATE_SECONDS
    assert sorted(row.request_id for row in rows) == ids(outcomes)
    assert not site.ledger.journal
    assert [row for row in rows if row.status == "pending"] == []
    assert site.standings() == [(costs(rows), 0)] * budgets


def losing(statement, url, armed):
    """Make a handler that passes everything on but, once, the answer to a COMMIT.

    :param statement: what the transaction did.
    :param armed: set when it is to happen; cleared when it has.
    """
    where = urlsplit(url)

    def handle(server, connection):
        there = socket.create_connection((where.hostname, where.port))
        with there:
            said = b""
            while not server.closing.is_set():
                for ready in select.select([connection, there], [], [], 0.1)[0]:
                    data = ready.recv(65_536)
                    (connection if ready is there else there).sendall(data)
                    said = said + data if ready is connection else said
                    if not data:
                        return
                    if b"COMMIT" in said and statement in said and armed.is_set():
                        armed.clear()
                        there.recv(65_536)
                        return
                    if b"COMMIT" in said or b"ROLLBACK" in said:
                        said = b""

    return handle


@pytest.mark.parametrize("statement", [b"INSERT INTO llm_usage", b"UPDATE llm_usage"])
@pytest.mark.parametrize("database_uri", ["postgres", "mysql"], indirect=True)
def test_a_transaction_whose_end_we_never_heard_of_counts_once(
    make_site, emulator, database_uri, statement
):
    armed = threading.Event()
    emulator.script(*[paid(0)] * 3)
    with serving(losing(statement, database_uri, armed)) as proxy:
        port = urlsplit(database_uri).port
        uri = database_uri.replace(f":{port}/", f":{proxy.port}/")
        site = make_site(LLM_DATABASE_URI=uri, **budget_for(10))

        with site.app.app_context():
            outcomes = [outcome("one")]
            armed.set()
            outcomes += [outcome("two"), outcome("three")]
        site.ledger.replay()
        site.sweep()
        rows, standings = site.rows(), site.standings()

    assert not armed.is_set()
    assert unnamed(outcomes) == []
    assert sorted(row.request_id for row in rows) == ids(outcomes)
    assert costs(rows) == len(emulator.requests) * COST_NANOS
    assert standings == [(costs(rows), 0)]


# --- What the customer asked for -------------------------------------------------


def test_at_least_a_tenth_of_a_second_lies_between_requests(
    make_site, emulator, redis_url
):
    site = make_site(LLM_REDIS_URL=redis_url, LLM_MIN_INTERVAL=0.1)

    outcomes = site.run(2, ask, threads=6, calls=2)

    times = arrivals(emulator)
    assert kinds(outcomes) == {"ok": 24}
    assert hurry(times, 0.1) <= JITTER_SECONDS
    assert short_gap(times) >= 0.05


def test_groups_of_prompts_run_in_parallel_in_order_and_five_at_a_time(
    make_site, emulator, redis_url
):
    site = make_site(LLM_REDIS_URL=redis_url, LLM_MAX_CONCURRENT=5)
    prompts = [f"number-{number}" for number in range(12)]

    groups = site.run(2, ask_together, prompts=prompts, model="openai/slow-0.3")

    named = [
        [prompt for prompt in prompts if re.search(rf"{prompt}\b", text)]
        for group in groups
        for text in group.texts
    ]
    assert named == [[prompt] for prompt in prompts] * 2
    assert [len(group.threads) <= 5 for group in groups] == [True, True]
    assert emulator.max_in_flight == 5


def test_answers_lie_in_redis_under_a_sha_256_for_a_day_at_most(
    make_site, emulator, redis_url
):
    site = make_site(LLM_REDIS_URL=redis_url)

    site.run(2, ask, threads=2, calls=3, cache=True)

    with pytest.importorskip("redis").Redis.from_url(redis_url) as client:
        names = [name.decode() for name in client.scan_iter("llm:answer:*")]
        lives = [client.ttl(name) for name in names]
    assert len(names) == 12
    assert [name for name in names if not SHA_256_KEY.fullmatch(name)] == []
    assert 0.8 * 86_400 < min(lives) <= max(lives) <= 86_400


# --- Ctrl-C ----------------------------------------------------------------------


def test_ctrl_c_leaves_no_thread_and_no_open_row(make_site, emulator):
    site = make_site(LLM_MAX_CONCURRENT=4)
    prompts = [str(number) for number in range(60)]
    crew = site.crew(1, ask_until_interrupted, prompts=prompts, model="openai/slow-0.5")
    crew.begin()
    assert wait_until(lambda: emulator.in_flight == 4, BUSY)

    crew.workers[0].interrupt()
    ((raised, threads_left),) = crew.results()

    rows = site.rows()
    assert (raised, threads_left) == ("KeyboardInterrupt", [])
    assert 4 <= len(emulator.requests) < 60
    assert Counter(row.status for row in rows) == {"ok": len(emulator.requests)}
    assert emulator.abandoned == 0
