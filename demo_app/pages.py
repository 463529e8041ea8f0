"""The page, and the two routes behind it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, current_app, render_template, request
from werkzeug.exceptions import HTTPException

import flask_llm
from demo_app.offer import Offer

pages = Blueprint("pages", __name__)

SYSTEM = "You are the assistant in a demonstration. Answer clearly and briefly."
SUMMARISE = "Summarise this conversation in two sentences.\n\n"


@pages.get("/")
def index() -> str:
    """Show the page."""
    offer = _offer()
    return render_template(
        "index.html",
        choices=offer.choices(),
        emulated=offer.emulated,
        servers=offer.servers,
    )


@pages.post("/chat")
def chat() -> Response:
    """Answer a conversation, as server-sent events."""
    return flask_llm.stream_response(_messages(), model=_model(), system=SYSTEM)


@pages.post("/summarise")
def summarise() -> dict[str, Any]:
    """Answer with a summary, which costs nothing the second time."""
    turns = [f"{turn['role']}: {turn['content']}" for turn in _messages()]
    answer = flask_llm.complete(
        SUMMARISE + "\n\n".join(turns), model=_model(), cache=True
    )
    return answer.to_dict()


@pages.errorhandler(HTTPException)
def refused(error: HTTPException) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Say what was wrong with a request, as problem JSON."""
    status = error.code or 500
    fields = {"title": error.name, "status": status, "detail": error.description}
    return fields, status, {"Content-Type": "application/problem+json"}


def _offer() -> Offer:
    offer: Offer = current_app.extensions["offer"]
    return offer


def _posted(name: str) -> Any:
    body = request.get_json()
    if not isinstance(body, dict) or name not in body:
        abort(400, f"The body is a JSON object with {name!r}.")
    return body[name]


def _model() -> str:
    """Read the model: one of those on offer, for a browser must not spend freely."""
    model = _posted("model")
    if not isinstance(model, str) or not _offer().includes(model):
        abort(400, "This model is not on offer.")
    return model


def _messages() -> list[dict[str, str]]:
    """Read the conversation: texts by user and assistant, and nothing else."""
    messages = _posted("messages")
    if not isinstance(messages, list) or not all(map(_is_turn, messages)):
        abort(400, "messages is a list of {role: user or assistant, content: text}.")
    return [{"role": turn["role"], "content": turn["content"]} for turn in messages]


def _is_turn(turn: object) -> bool:
    return (
        isinstance(turn, dict)
        and turn.get("role") in {"user", "assistant"}
        and isinstance(turn.get("content"), str)
    )
