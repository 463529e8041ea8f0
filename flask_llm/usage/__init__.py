"""The books: one row for every request to a provider, budgets, and the reports."""

from flask_llm.usage.batch_rows import as_batch, key_of, place_of
from flask_llm.usage.batches import BatchLedger
from flask_llm.usage.database import Database
from flask_llm.usage.journal import Journal
from flask_llm.usage.ledger import Ledger
from flask_llm.usage.purge import Purge
from flask_llm.usage.rebuild import Rebuild
from flask_llm.usage.reports import (
    EVERYTHING,
    Query,
    Report,
    Reports,
    Requests,
    Scope,
    read_query,
)
from flask_llm.usage.rows import Entry, Outcome, Reservation, share
from flask_llm.usage.spend import Hold, NoRoom, Share, Standing
from flask_llm.usage.writer import Charges

__all__ = [
    "EVERYTHING",
    "BatchLedger",
    "Charges",
    "Database",
    "Entry",
    "Hold",
    "Journal",
    "Ledger",
    "NoRoom",
    "Outcome",
    "Purge",
    "Query",
    "Rebuild",
    "Report",
    "Reports",
    "Requests",
    "Reservation",
    "Scope",
    "Share",
    "Standing",
    "as_batch",
    "key_of",
    "place_of",
    "read_query",
    "share",
]
