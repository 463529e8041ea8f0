"""A process stays as it is, however many calls it makes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from shape import KINDS
from sockets import LAST_CHUNK, STREAM_HEAD, chunk, reply, serving

SHAPE = Path(__file__).with_name("shape.py")
CALLS = 1_250
"""Of each kind: more than 10,000 altogether."""

BYTES_PER_CALL = 30
"""Less than whatever could be kept of a call: its request id alone takes 80."""

USAGE = {"prompt_tokens": 10, "completion_tokens": 2}


def whole(text):
    message = {"message": {"content": text}, "finish_reason": "stop"}
    return reply(json.dumps({"choices": [message], "usage": USAGE}).encode())


def pieces(*deltas):
    events = [{"choices": [{"delta": {"content": text}}]} for text in deltas]
    events.append({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    sent = "".join([*lines, "data: [DONE]\n\n"])
    return STREAM_HEAD + chunk(sent.encode()) + LAST_CHUNK


VECTORS = reply(b'{"data": [{"embedding": [1, 0, 0]}], "usage": {"prompt_tokens": 3}}')
REFUSAL = reply(b'{"error": {"message": "broken"}}', status="500 Broken")
WHOLE = whole("Hello")
PIECES = pieces("Hel", "lo")


def answer(server, connection):
    """Answer as it was asked, and remember nothing."""
    while request := server.read_request(connection):
        server.requests.clear()
        if b"/embeddings" in request[:40]:
            connection.sendall(VECTORS)
        elif b"Fail" in request:
            connection.sendall(REFUSAL)
        else:
            connection.sendall(PIECES if b'"stream": true' in request else WHOLE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_is_the_same_after_thousands_of_calls(tmp_path, kind):
    with serving(answer) as server:
        run = subprocess.run(
            [sys.executable, SHAPE, f"{server.url}/v1", kind, str(CALLS), tmp_path],
            capture_output=True,
            text=True,
            check=True,
        )

    first, last, grown = json.loads(run.stdout.splitlines()[-1])
    assert last["threads"] == first["threads"]
    assert last["files"] <= first["files"]
    assert last["bytes"] - first["bytes"] < CALLS * BYTES_PER_CALL, "\n".join(grown)
