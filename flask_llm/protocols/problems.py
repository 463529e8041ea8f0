"""How an error is told from a provider's words, whatever the wire format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask_llm.errors import (
    AuthenticationError,
    ContentFilteredError,
    ContextLengthExceeded,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    QuotaExhaustedError,
    RateLimitError,
    RequestTooLarge,
    ServerError,
    UnsupportedParameter,
)
from flask_llm.retry import retry_after
from flask_llm.wire import Reply

WORDS_KEPT = 2_000
"""Characters of a provider's own words that an error keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as the provider words it."""

    status: int | None
    message: str = ""
    type: str | None = None
    code: str | None = None
    param: str | None = None
    details: Any = None
    """What Anthropic and Google say beside that: a dict, or a list of them."""


_CONTEXT = re.compile(
    r"context.?(length|window|size)|maximum context|too many tokens"
    r"|prompt is too long|input token count.*exceeds|num_ctx"
    r"|input \(\d+ tokens\) is too large",
    re.IGNORECASE | re.DOTALL,
)
_PARAMETER = re.compile(
    r"unsupported (parameter|value)|extra inputs are not permitted|unknown name"
    r"|unknown parameter|use /v1/responses|may not be enabled when tool_choice"
    r"|\b(deprecated|not (supported|available|allowed|permitted)|unsupported)\b"
    r"[^.;\n]{0,60}\b(model|anthropic-version)\b",
    re.IGNORECASE,
)
_UNFIT = re.compile(
    r"^(image|audio|video) input is not supported"
    r"|^Failed to parse (messages|tool call arguments)"
)
"""Refusals for good that llama.cpp words as failures of its own, with status 500."""

_NAMED = re.compile(
    r"^([a-z_]\w*(?:\.\w+)*): |parameter: '([\w.]+)'"
    r"|Unknown name \"(\w+)\"|`([a-z_.]+)`|\b(tool_choice|thinking_[a-z]+)\b"
)
"""Where a message names the parameter that it complains of."""

_SPENT = re.compile(
    r"credit balance|insufficient (balance|credit)|spend(ing)? limit"
    r"|specified (api )?usage limit|used all available credits",
    re.IGNORECASE,
)
"""Refusals that waiting does not cure, from providers that have no word for them."""

