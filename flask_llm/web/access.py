"""Who may see the reports: nobody, unless the app says so."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Response, request

from flask_llm.state import State
from flask_llm.web.problem import problem_response

CURE = (
    "The reports are closed: set LLM_REPORTS_TOKEN, or register a function with "
    "@llm.reports_authorizer."
)


def refusal(state: State) -> Response | None:
    """Return the answer for a caller who may not see reports, None for one who may."""
    token, authorizer = state.settings.reports_token, state.hooks.authorizer
    if token is None and authorizer is None:
        return problem_response(_fields(403, "Forbidden", CURE))
    if authorizer is not None and authorizer():
        return None
    if token is not None and hmac.compare_digest(_given().encode(), token.encode()):
        return None
    if token is None:
        return problem_response(_fields(403, "Forbidden"))
    response = problem_response(_fields(401, "Unauthorized"))
    response.headers["WWW-Authenticate"] = 'Basic realm="flask_llm reports"'
    return response


def _given() -> str:
    """Return the Bearer token, or the password of Basic."""
    credentials = request.authorization
    if credentials is None:
        return ""
    if credentials.type == "bearer":
        return credentials.token or ""
    return credentials.password or ""


def _fields(status: int, title: str, detail: str | None = None) -> dict[str, Any]:
    fields = {"type": "about:blank", "title": title, "status": status}
    return fields | ({"detail": detail} if detail else {})
