"""Messages: error bodies."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask_llm.emulator.dialect import Ask, Problem, dumps

WRONG_KEY = Problem(status=401, message="invalid x-api-key")
MALFORMED = Problem(
    status=400, message="The request body is not valid JSON: expected value"
)
_NO_QUOTA = "You have reached your specified API usage limits."

# Status → (type, message).
_USUAL = {
    400: ("invalid_request_error", "Bad request"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the API."),
    403: ("permission_error", "Your API key does not have permission."),
    404: ("not_found_error", "Not found"),
    408: ("timeout_error", "Request timed out"),
    409: ("conflict_error", "Conflict"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
_BROKEN = ("api_error", "Internal server error")


def request_id(serial: int) -> str:
    """Name a request; the header ``request-id`` and error bodies agree on it."""
    return f"req_{serial:024x}"


def error(serial: int, problem: Problem) -> tuple[int, dict[str, Any]]:
    """Write ``{"type": "error", "error": {"type", "message"}, "request_id"}``."""
    status = problem.status or (429 if problem.out_of_quota else 529)
    broken = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind, message = _USUAL.get(status, _BROKEN if broken else _USUAL[400])
    code = problem.code
    if problem.out_of_quota:
        code, message = code or "enforced_spend_limit_reached", _NO_QUOTA
    inner: dict[str, Any] = {
        "type": problem.type or kind,
        "message": problem.message or message,
    }
    if code:
        inner["details"] = {"error_code": code}
    return status, {"type": "error", "error": inner, "request_id": request_id(serial)}


def error_event(ask: Ask, problem: Problem) -> bytes:
    """Write ``event: error``, after which no ``message_stop`` comes."""
    _, body = error(ask.serial, problem)
    inner = {"type": "error", "error": body["error"]}
    return f"event: error\ndata: {dumps(inner)}\n\n".encode()