_BY_WORD: dict[str, type[ProviderError]] = {
    "insufficient_quota": QuotaExhaustedError,
    "credit_balance_exhausted": QuotaExhaustedError,
    "organization_spend_limit_exceeded": QuotaExhaustedError,
    "project_spend_limit_exceeded": QuotaExhaustedError,
    "organization_usage_limit_exceeded": QuotaExhaustedError,
    "billing_hard_limit_reached": QuotaExhaustedError,
    "billing_not_active": QuotaExhaustedError,
    "billing_error": QuotaExhaustedError,
    "BILLING_DISABLED": QuotaExhaustedError,
    "enforced_spend_limit_reached": QuotaExhaustedError,
    "contract_spend_limit_reached": QuotaExhaustedError,
    "linked_organization_spend_limit_reached": QuotaExhaustedError,
    "linked_organization_billing_unavailable": QuotaExhaustedError,
    "context_length_exceeded": ContextLengthExceeded,
    "exceed_context_size_error": ContextLengthExceeded,
    "unsupported_parameter": UnsupportedParameter,
    "unknown_parameter": UnsupportedParameter,
    "unsupported_value": UnsupportedParameter,
    "content_filter": ContentFilteredError,
    "content_policy_violation": ContentFilteredError,
    "moderation_blocked": ContentFilteredError,
    "image_content_policy_violation": ContentFilteredError,
    "invalid_prompt": ContentFilteredError,
    "bio_policy": ContentFilteredError,
    "misalignment_policy_violation": ContentFilteredError,
    "request_too_large": RequestTooLarge,
    "rate_limit_exceeded": RateLimitError,
    "rate_limit_error": RateLimitError,
    "slow_down": RateLimitError,
    "overloaded_error": OverloadedError,
    "server_is_overloaded": OverloadedError,
    "service_unavailable_error": OverloadedError,
    "UNAVAILABLE": OverloadedError,
    "API_KEY_INVALID": AuthenticationError,
    "authentication_error": AuthenticationError,
    "UNAUTHENTICATED": AuthenticationError,
    "invalid_api_key": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "data_residency_mismatch": PermissionDeniedError,
    "model_not_found": NotFoundError,
    "not_found_error": NotFoundError,
    "NOT_FOUND": NotFoundError,
    "RESOURCE_EXHAUSTED": RateLimitError,
    "api_error": ServerError,
    "server_error": ServerError,
    "vector_store_timeout": ServerError,
    "timeout_error": ServerError,
    "conflict_error": ServerError,
    "INTERNAL": ServerError,
    "DEADLINE_EXCEEDED": ServerError,
    "ABORTED": ServerError,
    "invalid_request_error": InvalidRequestError,
    "INVALID_ARGUMENT": InvalidRequestError,
    "FAILED_PRECONDITION": InvalidRequestError,
}
_BY_STATUS: dict[int, type[ProviderError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    402: QuotaExhaustedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServerError,
    409: ServerError,
    413: RequestTooLarge,
    422: InvalidRequestError,
    429: RateLimitError,
    503: OverloadedError,
    529: OverloadedError,
}
_REFINES = (QuotaExhaustedError, ContextLengthExceeded, ContentFilteredError)
"""Classes that a word gives whatever the status, because they say what to do next."""

_MAY_BE_SPENT = (InvalidRequestError, PermissionDeniedError, RateLimitError)


def failed(reply: Reply) -> bool:
    """Whether a reply is an error, be it under status 200."""
    return reply.status >= 400 or in_band(reply.json)  # noqa: PLR2004


def in_band(body: object) -> bool:
    """Whether a body says of itself that it is an error."""
    if isinstance(body, list):
        body = body[0] if body else None
    return isinstance(body, dict) and bool(
        body.get("error") or "error" in (body.get("object"), body.get("type"))
    )


def read_problem(reply: Reply) -> Problem:
    """Read an error body of any shape: a proxy may have written it."""
    body = reply.json
    if isinstance(body, list) and body:
        body = body[0]
    status = reply.status
    if not isinstance(body, Mapping):
        return Problem(status=status, message=reply.text[:WORDS_KEPT])
    error = body.get("error", body)
    if isinstance(error, str):
        return Problem(status=status, message=error[:WORDS_KEPT])
    return problem_in(error if isinstance(error, Mapping) else body, status)


def problem_in(error: Mapping[str, Any], status: int) -> Problem:
    """Read an error object, of OpenAI's shape or much like it."""
    words = next(
        (error[key] for key in ("message", "detail", "error") if error.get(key)), ""
    )
    message = (words if isinstance(words, str) else repr(words))[:WORDS_KEPT]
    code = error.get("code")
    if isinstance(code, int) and status < 400 <= code < 600:  # noqa: PLR2004
        status = code  # OpenRouter and Google answer 200 and put the status here
    return Problem(
        status=status,
        message=message,
        type=_word(error.get("type")) or _word(error.get("status")),
        code=_word(code),
        param=_word(error.get("param")) or _named(message),
        details=error.get("details"),
    )


def never_fits(reply: Reply, problem: Problem) -> type[ProviderError] | None:
    """Tell a request beyond the tokens per minute from one that only has to wait.

    OpenAI and compatible servers call both a rate limit.
    """
    too_large = problem.message.startswith("Request too large")
    waits = "retry-after" in reply.headers or "retry-after-ms" in reply.headers
    return RequestTooLarge if too_large and not waits else None


def provider_error(
    reply: Reply, problem: Problem, kind: type[ProviderError] | None = None
) -> ProviderError:
    """Build the error of a reply.

    :param kind: the class, where the protocol knows better than the general rules.
    """
    kind = kind or _kind(problem)
    headers = reply.headers
    wish = headers.get("x-should-retry")
    code = problem.code or problem.type
    param = problem.param if issubclass(kind, InvalidRequestError) else None
    shown = ", ".join(_plain(word) for word in (code, param) if word)
    error = kind(
        f"The provider answered {problem.status or reply.status}"
        + (f" ({shown})" if shown else "")
        + f": {kind.title[0].lower()}{kind.title[1:]}.",
        status=problem.status or reply.status,
        code=code or kind.code,
        type=problem.type,
        param=param,
        provider_message=problem.message or None,
        provider_request_id=headers.get("x-request-id") or headers.get("request-id"),
        retry_after=retry_after(headers),
        should_retry={"true": True, "false": False}.get(wish or ""),
    )
    if error.should_retry is not None and kind is not QuotaExhaustedError:
        error.is_retryable = error.should_retry
    return error


def _kind(problem: Problem) -> type[ProviderError]:
    status = problem.status or 0
    by_word = next(
        (
            _BY_WORD[word]
            for word in (problem.code, problem.type)
            if word and word in _BY_WORD
        ),
        None,
    )
    if by_word and issubclass(by_word, _REFINES):
        return by_word
    kind = _BY_STATUS.get(status)
    if kind is None or kind is InvalidRequestError:
        kind = by_word or kind
    return _by_message(kind, problem.message) or (
        ServerError if status >= 500 else ProviderError  # noqa: PLR2004
    )


def _by_message(
    kind: type[ProviderError] | None, message: str
) -> type[ProviderError] | None:
    """Refine a class by the message, for what some providers have no word for."""
    long = kind in {InvalidRequestError, RequestTooLarge, ServerError, None}
    if long and _CONTEXT.search(message):
        return ContextLengthExceeded
    if kind is ServerError and _UNFIT.search(message):
        return InvalidRequestError
    if kind in _MAY_BE_SPENT and _SPENT.search(message):
        return QuotaExhaustedError
    if kind is InvalidRequestError and _PARAMETER.search(message):
        return UnsupportedParameter
    return kind


def _named(message: str) -> str | None:
    found = _NAMED.search(message)
    return next(filter(None, found.groups())) if found else None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _plain(word: str) -> str:
    """Cut a provider's word down to what is fit for a message."""
    return re.sub(r"[^\w.\[\]-]", "", word)[:64]
