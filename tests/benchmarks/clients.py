"""What is measured: each client as its documentation shows it, one for the process.

Whatever is imported here is imported by name, since it need not be installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import requests
from flask import Flask
from requests.adapters import HTTPAdapter

import flask_llm
from flask_llm import llm_bp

KEY = "sk-benchmark-0123456789abcdef"

MODEL = "gpt-4o-mini"

OPTIONS = {"model": MODEL, "max_tokens": 512}

THREADS = 16

REFERENCE = "requests"
"""The client that all others are compared with."""


class Client(NamedTuple):
    """One client, set up for the provider."""

    ask: Callable[[str], str]
    """Takes a prompt and returns the text."""
    stream: Callable[[str], Iterator[str]]
    """Takes a prompt and yields the pieces of text."""


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _requests(url: str) -> Client:
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))

    def send(prompt: str, **options: object) -> requests.Response:
        answer = session.post(
            f"{url}/chat/completions",
            json=OPTIONS | {"messages": _messages(prompt)} | options,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
            stream=bool(options),
        )
        answer.raise_for_status()
        return answer

    def ask(prompt: str) -> str:
        return send(prompt).json()["choices"][0]["message"]["content"]

    def stream(prompt: str) -> Iterator[str]:
        with send(prompt, stream=True, stream_options={"include_usage": True}) as lines:
            for line in lines.iter_lines():
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            yield text

    return Client(ask, stream)


def app_at(url: str, folder: str) -> Flask:
    """Make an app with everything on: quota, pacing, budget, ledger, price."""
    app = Flask("benchmark", instance_path=folder)
    app.config.update(
        LLM_PROVIDERS={"openai": {"api_key": KEY, "base_url": url}},
        LLM_MIN_INTERVAL=0,
        LLM_MAX_CONCURRENT=64,
        LLM_QUOTAS=["10000000/minute per user"],
        LLM_BUDGETS=["$1000000/month"],
    )
    app.register_blueprint(llm_bp)
    return app


def _flask_llm(url: str, folder: str) -> Client:
    app = app_at(url, folder)
    options = OPTIONS | {"model": f"openai/{MODEL}", "user": "ada"}

    def ask(prompt: str) -> str:
        with app.app_context():
            return flask_llm.complete(prompt, **options).text

    def stream(prompt: str) -> Iterator[str]:
        with app.app_context(), flask_llm.stream(prompt, **options) as chunks:
            for chunk in chunks:
                yield chunk.text

    return Client(ask, stream)


def _sdk(url: str) -> Client:
    create = (
        pytest.importorskip("openai")
        .OpenAI(api_key=KEY, base_url=url, max_retries=0)
        .chat.completions.create
    )
    return _of_chunks(create, OPTIONS)


def _litellm(url: str) -> Client:
    create = pytest.importorskip("litellm").completion
    model = f"openai/{MODEL}"
    return _of_chunks(
        create, OPTIONS | {"model": model, "api_key": KEY, "api_base": url}
    )


def _of_chunks(create: Callable[..., object], options: dict[str, object]) -> Client:
    """Call a library that speaks in OpenAI's own objects."""

    def ask(prompt: str) -> str:
        answer = create(messages=_messages(prompt), **options)
        return answer.choices[0].message.content

    def stream(prompt: str) -> Iterator[str]:
        chunks = create(
            messages=_messages(prompt),
            stream=True,
            stream_options={"include_usage": True},
            **options,
        )
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    return Client(ask, stream)


CLIENTS: dict[str, Callable[[str, str], Client]] = {
    REFERENCE: lambda url, _: _requests(url),
    "flask_llm": _flask_llm,
    "openai": lambda url, _: _sdk(url),
    "litellm": lambda url, _: _litellm(url),
}
"""Takes the base URL and a folder of its own."""
