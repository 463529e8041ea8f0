"""What every server has to do: answer, stream, notice who leaves, end, be killed.

After each scenario the books are right, and the next request is answered.
"""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sockets import wait_until

from flask_llm.emulator import Answer, Fault
from servers.browser import chat, summarise
from servers.processes import BUSY_SECONDS, COMMANDS

GUNICORN = [kind for kind in COMMANDS if kind != "waitress"]

WORDS = Answer(text="one two three four", chunks=4)
SLOW = Answer(text="one two three four", chunks=4, interval_seconds=0.3)
SILENT = Fault(answer=WORDS, silent_seconds=BUSY_SECONDS)
"""Falls silent in the middle of a stream, for longer than anybody waits."""


def soon(condition):
    return wait_until(condition, BUSY_SECONDS)


def assert_it_works_on(site):
    """See that the books are right, and stay so with the next request."""
    assert site.books.errors() == {}
    before = site.books.statuses()

    status, answer = summarise(site.url, uuid4().hex)  # no answer is kept for it

    assert (status, answer["success"]) == (200, True)
    assert site.books.statuses() - before == {"ok": 1}
    assert site.books.errors() == {}


def test_calls_at_the_same_time_are_answered_and_written_down(site):
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(summarise, site.url, f"number-{number}")
            for number in range(24)
        ]
    answers = [one.result() for one in asked]

    assert [status for status, _ in answers] == [200] * 24
    assert len({answer["request_id"] for _, answer in answers}) == 24
    assert site.books.statuses() == {"ok": 24}
    assert_it_works_on(site)


def test_a_stream_comes_piece_by_piece(site, emulator):
    emulator.script(SLOW)

    browser = chat(site.url)
    first = browser.event()
    under_way = emulator.in_flight
    rest = browser.rest()

    headers = {name.lower(): value for name, value in browser.answer.getheaders()}
    assert (first[0], first[1]["text"], under_way) == ("delta", "one ", 1)
    assert rest == ["delta", "delta", "delta", "done"]
    assert browser.answer.status == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert "content-length" not in headers
    assert [(row.status, row.streamed) for row in site.books.rows()] == [("ok", True)]
    assert_it_works_on(site)


def test_a_refusal_of_the_provider_is_the_status_of_the_stream(site, emulator):
    emulator.script(Fault(status=403))

    browser = chat(site.url)

    assert browser.answer.status == 502
    assert browser.answer.getheader("Content-Type") == "application/problem+json"
    browser.close()
    assert site.books.statuses() == {"failed": 1}
    assert_it_works_on(site)


def test_a_browser_that_leaves_a_silent_stream_hangs_up_on_the_provider(site, emulator):
    emulator.script(SILENT)
    browser = chat(site.url)
    assert browser.event()[0] == "delta"

    browser.leave()

    assert soon(lambda: emulator.abandoned == 1)
    assert soon(lambda: site.books.statuses() == {"cancelled": 1})
    (row,) = site.books.rows()
    assert (row.error_code, row.cost_nanos > 0) == ("stream_left", True)
    assert_it_works_on(site)


def test_a_worker_that_is_killed_leaves_its_call_to_the_sweep(site, emulator):
    emulator.script(SILENT)
    browser = chat(site.url)
    assert browser.event()[0] == "delta"

    site.server.kill(site.server.worker_at_work())

    assert browser.rest()[-1] == "broken"
    assert_the_sweep_settles_it(site)


@pytest.mark.parametrize("_shared_site", GUNICORN, indirect=True)
def test_sigterm_lets_a_stream_end(site, emulator):
    emulator.script(SLOW)
    browser = chat(site.url)
    assert browser.event()[0] == "delta"

    site.server.ask_to_end()

    assert browser.rest() == ["delta", "delta", "delta", "done"]
    assert site.server.wait() == 0
    assert site.books.statuses() == {"ok": 1}
    site.server.start()
    assert_it_works_on(site)


@pytest.mark.parametrize("_shared_site", ["waitress"], indirect=True)
def test_sigterm_leaves_the_calls_of_waitress_to_the_sweep(site, emulator):
    emulator.script(SLOW)
    browser = chat(site.url)
    assert browser.event()[0] == "delta"

    site.server.ask_to_end()

    assert browser.rest()[-1] == "broken"
    site.server.wait()
    site.server.start()
    assert_the_sweep_settles_it(site)


def assert_the_sweep_settles_it(site):
    """See that a call whose worker died holds its money, and is charged at last."""
    (row,) = site.books.rows()
    assert (row.status, row.reserved_nanos > 0) == ("pending", True)
    assert_it_works_on(site)
    assert site.books.sweep() == 1
    swept = next(one for one in site.books.rows() if one.id == row.id)
    assert (swept.status, swept.cost_nanos) == ("abandoned", row.reserved_nanos)
    assert_it_works_on(site)
