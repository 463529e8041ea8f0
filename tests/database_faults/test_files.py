"""A SQLite file that is locked, or on a disk that is full."""

import contextlib
import sqlite3
import threading
import time

import pytest
from faults import full_disk

from database_faults.house import (
    BUDGET,
    ask,
    assert_all_is_counted,
    each_budget,
    each_way,
    ledger_of,
    once_open,
)
from flask_llm.emulator import Answer
from flask_llm.usage import Database
from flask_llm.usage.models import REVISION

PATIENCE_SECONDS = 5
"""How long a database may hold up a call, each time; see docs/limits.md."""

LATE_SECONDS = 3
"""What a busy machine may add."""


@contextlib.contextmanager
def locked(file):
    """Hold the lock that every writer of a SQLite file needs."""
    with contextlib.closing(sqlite3.connect(file)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.rollback()


@contextlib.contextmanager
def crowded(file):
    """Fill the disk: the file cannot grow, but the small journal still can."""
    log = file.with_name(f"{file.name}-wal")
    assert log.stat().st_size > 2 * SMALL_BYTES
    with full_disk(bytes_free=SMALL_BYTES):
        yield


SMALL_BYTES = 32 * 1024

each_fault = pytest.mark.parametrize("fault", [locked, crowded])


@each_way
@each_fault
def test_file_that_cannot_be_written_costs_nobody_an_answer(
    open_house, emulator, file, fault, way
):
    app = open_house(f"sqlite:///{file}?timeout=0.1")
    emulator.script(Answer(text="Yes."))

    with fault(file):
        answer = ask(app, way)

    assert answer == "Yes."
    assert ledger_of(app).replay() == 1
    assert_all_is_counted(app, ok=1)


@each_way
@each_fault
def test_budget_in_a_file_that_cannot_be_written_lets_nobody_ask(
    open_house, emulator, file, fault, way
):
    app = open_house(f"sqlite:///{file}?timeout=0.1", **BUDGET)

    with fault(file):
        code = ask(app, way)

    assert (code, emulator.requests) == ("database_failed", [])
    assert ledger_of(app).replay() == 1
    assert_all_is_counted(app, refused=1)


@each_way
@each_budget
@each_fault
def test_file_that_cannot_be_written_at_settle_costs_nobody_an_answer(
    open_house, emulator, file, fault, way, budget
):
    app = open_house(f"sqlite:///{file}?timeout=0.1", **budget)
    emulator.script(Answer(text="Yes."))

    with contextlib.ExitStack() as stack:
        with once_open(app, lambda: stack.enter_context(fault(file))):
            answer = ask(app, way)
        waits = bool(ledger_of(app).journal)

    assert (answer, waits) == ("Yes.", True)
    assert ledger_of(app).replay() == 1
    assert_all_is_counted(app, ok=1)


def test_row_for_which_the_disk_has_no_room_at_all_is_in_the_log(
    open_house, emulator, file, caplog
):
    app = open_house(f"sqlite:///{file}")
    emulator.script(Answer(text="Yes."))

    with full_disk(bytes_free=0):
        answer = ask(app, "complete")

    (lost,) = (one.message for one in caplog.records if "; lost: " in one.message)
    assert answer == "Yes."
    assert '"status":"ok"' in lost
    assert ledger_of(app).replay() == 0
    assert_all_is_counted(app)


def test_a_lock_is_waited_for_no_longer_than_is_said(open_house, emulator, file):
    app = open_house(f"sqlite:///{file}", **BUDGET)

    with locked(file):
        began = time.monotonic()
        code = ask(app, "complete")
        seconds = time.monotonic() - began

    # Once for the reservation, once for the row that says it was refused.
    assert code == "database_failed"
    assert seconds < 2 * PATIENCE_SECONDS + LATE_SECONDS


def test_file_that_is_being_written_while_it_is_first_opened_is_waited_for(file):
    file.parent.mkdir(exist_ok=True)
    taken = threading.Event()

    def write():
        with locked(file):
            taken.set()
            time.sleep(0.3)

    writer = threading.Thread(target=write)
    writer.start()
    taken.wait()
    database = Database(f"sqlite:///{file}", auto_migrate=True)
    database.prepare()

    assert database.revision() == REVISION
    writer.join()
    database.close()
