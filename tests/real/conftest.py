"""An app whose models are real: one small one, behind three of llama.cpp's doors."""

import contextlib
import functools
import os

import pytest

from real import serve

MODEL = "llama.cpp/smollm2-135m"

DOORS = {
    "chat_completions": MODEL,
    "responses": "newer/smollm2-135m",
    "anthropic_messages": "claude-like/smollm2-135m",
}
"""The same model by each protocol that the server speaks."""


def skip_without_model():
    """Skip a module where there is no model, or get it where it is wanted.

    Only an index that has none to give excuses its absence then.
    """
    wanted = os.environ.get("LLM_TEST_MODEL") == "yes"
    reason = _unavailable() if wanted else _missing()
    if reason:
        pytest.skip(reason, allow_module_level=True)


def _missing():
    return (
        None if serve.is_installed() else "no real model; LLM_TEST_MODEL=yes gets one"
    )


@functools.cache
def _unavailable():
    try:
        serve.install()
    except serve.UnavailableError as error:
        return f"a real model is wanted, but {error}"
    return None


@pytest.fixture(scope="session")
def model_server():
    """The server that most tests share: it is up, and has two slots."""
    with serve.Server() as server:
        server.wait()
        yield server


@pytest.fixture
def make_server():
    """Start servers of a test's own; they may be loading still."""
    with contextlib.ExitStack() as started:
        yield lambda **options: started.enter_context(serve.Server(**options))


def rows_for(server, key=serve.KEY):
    """Make LLM_PROVIDERS that lead to a server."""
    openai = {"base_url": f"{server.url}/v1", "api_key": key}
    return {
        "llama.cpp": openai,
        "newer": openai | {"protocol": "responses"},
        "claude-like": {
            "base_url": server.url,
            "api_key": key,
            "protocol": "anthropic_messages",
        },
    }


@pytest.fixture
def provider_rows(model_server):
    """LLM_PROVIDERS that lead to the shared server."""
    return rows_for(model_server)


@pytest.fixture
def make_app(make_app):
    """Make an app whose answers are short and, as far as it goes, always the same."""
    return functools.partial(
        make_app, LLM_MODEL=MODEL, LLM_TEMPERATURE=0, LLM_MAX_TOKENS=16
    )


@pytest.fixture(params=DOORS.values(), ids=DOORS)
def model(request):
    """The model behind each door."""
    return request.param
