"""What budgets have spent and reserved: admitted exactly, and settled once."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sockets import wait_until
from sqlalchemy import select, text

from flask_llm import LLMError, Message, Text
from flask_llm.chat import Prompt
from flask_llm.usage import (
    Database,
    Hold,
    Journal,
    Ledger,
    NoRoom,
    Outcome,
    Reservation,
    Share,
    Standing,
)
from flask_llm.usage.models import spend, usage
from flask_llm.usage.rows import GRACE_SECONDS

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

USER = Share("user", "ann", "2026-11-23")
APP = Share("app", "", "2026-11")
MODEL = Share("model", "openai/gpt-4o-mini", "2026-W48")

processes = multiprocessing.get_context("fork")


def prompt(**options):
    return Prompt(
        provider="openai",
        model="gpt-4o-mini",
        messages=(Message("user", (Text("Hi"),)),),
        **{"user": "ann"} | options,
    )


def hold(share, limit):
    return Hold(share, limit, "as written", NOON)


def reservation(nanos, *holds):
    return Reservation(nanos, tuple(hold(*each) for each in holds))


def opened(ledger, *what, **how):
    """Write a pending row."""
    entry = ledger.entry(*what, **how)
    ledger.open(entry)
    return entry


class Clock:
    """A time of day that the test sets."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def pass_by(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_ledger(tmp_path, clock, database_uri):
    """Make a ledger over the same database and the same journal."""
    made = []

    def make():
        database = Database(database_uri, auto_migrate=True)
        made.append(database)
        return Ledger(database, Journal(tmp_path / "journal.jsonl"), now=clock)

    yield make
    for database in made:
        database.close()


@pytest.fixture
def ledger(make_ledger):
    ledger = make_ledger()
    ledger.database.prepare()
    return ledger


def rows_of(ledger):
    with ledger.database.begin() as connection:
        return connection.execute(select(usage).order_by(usage.c.id)).all()


def paid(nanos):
    return Outcome(status="ok", cost_nanos=nanos, cost_source="table")


def in_child(work):
    child = processes.Process(target=work)
    child.start()
    return child


def test_reservation_is_held_while_the_call_lasts(ledger):
    opened(ledger, prompt(), reservation(300, (USER, 1000), (APP, 5000)))

    assert ledger.standing(USER) == Standing(0, 300)
    assert ledger.standing(APP) == Standing(0, 300)


def test_settling_releases_what_was_held_and_charges_what_was_spent(ledger):
    entry = opened(ledger, prompt(), reservation(300, (USER, 1000), (APP, 5000)))

    left = ledger.settle(entry, paid(120))

    assert ledger.standing(USER) == Standing(120, 0)
    assert {hold.share: found for hold, found in left.items()} == {
        USER: Standing(120, 0),
        APP: Standing(120, 0),
    }


def test_call_that_exactly_fits_is_admitted(ledger):
    opened(ledger, prompt(), reservation(1000, (USER, 1000)))

    assert ledger.standing(USER) == Standing(0, 1000)


def test_call_that_does_not_fit_leaves_nothing_behind(ledger):
    held = reservation(400, (USER, 1000), (APP, 5000))
    for _ in range(2):
        opened(ledger, prompt(), held)

    with pytest.raises(NoRoom) as refused:
        opened(ledger, prompt(), held)

    assert refused.value.hold.share == USER
    assert refused.value.standing == Standing(0, 800)
    assert ledger.standing(APP) == Standing(0, 800)
    assert len(rows_of(ledger)) == 2


def test_one_full_budget_of_several_is_enough_to_refuse(ledger):
    with pytest.raises(NoRoom) as refused:
        opened(ledger, prompt(), reservation(10, (APP, 5), (MODEL, 100), (USER, 100)))

    assert refused.value.hold.share == APP
    assert [ledger.standing(share) for share in (MODEL, USER)] == [Standing()] * 2


def test_free_call_is_admitted_up_to_the_limit_and_not_beyond(ledger):
    entry = opened(ledger, prompt(), reservation(10, (USER, 10)))
    opened(ledger, prompt(), reservation(0, (USER, 10)))
    ledger.settle(entry, paid(11))

    with pytest.raises(NoRoom):
        opened(ledger, prompt(), reservation(0, (USER, 10)))


def test_spent_money_is_charged_even_past_the_limit(ledger):
    entry = opened(ledger, prompt(), reservation(10, (USER, 10)))

    ledger.settle(entry, paid(25))

    assert ledger.standing(USER) == Standing(25, 0)


