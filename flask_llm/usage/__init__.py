"""The books: one row for every request to a provider, and the reports over them."""

from flask_llm.usage.database import Database
from flask_llm.usage.journal import Journal
from flask_llm.usage.ledger import Entry, Ledger, Outcome
from flask_llm.usage.reports import Query, Report, Reports, read_query

__all__ = [
    "Database",
    "Entry",
    "Journal",
    "Ledger",
    "Outcome",
    "Query",
    "Report",
    "Reports",
    "read_query",
]
