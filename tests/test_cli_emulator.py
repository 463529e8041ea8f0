"""``flask llm emulator`` as people and scripts start it."""

import os
import signal
import subprocess
import sys

import pytest
import requests
from sockets import free_port


@pytest.fixture
def command(tmp_path):
    """Start ``flask llm emulator`` where nobody sits at a terminal."""
    port = free_port()
    started = []

    def start(*options):
        words = ["--app", "demo_app", "llm", "emulator", "--port", str(port), *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=tmp_path,
        )
        started.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        process.kill()
        process.communicate()


def post(url, text):
    body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": text}]}
    return requests.post(f"{url}/v1/chat/completions", json=body, timeout=30)


def test_emulator_serves_until_ctrl_c_without_a_terminal(command):
    process, url = command("--latency", "0.2", "0.3")
    assert process.stdout.readline().startswith(b"OPENAI_BASE_URL=")

    first, second = (post(url, text) for text in ("one", "two"))
    process.send_signal(signal.SIGINT)

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.elapsed.total_seconds() >= 0.2
    assert process.wait(30) == 0


def test_emulator_fails_as_often_as_it_is_told(command):
    process, url = command("--faults", "1")
    assert process.stdout.readline()

    def fails():
        try:
            return post(url, "anything").status_code in {429, 500, 503}
        except requests.RequestException:
            return True

    assert [fails() for _ in range(10)] == [True] * 10


def test_emulator_refuses_a_latency_that_ends_before_it_begins(run):
    result = run("emulator", "--latency", "3", "1")

    assert result.exit_code == 2
    assert "3.0 to 1.0 seconds" in result.output
