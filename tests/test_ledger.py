"""The books: a row before each call, settled after it, whatever happens between."""

import contextlib
import errno
import json
import logging
import os
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from conftest import KEY, MODELS, read_rows
from faults import down, full_disk, in_child, joined, processes
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

import flask_llm
from flask_llm import ConfigError, Message, Text, Usage
from flask_llm.chat import Prompt
from flask_llm.emulator import Answer, Fault
from flask_llm.usage import Database, Journal, Ledger, Outcome
from flask_llm.usage.models import usage
from flask_llm.usage.rows import GRACE_SECONDS, new_id

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)

USED = Usage(
    input_tokens=1200,
    cache_read_tokens=1000,
    cache_write_tokens=100,
    output_tokens=300,
    reasoning_tokens=250,
)

OUTCOME = Outcome(
    status="ok",
    usage=USED,
    cost_nanos=9_007_199_254_740_993,
    saved_nanos=0,
    cost_source="table",
    served_model="gpt-4o-mini-2024-07-18",
    service_tier="default",
    duration_ms=1234,
    first_token_ms=56,
    attempts=2,
    finish_reason="stop",
    provider_request_id="req_1",
)


def prompt(**options):
    return Prompt(
        provider="openai",
        model="gpt-4o-mini",
        messages=(Message("user", (Text("Hi"),)),),
        **options,
    )


def opened(ledger, *what, **how):
    """Write a pending row."""
    entry = ledger.entry(*what, **how)
    ledger.open(entry)
    return entry


def recorded(ledger, prompt, outcome):
    """Write a row for which nobody was asked."""
    entry = ledger.entry(prompt)
    ledger.settle(entry, outcome)
    return entry


