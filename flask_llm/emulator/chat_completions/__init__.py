"""OpenAI's Chat Completions, as compatible servers speak it too."""

from flask_llm.emulator.dialect import Dialect

from .answer import events, whole
from .errors import MALFORMED, WRONG_KEY, error, error_event
from .request import key, read

__all__ = ["CHAT_COMPLETIONS"]


def _headers(serial: int) -> dict[str, str]:
    return {
        "x-request-id": f"req_{serial:032x}",
        "openai-processing-ms": "7",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
    }


CHAT_COMPLETIONS = Dialect(
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
