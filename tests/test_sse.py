"""stream_response(): events, statuses, silence, and browsers that leave."""

import contextlib
import io
import json
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import flask
import pytest
import requests
from conftest import KEY, read_rows
from flask import Flask, request
from sockets import (
    LAST_CHUNK,
    STREAM_HEAD,
    answering,
    chunk,
    serving,
    wait_until,
)

import flask_llm
from flask_llm.emulator import Answer, Fault, serve
from flask_llm.wire import EventReader

each_api = pytest.mark.parametrize("api", ["openai", "anthropic", "google"])

WORDS = Answer(text="one\ntwo\u2028 three é 🙂 four", chunks=5)
SLOW = Answer(text="one two three four five six", chunks=6, interval_seconds=0.1)


@pytest.fixture
def site(make_app):
    """Make an app with a view that streams; ``app.torn_down`` counts its teardowns."""

    def make(options=None, **config):
        app = make_app(**{"LLM_HEARTBEAT": 0.05} | config)
        app.torn_down = []
        options = options or {}

        @app.post("/ask")
        def ask():
            return flask_llm.stream_response(request.get_data(as_text=True), **options)

        @app.get("/plain")
        def plain():
            return "plain"

        @app.teardown_appcontext
        def teardown(error):
            app.torn_down.append(error)

        return app

    return make


@pytest.fixture
def served(site):
    """Serve the site over a real socket; yields a function that does."""
    with contextlib.ExitStack() as stack:

        def start(options=None, **config):
            app = site(options, **config)
            return app, stack.enter_context(serve(app))

        yield start


def post(url, **options):
    return requests.post(f"{url}/ask", data="Hi", timeout=10, **options)


def events_of(body):
    reader = EventReader()
    return [(event.name, event.json) for event in [*reader.feed(body), *reader.close()]]


def names_of(body):
    return [name for name, _ in events_of(body)]


@each_api
def test_an_answer_comes_as_events(served, emulator, models, api):
    emulator.script(WORDS)
    app, url = served({"model": models[api]})

    response = post(url)

    events = events_of(response.content)
    *deltas, (last, done) = events
    (row,) = read_rows(app)
    assert {name for name, _ in deltas} == {"delta"}
    assert "".join(data["text"] for _, data in deltas) == WORDS.text
    assert (last, done["content"], done["success"]) == ("done", WORDS.text, True)
    assert done["cost_usd"] is not None
    assert (row.status, row.request_id) == ("ok", done["request_id"])
    assert (row.feature, row.streamed) == ("ask", True)


def test_the_headers_keep_proxies_from_collecting(served, emulator):
    _, url = served()

    response = post(url)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in response.headers


def test_reasoning_and_tool_calls_are_deltas_too(served, emulator, models):
    call = {"name": "add", "arguments": {"a": 2}}
    emulator.script(Answer(reasoning="Hm.", text="So:", tool_calls=[call]))
    options = {
        "model": models["anthropic"],
        "tools": [flask_llm.Tool("add")],
        "max_tokens": 4000,
    }
    _, url = served(options)

    response = post(url)

    deltas = [data for name, data in events_of(response.content) if name == "delta"]
    kinds = {kind for data in deltas for kind in data}
    calls = [data["tool_call"] for data in deltas if "tool_call" in data]
    assert {"text", "tool_call"} <= kinds <= {"text", "reasoning", "tool_call"}
    assert [(c["name"], c["arguments"]) for c in calls] == [("add", {"a": 2})]


def test_events_come_as_the_model_speaks(served, emulator):
    emulator.script(SLOW)
    _, url = served()

    with post(url, stream=True) as response:
        pieces = response.iter_content(None)
        began = time.monotonic()
        next(pieces)
        first = time.monotonic() - began
        rest = b"".join(pieces)
        whole = time.monotonic() - began

    assert first < 0.3 < whole
    assert names_of(rest)[-1] == "done"


def test_half_an_emoji_is_passed_on(served, emulator):
    halves = [
        {"choices": [{"delta": {"content": "\ud83d"}}]},
        {"choices": [{"delta": {"content": "\ude42"}, "finish_reason": "stop"}]},
    ]
    body = b"".join(chunk(f"data: {json.dumps(half)}\n\n".encode()) for half in halves)

    with serving(answering([STREAM_HEAD + body, LAST_CHUNK])) as server:
        row = {"api_key": KEY, "base_url": server.url}
        _, url = served(LLM_PROVIDERS={"openai": row})
        response = post(url)

    deltas = [data["text"] for name, data in events_of(response.content)[:2]]
    assert names_of(response.content) == ["delta", "delta", "done"]
    assert deltas == ["\ud83d", "\ude42"]


