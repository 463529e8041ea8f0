"""Fixtures of the benchmarks, and the table of ratios at their end."""

import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.clients import CLIENTS, REFERENCE

FIGURES = pytest.StashKey()
"""Of each quantity the medians, by client."""


def pytest_configure(config):
    config.stash[FIGURES] = defaultdict(dict)


@pytest.fixture(scope="session")
def provider():
    """Run the provider in a process of its own; return its address."""
    script = Path(__file__).with_name("provider.py")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@pytest.fixture(params=CLIENTS)
def name(request):
    """The name of a client."""
    return request.param


@pytest.fixture
def client_at(provider, name, tmp_path):
    """Make the client, warm: its imports, tables and connection are there."""

    def client_at(latency_ms):
        url = f"{provider}/{latency_ms}/v1"
        client = CLIENTS[name](url, str(tmp_path))
        for number in range(3):
            client.ask(f"Warm up {number}")
            list(client.stream(f"Warm up {number}"))
        return client

    return client_at


@pytest.fixture
def note(request):
    """Note a figure for the table."""

    def note(quantity, name, figure):
        request.config.stash[FIGURES][quantity][name] = figure

    return note


@pytest.fixture
def measured(benchmark, note):
    """Measure a function so many times, and note the median in milliseconds.

    Where one time is ``of`` several, as of the chunks of a stream, note that of each.
    """

    def measured(quantity, name, function, *, rounds, of=1):
        benchmark.group = quantity
        benchmark.pedantic(function, rounds=rounds, warmup_rounds=1)
        median = statistics.median(benchmark.stats.stats.data)
        note(f"{quantity}, ms", name, median * 1000 / of)

    return measured


def pytest_terminal_summary(terminalreporter, config):
    found = config.stash[FIGURES]
    if found:
        terminalreporter.section(f"medians, and how often that of {REFERENCE}")
    for quantity, figures in found.items():
        terminalreporter.write_line(quantity)
        reference = figures.get(REFERENCE)
        for name, figure in figures.items():
            ratio = f"{figure / reference:8.2f}" if reference else ""
            terminalreporter.write_line(f"  {name:<12}{figure:12.3f}{ratio}")
