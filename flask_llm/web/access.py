"""Who may see the reports: nobody, unless the app says so."""

from __future__ import annotations

import hmac
import logging
from typing import Any

from flask import Response, request

from flask_llm.state import State
from flask_llm.usage import EVERYTHING, Scope
from flask_llm.web.problem import problem_response

CURE = (
    "The reports are closed: set LLM_REPORTS_TOKEN, or register a function with "
    "@llm.reports_authorizer."
)

logger = logging.getLogger("flask_llm")


def refusal(state: State) -> Response | None:
    """Return the answer for a caller who may not see reports, None for one who may.

    The app's own function is asked first, so that whoever it knows is never kept out
    by the failed attempts of others.
    """
    token, authorizer = state.settings.reports_token, state.hooks.authorizer
    if token is None and authorizer is None:
        return problem_response(_fields(403, "Forbidden", CURE))
    if authorizer is not None and authorizer():
        return None
    if token is None:
        return problem_response(_fields(403, "Forbidden"))
    given = _given()
    return _unauthorized() if given is None else _judged(state, token, given)


def scope(state: State) -> Scope:
    """Return what the caller may see of the reports.

    :raises ConfigError: where the app's ``reports_scope`` does not say.
    """
    own = state.hooks.scope
    return EVERYTHING if own is None else Scope.of(own())


def _judged(state: State, token: str, given: str) -> Response | None:
    """Hold a token against the right one, unless its address has guessed too often.

    Then the right one is refused as well: it could have been a guess.
    """
    address = request.remote_addr
    seconds = state.attempts.seconds_left(address)
    if seconds:
        return problem_response(_fields(429, "Too Many Requests"), seconds)
    if hmac.compare_digest(given.encode(), token.encode()):
        return None
    state.attempts.failed(address)
    logger.warning("A wrong token for the reports came from %s.", address)
    return _unauthorized()


def _given() -> str | None:
    """Return the Bearer token, or the password of Basic; None where none was sent."""
    credentials = request.authorization
    if credentials is None:
        return None
    if credentials.type == "bearer":
        return credentials.token or ""
    return credentials.password or ""


def _unauthorized() -> Response:
    response = problem_response(_fields(401, "Unauthorized"))
    response.headers["WWW-Authenticate"] = 'Basic realm="flask_llm reports"'
    return response


def _fields(status: int, title: str, detail: str | None = None) -> dict[str, Any]:
    fields = {"type": "about:blank", "title": title, "status": status}
    return fields | ({"detail": detail} if detail else {})
