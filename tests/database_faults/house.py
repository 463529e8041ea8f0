"""An app whose database is to fail: what it is asked, and what its books say."""

import contextlib
from collections import Counter

import pytest
from conftest import read_rows
from sums import errors_of

import flask_llm
from flask_llm import LLMError
from flask_llm.signals import completion_started

BUDGET = {"LLM_BUDGETS": ["$100/day"]}

each_way = pytest.mark.parametrize("way", ["complete", "stream"])
each_budget = pytest.mark.parametrize(
    "budget", [{}, BUDGET], ids=["no-budget", "budget"]
)


def ask(app, way):
    """Ask, and return the text of the answer or the error's code."""
    with app.app_context():
        try:
            if way == "complete":
                return flask_llm.complete("Hi").text
            with flask_llm.stream("Hi") as stream:
                return "".join(chunk.text for chunk in stream)
        except LLMError as error:
            return error.code


@contextlib.contextmanager
def once_open(app, act):
    """Do something to the database when a call's row has been opened."""

    def started(_sender, **_facts):
        act()

    with completion_started.connected_to(started, app):
        yield


def ledger_of(app):
    return app.extensions["llm"].ledger


def statuses(app):
    """Count the rows by their status, the first one aside."""
    return Counter(row.status for row in read_rows(app)[1:])


def assert_all_is_counted(app, **expected):
    """See that rows, budgets and sums agree, and that nothing waits any more."""
    assert statuses(app) == expected
    assert errors_of(app.extensions["llm"].database) == {}
    assert not ledger_of(app).journal
