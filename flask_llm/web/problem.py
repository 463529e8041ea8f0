"""Errors as problem JSON (RFC 9457), fit for strangers to read."""

from __future__ import annotations

import json
import math
from typing import Any

from flask import Response, current_app

from flask_llm.errors import (
    BudgetExceeded,
    ConfigError,
    InvalidRequestError,
    LimitError,
    LLMError,
)


def problem_fields(error: LLMError) -> dict[str, Any]:
    """Return the problem without the provider's words, keys or prompts.

    What is to be done about a limit of ours, or about bad input that we found
    ourselves, is said; the rest only in debug mode.
    """
    fields: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.http_status,
        "code": error.code if isinstance(error, (LimitError, ConfigError)) else None,
        "request_id": error.request_id,
        "retry_after": error.retry_after,
    }
    if isinstance(error, BudgetExceeded):
        fields |= _budget_fields(error)
    if _is_ours(error) or current_app.debug:
        fields["detail"] = error.message
    return {name: value for name, value in fields.items() if value is not None}


def _budget_fields(error: BudgetExceeded) -> dict[str, Any]:
    money = ("limit_usd", "spent_usd", "reserved_usd")
    fields = {name: getattr(error, name) for name in money}
    shown: dict[str, Any] = {
        name: format(usd, "f") for name, usd in fields.items() if usd is not None
    }
    if error.resets_at is not None:
        shown["resets_at"] = error.resets_at.isoformat()
    return shown


def _is_ours(error: LLMError) -> bool:
    if isinstance(error, InvalidRequestError):
        return error.status is None
    return isinstance(error, LimitError)


def problem(error: LLMError) -> Response:
    """Answer a request that failed."""
    if isinstance(error, ConfigError):
        current_app.logger.error("%s", error.message)
    return problem_response(problem_fields(error), error.retry_after)


def problem_response(
    fields: dict[str, Any], retry_after: float | None = None
) -> Response:
    """Make a response of a problem's fields."""
    response = Response(
        json.dumps(fields),
        status=fields["status"],
        mimetype="application/problem+json",
    )
    if retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(retry_after))
    return response
