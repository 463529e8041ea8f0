"""What a server's workers hold, second by second, and what tenants have spent."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from flask_llm.usage.models import spend

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")

LOOKS_A_SECOND = 10
"""At budgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """All workers together, at one moment."""

    at: float
    """Seconds since 1970."""
    rss_bytes: int
    threads: int
    sockets: int
    cpu_seconds: float
    """Since the workers were started."""


class Watch:
    """Takes a sample each second, and looks at budgets more often, within a ``with``.

    :param server: whose workers are looked at.
    :param books: where budgets are.
    :param poor: how the tenants' names begin whose budgets are looked at.
    """

    def __init__(self, server, books, poor):
        self.samples = []
        self.claimed_nanos = 0
        """The most that any poor tenant was ever seen to have spent and reserved."""
        self._server = server
        self._books = books
        self._poor = poor
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _run(self):
        while not self._end.wait(1 / LOOKS_A_SECOND):
            self.look_at_budgets()
            if not self.samples or time.time() >= self.samples[-1].at + 1:
                self.samples.append(self._sample())

    def look_at_budgets(self):
        """See what poor tenants have claimed by now."""
        claimed = select(spend.c.spent_nanos + spend.c.reserved_nanos)
        poor = claimed.where(spend.c.subject.startswith(self._poor))
        with self._books.database.begin() as connection:
            found = connection.execute(poor).scalars().all()
        self.claimed_nanos = max([self.claimed_nanos, *found])

    def _sample(self):
        workers = [Path(f"/proc/{pid}") for pid in self._server.workers]
        return Sample(
            at=time.time(),
            rss_bytes=sum(map(_rss_bytes, workers)),
            threads=sum(len(list((each / "task").iterdir())) for each in workers),
            sockets=sum(map(_sockets, workers)),
            cpu_seconds=sum(map(_cpu_seconds, workers)),
        )


def _rss_bytes(worker):
    return int((worker / "statm").read_text().split()[1]) * PAGE_BYTES


def _sockets(worker):
    links = (worker / "fd").iterdir()
    return sum(_target(link).startswith("socket:") for link in links)


def _target(link):
    try:
        return link.readlink().name
    except FileNotFoundError:  # closed meanwhile
        return ""


def _cpu_seconds(worker):
    # The name before the parenthesis may have blanks.
    fields = (worker / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
