"""Load the app for some minutes, look at everything afterwards, and say what was found.

    PYTHONPATH=tests python -m load.run --users 200 --seconds 300 \
        --uri postgresql+psycopg://user@host/an_empty_database \
        --redis redis://127.0.0.1:6379/15 --picture load.svg

The app is served by gunicorn, the provider is the package's emulator, and locust plays
the users, each in processes of its own on this machine. The exit code is 1 where
something does not hold. The database must be empty, since its rows are replaced, and
the Redis nobody else's.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import requests
from servers.books import Books
from servers.processes import BUSY_SECONDS, PYTHONPATH, WORKERS, Server
from sockets import free_port, wait_until

from load import checks, report
from load.app import POOR
from load.watch import Watch

LOCUSTFILE = Path(__file__).with_name("locustfile.py")

THREADS = 64
"""Of each worker: room for all users, though they are not spread evenly."""

BUDGETS = ["$1000/month", "$1000/day per tenant"]
"""Both have room for every call of a run; poor tenants have less."""

POOR_USD = Decimal("0.0000001")
"""The budget of a poor tenant, for each user and second: full after a while."""

SPAWNED_A_SECOND = 50


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How much of what."""

    users: int = 200
    seconds: int = 300
    warm_up_seconds: float = 60
    latency_seconds: tuple = (0.3, 3.0)
    fault_share: float = 0.05
    uri: str | None = None
    """Of the database; an SQLite file if left out."""
    redis: str | None = None
    """Each worker has limits of its own if left out."""

    @property
    def poor_usd(self):
        """The budget of a tenant whose users find it full before the run is over."""
        return POOR_USD * self.users * self.seconds


def run(terms, folder):
    """Load the app; return what was seen.

    :param folder: an empty one, for logs and files.
    """
    uri = terms.uri or f"sqlite:///{folder / 'load.sqlite'}"
    terms = replace(terms, uri=uri)
    with contextlib.ExitStack() as ends:
        books = Books(uri, folder / "journal.jsonl")
        ends.callback(books.close)
        books.empty()
        provider = ends.enter_context(emulator(terms, folder))
        server = serving(terms, folder, provider)
        ends.callback(server.stop)
        server.start()
        with Watch(server, books, POOR) as watch:
            let_users_in(terms, folder, server.url)
        wait_until(lambda: not books.statuses()["pending"], BUSY_SECONDS)
        watch.look_at_budgets()
        server.ask_to_end()
        server.wait()
        return checks.Run(
            users=terms.users,
            asked=lines(folder / "asked.jsonl"),
            notes=lines(folder / "notes.jsonl"),
            rows=books.rows(),
            errors=books.errors(),
            journal_is_empty=not books.journal,
            provider=requests.get(f"{provider}/control", timeout=BUSY_SECONDS).json(),
            samples=watch.samples,
            claimed_nanos=watch.claimed_nanos,
            workers=WORKERS,
            limit_nanos=int(terms.poor_usd * 10**9),
            warm_up_seconds=terms.warm_up_seconds,
        )


def serving(terms, folder, provider):
    """Make the server of the app."""
    environ = {
        f"FLASK_{name}": json.dumps(value)
        for name, value in settings(terms, folder, provider)
    }
    return Server(
        "gthread",
        f"--threads={THREADS}",
        "--keep-alive=30",
        app="load.app:create_app",
        environ=environ,
        folder=folder,
    )


def settings(terms, folder, provider):
    """Yield the app's settings: every guard is on."""
    row = {"api_key": "emulator", "base_url": f"{provider}/v1"}
    yield "LOAD_NOTES", str(folder / "notes.jsonl")
    yield "LOAD_POOR_USD", str(terms.poor_usd)
    yield "LLM_MODEL", "openai/gpt-4o-mini"
    yield "LLM_PROVIDERS", {"openai": row}
    yield "LLM_DATABASE_URI", terms.uri
    yield "LLM_JOURNAL", str(folder / "journal.jsonl")
    yield "LLM_REDIS_URL", terms.redis
    yield "LLM_BUDGETS", BUDGETS
    yield "LLM_QUOTAS", ["40/minute per user"]
    yield "LLM_MIN_INTERVAL", 0.005
    yield "LLM_MAX_CONCURRENT", 120 if terms.redis else 120 // WORKERS
    yield "LLM_MAX_TOKENS", 32
    yield "LLM_BACKOFF", 0.2


@contextlib.contextmanager
def emulator(terms, folder):
    """Run the provider; yields where it is."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    numbers = {
        "port": [port],
        "interval": [0],
        "latency": terms.latency_seconds,
        "faults": [terms.fault_share],
    }
    options = [str(word) for name in numbers for word in (f"--{name}", *numbers[name])]
    command = ["flask", "--app", "demo_app", "llm", "emulator", *options]
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": PYTHONPATH},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        assert wait_until(lambda: answers(f"{url}/control"), BUSY_SECONDS)
        yield url
    finally:
        process.kill()
        process.wait()


def answers(url):
    try:
        return requests.get(url, timeout=BUSY_SECONDS).ok
    except requests.ConnectionError:
        return False


def let_users_in(terms, folder, url):
    """Have locust play the users, and wait until the last one has an answer."""
    options = {
        "locustfile": LOCUSTFILE,
        "host": url,
        "users": terms.users,
        "spawn-rate": SPAWNED_A_SECOND,
        "run-time": f"{terms.seconds}s",
        "stop-timeout": BUSY_SECONDS,
        "exit-code-on-error": 0,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    with (folder / "locust.log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "locust", "--headless", "--only-summary", *words],
            cwd=folder,
            env=os.environ | {"LOAD_ASKED": str(folder / "asked.jsonl")},
            stdout=log,
            stderr=log,
            check=True,
            timeout=terms.seconds + 3 * BUSY_SECONDS,
        )


def lines(path):
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def main():
    """Run as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=Terms.users)
    parser.add_argument("--seconds", type=int, default=Terms.seconds)
    parser.add_argument("--warm-up", type=float, help="seconds; a fifth by default")
    parser.add_argument("--uri", help="database; SQLite in a file by default")
    parser.add_argument("--redis", help="address; none by default")
    parser.add_argument("--picture", type=Path, help="where the SVG goes")
    parser.add_argument("--keep", type=Path, help="an empty folder for all files")
    given = parser.parse_args()
    warm_up = given.seconds / 5 if given.warm_up is None else given.warm_up
    terms = Terms(
        users=given.users,
        seconds=given.seconds,
        warm_up_seconds=warm_up,
        uri=given.uri,
        redis=given.redis,
    )
    with tempfile.TemporaryDirectory() as scratch:
        found = run(terms, (given.keep or Path(scratch)).resolve())
    print(report.table(found))
    if given.picture:
        report.draw(found, given.picture)
    wrong = checks.problems(found)
    print("\n".join(wrong) or "Everything holds.", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
