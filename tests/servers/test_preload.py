"""Workers forked from a process that has called before, and has connections."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from sockets import wait_until

from servers.browser import summarise
from servers.processes import BUSY_SECONDS, WORKERS, connections

PATCHED = Path(__file__).with_name("patched.py")

CALLS = 16


@pytest.fixture(params=["gthread", "gevent"])
def warm_site(request, make_site, database_uri, redis_url):
    """A server whose master has asked already."""
    how = ["gevent", f"--config={PATCHED}"]
    return make_site(
        *(how if request.param == "gevent" else ["preload"]),
        uri=database_uri,
        app="servers.warm:create_app",
        REDIS_URL=redis_url,
    )


def ask_together(site):
    """Ask for different things at the same time; return whose answers came astray."""
    texts = [uuid4().hex for _ in range(CALLS)]
    with ThreadPoolExecutor(CALLS) as threads:
        answers = list(threads.map(lambda text: summarise(site.url, text), texts))
    assert [status for status, _ in answers] == [200] * CALLS
    pairs = zip(texts, answers, strict=True)
    return [text for text, (_, answer) in pairs if text not in answer["content"]]


@pytest.mark.parametrize(
    ("warm_site", "database_uri"),
    [
        ("gthread", "sqlite"),
        ("gthread", "postgres"),
        ("gthread", "mysql"),
        ("gevent", "postgres"),
    ],
    indirect=True,
)
def test_workers_use_no_connection_of_the_process_they_were_forked_from(
    warm_site, provider_rows
):
    server, books = warm_site.server, warm_site.books
    provider = urlsplit(provider_rows["openai"]["base_url"]).port
    ports = [provider, *filter(None, [books.database.engine.url.port])]
    masters = {port: connections(server.process.pid, port) for port in ports}
    astray = []

    def each_has_its_own():
        astray.extend(ask_together(warm_site))
        return all(
            connections(worker, port) - masters[port]
            for worker in server.workers
            for port in ports
        )

    assert wait_until(each_has_its_own, BUSY_SECONDS)

    rows = books.rows()
    assert all(masters.values())
    assert (len(server.workers), astray) == (WORKERS, [])
    assert [
        connections(worker, provider) & masters[provider] for worker in server.workers
    ] == [set()] * WORKERS
    assert len({row.id for row in rows}) == len(rows) > CALLS
    assert books.statuses() == {"ok": len(rows)}
    assert books.errors() == {}
