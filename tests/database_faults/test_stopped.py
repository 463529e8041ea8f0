"""A PostgreSQL that stops and starts, and connections that are ended."""

import pytest
from sqlalchemy import create_engine, text

from database_faults.house import (
    BUDGET,
    ask,
    assert_all_is_counted,
    each_budget,
    each_way,
    ledger_of,
    once_open,
    statuses,
)
from flask_llm.emulator import Answer


@each_way
def test_database_down_at_open_costs_nobody_an_answer(
    crashing, postgres, emulator, way
):
    app = crashing()
    emulator.script(Answer(text="Yes."))
    postgres.stop()

    answer = ask(app, way)
    waits = bool(ledger_of(app).journal)
    postgres.start()

    assert (answer, waits) == ("Yes.", True)
    assert ledger_of(app).replay() == 1
    assert_all_is_counted(app, ok=1)


@each_way
def test_budget_that_cannot_be_looked_at_lets_nobody_ask(
    crashing, postgres, emulator, way
):
    app = crashing(**BUDGET)
    postgres.stop()

    code = ask(app, way)
    postgres.start()

    assert (code, emulator.requests) == ("database_failed", [])
    assert ledger_of(app).replay() == 1
    assert_all_is_counted(app, refused=1)


@each_way
@each_budget
def test_database_down_at_settle_costs_nobody_an_answer(
    crashing, postgres, emulator, way, budget
):
    app = crashing(**budget)
    emulator.script(Answer(text="Yes."))

    with once_open(app, postgres.stop):
        answer = ask(app, way)
    postgres.start()
    before = statuses(app)
    replayed = ledger_of(app).replay()

    assert (answer, before, replayed) == ("Yes.", {"pending": 1}, 1)
    assert_all_is_counted(app, ok=1)


@each_way
@each_budget
def test_database_that_was_restarted_meanwhile_gets_its_row_at_once(
    crashing, postgres, emulator, way, budget
):
    app = crashing(**budget)
    emulator.script(Answer(text="Yes."))

    with once_open(app, postgres.restart):
        answer = ask(app, way)

    assert answer == "Yes."
    assert_all_is_counted(app, ok=1)


@each_way
@each_budget
@pytest.mark.parametrize("database_uri", ["postgres", "mysql"], indirect=True)
def test_connections_that_the_database_ends_meanwhile_are_made_anew(
    open_house, emulator, database_uri, way, budget
):
    app = open_house(database_uri, **budget)
    emulator.script(Answer(text="Yes."))

    with once_open(app, lambda: end_connections(database_uri)):
        answer = ask(app, way)

    assert answer == "Yes."
    assert_all_is_counted(app, ok=1)


@each_way
@each_budget
@pytest.mark.parametrize("database_uri", ["postgres", "mysql"], indirect=True)
def test_connections_like_those_of_a_host_that_never_looks_are_made_anew_too(
    make_host, emulator, database_uri, way, budget
):
    app, _, _ = make_host(database_uri, **budget)
    emulator.script(Answer(text="Before."), Answer(text="Yes."))
    ask(app, way)

    with once_open(app, lambda: end_connections(database_uri)):
        answer = ask(app, way)

    assert answer == "Yes."
    assert_all_is_counted(app, ok=1)


ENDING = {
    "postgresql": (
        """SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()""",
        "SELECT pg_terminate_backend",
    ),
    "mysql": (
        """SELECT id FROM information_schema.processlist
        WHERE db = database() AND id <> connection_id()""",
        "KILL",
    ),
}
"""How to find the others, and how to end one."""


def end_connections(uri):
    """Do what an administrator does to all others who use a database."""
    engine = create_engine(uri, isolation_level="AUTOCOMMIT")
    find, end = ENDING[engine.dialect.name]
    with engine.connect() as connection:
        for number in connection.scalars(text(find)).all():
            connection.execute(text(f"{end} ({number})"))
    engine.dispose()
