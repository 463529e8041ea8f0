"""Questions to the books: a checked query goes in, frozen lines come out."""

from flask_llm.usage.reports.lines import Line, Report, usd
from flask_llm.usage.reports.parameters import BadQuery
from flask_llm.usage.reports.query import LINES_MAX, Query, read_query
from flask_llm.usage.reports.reports import Reports
from flask_llm.usage.reports.requests import Requests, read_request_query
from flask_llm.usage.reports.scope import EVERYTHING, Scope

__all__ = [
    "EVERYTHING",
    "LINES_MAX",
    "BadQuery",
    "Line",
    "Query",
    "Report",
    "Reports",
    "Requests",
    "Scope",
    "read_query",
    "read_request_query",
    "usd",
]
