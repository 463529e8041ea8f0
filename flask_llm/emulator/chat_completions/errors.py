"""Chat Completions: error bodies."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask_llm.emulator.dialect import Ask, Problem, dumps

WRONG_KEY = Problem(
    status=401,
    message="Incorrect API key provided. You can find your API key at "
    "https://platform.openai.com/account/api-keys.",
    code="invalid_api_key",
)
MALFORMED = Problem(
    status=400,
    message="We could not parse the JSON body of your request. (HINT: This likely "
    "means you aren't using your HTTP library correctly. The OpenAI API expects a "
    "JSON payload, but what was sent was not valid JSON.)",
)
_NO_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details."
)

# Status → (type, code, message).
_USUAL: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Bad request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    408: ("timeout", None, "The request timed out."),
    409: ("conflict", None, "The resource was locked by another request."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for requests per min (RPM). Please try again later.",
    ),
    503: (
        "service_unavailable_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
}
_BROKEN = (
    "server_error",
    None,
    "The server had an error while processing your request. Sorry about that!",
)


def error(_serial: int, problem: Problem) -> tuple[int, dict[str, Any]]:
    """Write ``{"error": {"message", "type", "param", "code"}}``."""
    if problem.out_of_quota:
        status = problem.status or 429
        kind, code, message = "insufficient_quota", "insufficient_quota", _NO_QUOTA
        return status, _body(problem, kind, code, message)
    status = problem.status or 500
    usual = _BROKEN if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _USUAL[400]
    return status, _body(problem, *_USUAL.get(status, usual))


def error_event(ask: Ask, problem: Problem) -> bytes:
    """Write the data object with ``error`` that stands where a chunk should."""
    _, body = error(ask.serial, problem)
    return f"data: {dumps(body)}\n\n".encode()


def _body(
    problem: Problem, kind: str, code: str | None, message: str
) -> dict[str, Any]:
    return {
        "error": {
            "message": problem.message or message,
            "type": problem.type or kind,
            "param": problem.param,
            "code": code if problem.code is None else problem.code or None,
        }
    }