class Clock:
    """A time of day that the test sets."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def pass_by(self, **time):
        self.now += timedelta(**time)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_ledger(tmp_path, clock):
    """Make a ledger over a database; several share one journal."""
    made = []

    def make(uri, *, auto_migrate=True):
        database = Database(uri, auto_migrate=auto_migrate)
        made.append(database)
        return Ledger(database, Journal(tmp_path / "journal.jsonl"), now=clock)

    yield make
    for database in made:
        database.close()


@pytest.fixture
def ledger(make_ledger, database_uri):
    """A ledger over each kind of database."""
    ledger = make_ledger(database_uri)
    ledger.database.prepare()
    return ledger


@pytest.fixture
def lite(make_ledger, tmp_path):
    """A ledger over SQLite, for what no database has a say in."""
    ledger = make_ledger(f"sqlite:///{tmp_path / 'lite.sqlite'}")
    ledger.database.prepare()
    return ledger


def rows_of(ledger):
    with ledger.database.begin() as connection:
        return connection.execute(select(usage).order_by(usage.c.id)).all()


# Open and settle


def test_open_row_says_what_was_asked(ledger):
    entry = opened(
        ledger,
        prompt(user="ann", tenant="acme", feature="summarise", tags={"a": "ї"}),
        streamed=True,
    )

    (row,) = rows_of(ledger)
    assert (row.id, row.request_id) == (entry.row["id"], entry.request_id)
    assert (row.status, row.operation, row.streamed) == ("pending", "complete", True)
    assert (row.provider, row.model) == ("openai", "openai/gpt-4o-mini")
    assert (row.user_id, row.tenant, row.feature) == ("ann", "acme", "summarise")
    assert row.tags == {"a": "ї"}
    assert (row.finished_at, row.cost_nanos, row.input_tokens) == (None, None, None)


def test_call_for_nobody_leaves_the_labels_empty(ledger):
    opened(ledger, prompt())

    (row,) = rows_of(ledger)
    assert (row.user_id, row.tenant, row.feature, row.tags) == (None, None, None, None)


def test_settled_row_says_how_it_ended(ledger, clock):
    entry = opened(ledger, prompt())
    clock.pass_by(milliseconds=1500)

    ledger.settle(entry, OUTCOME)

    (row,) = rows_of(ledger)
    settled = row._asdict()
    assert (row.status, row.finished_at) == ("ok", NOON + timedelta(milliseconds=1500))
    assert row.cost_nanos == 9_007_199_254_740_993
    assert (row.input_tokens, row.cache_read_tokens) == (1200, 1000)
    assert (row.cache_write_tokens, row.output_tokens) == (100, 300)
    assert (row.reasoning_tokens, row.usage_source) == (250, "provider")
    assert {
        name: settled[name]
        for name in ("cost_source", "served_model", "service_tier", "duration_ms")
    } == {
        "cost_source": "table",
        "served_model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "duration_ms": 1234,
    }
    assert (row.first_token_ms, row.attempts, row.finish_reason) == (56, 2, "stop")
    assert row.provider_request_id == "req_1"


def test_failure_says_what_it_was(ledger):
    entry = opened(ledger, prompt())

    ledger.settle(
        entry, Outcome(status="failed", error_code="rate_limit", error_status=429)
    )

    (row,) = rows_of(ledger)
    assert (row.status, row.error_code, row.error_status) == (
        "failed",
        "rate_limit",
        429,
    )
    assert (row.cost_nanos, row.input_tokens) == (None, None)


def test_unknown_cost_is_not_zero(ledger):
    entry = opened(ledger, prompt())

    ledger.settle(entry, Outcome(status="ok", usage=USED))

    (row,) = rows_of(ledger)
    assert row.cost_nanos is None


def test_recorded_row_is_settled_from_the_start(ledger):
    entry = recorded(
        ledger,
        prompt(user="ann"),
        Outcome(status="cached", cost_nanos=0, saved_nanos=42),
    )

    (row,) = rows_of(ledger)
    assert (row.id, row.status, row.saved_nanos) == (entry.request_id, "cached", 42)
    assert row.finished_at == row.created_at == NOON


@pytest.mark.parametrize(
    "zone",
    [UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11))],
    ids=str,
)
def test_times_come_back_in_utc_to_the_microsecond(ledger, clock, zone):
    clock.now = NOON.astimezone(zone)

    opened(ledger, prompt())

    (row,) = rows_of(ledger)
    assert (row.created_at, row.created_at.tzinfo) == (NOON, UTC)
    assert row.created_at.microsecond == 123456


def test_row_expires_a_while_after_its_deadline(ledger):
    opened(ledger, prompt(timeout=90.0))

    (row,) = rows_of(ledger)
    assert row.expires_at == NOON + timedelta(seconds=90 + GRACE_SECONDS)


def test_tries_of_one_call_share_its_id(ledger):
    first = opened(ledger, prompt())

    second = opened(ledger, prompt(), request_id=first.request_id)

    assert second.request_id == first.request_id
    assert second.row["id"] != first.row["id"]


def test_settling_twice_writes_once(ledger):
    entry = opened(ledger, prompt())
    ledger.settle(entry, OUTCOME)

    ledger.settle(entry, Outcome(status="failed"))

    (row,) = rows_of(ledger)
    assert row.status == "ok"


def test_row_settled_elsewhere_is_not_settled_again(ledger, make_ledger, database_uri):
    entry = opened(ledger, prompt())
    ledger.settle(entry, OUTCOME)
    entry.is_settled = False

    make_ledger(database_uri).settle(entry, Outcome(status="failed"))

    (row,) = rows_of(ledger)
    assert (row.status, row.cost_nanos) == ("ok", OUTCOME.cost_nanos)


def test_users_that_differ_in_a_letters_case_are_two(ledger):
    opened(ledger, prompt(user="ann"))
    opened(ledger, prompt(user="Ann"))

    with ledger.database.begin() as connection:
        users = connection.scalars(select(usage.c.user_id).distinct()).all()

    assert sorted(users) == ["Ann", "ann"]


LONG = "ї" * 1000

TOO_LONG = [
    ("served_model", 200),
    ("service_tier", 32),
    ("finish_reason", 32),
    ("error_code", 64),
    ("provider_request_id", 128),
]


@pytest.mark.parametrize(("column", "width"), TOO_LONG)
def test_too_long_word_of_a_provider_is_cut(ledger, column, width):
    entry = opened(ledger, prompt())

    ledger.settle(entry, Outcome(status="ok", **{column: LONG}))

    (row,) = rows_of(ledger)
    assert getattr(row, column) == LONG[:width]


@pytest.mark.parametrize("odd", ["a\0b", "a\ud800b", "😀"])
def test_odd_characters_of_a_provider_lose_no_row(ledger, odd):
    entry = opened(ledger, prompt())

    ledger.settle(entry, Outcome(status="ok", served_model=odd))

    (row,) = rows_of(ledger)
    assert row.status == "ok"
    assert not ledger.journal


@pytest.mark.parametrize("odd", ["😀", "' OR 1=1 --", "%s", ""])
def test_odd_characters_in_a_label_lose_no_row(ledger, odd):
    opened(ledger, prompt(user=odd, tenant=odd, feature=odd, tags={odd or "x": odd}))

    assert len(rows_of(ledger)) == 1


def test_model_with_a_very_long_name_is_written_down(ledger):
    long_named = Prompt(
        provider="openai", model="m" * 500, messages=(Message("user", (Text("Hi"),)),)
    )

    opened(ledger, long_named)

    (row,) = rows_of(ledger)
    assert row.model == "openai/" + "m" * 193


# Identifiers


@given(st.lists(st.floats(0, 4e9), min_size=2, max_size=20))
def test_ids_sort_by_time(moments):
    made = [new_id(moment) for moment in sorted(moments)]

    assert [an_id[:12] for an_id in made] == sorted(an_id[:12] for an_id in made)
    assert {len(an_id) for an_id in made} == {32}


def test_ids_of_one_moment_differ():
    made = {new_id(NOON.timestamp()) for _ in range(1000)}

    assert len(made) == 1000


# A database that is down


def test_row_lost_at_open_is_inserted_at_settle(ledger):
    with down(ledger):
        entry = opened(ledger, prompt(user="ann"))

    ledger.settle(entry, OUTCOME)

    (row,) = rows_of(ledger)
    assert (row.status, row.user_id, row.created_at) == ("ok", "ann", NOON)
    assert row.cost_nanos == OUTCOME.cost_nanos


def test_row_that_cannot_be_settled_waits_in_the_journal(ledger, clock):
    entry = opened(ledger, prompt(user="ann", tags={"a": "ї"}))
    clock.pass_by(seconds=2)
    with down(ledger):
        ledger.settle(entry, OUTCOME)

    written = ledger.replay()

    (row,) = rows_of(ledger)
    assert (written, row.status, row.tags) == (1, "ok", {"a": "ї"})
    assert (row.created_at, row.finished_at) == (NOON, NOON + timedelta(seconds=2))
    assert row.cost_nanos == OUTCOME.cost_nanos
    assert not ledger.journal


def test_row_lost_at_both_ends_is_inserted_by_the_replay(ledger):
    with down(ledger):
        entry = opened(ledger, prompt(user="ann", tags={"a": "b"}))
        ledger.settle(entry, OUTCOME)

    ledger.replay()

    (row,) = rows_of(ledger)
    assert (row.user_id, row.tags, row.status) == ("ann", {"a": "b"}, "ok")


def test_recorded_row_waits_in_the_journal_too(ledger):
    with down(ledger):
        recorded(ledger, prompt(), Outcome(status="cached", cost_nanos=0))

    ledger.replay()

    (row,) = rows_of(ledger)
    assert row.status == "cached"


def test_next_call_writes_what_the_journal_kept(ledger, clock):
    with down(ledger):
        ledger.settle(opened(ledger, prompt(user="ann")), OUTCOME)
    clock.pass_by(minutes=2)

    opened(ledger, prompt(user="bob"))

    assert {row.user_id for row in rows_of(ledger)} == {"ann", "bob"}


def test_replay_while_the_database_is_still_down_keeps_every_row(ledger):
    with down(ledger):
        ledger.settle(opened(ledger, prompt(user="ann")), OUTCOME)
        ledger.settle(opened(ledger, prompt(user="bob")), OUTCOME)

        with pytest.raises(OperationalError):
            ledger.replay()

    assert ledger.replay() == 2
    assert {row.user_id for row in rows_of(ledger)} == {"ann", "bob"}


def test_row_replayed_twice_is_there_once(ledger):
    with down(ledger):
        ledger.settle(opened(ledger, prompt()), OUTCOME)
    kept = ledger.journal.path.read_bytes()
    ledger.replay()
    ledger.journal.path.write_bytes(kept)

    ledger.replay()

    assert [row.status for row in rows_of(ledger)] == ["ok"]


def test_line_of_the_journal_that_is_no_row_is_in_nobodys_way(lite, caplog):
    lite.journal.append({"id": "x"})

    lite.replay()

    assert not lite.journal
    assert "lost" in caplog.text


def test_replay_of_an_empty_journal_writes_nothing(lite):
    assert lite.replay() == 0


def test_two_processes_that_replay_at_once_write_each_row_once(
    ledger, make_ledger, database_uri
):
    with down(ledger):
        entries = [opened(ledger, prompt()) for _ in range(50)]
        settled = [ledger.settle(entry, OUTCOME) for entry in entries]
    start = processes.Barrier(2)

    def replay():
        other = make_ledger(database_uri)
        start.wait(30)
        other.replay()
        os._exit(0)

    assert joined(in_child(replay), in_child(replay)) == [0, 0]

    rows = rows_of(ledger)
    assert len(rows) == len(settled) == 50
    assert {row.id for row in rows} == {entry.row["id"] for entry in entries}


def test_rows_appended_during_replays_are_not_lost(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    seen, over = set(), threading.Event()

    def keep(number):
        journal.append({"id": number})

    def replay():
        while not over.is_set():
            journal.replay(lambda row: seen.add(row["id"]))

    with ThreadPoolExecutor(6) as pool:
        replaying = [pool.submit(replay) for _ in range(2)]
        list(pool.map(keep, range(2000)))
        over.set()
    journal.replay(lambda row: seen.add(row["id"]))

    assert [future.result() for future in replaying] == [None, None]
    assert seen == set(range(2000))


def test_claim_of_a_process_that_died_is_taken_over(lite):
    with down(lite):
        lite.settle(opened(lite, prompt(user="ann")), OUTCOME)
    left = lite.journal.path.with_name("journal.jsonl.77-abc.claim")
    lite.journal.path.rename(left)
    os.utime(left, (time.time() - 3600,) * 2)

    written = lite.replay()

    assert written == 1
    assert [row.user_id for row in rows_of(lite)] == ["ann"]
    assert not left.exists()


def test_claim_of_a_process_at_work_is_left_to_it(lite):
    with down(lite):
        lite.settle(opened(lite, prompt()), OUTCOME)
    left = lite.journal.path.with_name("journal.jsonl.77-abc.claim")
    lite.journal.path.rename(left)
    os.utime(left)

    assert lite.replay() == 0
    assert left.exists()


def test_line_cut_short_is_logged_and_is_in_nobodys_way(lite, caplog):
    with down(lite):
        lite.settle(opened(lite, prompt(user="ann")), OUTCOME)
        lite.settle(opened(lite, prompt(user="bob")), OUTCOME)
    first, second, _ = lite.journal.path.read_bytes().split(b"\n")
    lite.journal.path.write_bytes(first[:40] + b"\n[]\n" + second + b"\n")

    written = lite.replay()

    assert written == 1
    assert [row.user_id for row in rows_of(lite)] == ["bob"]
    assert caplog.text.count("cannot be read") == 2


def test_line_that_a_full_disk_cuts_short_is_told_and_spoils_no_other(tmp_path, caplog):
    journal, seen = Journal(tmp_path / "journal.jsonl"), []
    with full_disk(bytes_free=100):
        journal.append({"id": "a" * 60})
        journal.append({"id": "b" * 60})
    journal.append({"id": "c" * 60})

    journal.replay(lambda row: seen.append(row["id"][0]))

    assert seen == ["a", "c"]
    assert f'lost: {{"id":"{"b" * 60}"}}' in caplog.text


def test_replay_that_breaks_off_on_a_full_disk_loses_no_row(tmp_path):
    journal, seen = Journal(tmp_path / "journal.jsonl"), []
    for number in range(10):
        journal.append({"id": number, "text": "x" * 100})

    def refuse(row):
        if row["id"] == 3 and not seen.count(3):
            seen.append(3)
            raise OSError(errno.ENOSPC, "no space left")
        seen.append(row["id"])

    with full_disk(bytes_free=100), pytest.raises(OSError, match="no space"):
        journal.replay(refuse)
    waits = bool(journal)
    journal.replay(refuse)

    assert waits
    assert set(seen) == set(range(10))
    assert not journal
    assert list(tmp_path.iterdir()) == []


def test_rows_kept_again_do_not_crowd_out_those_that_come_meanwhile(tmp_path):
    journal, seen = Journal(tmp_path / "journal.jsonl", size_max=100), []
    journal.append({"id": "a" * 60})

    def refuse(row):
        journal.append({"id": "b" * 60})
        raise ConnectionError

    with pytest.raises(ConnectionError):
        journal.replay(refuse)
    journal.replay(lambda row: seen.append(row["id"][0]))

    assert seen == ["a", "b"]


def test_row_that_no_database_would_take_is_in_nobodys_way(ledger, caplog):
    huge = Outcome(status="ok", cost_nanos=10**30)
    first = opened(ledger, prompt(user="ann"))
    ledger.settle(first, huge)
    with down(ledger):
        ledger.settle(opened(ledger, prompt(user="bob")), OUTCOME)

    ledger.replay()

    assert "bob" in {row.user_id for row in rows_of(ledger) if row.status == "ok"}
    assert "cannot be written" in caplog.text
    assert not ledger.journal


def test_journal_is_bounded_and_says_what_it_lost(tmp_path, caplog):
    journal = Journal(tmp_path / "journal.jsonl", size_max=100)

    journal.append({"id": "a" * 60})
    journal.append({"id": "b" * 60})

    kept = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert kept == [{"id": "a" * 60}]
    assert "b" * 60 in caplog.text


def test_journal_that_cannot_be_written_costs_nobody_an_answer(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    journal = Journal(tmp_path / "file" / "journal.jsonl")

    journal.append({"id": "a"})

    assert "lost" in caplog.text


def test_journal_is_readable_by_its_owner_only(tmp_path):
    journal = Journal(tmp_path / "new" / "journal.jsonl")

    journal.append({"id": "a"})

    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_journal_that_cannot_be_replayed_costs_nobody_an_answer(lite, clock):
    lite.journal.path.mkdir()
    (lite.journal.path / "full").touch()
    clock.pass_by(minutes=2)

    entry = opened(lite, prompt())

    lite.settle(entry, OUTCOME)
    assert [row.status for row in rows_of(lite)] == ["ok"]


def test_answer_reaches_its_caller_while_the_database_is_down(app, rows, emulator):
    flask_llm.complete("Hi")
    ledger = app.extensions["llm"].ledger
    emulator.script(Answer(text="all the same"))

    with down(ledger):
        answer = flask_llm.complete("Hi")

    assert answer.text == "all the same"
    ledger.replay()
    assert [row.status for row in rows()] == ["ok", "ok"]
    assert rows()[1].request_id == answer.request_id


def test_answer_reaches_its_caller_where_the_tables_vanish_meanwhile(app, emulator):
    ledger = app.extensions["llm"].ledger
    entry = opened(ledger, prompt())
    ledger.database._ready = False
    with ledger.database.engine.begin() as connection:
        connection.execute(text("DROP TABLE llm_usage"))
        connection.execute(text("UPDATE llm_alembic_version SET version_num = 'x'"))
    ledger.database._auto_migrate = False

    ledger.settle(entry, OUTCOME)

    assert ledger.journal


def test_warning_about_a_lost_row_shows_no_address(lite, caplog):
    with down(lite), caplog.at_level(logging.DEBUG):
        lite.settle(opened(lite, prompt(user="ann")), OUTCOME)

    assert "OperationalError" in caplog.text
    assert "sqlite" not in caplog.text


# The sweep


def test_sweep_marks_only_pending_rows_that_expired(ledger, clock):
    settled = opened(ledger, prompt(user="settled"))
    ledger.settle(settled, OUTCOME)
    opened(ledger, prompt(user="dead", timeout=30.0))
    opened(ledger, prompt(user="slow", timeout=300.0))
    clock.pass_by(seconds=30 + GRACE_SECONDS + 1)

    swept = ledger.sweep()

    assert swept == 1
    found = {row.user_id: (row.status, row.finished_at) for row in rows_of(ledger)}
    assert found == {
        "settled": ("ok", NOON),
        "dead": ("abandoned", clock.now),
        "slow": ("pending", None),
    }


def test_row_is_not_swept_at_its_very_deadline(ledger, clock):
    opened(ledger, prompt(timeout=30.0))
    clock.pass_by(seconds=30 + GRACE_SECONDS)

    assert ledger.sweep() == 0


def test_late_settle_wins_over_the_sweep(ledger, clock):
    entry = opened(ledger, prompt(timeout=1.0))
    clock.pass_by(hours=1)
    ledger.sweep()

    ledger.settle(entry, OUTCOME)

    (row,) = rows_of(ledger)
    assert (row.status, row.finished_at) == ("ok", clock.now)
    assert row.cost_nanos == OUTCOME.cost_nanos


def test_next_call_sweeps_now_and_then(ledger, clock):
    opened(ledger, prompt(user="dead", timeout=1.0))
    clock.pass_by(minutes=5)

    opened(ledger, prompt(user="next"))

    found = {row.user_id: row.status for row in rows_of(ledger)}
    assert found == {"dead": "abandoned", "next": "pending"}


def test_sweep_is_not_made_for_every_call(lite, clock):
    opened(lite, prompt(timeout=0.1))
    statements = []
    event.listen(
        lite.database.engine,
        "before_cursor_execute",
        lambda *seen: statements.append(seen[2]),
    )
    clock.pass_by(seconds=30)

    opened(lite, prompt())

    assert len(statements) == 1


def test_killed_worker_leaves_a_row_that_is_swept(ledger, make_ledger, database_uri):
    def die():
        opened(make_ledger(database_uri), prompt(user="dead", timeout=1.0))
        os.kill(os.getpid(), signal.SIGKILL)

    assert joined(in_child(die)) == [-signal.SIGKILL]

    ledger.sweep(NOON + timedelta(hours=1))
    assert [row.status for row in rows_of(ledger)] == ["abandoned"]


# Threads and processes


def test_threads_lose_no_row(make_app, database_uri, emulator):
    app = make_app(
        LLM_DATABASE_URI=database_uri,
        LLM_AUTO_MIGRATE=True,
        LLM_MAX_CONCURRENT=16,
        LLM_TIMEOUT=120,
    )

    def call(number):
        with app.app_context():
            return flask_llm.complete(f"Hi {number}", user=f"u{number % 16}").request_id

    with ThreadPoolExecutor(16) as pool:
        answered = list(pool.map(call, range(320)))

    rows = read_rows(app)
    assert {row.request_id for row in rows} == set(answered)
    assert [row.status for row in rows] == ["ok"] * 320
    assert not app.extensions["llm"].ledger.journal


def test_memory_is_one_database_for_all_threads(make_app, emulator):
    app = make_app(LLM_DATABASE_URI="sqlite://", LLM_AUTO_MIGRATE=True)

    def call(number):
        with app.app_context():
            return flask_llm.complete(f"Hi {number}").text

    with ThreadPoolExecutor(4) as pool:
        answered = list(pool.map(call, range(20)))

    assert len(answered) == 20
    assert [row.status for row in read_rows(app)] == ["ok"] * 20


def test_forked_child_has_an_engine_of_its_own(ledger):
    opened(ledger, prompt(user="parent"))
    inherited = ledger.database.engine

    def work():
        opened(ledger, prompt(user="child"))
        own = ledger.database.engine
        os._exit(0 if own is not inherited else 1)

    assert joined(in_child(work), in_child(work)) == [0, 0]

    opened(ledger, prompt(user="parent again"))
    assert ledger.database.engine is inherited
    assert [row.user_id for row in rows_of(ledger)].count("child") == 2
    assert len(rows_of(ledger)) == 4


def test_no_connection_is_held_while_the_model_thinks(make_app, emulator, database_uri):
    app = make_app(LLM_DATABASE_URI=database_uri, LLM_AUTO_MIGRATE=True)
    emulator.script(Answer(text="warm"), Fault(delay_seconds=0.5))
    with app.app_context():
        flask_llm.complete("Hi")
    pool = app.extensions["llm"].database.engine.pool

    def call():
        with app.app_context():
            flask_llm.complete("Hi")

    caller = threading.Thread(target=call)
    caller.start()
    while emulator.in_flight == 0:
        time.sleep(0.01)
    held = pool.checkedout()
    caller.join()

    assert held == 0


def test_nothing_is_opened_before_the_first_call(make_app, tmp_path):
    app = make_app(LLM_DATABASE_URI=None)

    assert app.extensions["llm"].database._engine is None
    assert not Path(app.instance_path).exists()


def test_folder_that_cannot_be_made_names_the_setting(make_app, tmp_path):
    (tmp_path / "file").write_text("in the way")
    app = make_app()
    database = Database(f"sqlite:///{tmp_path}/file/llm.sqlite", auto_migrate=True)

    with app.app_context(), pytest.raises(ConfigError, match="LLM_DATABASE_URI"):
        database.prepare()


# A host's own session


def test_pending_changes_of_the_host_are_neither_committed_nor_lost(
    make_host, database_uri, emulator
):
    app, db, note = make_host(database_uri)

    with app.app_context():
        db.session.add(note(body="half done"))
        flask_llm.complete("Hi")
        pending = list(db.session.new)
        db.session.rollback()
        kept = db.session.query(note).count()

    assert [change.body for change in pending] == ["half done"]
    assert kept == 0
    assert [row.status for row in read_rows(app)] == ["ok"]


def test_flushed_changes_of_the_host_are_its_own_to_commit(
    make_host, database_uri, emulator
):
    timeout = {"connect_args": {"timeout": 0.1}} if "sqlite" in database_uri else {}
    app, db, note = make_host(database_uri, SQLALCHEMY_ENGINE_OPTIONS=timeout)

    with app.app_context():
        flask_llm.complete("Before")
        db.session.add(note(body="half done"))
        db.session.flush()
        answer = flask_llm.complete("Hi")
        db.session.rollback()
        kept = db.session.query(note).count()
        db.session.rollback()
        app.extensions["llm"].ledger.replay()

    rows = read_rows(app)
    assert kept == 0
    assert rows[1].request_id == answer.request_id
    assert [row.status for row in rows] == ["ok", "ok"]


def test_commit_of_the_host_keeps_what_is_the_hosts(make_host, database_uri, emulator):
    app, db, note = make_host(database_uri)

    with app.app_context():
        db.session.add(note(body="whole"))
        flask_llm.complete("Hi")
        db.session.commit()
        kept = db.session.query(note).count()

    assert kept == 1
    assert len(read_rows(app)) == 1


def test_rollback_of_the_host_does_not_erase_what_was_spent(
    make_host, database_uri, emulator
):
    app, db, _ = make_host(database_uri)

    with app.app_context():
        answer = flask_llm.complete("Hi")
        db.session.rollback()

    assert [row.request_id for row in read_rows(app)] == [answer.request_id]


def test_memory_of_the_host_is_refused_since_our_commit_would_be_its_own(
    make_host, emulator
):
    app, _, _ = make_host("sqlite:///:memory:")

    with app.app_context(), pytest.raises(ConfigError, match="LLM_DATABASE_URI"):
        flask_llm.complete("Hi")

    assert emulator.requests == []


@pytest.mark.parametrize("bind_key", ["missing", "main"])
def test_bind_that_the_host_lacks_is_named(make_host, tmp_path, bind_key, emulator):
    app, _, _ = make_host(f"sqlite:///{tmp_path}/host.sqlite", LLM_BIND_KEY=bind_key)

    with app.app_context(), pytest.raises(ConfigError, match=bind_key):
        flask_llm.complete("Hi")

    assert emulator.requests == []


def test_host_without_flask_sqlalchemy_is_told_so(make_app, emulator):
    app = make_app(LLM_BIND_KEY="default")

    with app.app_context(), pytest.raises(ConfigError, match="Flask-SQLAlchemy"):
        flask_llm.complete("Hi")


def test_rows_may_live_on_a_bind_of_their_own(make_host, tmp_path, emulator):
    app, _, _ = make_host(
        f"sqlite:///{tmp_path}/host.sqlite",
        SQLALCHEMY_BINDS={"books": f"sqlite:///{tmp_path}/books.sqlite"},
        LLM_BIND_KEY="books",
    )

    with app.app_context():
        flask_llm.complete("Hi", model=MODELS["google"])

    with contextlib.closing(sqlite3.connect(tmp_path / "books.sqlite")) as connection:
        found = connection.execute("SELECT model FROM llm_usage").fetchall()
    assert found == [(MODELS["google"],)]


def test_borrowing_the_engine_ends_no_context_of_the_hosts(make_host, tmp_path):
    app, _, _ = make_host(f"sqlite:///{tmp_path}/host.sqlite", LLM_BIND_KEY="default")
    ended = []
    app.teardown_appcontext(ended.append)

    with app.app_context():
        flask_llm.complete("Hi")
        during = list(ended)

    assert (during, len(ended)) == ([], 1)


def test_forked_child_uses_no_connection_that_its_parent_left_in_the_hosts_pool(
    make_host, database_uri, emulator
):
    app, _, _ = make_host(database_uri)
    database = app.extensions["llm"].database

    def connection():
        with database.begin() as connection:
            return connection.connection.dbapi_connection

    with app.app_context():
        flask_llm.complete("Hi")
    parents = connection()

    def work():
        os._exit(0 if connection() is not parents else 1)

    assert joined(in_child(work)) == [0]
    assert connection() is parents


def test_no_row_holds_a_key_or_a_prompt(app, rows, emulator):
    emulator.script(Fault(status=400, message=f"bad: my secret prompt, {KEY}"))

    with contextlib.suppress(flask_llm.InvalidRequestError):
        flask_llm.complete("my secret prompt", system="my secret system")

    assert "secret" not in repr(rows())
    assert KEY not in repr(rows())
