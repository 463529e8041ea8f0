"""The books of an app whose workers are other processes, as a test reads them."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from flask_llm.usage import Database, Journal, Ledger
from flask_llm.usage.models import hourly, spend, usage


class Books:
    """Rows, what budgets have spent and hold, and the hourly sums.

    :param uri: of the database; the tables are made.
    :param journal: the file in which rows wait.
    """

    def __init__(self, uri, journal):
        self.database = Database(uri, auto_migrate=True)
        self.database.prepare()
        self.journal = Journal(journal)
        self.ledger = Ledger(self.database, self.journal)

    def close(self):
        """Close our connections."""
        self.database.close()

    def empty(self):
        """Begin anew."""
        with self.database.begin() as connection:
            for table in (usage, spend, hourly):
                connection.execute(table.delete())

    def rows(self):
        """Return the rows, oldest first."""
        with self.database.begin() as connection:
            return connection.execute(select(usage).order_by(usage.c.id)).all()

    def statuses(self):
        """Count the rows by their status."""
        return Counter(row.status for row in self.rows())

    def sweep(self):
        """Sweep as one would a day later; return how many rows were settled."""
        return self.ledger.sweep(datetime.now(UTC) + timedelta(days=1))

    def errors(self):
        """Return in what the sums, the budgets and the rows differ: nothing at best."""
        rows = self.rows()
        settled = [row for row in rows if row.status != "pending"]
        held = sum(row.reserved_nanos or 0 for row in rows if row not in settled)
        cost = sum(row.cost_nanos or 0 for row in settled)
        spent, reserved = self._sums(spend, "spent_nanos", "reserved_nanos")
        calls, counted = self._sums(hourly, "calls", "cost_nanos", dimension="status")
        pairs = {
            "spent": (spent, cost),
            "reserved": (reserved, held),
            "calls of the hour": (calls, len(settled)),
            "cost of the hour": (counted, cost),
        }
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def _sums(self, table, *names, **where):
        sums = select(*(func.coalesce(func.sum(table.c[name]), 0) for name in names))
        if where:
            sums = sums.where(table.c.hours == 1)
        for name, value in where.items():
            sums = sums.where(table.c[name] == value)
        with self.database.begin() as connection:
            return [int(value) for value in connection.execute(sums).one()]
