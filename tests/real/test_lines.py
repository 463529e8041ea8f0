"""What happens on the way to a real server: queues, lost lines, its end."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import requests
from conftest import read_rows
from sockets import wait_until

import flask_llm
from flask_llm import StreamInterrupted
from real.conftest import MODEL, rows_for, skip_without_model
from real.serve import KEY

skip_without_model()

STORY = "Tell me a very long story about the sea."
REQUESTS_PER_CONNECTION = 100
IDLE_SECONDS = 5
"""After so many, and so long, the server closes a connection."""


def busy_slots(server):
    """Return how many requests the server is working on."""
    headers = {"Authorization": f"Bearer {KEY}"}
    slots = requests.get(f"{server.url}/slots", headers=headers, timeout=5).json()
    return sum(slot["is_processing"] for slot in slots)


def test_many_prompts_are_answered_by_two_slots(app, rows):
    prompts = [f"Say {word}." for word in ("one", "two", "three", "four", "five")]

    answers = flask_llm.complete_many(prompts, max_workers=4, max_tokens=4)

    assert [answer.attempts for answer in answers] == [1] * 5
    assert all(answer.text for answer in answers)
    assert [row.status for row in rows()] == ["ok"] * 5


def test_request_beyond_the_slots_waits_for_one(app, model_server):
    streams = [
        flask_llm.stream(STORY, max_tokens=400) for _ in range(model_server.slots)
    ]

    def ask():
        with app.app_context():
            return flask_llm.complete("Say hello.", max_tokens=2)

    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(ask)
        early, _ = wait([waiting], timeout=0.5)
        working = busy_slots(model_server)
        for stream in streams:
            stream.close()
        answer = waiting.result(10)

    assert (early, working) == (set(), model_server.slots)
    assert answer.attempts == 1
    assert answer.usage.output_tokens == 2


def test_stream_that_is_left_frees_its_slot(app, rows, model_server):
    with flask_llm.stream(STORY, max_tokens=400) as stream:
        next(stream)
        working = busy_slots(model_server)

    freed = wait_until(lambda: busy_slots(model_server) == 0, 2)
    (row,) = rows()
    assert (working, freed) == (1, True)
    assert row.status == "cancelled"
    assert stream.completion.text


def test_browser_that_leaves_frees_the_slot(app, rows, model_server):
    app.add_url_rule(
        "/chat", view_func=lambda: flask_llm.stream_response(STORY, max_tokens=400)
    )

    response = app.test_client().get("/chat", buffered=False)
    first = next(response.response)
    response.close()

    assert first
    assert wait_until(lambda: busy_slots(model_server) == 0, 2)
    assert [row.status for row in rows()] == ["cancelled"]


def test_connections_that_the_server_has_closed_fail_no_call(app):
    for _ in range(REQUESTS_PER_CONNECTION + 5):
        flask_llm.embed("a", model=MODEL)
    time.sleep(IDLE_SECONDS + 0.5)

    answer = flask_llm.complete("Say hello.", max_tokens=2)

    assert answer.usage.output_tokens == 2


def test_server_that_is_still_loading_is_waited_for(make_app, make_server):
    server = make_server()
    app = make_app(LLM_PROVIDERS=rows_for(server), LLM_BACKOFF=0.1)
    app.extensions["llm"].database.prepare()
    server.wait(503)

    with app.app_context():
        answer = flask_llm.complete("Say hello.", max_tokens=2, retries=9)

    assert answer.attempts > 1
    assert answer.text


@pytest.mark.parametrize(
    "end", [signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name
)
def test_stream_of_a_server_that_ends_keeps_what_had_come(make_app, make_server, end):
    server = make_server()
    app = make_app(LLM_PROVIDERS=rows_for(server))
    server.wait()

    with app.app_context():
        stream = flask_llm.stream(STORY, max_tokens=400, timeout=3)
        chunks = [next(stream)]
        server.process.send_signal(end)
        with pytest.raises(StreamInterrupted) as caught:
            keep(stream, chunks)

    (row,) = read_rows(app)
    assert caught.value.text == "".join(chunk.text for chunk in chunks) != ""
    assert (row.status, row.error_code) == ("failed", caught.value.code)
    assert row.output_tokens == caught.value.usage.output_tokens > 0
    assert row.usage_source == "estimated"


def keep(stream, chunks):
    for chunk in stream:
        chunks.append(chunk)
