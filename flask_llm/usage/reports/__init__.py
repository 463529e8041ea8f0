"""Questions to the books: a checked query goes in, frozen lines come out."""

from flask_llm.usage.reports.lines import Line, Report, usd
from flask_llm.usage.reports.query import BadQuery, Query, read_query
from flask_llm.usage.reports.reports import Reports

__all__ = ["BadQuery", "Line", "Query", "Report", "Reports", "read_query", "usd"]
