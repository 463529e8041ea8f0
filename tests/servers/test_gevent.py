"""One gevent worker: many calls at a time on one thread, none blocks the others."""

import time
from concurrent.futures import ThreadPoolExecutor

from sockets import wait_until

from flask_llm.emulator import Answer, Fault
from servers.browser import chat, summarise
from servers.processes import BUSY_SECONDS

CALLS = 50
THINKING_SECONDS = 1.5
THINKS = Fault(delay_seconds=THINKING_SECONDS, answer=Answer(text="Yes."))


def ask_together(site, emulator):
    """Ask everything at once; return the statuses and how long it took."""
    emulator.script(*[THINKS] * CALLS)
    began = time.monotonic()
    with ThreadPoolExecutor(CALLS) as threads:
        answers = list(
            threads.map(lambda number: summarise(site.url, str(number)), range(CALLS))
        )
    return [status for status, _ in answers], time.monotonic() - began


def test_calls_of_one_worker_run_at_the_same_time(make_site, emulator, database_uri):
    site = make_site("gevent", "--workers=1", uri=database_uri)

    statuses, seconds = ask_together(site, emulator)

    assert statuses == [200] * CALLS
    assert emulator.max_in_flight > CALLS / 2
    assert seconds < CALLS * THINKING_SECONDS / 4
    assert site.books.statuses() == {"ok": CALLS}
    assert site.books.errors() == {}


def test_calls_of_one_worker_keep_the_limit(make_site, emulator, redis_url):
    site = make_site("gevent", "--workers=1", MAX_CONCURRENT=25, REDIS_URL=redis_url)

    statuses, _ = ask_together(site, emulator)

    assert statuses == [200] * CALLS
    assert emulator.max_in_flight == 25
    assert site.books.statuses() == {"ok": CALLS}
    assert site.books.errors() == {}


def test_silent_streams_let_others_work_and_notice_who_leaves(make_site, emulator):
    site = make_site("gevent", "--workers=1")
    words = Answer(text="one two", chunks=2)
    emulator.script(*[Fault(answer=words, silent_seconds=BUSY_SECONDS)] * 20)
    browsers = [chat(site.url) for _ in range(20)]
    assert [browser.event()[0] for browser in browsers] == ["delta"] * 20

    status, _ = summarise(site.url, "meanwhile")
    for browser in browsers:
        browser.leave()

    assert status == 200
    assert wait_until(lambda: emulator.abandoned == 20, BUSY_SECONDS)
    ended = {"ok": 1, "cancelled": 20}
    assert wait_until(lambda: site.books.statuses() == ended, BUSY_SECONDS)
    assert site.books.errors() == {}
