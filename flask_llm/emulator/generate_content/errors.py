"""generateContent: error bodies, which are those of all Google APIs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask_llm.emulator.dialect import Ask, Problem, dumps

_TYPES = "type.googleapis.com/google.rpc."

# Google calls a wrong key an invalid argument, not an authentication error.
WRONG_KEY = Problem(
    status=400,
    message="API key not valid. Please pass a valid API key.",
    code="API_KEY_INVALID",
)
MALFORMED = Problem(
    status=400, message="Invalid JSON payload received. Unexpected token."
)

# HTTP status → (Google's status, message).
_USUAL = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    402: ("RESOURCE_EXHAUSTED", "Your prepaid credit is used up."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ABORTED", "The operation was aborted."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


def error(_serial: int, problem: Problem) -> tuple[int, dict[str, Any]]:
    """Write ``{"error": {"code", "message", "status", "details"}}``."""
    status = problem.status or (429 if problem.out_of_quota else 503)
    broken = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind, message = _USUAL.get(status, _USUAL[500 if broken else 400])
    inner: dict[str, Any] = {
        "code": status,
        "message": problem.message or message,
        "status": problem.type or kind,
    }
    details = _details(problem, status)
    if details:
        inner["details"] = details
    return status, {"error": inner}


def error_event(ask: Ask, problem: Problem) -> bytes:
    """Write the error as bare JSON: Google puts no ``data:`` before it."""
    _, body = error(ask.serial, problem)
    end = "\r\n\r\n" if ask.sse else "]"
    return f"{'' if ask.sse else ','}{dumps(body)}{end}".encode()


def _details(problem: Problem, status: int) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = []
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        period = "PerDay" if problem.out_of_quota else "PerMinute"
        details.append(_quota_failure(period))
    if problem.code:
        info = {"reason": problem.code, "domain": "googleapis.com"}
        details.append({"@type": f"{_TYPES}ErrorInfo", **info})
    if problem.param is not None:
        violation = {"field": problem.param, "description": problem.message}
        bad = {"@type": f"{_TYPES}BadRequest", "fieldViolations": [violation]}
        details.append(bad)
    if problem.retry_info_seconds is not None:
        delay = f"{problem.retry_info_seconds:g}s"
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": delay})
    return details


def _quota_failure(period: str) -> dict[str, Any]:
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/"
        "generate_content_free_tier_requests",
        "quotaId": f"GenerateRequests{period}PerProjectPerModel-FreeTier",
        "quotaDimensions": {"location": "global"},
        "quotaValue": "50",
    }
    return {"@type": f"{_TYPES}QuotaFailure", "violations": [violation]}