def test_an_answer_from_the_cache_comes_as_events(served, emulator):
    app, url = served({"cache": True})

    first, second = post(url), post(url)

    assert len(emulator.requests) == 1
    assert events_of(second.content)[-1][1]["cached"] is True
    assert text_of(first.content) == text_of(second.content)
    assert [row.status for row in read_rows(app)] == ["ok", "cached"]


def text_of(body):
    return "".join(data.get("text", "") for _, data in events_of(body))


def test_an_empty_answer_is_done_at_once(served, emulator):
    emulator.script(Answer(text=""))
    _, url = served()

    response = post(url)

    assert names_of(response.content) == ["done"]


# --- Refusals --------------------------------------------------------------------


@each_api
@pytest.mark.parametrize(
    ("fault", "status", "wait"),
    [
        (Fault(status=429, retry_after=60), 429, "60"),
        (Fault(status=400), 400, None),
        (Fault(status=401), 502, None),
        (Fault(status=413), 413, None),
        (Fault.quota_exhausted(), 503, None),
        (Fault(status=500), 502, None),
        (Fault(status=503), 503, None),
        (Fault(reset_after=0), 502, None),
        (Fault(hang=True), 504, None),
        (Fault(error_in_stream=0, status=401), 502, None),
        (Fault(empty=True), 502, None),
    ],
)
def test_a_refusal_is_a_real_status(served, emulator, models, api, fault, status, wait):
    emulator.script(fault)
    app, url = served({"model": models[api], "retries": 0, "timeout": 3})

    response = post(url)

    (row,) = read_rows(app)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers.get("Retry-After") == wait
    assert (response.json()["status"], row.status) == (status, "failed")
    assert response.json()["request_id"] == row.request_id
    assert KEY not in response.text


def test_a_wrong_prompt_is_a_real_status(served, emulator):
    _, url = served({"temperature": 9})

    response = post(url)

    assert response.status_code == 400
    assert emulator.requests == []


@each_api
@pytest.mark.parametrize("way", ["cut", "reset"])
@pytest.mark.parametrize("debug", [False, True])
def test_a_break_in_the_middle_is_an_error_event(
    served, emulator, models, api, way, debug
):
    emulator.script(Fault(answer=WORDS, **{f"{way}_after": 4}))
    app, url = served({"model": models[api]}, DEBUG=debug)

    response = post(url)

    *deltas, (name, problem) = events_of(response.content)
    (row,) = read_rows(app)
    assert response.status_code == 200
    assert {name for name, _ in deltas} == {"delta"}
    assert (name, problem["status"]) == ("error", 502)
    assert problem["title"] == "The language model's answer broke off"
    assert ("detail" in problem) is debug
    assert problem["request_id"] == row.request_id
    assert row.status == "failed"
    assert row.output_tokens > 0


def test_no_words_of_the_provider_reach_the_browser(served, emulator):
    words = f"Model xyz of org-7 is full; key {KEY}"
    emulator.script(Fault(answer=WORDS, error_in_stream=4, status=503, message=words))
    _, url = served()

    response = post(url)

    assert names_of(response.content)[-1] == "error"
    assert "org-7" not in response.text
    assert KEY not in response.text


# --- Silence ---------------------------------------------------------------------


@each_api
def test_silence_is_filled_with_comments(served, emulator, models, api):
    emulator.script(Fault(answer=WORDS, silent_seconds=0.4))
    _, url = served({"model": models[api]})

    response = post(url)

    assert 3 <= response.content.count(b": keep-alive\n\n") <= 9
    assert text_of(response.content) == WORDS.text
    assert names_of(response.content)[-1] == "done"


def test_keep_alives_of_the_provider_leave_nobody_in_silence(served, emulator):
    emulator.script(Fault(answer=WORDS, silent_seconds=0.4, keep_alive_seconds=0.02))
    _, url = served()

    response = post(url)

    assert 3 <= response.content.count(b": keep-alive\n\n") <= 9
    assert text_of(response.content) == WORDS.text


PING = chunk(b'event: ping\ndata: {"type":"ping"}\n\n')
BEGUN = chunk(
    b'data: {"type":"message_start","message":{"id":"msg_1","content":[],'
    b'"model":"claude-haiku-4-5","usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
)


def test_events_that_say_nothing_leave_nobody_in_silence(served):
    pings = [part for _ in range(20) for part in (PING, 0.02)]

    with serving(answering([STREAM_HEAD + BEGUN, *pings, LAST_CHUNK])) as server:
        row = {"api_key": KEY, "base_url": server.url}
        _, url = served(
            {"model": "anthropic/claude-haiku-4-5"}, LLM_PROVIDERS={"anthropic": row}
        )
        response = post(url)

    assert 3 <= response.content.count(b": keep-alive\n\n") <= 9
    assert names_of(response.content) == ["error"]


