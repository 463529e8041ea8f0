"""A chat page that streams, and shows what each answer costs.

::

    flask --app demo_app run
    PORT=8000 gunicorn -k gthread --threads 16 -w 1 -b :8000 'demo_app:create_app()'

It asks the providers whose key or address is in the environment: ``OPENAI_API_KEY``,
``ANTHROPIC_API_KEY``, ``GOOGLE_API_KEY`` or ``GEMINI_API_KEY``, ``OLLAMA_BASE_URL``, or
``OPENAI_BASE_URL`` for a server that speaks OpenAI's format, such as llama.cpp. Without
any it asks the package's own emulator, over HTTP on this very server: hence the
threads, and ``PORT`` where nothing else tells the app which port it is served on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from flask import Flask, Response, request

from demo_app.address import own_url
from demo_app.offer import Offer
from demo_app.pages import pages
from flask_llm import LLM, llm_bp
from flask_llm.emulator import Emulator

WORD_SECONDS = 0.04
"""The emulator's pause between two words, so that streaming can be seen."""

POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the app; ``FLASK_LLM_…`` in the environment are settings, too.

    :param config: settings that win over all others.
    """
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    offer = Offer.read(os.environ, app.config.get("LLM_MODEL"))
    app.extensions["offer"] = offer
    app.config.setdefault("LLM_MODEL", offer.default)
    # Reasoning counts as output, and 500 tokens of it would leave no room to answer.
    app.config.setdefault("LLM_MAX_TOKENS", 2_000)
    app.config.setdefault("LLM_TIMEOUT", 120)
    app.config.setdefault("LLM_QUOTAS", ["30/minute"])
    app.config.setdefault("LLM_BUDGETS", ["$1/day"])
    # Nobody knows what a model of one's own costs, nor one that only makes trouble.
    app.config.setdefault("LLM_UNKNOWN_PRICE", "allow")
    app.config.setdefault("LLM_PROVIDERS", offer.rows(f"{own_url()}/emulator"))
    if offer.emulated:
        emulator = Emulator(interval_seconds=WORD_SECONDS, control=False)
        app.register_blueprint(emulator.blueprint, url_prefix="/emulator")
    _set_up_llm(app)
    app.register_blueprint(pages)
    app.after_request(_secure)
    return app


def _set_up_llm(app: Flask) -> None:
    llm = LLM()
    # Good enough for a program on one's own desk. A real app must ask who it is, not
    # where from: behind a reverse proxy every visitor comes from the loopback address.
    llm.reports_authorizer(from_this_machine)
    llm.init_app(app)
    app.register_blueprint(llm_bp)


def from_this_machine() -> bool:
    """Tell whether the request comes from the machine that serves it."""
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _secure(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response
