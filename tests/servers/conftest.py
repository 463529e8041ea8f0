"""Servers with the demo app: those that tests share, and those of a test's own."""

import contextlib
import json
from pathlib import Path

import pytest
from conftest import KEY

from servers.books import Books
from servers.processes import COMMANDS, Server

BUDGET = "$1000/day"
"""Has room for every call of a test, so that all reserve and are charged."""


class Site:
    """A server, its books and its folder.

    :param uri: of the database; a SQLite file in the folder if left out.
    :param settings: of the app, without ``LLM_``.
    """

    def __init__(
        self, folder, kind, *options, provider, uri=None, app=None, **settings
    ):
        folder.mkdir()
        uri = uri or f"sqlite:///{folder / 'demo.sqlite'}"
        journal = folder / "journal.jsonl"
        self.books = Books(uri, journal)
        settings = {
            "MODEL": "openai/gpt-4o-mini",
            "PROVIDERS": {"openai": {"api_key": KEY, "base_url": f"{provider}/v1"}},
            "DATABASE_URI": uri,
            "AUTO_MIGRATE": True,
            "JOURNAL": str(journal),
            "BUDGETS": [BUDGET],
            "QUOTAS": [],
            "MIN_INTERVAL": 0,
            "MAX_CONCURRENT": 100,
            "HEARTBEAT": 0.1,
            "TIMEOUT": 120,
        } | settings
        environ = {
            f"FLASK_LLM_{name}": json.dumps(value) for name, value in settings.items()
        }
        chosen = {"app": app} if app else {}
        self.server = Server(kind, *options, environ=environ, folder=folder, **chosen)

    @property
    def url(self):
        return self.server.url

    def close(self):
        self.server.stop()
        self.books.close()


@pytest.fixture(scope="package")
def _provider(_emulator_server):
    return _emulator_server[1]


@pytest.fixture(scope="package", params=COMMANDS)
def _shared_site(request, tmp_path_factory, _provider, _own_database):
    """A server of each kind, with SQLite; the one that preloads has PostgreSQL."""
    kind = request.param
    folder = tmp_path_factory.mktemp("servers") / kind
    uri = _own_database("postgres") if kind == "preload" else None
    with contextlib.closing(Site(folder, kind, provider=_provider, uri=uri)) as site:
        yield site


@pytest.fixture
def site(_shared_site, emulator):
    """A server of each kind, its books empty; shared by tests as long as it lives."""
    if not _shared_site.server.is_running:
        _shared_site.server.start()
    _shared_site.books.empty()
    return _shared_site


@pytest.fixture
def make_site(tmp_path, _provider, emulator):
    """Start a server of a test's own."""
    with contextlib.ExitStack() as made:

        def make(kind, *options, **settings):
            folder = tmp_path / f"site{len(list(Path(tmp_path).iterdir()))}"
            site = Site(folder, kind, *options, provider=_provider, **settings)
            made.callback(site.close)
            site.server.start()
            return site

        yield make