# --- Browsers that leave ---------------------------------------------------------


def leave_after_one_event(url):
    """Ask as a browser does, and slam the door after the first event."""
    where = urlsplit(url)
    connection = socket.create_connection((where.hostname, where.port), timeout=5)
    connection.sendall(b"POST /ask HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nHi")
    received = b""
    while b"event: delta" not in received:
        received += connection.recv(4096)
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


@each_api
@pytest.mark.parametrize(
    "scripted",
    [
        SLOW,
        Fault(answer=WORDS, silent_seconds=20),
        Fault(answer=WORDS, silent_seconds=20, keep_alive_seconds=0.02),
    ],
    ids=["talks", "silent", "kept-alive"],
)
def test_a_browser_that_leaves_cancels_the_call(
    served, emulator, models, api, scripted
):
    emulator.script(scripted)
    app, url = served({"model": models[api], "timeout": 25})

    leave_after_one_event(url)

    assert wait_until(lambda: emulator.abandoned == 1, seconds=3)
    assert wait_until(lambda: read_rows(app)[0].status != "pending")
    (row,) = read_rows(app)
    assert (row.status, row.error_code) == ("cancelled", "stream_left")
    assert row.output_tokens > 0


def test_a_response_that_is_never_read_is_cancelled(site, emulator):
    emulator.script(SLOW)
    app = site()

    response = app.test_client().post("/ask", data="Hi", buffered=False)
    response.close()

    assert [row.status for row in read_rows(app)] == ["cancelled"]
    assert wait_until(lambda: emulator.abandoned == 1)


def test_a_head_request_leaves_no_row_open(make_app, emulator):
    app = make_app()
    emulator.script(SLOW)

    @app.get("/story")
    def story():
        return flask_llm.stream_response("Tell me one.")

    response = app.test_client().head("/story")
    response.close()

    assert response.status_code == 200
    assert [row.status for row in read_rows(app)] == ["cancelled"]


def test_a_slot_is_free_again_when_the_browser_has_left(served, emulator):
    emulator.script(SLOW)
    app, url = served(LLM_MAX_CONCURRENT=1)

    leave_after_one_event(url)
    answer = post(url)

    assert names_of(answer.content)[-1] == "done"
    assert [row.status for row in read_rows(app)] == ["cancelled", "ok"]


def iterated(app):
    """Ask without a server; return what it would iterate over, and close."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/ask", "SERVER_NAME": "x"}
    environ |= {"SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    environ |= {"CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"Hi")}
    return app.wsgi_app(environ, lambda *_: None)


def test_an_abandoned_response_leaves_no_context_behind(site, emulator):
    emulator.script(SLOW)
    app = site(LLM_HEARTBEAT=5)

    body = iterated(app)
    first = next(iter(body))
    during = flask.has_app_context()
    torn_down = len(app.torn_down)
    later = app.test_client().get("/plain")

    assert first.startswith(b"event: delta")
    assert (during, torn_down) == (False, 1)
    assert (later.status_code, len(app.torn_down)) == (200, 2)
    body.close()
    assert [row.status for row in read_rows(app)] == ["cancelled"]


def test_a_response_may_be_closed_on_another_thread(site, emulator):
    emulator.script(SLOW)
    app = site(LLM_HEARTBEAT=5)
    contexts = []

    def read(body):
        next(iter(body))
        contexts.append(flask.has_app_context())

    def close(body):
        body.close()
        contexts.append(flask.has_app_context())

    body = iterated(app)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as closer:
        reader.submit(read, body).result()
        closer.submit(close, body).result()
        contexts.append(reader.submit(flask.has_app_context).result())

    assert contexts == [False, False, False]
    assert [row.status for row in read_rows(app)] == ["cancelled"]
    assert wait_until(lambda: emulator.abandoned == 1)


@pytest.mark.parametrize(
    "scripted", [WORDS, Fault(answer=WORDS, break_off=True)], ids=["ends", "breaks"]
)
def test_a_response_that_is_read_has_no_context_at_any_event(site, emulator, scripted):
    emulator.script(scripted)
    body = iterated(site())

    contexts = [flask.has_app_context() for _ in body]

    assert (len(contexts) > 2, any(contexts)) == (True, False)
    assert not flask.has_app_context()
    body.close()


def test_it_needs_an_app():
    app = Flask("bare")

    with (
        app.test_request_context(),
        pytest.raises(flask_llm.ConfigError, match="register_blueprint"),
    ):
        flask_llm.stream_response("Hi")
