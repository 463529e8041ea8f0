"""Anthropic's Messages."""

from flask_llm.emulator.dialect import Dialect

from .answer import events, whole
from .errors import MALFORMED, WRONG_KEY, error, error_event, request_id
from .request import key, read

__all__ = ["MESSAGES"]


def _headers(serial: int) -> dict[str, str]:
    return {
        "request-id": request_id(serial),
        "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "3999",
        "anthropic-ratelimit-requests-reset": "2026-11-23T12:00:00Z",
    }


MESSAGES = Dialect(
    key=key,
    read=read,
    whole=whole,
    events=events,
    error=error,
    error_event=error_event,
    headers=_headers,
    wrong_key=WRONG_KEY,
    malformed=MALFORMED,
)
