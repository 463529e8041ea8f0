"""The books of an app whose workers are other processes, as a test reads them."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sums import errors_of

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
        return errors_of(self.database)