def test_settling_twice_charges_once(ledger, make_ledger):
    entry = opened(ledger, prompt(), reservation(10, (USER, 100)))
    row = dict(entry.row)

    ledger.settle(entry, paid(7))
    ledger.settle(entry, paid(7))
    make_ledger()._writer.settle(row | {"status": "ok", "cost_nanos": 7}, row)

    assert ledger.standing(USER) == Standing(7, 0)


def test_call_of_unknown_cost_that_nobody_bills_is_free(ledger):
    entry = opened(ledger, prompt(), reservation(10, (USER, 100)))

    ledger.settle(entry, Outcome(status="failed"))

    assert ledger.standing(USER) == Standing(0, 0)
    assert rows_of(ledger)[0].cost_nanos is None


def test_call_of_unknown_cost_that_may_be_billed_costs_what_was_reserved(ledger):
    entry = opened(ledger, prompt(), reservation(10, (USER, 100)))

    ledger.settle(entry, Outcome(status="failed", may_be_billed=True))

    (row,) = rows_of(ledger)
    assert ledger.standing(USER) == Standing(10, 0)
    assert (row.cost_nanos, row.cost_source) == (10, "reserved")


def test_call_without_a_reservation_stays_of_unknown_cost(ledger):
    entry = opened(ledger, prompt())

    ledger.settle(entry, Outcome(status="failed", may_be_billed=True))

    assert rows_of(ledger)[0].cost_nanos is None


def test_users_that_differ_in_case_have_budgets_of_their_own(ledger):
    other = Share("user", "Ann", USER.period)
    opened(ledger, prompt(), reservation(10, (USER, 10)))

    opened(ledger, prompt(user="Ann"), reservation(10, (other, 10)))

    assert ledger.standing(other) == Standing(0, 10)


def test_new_period_begins_with_nothing_spent(ledger):
    tomorrow = USER._replace(period="2026-11-24")
    ledger.settle(opened(ledger, prompt(), reservation(10, (USER, 10))), paid(10))

    opened(ledger, prompt(), reservation(10, (tomorrow, 10)))

    assert ledger.standing(USER) == Standing(10, 0)
    assert ledger.standing(tomorrow) == Standing(0, 10)


def test_call_that_ends_in_the_next_period_is_charged_where_it_was_reserved(
    ledger, clock
):
    entry = opened(ledger, prompt(), reservation(10, (USER, 10)))
    clock.pass_by(20 * 3600)

    ledger.settle(entry, paid(4))

    assert ledger.standing(USER) == Standing(4, 0)


# Workers that die


def test_swept_reservation_counts_as_spent(ledger, clock):
    opened(ledger, prompt(timeout=5.0), reservation(10, (USER, 100), (APP, 100)))
    clock.pass_by(5 + GRACE_SECONDS + 1)

    assert ledger.sweep() == 1

    (row,) = rows_of(ledger)
    assert (row.status, row.cost_nanos, row.cost_source) == (
        "abandoned",
        10,
        "reserved",
    )
    assert ledger.standing(USER) == ledger.standing(APP) == Standing(10, 0)


def test_sweeping_twice_charges_once(ledger, clock):
    opened(ledger, prompt(timeout=5.0), reservation(10, (USER, 100)))
    clock.pass_by(3600)

    assert [ledger.sweep(), ledger.sweep()] == [1, 0]
    assert ledger.standing(USER) == Standing(10, 0)


def test_call_that_ends_after_it_was_swept_is_charged_what_it_cost(ledger, clock):
    entry = opened(ledger, prompt(timeout=5.0), reservation(10, (USER, 100)))
    clock.pass_by(3600)
    ledger.sweep()

    ledger.settle(entry, paid(3))

    assert ledger.standing(USER) == Standing(3, 0)
    assert rows_of(ledger)[0].cost_nanos == 3


def test_refusal_sweeps_first_where_dead_workers_hold_the_rest(ledger, clock):
    opened(ledger, prompt(timeout=5.0), reservation(60, (USER, 100)))
    ledger.settle(opened(ledger, prompt(), reservation(40, (USER, 100))), paid(0))
    clock.pass_by(3600)

    with pytest.raises(NoRoom) as refused:
        opened(ledger, prompt(), reservation(60, (USER, 100)))

    assert refused.value.standing == Standing(60, 0)


