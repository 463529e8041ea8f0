"""A small app with every guard on, which notes each call beside its ledger."""

import json
import os
import time
from decimal import Decimal

from flask import Flask, request

import flask_llm
from flask_llm import LLM, llm_bp
from flask_llm.signals import completion_finished, completion_started

POOR = "poor"
"""How the names of tenants begin whose budget does not last."""


def create_app():
    """Make the app; ``FLASK_…`` in the environment are its settings.

    ``LOAD_POOR_USD`` is the budget of a poor tenant, ``LOAD_NOTES`` the file of notes.
    """
    app = Flask(__name__)
    app.config.from_prefixed_env()
    llm = LLM()
    llm.user_loader(lambda: request.headers["X-User"])
    llm.tenant_loader(lambda: request.headers["X-Tenant"])
    poor_usd = Decimal(app.config["LOAD_POOR_USD"])
    llm.budget_limit(
        lambda scope, subject, _period: (
            poor_usd if scope == "tenant" and subject.startswith(POOR) else None
        )
    )
    llm.init_app(app)
    app.register_blueprint(llm_bp)
    app.add_url_rule("/", "index", lambda: "Here.")
    app.add_url_rule("/whole", "whole", whole, methods=["POST"])
    app.add_url_rule("/stream", "stream", stream, methods=["POST"])
    note_calls(app)
    return app


def whole():
    """Answer in one piece."""
    return flask_llm.complete(request.json["text"]).to_dict()


def stream():
    """Answer as it comes."""
    return flask_llm.stream_response(request.json["text"])


def note_calls(app):
    """Append a line to the notes for each call that begins or ends, in any worker."""
    notes = os.open(app.config["LOAD_NOTES"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(**facts):
        os.write(notes, json.dumps(facts).encode() + b"\n")

    @completion_started.connect_via(app)
    def began(sender, *, row, **_):
        note(id=row["id"], status=None)

    @completion_finished.connect_via(app)
    def ended(sender, *, row, queued_ms, **_):
        names = ("id", "status", "streamed", "duration_ms", "first_token_ms")
        note(at=time.time(), queued_ms=queued_ms, **{name: row[name] for name in names})

    app.extensions["note_calls"] = (began, ended)  # signals hold receivers weakly
