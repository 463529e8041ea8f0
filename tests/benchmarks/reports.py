"""How long reports and settling take while the table grows: prints, asserts nothing.

    python tests/benchmarks/reports.py [--sizes 10000,100000,1000000] [--big] \
        [--uri postgresql+psycopg://user@host/an_empty_database]

It fills 90 days with calls of 200 users to 12 models from 20 features, without a
``--uri`` in an SQLite file that is deleted afterwards. A database that is named must be
empty, since all it holds is replaced.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask_llm.chat import Message, Prompt, Usage
from flask_llm.usage import (
    EVERYTHING,
    Database,
    Journal,
    Ledger,
    Outcome,
    Rebuild,
    Reports,
    Requests,
    read_query,
)
from flask_llm.usage.models import hourly, marks, usage
from flask_llm.usage.reports import read_request_query

NOW = datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)

DAYS, USERS, MODELS, FEATURES = 90, 200, 12, 20

BIG = 5_000_000

BATCH = 5_000

TRIES = 15

REPORTS = {
    "total, 30 days": {"since": "30d"},
    "by model, 30 days": {"since": "30d", "group_by": "model"},
    "top 20 users, 90 days": {"since": "90d", "group_by": "user", "limit": "20"},
    "by day, 90 days, Kyiv": {"since": "90d", "group_by": "day", "tz": "Europe/Kyiv"},
    "by feature and day, 30 days": {"since": "30d", "group_by": "feature,day"},
}


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield calls that have ended, evenly over the days."""
    dice = random.Random(5)
    blank: dict[str, Any] = dict.fromkeys(usage.c.keys())
    step = timedelta(days=DAYS) / count
    for number in range(count):
        at = NOW - timedelta(days=DAYS) + step * number
        model = dice.randrange(MODELS)
        yield blank | {
            "id": f"{number:032x}",
            "request_id": f"{number:032x}",
            "created_at": at,
            "finished_at": at,
            "expires_at": at,
            "status": "failed" if dice.random() < 0.02 else "ok",
            "operation": "complete",
            "provider": f"provider{model % 3}",
            "model": f"provider{model % 3}/model-{model}",
            "streamed": False,
            "user_id": f"user-{min(int(dice.expovariate(0.02)), USERS - 1)}",
            "feature": f"feature-{dice.randrange(FEATURES)}",
            "input_tokens": dice.randrange(5_000),
            "output_tokens": dice.randrange(1_000),
            "cost_nanos": dice.randrange(10_000_000),
            "duration_ms": int(dice.lognormvariate(7, 1)),
            "attempts": 1,
        }


def fill(database: Database, count: int) -> None:
    """Write the ledger, and its sums as an upgrade would."""
    with database.begin() as connection:
        for table in (usage, hourly, marks):
            connection.execute(table.delete())
    batch: list[dict[str, Any]] = []
    for row in rows(count):
        batch.append(row)
        if len(batch) == BATCH:
            write(database, batch)
            batch = []
    if batch:
        write(database, batch)
    if database.engine.dialect.name == "postgresql":
        analyse(database)
    work = Rebuild(database, NOW)
    for week in work.weeks():
        work.week(week)
    work.finish()
    if database.engine.dialect.name == "postgresql":
        analyse(database)


def write(database: Database, batch: list[dict[str, Any]]) -> None:
    """Insert some rows, as the driver does it fastest without more libraries."""
    with database.begin() as connection:
        connection.execute(usage.insert(), batch)


def analyse(database: Database) -> None:
    """Do what autovacuum does in the course of 90 days."""
    with database.engine.connect() as connection:
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        for table in ("llm_usage", "llm_usage_hourly"):
            autocommit.exec_driver_sql(f"VACUUM ANALYZE {table}")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the median and the longest time of some tries, in milliseconds."""
    work()
    took = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took), max(took)


def measure(database: Database, folder: Path) -> Iterator[tuple[str, float, float]]:
    """Yield what was measured, and how long it took."""
    reports, requests = Reports(database), Requests(database)
    for name, parameters in REPORTS.items():
        query = read_query(parameters.items(), now=NOW)
        yield name, *timed(lambda query=query: reports.run(query, EVERYTHING))
    page = read_request_query([], now=NOW)
    yield "newest 50 rows", *timed(lambda: requests.page(page, EVERYTHING))
    ledger = Ledger(database, Journal(folder / "journal.jsonl"), now=lambda: NOW)
    prompt = Prompt(
        provider="provider0",
        model="model-0",
        messages=(Message("user", "Hi"),),
        user="user-1",
        feature="feature-1",
    )
    outcome = Outcome(status="ok", usage=Usage(), cost_nanos=1, duration_ms=900)

    def settle() -> None:
        entry = ledger.entry(prompt)
        ledger.open(entry)
        ledger.settle(entry, outcome)

    yield "open and settle a call", *timed(settle)


def main() -> None:
    """Fill, measure, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sizes", default="10000,100000,1000000")
    options.add_argument("--big", action="store_true", help=f"{BIG:,} rows, too")
    options.add_argument("--uri", help="an empty database")
    given = options.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")] + [BIG] * given.big
    with tempfile.TemporaryDirectory() as folder:
        database = Database(
            given.uri or f"sqlite:///{folder}/reports.sqlite", auto_migrate=True
        )
        for size in sizes:
            begun = time.perf_counter()
            fill(database, size)
            name = database.engine.dialect.name
            seconds = time.perf_counter() - begun
            print(f"{name}, {size:,} rows, filled in {seconds:.0f} s", flush=True)
            for what, median, longest in measure(database, Path(folder)):
                print(f"  {what:<28} {median:8.1f} ms  {longest:8.1f} ms", flush=True)
        database.close()


if __name__ == "__main__":
    main()
