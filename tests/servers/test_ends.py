"""Workers that are ended in the middle of a call, because it takes too long."""

import pytest
from sockets import wait_until

from flask_llm.emulator import Answer, Fault
from servers.browser import Browser, chat, summarise
from servers.processes import BUSY_SECONDS

WORDS = Answer(text="one two three four", chunks=4)
SILENT = Fault(answer=WORDS, silent_seconds=BUSY_SECONDS)
HANGS = Fault(hang=True)
PAUSES = Fault(answer=WORDS, silent_seconds=4)
"""For longer than a worker may be silent."""


def soon(condition):
    return wait_until(condition, BUSY_SECONDS)


@pytest.fixture
def impatient(make_site):
    """Start a server with one worker that neither may be silent nor end for long."""
    options = ["--workers=1", "--preload", "--timeout=2", "--graceful-timeout=1"]
    return lambda kind: make_site(kind, *options)


def test_a_sync_worker_that_times_out_settles_its_call(impatient, emulator):
    site = impatient("sync")

    emulator.script(SILENT)
    names = chat(site.url).rest()
    emulator.script(HANGS)
    answer = Browser(site.url, "/summarise", "anything").answer

    assert (names[0], names[-1], answer.status) == ("delta", "broken", 500)
    assert soon(lambda: site.books.statuses() == {"cancelled": 2})
    streamed, whole = site.books.rows()
    assert (streamed.error_code, streamed.cost_source) == ("SystemExit", "table")
    assert (whole.error_code, whole.cost_source) == ("SystemExit", "reserved")
    assert site.books.errors() == {}
    assert summarise(site.url, "what comes next")[0] == 200
    assert site.books.errors() == {}


def test_a_sync_worker_that_will_not_end_is_killed_and_its_call_swept(
    make_site, emulator
):
    emulator.script(SILENT)
    site = make_site("sync", "--workers=1", "--graceful-timeout=1")

    assert_the_end_of_a_silent_stream_is_counted(site)


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_streams_may_be_longer_than_the_time_out_and_end_with_the_graceful_one(
    impatient, emulator, kind
):
    emulator.script(PAUSES, SILENT)
    site = impatient(kind)

    browser = chat(site.url)

    assert browser.rest()[-2:] == ["delta", "done"]
    assert browser.heartbeats > 10
    assert site.books.statuses() == {"ok": 1}
    assert site.books.errors() == {}
    assert_the_end_of_a_silent_stream_is_counted(site)


def assert_the_end_of_a_silent_stream_is_counted(site):
    """Stop a server whose stream goes on: its row is settled at once, or swept."""
    browser = chat(site.url)
    assert browser.event()[0] == "delta"

    site.server.ask_to_end()

    assert browser.rest()[-1] == "broken"
    site.server.wait()
    assert site.books.errors() == {}
    site.books.sweep()
    row = site.books.rows()[-1]
    assert row.status in {"cancelled", "abandoned"}
    assert row.cost_nanos > 0
    assert site.books.errors() == {}
