"""Errors, turned back into what a provider or the network does to cause them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import requests

from flask_llm import errors
from flask_llm.emulator import Answer, Fault
from flask_llm.testing.script import Outcome

_FAULTS: dict[type[errors.LLMError], Outcome] = {
    errors.AuthenticationError: Fault(status=401),
    errors.PermissionDeniedError: Fault(status=403),
    errors.NotFoundError: Fault(status=404),
    errors.InvalidRequestError: Fault(status=400),
    errors.ContextLengthExceeded: Fault(
        status=400, message="Your input exceeds the context window of this model."
    ),
    errors.UnsupportedParameter: Fault(
        status=400,
        message="Unsupported parameter: 'temperature' is not supported with this model",
    ),
    errors.RequestTooLarge: Fault(status=413),
    errors.ContentFilteredError: Fault(status=400, code="content_policy_violation"),
    errors.RateLimitError: Fault(status=429),
    errors.QuotaExhaustedError: Fault.quota_exhausted(),
    errors.OverloadedError: Fault(status=503),
    errors.ServerError: Fault(status=500),
    errors.ConnectionFailed: requests.ConnectionError("scripted"),
    errors.ReadTimeout: requests.ReadTimeout("scripted"),
    errors.StreamInterrupted: Fault(
        answer=Answer(text="Once upon…", chunks=["Once ", "upon", "…"]), break_off=True
    ),
    errors.ResponseError: Fault(garbage=True),
}


def failure(
    error: type[errors.LLMError] | Fault | None,
    *,
    status: int | None = None,
    retry_after: float | None = None,
    message: str | None = None,
    code: str | None = None,
) -> Outcome:
    """Return what makes the package raise an error.

    :raises TypeError: where no provider can cause it.
    """
    facts: dict[str, Any] = {
        "status": status,
        "retry_after": retry_after,
        "message": message,
        "code": code,
    }
    given = {name: value for name, value in facts.items() if value is not None}
    if isinstance(error, Fault):
        outcome: Outcome = error
    elif error is None:
        outcome = Fault(status=status or 500)
    else:
        outcome = _cause(error)
    if given and not isinstance(outcome, Fault):
        raise TypeError(f"{', '.join(given)}: nothing is answered, so nothing says so")
    return replace(outcome, **given) if isinstance(outcome, Fault) else outcome


def _cause(error: object) -> Outcome:
    if isinstance(error, type) and issubclass(error, errors.LLMError):
        if error in _FAULTS:
            return _FAULTS[error]
        raise TypeError(f"No provider causes {error.__name__}." + _cure(error))
    raise TypeError(
        f"fail() takes a class of flask_llm's errors, such as RateLimitError, or "
        f"status=, not {error!r}"
    )


def _cure(error: type[errors.LLMError]) -> str:
    if issubclass(error, errors.RoundsExceeded):
        return " Script tool calls without end: llm.tool_call('…', {…}, times=None)."
    if issubclass(error, errors.LimitError):
        return " It is ours: set LLM_QUOTAS or LLM_BUDGETS in the app of the test."
    if issubclass(error, errors.SchemaError):
        return " Script an answer that does not fit the schema."
    if issubclass(error, errors.ProviderError):
        return " Name one of its subclasses."
    return ""
