"""Checks of the books: are there tables, and does everything stand in them."""

from __future__ import annotations

from collections.abc import Iterator

from flask_llm.cli.doctor.check import BAD, HINT, OK, Check, Setup
from flask_llm.errors import LLMError
from flask_llm.usage import marks
from flask_llm.usage.database import named_errors


def tables(setup: Setup) -> Iterator[Check]:
    """See that the database can be reached and has its tables."""
    try:
        with named_errors():
            setup.state.database.prepare()
    except LLMError as error:
        cure = "See that the database is up and LLM_DATABASE_URI is right."
        if error.code == "not_migrated":
            cure = "Run: flask llm db upgrade"
        yield Check("tables", BAD, error.message, cure)
    else:
        yield Check("tables", OK, "The tables are there.")


def journal(setup: Setup) -> Iterator[Check]:
    """See that no rows wait to be written."""
    if setup.state.ledger.journal:
        yield Check(
            "journal",
            BAD,
            "Rows wait in the journal: the database was down when their calls ended.",
            "Run: flask llm doctor --replay",
        )
    else:
        yield Check("journal", OK, "No rows wait in the journal.")


def rollup(setup: Setup) -> Iterator[Check]:
    """See that the sums count every row; the tables are looked at elsewhere."""
    try:
        with named_errors(), setup.state.database.begin() as connection:
            known = marks.read(connection)
    except LLMError:
        return
    if known.counts_all:
        yield Check("rollup", OK, "Reports are read from sums.")
    else:
        yield Check(
            "rollup",
            HINT,
            "Reports read old calls row by row, which takes long where there are many.",
            "Run: flask llm rollup --rebuild",
        )
