"""What a process is like after its first calls, and after thousands more.

Run by test_shape.py in a process of its own, where nothing else allocates anything:
``python shape.py URL KIND CALLS FOLDER`` makes an app, calls, and prints two measures.
"""

import contextlib
import gc
import json
import sys
import threading
import tracemalloc
from pathlib import Path

from flask import Flask

import flask_llm
from flask_llm import LLMError, llm_bp

FILES = Path("/proc/self/fd")
"""The open files of a process, where the system shows them."""

FIRST_CALLS = 200
"""After which pools, caches and statements are as full as they get."""


def complete(number):
    assert flask_llm.complete(f"Question {number}", user=f"u{number % 50}").text


def stream(number):
    assert "".join(chunk.text for chunk in flask_llm.stream(f"Question {number}"))


def failing(number):
    with contextlib.suppress(LLMError):
        flask_llm.complete(f"Fail {number}", retries=0)
        raise AssertionError("it did not fail")


def cached(number):
    assert flask_llm.complete(f"Question {number % 20}", cache=True).text


def kept(number):
    assert flask_llm.complete(f"Question {number}", cache=True).text


def left(number):
    """Leave a stream after its first piece, by close() or by forgetting it."""
    pieces = flask_llm.stream(f"Question {number}")
    assert next(iter(pieces)).text
    if number % 2:
        pieces.close()


def embed(number):
    assert len(flask_llm.embed(f"Text {number}")[0]) == 3


KINDS = {
    one.__name__: one for one in (complete, stream, failing, cached, kept, left, embed)
}


def measure():
    """Return bytes, threads and open files, after all that can be freed was."""
    for _ in range(3):
        gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    files = len(list(FILES.iterdir())) if FILES.is_dir() else 0
    return {"bytes": held, "threads": threading.active_count(), "files": files}


def main(url, kind, calls, folder):
    """Make the calls, and print how the process is before and after most of them."""
    app = Flask("shape", instance_path=folder)
    row = {"api_key": "k", "base_url": url, "protocol": "chat_completions"}
    app.config.update(
        LLM_PROVIDERS={"openai": row},
        LLM_DATABASE_URI="sqlite:///:memory:",  # a disk takes longer than all the rest
        LLM_AUTO_MIGRATE=True,
        LLM_CACHE={"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": 50},
        LLM_MIN_INTERVAL=0,
        LLM_BREAKER_FAILURES=0,
        LLM_QUOTAS=["1000000/day"],
        LLM_BUDGETS=["$1000000/day per user"],
    )
    app.register_blueprint(llm_bp)
    tracemalloc.start()
    with app.app_context():
        for number in range(FIRST_CALLS):
            KINDS[kind](number)
        first = measure()
        before = tracemalloc.take_snapshot()
        for number in range(FIRST_CALLS, FIRST_CALLS + int(calls)):
            KINDS[kind](number)
        last = measure()
        grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
    print(json.dumps([first, last, [str(one) for one in grown[:10]]]))
    app.extensions["llm"].close()


if __name__ == "__main__":
    main(*sys.argv[1:])
