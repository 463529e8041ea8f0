"""Google's generateContent and streamGenerateContent."""

from flask_llm.emulator.dialect import Dialect

from .answer import events, whole
from .errors import MALFORMED, WRONG_KEY, error, error_event
from .request import key, read

__all__ = ["GENERATE_CONTENT"]


def _headers(_serial: int) -> dict[str, str]:
    return {"x-gemini-service-tier": "standard"}


GENERATE_CONTENT = Dialect(
    key=key,
    read=read,
    whole=whole,
    events=events,
    error=error,
    error_event=error_event,
    headers=_headers,
    wrong_key=WRONG_KEY,
    malformed=MALFORMED,
    stream_type="text/event-stream",
    json_type="application/json; charset=UTF-8",
)
