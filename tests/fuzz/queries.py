"""Query strings of reports, rows, budgets and the dashboard, with their cursors."""

import contextlib
from datetime import UTC, datetime

from flask_llm.guards.standings import read_budget_query
from flask_llm.usage.reports import BadQuery, read_query, read_request_query
from flask_llm.web.dashboard.selection import read_selection
from fuzz import common

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

SEEDS = [
    b"since=30d\nuntil=now\ntz=Europe/Kyiv\ngroup_by=model,day\nsort=calls\nlimit=10",
    b"since=2026-11-01T00:00:00+02:00\nuntil=2026-11-23\nuser=ann\nuser=bob\nday=2026-11-02",
    b"hour=2026-11-23T10:00 02:00\nstatus=ok\ntenant=",
    b"limit=500\ncursor=WyIyMDI2LTExLTIzVDEyOjAwOjAwKzAwOjAwIiwgImEiXQ",
    b"per=user\nsubject=ann\nlimit=50",
    b"range=24h\nlang=uk\nmodel=openai/gpt-4.1\ntz=America/Sao_Paulo",
    b"first=2026-01-01\nlast=2026-11-23\ngroup_by=feature",
]


def check(data):
    """A query is read, or refused by the name of a parameter."""
    given = common.pairs(data)
    with contextlib.suppress(BadQuery):
        read_query(given, now=NOW)
    with contextlib.suppress(BadQuery):
        found = read_request_query(given, now=NOW)
        assert found.cursor is None or str(found.cursor) == dict(given)["cursor"]
    with contextlib.suppress(BadQuery):
        read_budget_query(given)
    with contextlib.suppress(BadQuery):
        selection = read_selection(given, now=NOW)
        assert list(selection.columns())
        assert selection.report()
