"""The rollup: whatever happens to rows, the sums are what the rows come to."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, func, select

from flask_llm import ConfigError
from flask_llm.chat import Message, Prompt, Usage
from flask_llm.usage import (
    EVERYTHING,
    Database,
    Hold,
    Journal,
    Ledger,
    Outcome,
    Purge,
    Rebuild,
    Reports,
    Reservation,
    Share,
    marks,
    read_query,
    tally,
)
from flask_llm.usage.models import COUNTED, hourly, usage
from flask_llm.usage.models import marks as marks_table
from flask_llm.usage.reports import BadQuery
from flask_llm.usage.tally import GRAINS, KEY
from flask_llm.usage.writer import Writer

NOON = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)

USED = Usage(input_tokens=100, cache_read_tokens=40, output_tokens=7)

ENDS = [
    Outcome(status="ok", usage=USED, cost_nanos=5, duration_ms=1200),
    Outcome(status="ok", usage=USED, cost_nanos=None, duration_ms=90_000),
    Outcome(status="ok", usage=USED, cost_nanos=3, prompt_saved_nanos=-2),
    Outcome(status="cached", usage=USED, cost_nanos=0, saved_nanos=5, duration_ms=3),
    Outcome(status="failed", error_code="overloaded", duration_ms=400_000),
    Outcome(status="refused", error_code="budget"),
    Outcome(status="cancelled", usage=USED, cost_nanos=1, duration_ms=125),
]


class Clock:
    """A time of day that the test sets."""

    now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_ledger(tmp_path, clock):
    made = []

    def make(uri):
        database = Database(uri, auto_migrate=True)
        database.prepare()
        made.append(database)
        return Ledger(database, Journal(tmp_path / "journal.jsonl"), now=clock)

    yield make
    for database in made:
        database.close()


@pytest.fixture
def ledger(make_ledger, database_uri):
    return make_ledger(database_uri)


@pytest.fixture
def lite(make_ledger, tmp_path):
    return make_ledger(f"sqlite:///{tmp_path / 'lite.sqlite'}")


def prompt(**options):
    return Prompt(
        provider=options.pop("provider", "openai"),
        model=options.pop("model", "gpt-4o-mini"),
        messages=(Message("user", "Hi"),),
        **options,
    )


def held(nanos):
    """Reserve in a budget of its own."""
    share = Share("app", "", "2026-11")
    return Reservation(
        nanos, (Hold(share, 10**15, "1000 USD", NOON + timedelta(days=7)),)
    )


def called(ledger, outcome, *, reservation=None, **options):
    entry = ledger.entry(prompt(**options), reservation or Reservation())
    ledger.open(entry)
    ledger.settle(entry, outcome)
    return entry


def sums(ledger):
    """Return all sums by their keys, those of nothing left out."""
    with ledger.database.begin() as connection:
        found = connection.execute(select(hourly)).mappings().all()
    return {
        tuple(row[name] for name in KEY): {name: row[name] for name in COUNTED}
        for row in found
        if any(row[name] for name in COUNTED)
    }


def by_hand(ledger):
    """Compute the sums from the rows, the slow and obvious way."""
    with ledger.database.begin() as connection:
        rows = connection.execute(select(usage)).mappings().all()
    made = {}
    for row in rows:
        if row["status"] == "pending":
            continue
        for grain in GRAINS:
            total = made.setdefault(key(row, grain), dict.fromkeys(COUNTED, 0))
            for name, value in measured(row).items():
                total[name] += value
    return made


def key(row, grain):
    hour = tally.hour_of(row["created_at"])
    column = "user_id" if grain.dimension == "user" else grain.dimension
    provider = row["provider"] if grain.dimension == "model" else ""
    first = hour // grain.hours * grain.hours
    subject = row[column] or ""
    tenant = row["tenant"] or ""
    return grain.dimension, grain.hours, first, tenant, provider, subject


def measured(row):
    took = row["duration_ms"]
    flags = {
        "calls": 1,
        "failed": row["status"] in {"failed", "abandoned"},
        "cached": row["status"] == "cached",
        "timed": took is not None,
        "unpriced": row["cost_nanos"] is None and bool(row["input_tokens"]),
    }
    plain = {
        name: row[name] or 0 for name in COUNTED if name in row and name not in flags
    }
    ends = [int(name[6:]) for name in COUNTED if name.startswith("below_")]
    least = min((end for end in ends if took is not None and took < end), default=None)
    return {
        **{name: int(value) for name, value in flags.items()},
        **plain,
        **{f"below_{end}": int(end == least) for end in ends},
    }


def rebuilt(ledger, now=NOON):
    work = Rebuild(ledger.database, now)
    for week in work.weeks():
        work.week(week)
    work.finish()


# Rows that are settled


def test_calls_of_every_end_are_counted(ledger, clock):
    for number, outcome in enumerate(ENDS * 2):
        clock.now = NOON + timedelta(minutes=20 * number)
        called(ledger, outcome, user=["ann", "Ann", None][number % 3], tenant="t")

    assert sums(ledger) == by_hand(ledger)
    assert sum(line["calls"] for line in sums(ledger).values()) == 14 * len(GRAINS)


def test_pending_call_is_in_no_sum(ledger):
    ledger.open(ledger.entry(prompt()))

    assert sums(ledger) == {}


def test_call_for_which_nobody_was_asked_is_counted(ledger):
    ledger.settle(ledger.entry(prompt()), Outcome(status="refused"))

    assert sums(ledger) == by_hand(ledger) != {}


def test_call_that_is_settled_twice_is_counted_once(ledger):
    entry = called(ledger, ENDS[0])

    Writer(ledger.database).settle(entry.row, entry.row)

    assert sums(ledger) == by_hand(ledger)


def test_settling_that_fails_counts_nothing(ledger):
    entry = ledger.entry(prompt())
    ledger.open(entry)

    def refuse(conn, cursor, statement, *rest):
        if "llm_usage_hourly" in statement:
            raise RuntimeError

    event.listen(ledger.database.engine, "before_cursor_execute", refuse)
    ledger.settle(entry, ENDS[0])
    event.remove(ledger.database.engine, "before_cursor_execute", refuse)

    assert sums(ledger) == by_hand(ledger) == {}
    assert ledger.replay() == 1
    assert sums(ledger) == by_hand(ledger) != {}


def test_swept_call_is_counted_and_set_right_when_it_ends_after_all(ledger, clock):
    entry = ledger.entry(prompt(user="ann"), held(1000))
    ledger.open(entry)
    other = ledger.entry(prompt())
    ledger.open(other)

    assert ledger.sweep(NOON + timedelta(days=1)) == 2
    assert sums(ledger) == by_hand(ledger)
    assert {line["failed"] for line in sums(ledger).values()} == {1, 2}

    clock.now = NOON + timedelta(days=2)
    ledger.settle(entry, ENDS[0])

    assert sums(ledger) == by_hand(ledger)
    assert ledger.standing(Share("app", "", "2026-11")) == (5, 0)


def test_rows_settled_at_once_are_counted_and_charged_once(ledger):
    entries = [ledger.entry(prompt(user=name), held(100)) for name in "abcab"]
    for entry in entries:
        ledger.open(entry)
    (swept,) = entries[:1]
    with ledger.database.begin() as connection:
        connection.execute(
            usage.update()
            .where(usage.c.id == swept.row["id"])
            .values(expires_at=NOON - timedelta(days=1))
        )
    ledger.sweep()
    changes = [
        {"status": "ok" if n % 2 else "failed", "cost_nanos": n, "input_tokens": 9}
        for n in range(5)
    ]
    settled = [
        (entry.row | change, change)
        for entry, change in zip(entries, changes, strict=True)
    ]

    Writer(ledger.database).settle_all(settled)
    Writer(ledger.database).settle_all(settled)

    assert sums(ledger) == by_hand(ledger)
    assert ledger.standing(Share("app", "", "2026-11")) == (10, 0)


@pytest.mark.parametrize("threads", [8])
def test_calls_that_end_at_once_are_all_counted_and_none_is_given_up(
    ledger, threads, caplog
):
    def work(seed):
        dice = random.Random(seed)
        for _ in range(12):
            called(
                ledger,
                dice.choice(ENDS),
                user=dice.choice("abc"),
                feature=dice.choice("xyz"),
                model=dice.choice(["gpt-4o-mini", "gpt-4o"]),
                tenant=dice.choice("tu"),
            )
        return True

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(work, range(threads)))

    assert sums(ledger) == by_hand(ledger)
    assert sum(line["calls"] for line in sums(ledger).values()) == 96 * len(GRAINS)
    assert caplog.records == []
    assert ledger.replay() == 0


def test_batches_and_calls_that_end_at_once_never_wait_for_each_other(ledger):
    given_up = []
    event.listen(
        ledger.database.engine,
        "handle_error",
        lambda context: given_up.append(str(context.original_exception)),
    )
    writer = Writer(ledger.database)

    def batch(seed):
        dice = random.Random(seed)
        entries = [ledger.entry(prompt(user="abc"[seed % 3])) for _ in range(20)]
        for entry in entries:
            ledger.open(entry)
        changes = [
            {"status": dice.choice(["ok", "failed", "cancelled"]), "cost_nanos": 3}
            for _ in entries
        ]
        pairs = zip(entries, changes, strict=True)
        writer.settle_all([(entry.row | change, change) for entry, change in pairs])

    def single(seed):
        dice = random.Random(seed)
        for _ in range(20):
            called(ledger, dice.choice(ENDS), user=dice.choice("abc"))

    with ThreadPoolExecutor(8) as pool:
        work = [single, batch] * 6
        list(pool.map(lambda pair: pair[1](pair[0]), enumerate(work)))

    assert given_up == []
    assert sums(ledger) == by_hand(ledger)


# Sums made anew


def spoil(ledger):
    """Have sums go wrong in each way there is: too much, too little, gone, made up."""
    stray = dict.fromkeys(hourly.c.keys(), 0) | {
        "dimension": "user",
        "hours": 1,
        "hour": tally.hour_of(NOON),
        **dict.fromkeys(["tenant", "provider"], ""),
        "subject": "nobody",
        "calls": 3,
    }
    with ledger.database.begin() as connection:
        connection.execute(
            hourly.update()
            .where(hourly.c.dimension == "model")
            .values(calls=hourly.c.calls + 5, cost_nanos=hourly.c.cost_nanos - 7)
        )
        connection.execute(hourly.delete().where(hourly.c.dimension == "status"))
        connection.execute(hourly.insert(), stray)


def test_rebuild_puts_right_what_went_wrong(ledger, clock):
    for days in range(0, 20, 3):
        clock.now = NOON - timedelta(days=days)
        for outcome in ENDS:
            called(ledger, outcome, user="ann")
    expected = sums(ledger)
    spoil(ledger)
    assert sums(ledger) != expected

    rebuilt(ledger)

    assert sums(ledger) == expected == by_hand(ledger)


def test_rebuild_of_what_is_right_changes_nothing(ledger):
    called(ledger, ENDS[0])
    statements = []
    before = sums(ledger)

    rebuilt(ledger)
    event.listen(
        ledger.database.engine,
        "after_cursor_execute",
        lambda *seen: statements.append((seen[2], seen[1].rowcount)),
    )
    rebuilt(ledger)

    assert sums(ledger) == before
    assert statements
    assert not any(
        rows > 0
        for statement, rows in statements
        if "INTO llm_usage_hourly" in statement
    )


def test_rebuild_and_calls_do_not_disturb_each_other(ledger):
    for number in range(20):
        called(ledger, ENDS[number % len(ENDS)], user="abc"[number % 3])
    spoil(ledger)

    def work(seed):
        if not seed:
            rebuilt(ledger)
            return
        dice = random.Random(seed)
        for _ in range(30):
            called(ledger, dice.choice(ENDS), user=dice.choice("abc"))

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, range(5)))
    ledger.replay()

    assert sums(ledger) == by_hand(ledger)


def test_rows_from_before_the_rollup_are_read_until_it_counts_them(ledger, clock):
    for days in range(3):
        clock.now = NOON - timedelta(days=10 * days)
        called(ledger, ENDS[0])
    with ledger.database.begin() as connection:
        connection.execute(hourly.delete())
        connection.execute(marks_table.delete())
    clock.now = NOON
    called(ledger, ENDS[0])

    before = report(ledger)
    rebuilt(ledger)
    after = report(ledger)

    assert (before.source, after.source) == ("rows", "rollup")
    assert before.total == after.total
    assert after.total.calls == 4


def report(ledger, **parameters):
    parameters = {"since": "60d"} | parameters
    query = read_query(parameters.items(), now=NOON + timedelta(minutes=1))
    return Reports(ledger.database).run(query, EVERYTHING)


# Rows that are deleted


def aged(ledger, clock, days):
    clock.now = NOON - timedelta(days=days)


def purged(ledger, days):
    work = Purge(ledger.database, NOON - timedelta(days=days))
    expected = work.count()
    assert sum(work.run()) == expected
    return expected


def test_purged_rows_stay_in_the_reports(ledger, clock):
    for days in (50, 40, 30, 1):
        aged(ledger, clock, days)
        for outcome in ENDS:
            called(ledger, outcome, user="ann")
    before = report(ledger, group_by="user")

    assert purged(ledger, 35) == 2 * len(ENDS)

    after = report(ledger, group_by="user")
    assert after.groups == before.groups
    assert after.total.calls == 4 * len(ENDS)
    with ledger.database.begin() as connection:
        assert connection.scalar(select(func.count()).select_from(usage)) == 14


def test_purge_leaves_a_pending_row_and_what_it_holds(ledger, clock):
    aged(ledger, clock, 50)
    ledger.open(ledger.entry(prompt(), held(77)))
    called(ledger, ENDS[0])

    assert purged(ledger, 35) == 1

    with ledger.database.begin() as connection:
        (row,) = connection.execute(select(usage)).all()
    assert row.status == "pending"
    assert ledger.standing(Share("app", "", "2026-11")).reserved_nanos == 77


def test_purge_takes_many_rows_in_bounded_batches(lite, clock, monkeypatch):
    monkeypatch.setattr("flask_llm.usage.purge.BATCH_ROWS", 3)
    aged(lite, clock, 50)
    for _ in range(7):
        called(lite, ENDS[0])

    assert list(Purge(lite.database, NOON - timedelta(days=9)).run()) == [3, 3, 1]


def test_rebuild_leaves_the_sums_of_purged_rows_alone(ledger, clock):
    for days in (50, 40, 1):
        aged(ledger, clock, days)
        called(ledger, ENDS[0], user="ann")
    before = sums(ledger)
    purged(ledger, 45)

    rebuilt(ledger)

    assert sums(ledger) == before


def test_question_that_needs_purged_rows_is_refused_with_the_cure(ledger, clock):
    for days in (50, 1):
        aged(ledger, clock, days)
        called(ledger, ENDS[0], user="ann")
    purged(ledger, 45)

    with pytest.raises(BadQuery, match="were purged, and this question needs them"):
        report(ledger, group_by="user,model")

    assert report(ledger, group_by="user,model", since="44d").total.calls == 1


def test_purge_waits_for_rows_that_nobody_counted(lite, clock):
    aged(lite, clock, 50)
    called(lite, ENDS[0])
    with lite.database.begin() as connection:
        connection.execute(marks_table.delete())

    with pytest.raises(ConfigError, match="flask llm rollup --rebuild"):
        Purge(lite.database, NOON).count()


def test_marks_move_and_are_read(ledger):
    with ledger.database.begin() as connection:
        marks.put(connection, "purged", NOON)
        marks.put(connection, "purged", NOON + timedelta(hours=1))

        assert marks.read(connection).purged == NOON + timedelta(hours=1)
