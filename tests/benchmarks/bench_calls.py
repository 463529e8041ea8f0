"""What a call costs its process, beside the same call by requests alone.

    pip install -e '.[benchmark]'
    python -m pytest tests/benchmarks/bench_calls.py

Prints medians and ratios, asserts what was answered and nothing about time. Clients
that are not installed are skipped, as are databases that are not there.
"""

import itertools
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import flask_llm
from benchmarks.clients import MODEL, OPTIONS, REFERENCE, THREADS, app_at
from benchmarks.provider import CHUNKS, TEXT
from flask_llm.chat import Message, Prompt, Usage
from flask_llm.usage import Database, Journal, Ledger, Outcome

CPU = pytest.mark.benchmark(timer=time.process_time)
"""User and system time of all threads of this process: others do not disturb it."""

numbers = itertools.count()


def question():
    """Write a prompt that nobody has asked before."""
    return f"Summarise support ticket {next(numbers)}. " + "The file is empty. " * 30


@CPU
def test_cpu_of_a_whole_answer(client_at, name, measured):
    client = client_at(latency_ms=0)

    measured("CPU of a whole answer", name, lambda: client.ask(question()), rounds=300)

    assert client.ask(question()) == TEXT


@CPU
def test_cpu_of_a_streamed_chunk(client_at, name, measured):
    client = client_at(latency_ms=0)

    def read():
        return "".join(client.stream(question()))

    measured("CPU of a streamed chunk", name, read, rounds=60, of=CHUNKS)

    assert read() == TEXT


def test_latency_of_a_provider_that_takes_no_time(client_at, name, measured):
    client = client_at(latency_ms=0)

    measured("Latency at 0 ms", name, lambda: client.ask(question()), rounds=300)

    assert client.ask(question()) == TEXT


def test_throughput_of_threads(client_at, name, benchmark, note):
    client = client_at(latency_ms=20)
    calls = THREADS * 10

    def all_at_once():
        questions = [question() for _ in range(calls)]
        with ThreadPoolExecutor(THREADS) as pool:
            return set(pool.map(client.ask, questions))

    benchmark.group = "Throughput"
    answers = benchmark.pedantic(all_at_once, rounds=5, warmup_rounds=1)

    seconds = statistics.median(benchmark.stats.stats.data)
    note(f"Calls a second, {THREADS} threads, 20 ms", name, calls / seconds)
    assert answers == {TEXT}


@CPU
@pytest.mark.parametrize("name", [REFERENCE, "flask_llm"])
def test_cpu_of_a_cache_hit(client_at, provider, name, tmp_path, measured):
    quantity = "CPU of a cache hit, beside a call"
    if name == REFERENCE:
        client = client_at(latency_ms=0)
        measured(quantity, name, lambda: client.ask(question()), rounds=300)
        return
    app = app_at(f"{provider}/0/v1", str(tmp_path))
    kept = question()

    def ask():
        with app.app_context():
            return flask_llm.complete(
                kept, **OPTIONS | {"model": f"openai/{MODEL}"}, cache=True
            )

    ask()
    measured(quantity, name, ask, rounds=300)

    assert ask().cached


@CPU
def test_cpu_of_opening_and_settling_a_row(database_uri, tmp_path, measured):
    database = Database(database_uri, auto_migrate=True)
    ledger = Ledger(database, Journal(tmp_path / "journal.jsonl"))
    prompt = Prompt(
        provider="openai", model=MODEL, messages=(Message("user", "Hi"),), user="ada"
    )
    outcome = Outcome(status="ok", usage=Usage(input_tokens=9), cost_nanos=900)

    def write():
        entry = ledger.entry(prompt)
        ledger.open(entry)
        ledger.settle(entry, outcome)
        return entry

    dialect = database.engine.dialect.name
    measured("CPU of opening and settling a row", dialect, write, rounds=200)

    assert write().is_written
    database.engine.dispose()


IMPORT = """
import resource, sys, time
import flask, flask_caching, flask_limiter, requests, sqlalchemy

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

bytes_before, begun = memory(), time.process_time()
import {module}
print((time.process_time() - begun) * 1000, (memory() - bytes_before) / 1e6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("module", ["flask_llm", "openai", "litellm"])
def test_import_beyond_what_it_stands_on(module, note, monkeypatch, tmp_path):
    pytest.importorskip(module)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))

    def load():
        command = [sys.executable, "-c", IMPORT.format(module=module)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [float(figure) for figure in done.stdout.split()]

    load()  # which compiles
    milliseconds, megabytes = zip(*(load() for _ in range(5)), strict=True)

    note("CPU of the import, ms", module, statistics.median(milliseconds))
    note("Memory of the import, MB", module, statistics.median(megabytes))