def test_killed_worker_leaves_the_books_right_after_the_sweep(
    ledger, make_ledger, clock
):
    ready = processes.Event()

    def die():
        other = make_ledger()
        for _ in range(3):
            opened(other, prompt(timeout=5.0), reservation(10, (USER, 100), (APP, 90)))
        ready.set()
        threading.Event().wait()

    child = in_child(die)
    assert ready.wait(30)
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    ledger.settle(opened(ledger, prompt(), reservation(10, (USER, 100))), paid(6))
    clock.pass_by(3600)
    ledger.sweep()

    costs = [row.cost_nanos for row in rows_of(ledger)]
    assert sorted(costs) == [6, 10, 10, 10]
    assert ledger.standing(USER) == Standing(36, 0)
    assert ledger.standing(APP) == Standing(30, 0)


# The database


def cut_off(ledger):
    """Take the tables away from under a ledger that has seen them."""
    with ledger.database.begin() as connection:
        connection.execute(text("DROP TABLE llm_spend"))


def test_call_is_refused_where_the_database_cannot_reserve(ledger):
    opened(ledger, prompt(), reservation(10, (USER, 100)))
    cut_off(ledger)

    with pytest.raises(LLMError) as refused:
        opened(ledger, prompt(), reservation(10, (USER, 100)))

    assert (refused.value.code, refused.value.http_status) == ("database_failed", 503)
    assert refused.value.is_retryable
    assert "nobody was asked" in refused.value.message


def test_row_that_waits_in_the_journal_is_charged_when_it_is_written(
    ledger, monkeypatch
):
    entry = opened(ledger, prompt(), reservation(10, (USER, 100)))
    ledger.database.close()
    monkeypatch.setattr(ledger._writer, "settle", _down)
    ledger.settle(entry, paid(4))
    monkeypatch.undo()
    assert ledger.standing(USER) == Standing(0, 10)

    assert ledger.replay() == 1

    assert ledger.standing(USER) == Standing(4, 0)
    assert [row.status for row in rows_of(ledger)] == ["ok"]


def _down(*_):
    raise ConnectionError


# Races

NANOS = 100
ADMITTED = 25
HOLDS = ((USER, ADMITTED * NANOS), (APP, ADMITTED * NANOS))


def race(ledger, threads=16, calls=4):
    """Let threads open and settle, and return how many calls were let in."""

    def work(_):
        admitted = 0
        for _ in range(calls):
            try:
                entry = opened(ledger, prompt(), reservation(NANOS, *HOLDS))
            except NoRoom:
                continue
            ledger.settle(entry, paid(NANOS))
            admitted += 1
        return admitted

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads)))


def sample(ledger, stop, seen):
    """Look at the books again and again while others write to them."""
    taken = spend.c.spent_nanos + spend.c.reserved_nanos
    while not stop.is_set():
        with ledger.database.begin() as connection:
            seen.extend(connection.scalars(select(taken)))


def test_four_processes_of_sixteen_threads_never_overshoot(ledger, make_ledger):
    admitted = processes.Queue()

    def work():
        admitted.put(race(make_ledger()))

    stop, seen = threading.Event(), []
    sampler = threading.Thread(target=sample, args=(make_ledger(), stop, seen))
    children = [in_child(work) for _ in range(4)]
    sampler.start()
    counts = [admitted.get(timeout=120) for _ in children]
    for child in children:
        child.join(30)
    stop.set()
    sampler.join(30)

    assert sum(counts) == ADMITTED
    assert seen
    assert max(seen) <= ADMITTED * NANOS
    assert ledger.standing(USER) == ledger.standing(APP) == Standing(2500, 0)
    assert [row.status for row in rows_of(ledger)] == ["ok"] * ADMITTED


def test_first_calls_of_a_period_make_its_rows_side_by_side(ledger):
    start = threading.Barrier(8)

    def work(number):
        start.wait(30)
        share = Share("user", f"u{number % 2}", "2026-11")
        opened(ledger, prompt(), reservation(1, (share, 100), (APP, 100), (MODEL, 100)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert ledger.standing(APP) == ledger.standing(MODEL) == Standing(0, 8)


@pytest.mark.parametrize("database_uri", ["postgres", "mysql"], indirect=True)
def test_calls_of_different_users_do_not_wait_for_each_other(ledger, make_ledger):
    other = make_ledger()
    bob = Share("user", "bob", USER.period)
    opened(ledger, prompt(), reservation(1, (USER, 100), (bob, 100)))
    with other.database.begin() as connection:
        connection.execute(
            text("UPDATE llm_spend SET spent_nanos = 5 WHERE subject = 'bob'")
        )
        done = threading.Event()

        def ask():
            opened(ledger, prompt(), reservation(1, (USER, 100)))
            done.set()

        threading.Thread(target=ask, daemon=True).start()
        wait_until(done.is_set)

    assert ledger.standing(USER) == Standing(0, 2)
