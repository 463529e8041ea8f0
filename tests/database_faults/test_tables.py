"""Tables that are missing, or those of an older release."""

from uuid import uuid4

import pytest
from conftest import read_rows
from sums import errors_of

from database_faults.house import (
    BUDGET,
    ask,
    each_way,
    ledger_of,
    once_open,
)
from flask_llm import ConfigError


@pytest.fixture(params=["no-tables", "older-tables"])
def behind(request, make_app, database_uri):
    """An app whose tables are not those of this release."""
    app = make_app(LLM_DATABASE_URI=database_uri, **BUDGET)
    database = app.extensions["llm"].database
    if request.param == "older-tables":
        database.migrations().upgrade(database.engine)
        database.migrations().downgrade(database.engine, OLDER)
    return app


OLDER = "0004"


@each_way
def test_without_its_tables_nobody_is_asked_until_they_are_made(behind, emulator, way):
    database = behind.extensions["llm"].database

    code = ask(behind, way)
    asked = list(emulator.requests)
    database.migrations().upgrade(database.engine)
    answer = ask(behind, way)

    assert (code, asked) == ("not_migrated", [])
    assert "Hi" in answer
    assert [row.status for row in read_rows(behind)] == ["ok"]
    assert errors_of(database) == {}


@each_way
def test_database_that_comes_back_without_tables_gets_its_rows_once_they_are_made(
    postgres, make_app, emulator, way
):
    app = make_app(LLM_DATABASE_URI=postgres.create(f"house_{uuid4().hex}"))
    database = app.extensions["llm"].database
    postgres.stop()

    with once_open(app, postgres.start):
        answer = ask(app, way)
    waits = bool(ledger_of(app).journal)
    with pytest.raises(ConfigError, match="db upgrade"):
        ledger_of(app).replay()
    database.migrations().upgrade(database.engine)

    assert ("Hi" in answer, waits) == (True, True)
    assert ledger_of(app).replay() == 1
    assert [row.status for row in read_rows(app)] == ["ok"]
    assert errors_of(database) == {}
