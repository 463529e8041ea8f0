"""Fixtures for the matrix of endings: one trial per cell."""

import contextlib
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.register_assert_rewrite("endings.checks")

from endings import house, table, ways  # noqa: E402 - its asserts are rewritten first
from flask_llm.usage.database import Database  # noqa: E402


@dataclass(kw_only=True)
class Trial:
    """One cell's call, and what it has left behind."""

    app: Any
    seen: Any
    naps: list[float]
    """Seconds that were slept between tries."""
    remains: Any
    tables: dict[str, Any]
    connections: int
    """Open connections to the provider."""
    warned: list[str]


@dataclass(frozen=True)
class Before:
    """What there was before."""

    threads: set[Any]
    descriptors: int


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory):
    """A database with all tables and no rows."""
    path = tmp_path_factory.mktemp("books") / "books.sqlite"
    database = Database(f"sqlite:///{path}", auto_migrate=True)
    database.prepare()
    database.close()
    return path


@pytest.fixture
def temp(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def before(_emulator_server, tls, empty_books):
    """What is open before an app is made."""
    return Before(house.threads(), len(house.descriptors()))


@pytest.fixture
def emulator_url(_emulator_server, emulator):
    """The emulator's address."""
    _, url = _emulator_server
    return url


@pytest.fixture
def provider_url(emulator_url, tls):
    """Return a context manager for the address of a cell's provider."""

    @contextlib.contextmanager
    def place(cell):
        of_openai = cell.protocol in {"chat_completions", "responses"}
        base_url = urlsplit(f"{emulator_url}/v1" if of_openai else emulator_url)
        with contextlib.ExitStack() as stack:
            if cell.ending.place:
                elsewhere = urlsplit(stack.enter_context(cell.ending.place(tls=tls)))
                base_url = elsewhere._replace(path=base_url.path)
            yield base_url.geturl()

    return place


@pytest.fixture
def run(before, make_app, provider_url, emulator, tmp_path, temp, empty_books):
    """Make a cell's call in an app with everything on.

    :param times: how often the provider does what it does, before it answers.
    :param nap: called with the seconds of each wait between two tries.
    :param more: settings.
    """
    shutil.copy(empty_books, tmp_path / "books.sqlite")

    def run(cell, times=4, nap=None, **more):
        if cell.ending.fault:
            emulator.script(*[cell.fault] * times, table.ANSWER)
        naps = []
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(provider_url(cell))
            port = urlsplit(url).port
            others = house.connections_to(port)
            warned = stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            # Other tests load pygal, whose way of importing is not the latest.
            warnings.simplefilter("ignore", ImportWarning)
            app = make_app(**house.settings(cell, url, tmp_path), **more)
            transport = app.extensions["llm"].client._transport
            transport._sleep = nap or naps.append
            seen = ways.ask(cell.way, app, **house.options(cell))
            remains = house.Remains(app)
            return Trial(
                app=app,
                seen=seen,
                naps=naps,
                remains=remains,
                tables=remains.tables,
                connections=house.connections_to(port) - others,
                warned=[str(warning.message) for warning in warned],
            )

    return run


@pytest.fixture
def written(tmp_path):
    """Return all files that a cell's app has written."""
    return lambda: [path for path in tmp_path.rglob("*") if path.is_file()]
