"""Replays of the journal that meet, or end too early."""

import contextlib
import functools
import itertools
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from faults import down, in_child, joined, processes
from sums import errors_of

from database_faults.house import (
    BUDGET,
    ask,
    assert_all_is_counted,
    ledger_of,
    once_open,
    statuses,
)
from flask_llm.emulator import Answer

CALLS = 6


@pytest.fixture
def waiting(open_house, emulator, database_uri):
    """An app whose rows are pending in the table, and settled in the journal."""
    app = open_house(database_uri, **BUDGET)
    emulator.script(*[Answer(text="Yes.")] * CALLS)
    for _ in range(CALLS):
        with contextlib.ExitStack() as stack:
            lost = down(ledger_of(app))
            with once_open(app, functools.partial(stack.enter_context, lost)):
                ask(app, "complete")
    assert statuses(app) == {"pending": CALLS}
    return app


def test_rows_of_replays_at_the_same_time_count_once(waiting):
    start = processes.Barrier(3)

    def replay():
        start.wait(60)
        ledger_of(waiting).replay()
        os._exit(0)

    assert joined(*(in_child(replay) for _ in range(3))) == [0] * 3
    assert_all_is_counted(waiting, ok=CALLS)


def test_rows_of_a_replay_that_is_killed_count_once(waiting):
    ledger = ledger_of(waiting)
    written = itertools.count(1)

    def write(row):
        ledger._rewrite(row)
        if next(written) == CALLS / 2:
            os.kill(os.getpid(), signal.SIGKILL)

    assert joined(in_child(ledger.journal.replay, write)) == [-signal.SIGKILL]
    halfway = statuses(waiting)
    for claim in ledger.journal.path.parent.glob("*.claim"):
        os.utime(claim, (0, 0))  # as if it were long ago

    assert halfway == {"ok": CALLS / 2, "pending": CALLS / 2}
    assert ledger.replay() == CALLS
    assert_all_is_counted(waiting, ok=CALLS)


def test_rows_that_were_swept_before_their_replay_count_once(waiting):
    ledger = ledger_of(waiting)

    swept = ledger.sweep(datetime.now(UTC) + timedelta(days=1))

    assert swept == CALLS
    assert statuses(waiting) == {"abandoned": CALLS}
    assert errors_of(ledger.database) == {}
    assert ledger.replay() == CALLS
    assert_all_is_counted(waiting, ok=CALLS)
