"""What must hold however a call ends."""

import logging
import math
import pickle
import traceback

from leaks import foreign_frames, shown_in
from sockets import wait_until

from endings import house, table, ways
from endings.ways import PROMPT
from flask_llm.web.sse import KEEP_ALIVE

SLACK_SECONDS = 2.0
"""How much later than its deadline a call may end on a busy machine."""


def ended_as_named(cell, seen):
    """Check the class of the error, or that there is an answer."""
    end, error = cell.end, seen.error
    if end.error is None:
        assert error is None
        usage = seen.completion.usage
        assert seen.completion.text == table.ANSWER.text
        assert (usage.source == "estimated") is end.estimated
        assert min(usage.input_tokens, usage.output_tokens) > 0
        return
    assert type(error) is end.error
    assert end.code in {None, error.code}
    assert error.status == end.status
    assert error.attempts == end.attempts
    assert error.is_retryable is end.error.is_retryable
    assert error.provider == table.PROTOCOLS[cell.protocol]
    if end.retry_after is None:
        assert error.retry_after is None
    else:
        low, high = end.retry_after
        assert low <= error.retry_after <= high


def said_what_came(cell, seen):
    """Check that no text is lost that came before a stream broke."""
    said = "".join(seen.said)
    assert table.ANSWER.text.startswith(said)
    if cell.streams and seen.error is None:
        assert said == table.ANSWER.text
    elif cell.streams and cell.end.charge == "answer":
        assert said
        assert seen.error.text == said


def was_in_time(cell, seen):
    """Check the deadline."""
    assert seen.seconds < cell.ending.timeout + SLACK_SECONDS


def slept(cell, naps):
    """Check the waits between tries: as long as asked for, else the back-off."""
    low, high = cell.end.retry_after or (
        0.75 * table.BACKOFF_SECONDS,
        table.BACKOFF_SECONDS,
    )
    assert len(naps) == cell.end.attempts - 1
    assert all(low <= nap <= high for nap in naps)


def wrote_one_row(cell, seen, tables):
    """Check the row, and that budgets agree with it."""
    (row,) = tables["llm_usage"]
    end = cell.end
    assert row["status"] == ("failed" if end.error else "ok")
    assert row["error_code"] == (end.error and word_for(seen.error))
    assert row["error_status"] == end.status
    assert (row["attempts"], row["streamed"]) == (end.attempts, cell.streams)
    assert row["finished_at"] is not None
    assert (row["user_id"], row["provider"]) == (
        house.USER,
        table.PROTOCOLS[cell.protocol],
    )
    if end.error:
        assert row["request_id"] == seen.error.request_id
    sources = {
        "nothing": (None, None),
        "worst": (None, "reserved"),
        "answer": ("estimated" if end.estimated else "provider", row["cost_source"]),
    }
    assert (row["usage_source"], row["cost_source"]) == sources[end.charge]
    assert (row["cost_nanos"] or 0) > 0 or end.charge == "nothing"
    budgets_agree(row, tables)


def budgets_agree(row, tables):
    """Check that each budget is charged what the row says, and holds nothing."""
    charged = {
        (one["spent_nanos"], one["reserved_nanos"]) for one in tables["llm_spend"]
    }
    assert charged == {(row["cost_nanos"] or 0, 0)}


def word_for(error):
    """Return what a row calls an error: its code where it has one."""
    return error.code or type(error).__name__


def told_once(cell, seen):
    """Check the signal."""
    (told,) = seen.told
    assert told["status"] == ("failed" if cell.end.error else "ok")
    assert told.get("error") is seen.error


def left_nothing(trial):
    """Check what an app holds: no slot, no question others wait for, no file.

    Connections are closed or wait for the next call, and nothing was warned of.
    """
    remains = trial.remains
    assert remains.slots == []
    assert remains.flights == 0
    assert remains.files == []
    assert trial.connections == len(remains.kept_connections)
    assert trial.warned == []


def next_call_is_answered(cell, trial):
    """Check that what came is in nobody's way: in no line, in no cache."""
    waits = cell.end.retry_after is not None
    if cell.ending.place or waits:
        return
    again = ways.ask("complete", trial.app, **house.options(cell) | {"timeout": 20})
    assert again.error is None
    assert again.completion.cached is (trial.seen.error is None)


def hid_the_key(cell, seen, logged, files):
    """Check that nobody who reads what is left finds the key."""
    shown = [*told_of(seen), *map(record_text, logged)]
    assert [text for text in shown if cell.key in text] == []
    assert [path for path in files if cell.key.encode() in path.read_bytes()] == []
    assert cell.key.encode() not in pickle.dumps(seen.error)
    assert foreign_frames(seen.error) == []


def hid_the_prompt(logged, files):
    """Check that the prompt is in no log and no table."""
    assert [text for text in map(record_text, logged) if PROMPT in text] == []
    assert [path for path in files if PROMPT.encode() in path.read_bytes()] == []


def told_of(seen):
    """Yield all that a caller, a debugger or a browser sees."""
    yield shown_in(seen.error)
    if seen.error is not None:
        yield "".join(traceback.format_exception(seen.error))
    yield repr(seen.completion)
    yield repr(getattr(seen, "headers", None))
    yield repr(getattr(seen, "body", None))
    yield from map(repr, seen.told)


def record_text(record):
    """Return all that a log may show of a record."""
    return logging.Formatter().format(record) + repr(vars(record))


def spoke_http(cell, page):
    """Check a view's answer: a status while there is time for one, then an event."""
    if cell.way != "stream_response":
        return
    begun = cell.end.error is None or cell.end.charge == "answer"
    if begun:
        sent_events(cell, page)
    else:
        refused(page)


def refused(page):
    """Check a real status, and a problem that says what to do."""
    problem, wait = page.problem, page.error.retry_after
    assert page.status == problem["status"] == page.error.http_status
    assert page.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == page.error.request_id
    wanted = None if wait is None else str(math.ceil(wait))
    assert page.headers.get("retry-after") == wanted


def sent_events(cell, page):
    """Check that pieces are followed by how the answer ended."""
    *deltas, (last, data) = page.events
    assert page.status == 200
    assert page.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert {name for name, _ in deltas} == {"delta"}
    assert KEEP_ALIVE in page.body or not cell.ending.silent
    if cell.end.error is None:
        assert (last, data["success"]) == ("done", True)
    else:
        assert (last, data["status"]) == ("error", page.error.http_status)
        assert data["request_id"] == page.error.request_id


def closed_everything(before):
    """Check that an app which is closed has left no thread, file or socket."""
    assert wait_until(lambda: house.threads() <= before.threads), house.threads()
    assert wait_until(lambda: len(house.descriptors()) <= before.descriptors)
