"""One line in the log for each call that has ended, with its facts beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flask_llm import signals
from flask_llm.usage.reports import usd

logger = logging.getLogger("flask_llm")

LEVELS = {"failed": logging.WARNING, "refused": logging.WARNING}
"""By status; all others, a browser that left among them, are ``INFO``."""

FIELDS = (
    "request_id",
    "operation",
    "provider",
    "model",
    "served_model",
    "streamed",
    "status",
    "finish_reason",
    "error_code",
    "error_status",
    "attempts",
    "duration_ms",
    "first_token_ms",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_source",
    "tenant",
    "feature",
)
"""Columns of the ledger that a line has as they are; ``user`` and money are added."""


def instrument(app: object) -> None:
    """Log the calls of an app; doing so again changes nothing."""
    signals.completion_finished.connect(write, app)


def write(sender: object, *, row: Mapping[str, Any], **_: Any) -> None:
    """Log one call."""
    del sender
    level = LEVELS.get(row["status"], logging.INFO)
    if logger.isEnabledFor(level):
        logger.log(level, "%s", _sentence(row), extra=facts(row))


def facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line says beside its words: no prompt, no answer, no key.

    The names are the same in every line, and none is one of ``logging``'s own; what is
    not known is None. Money is a decimal string in USD.
    """
    return {
        **{name: row.get(name) for name in FIELDS},
        "user": row["user_id"],
        "cost_usd": _money(row.get("cost_nanos")),
        "saved_usd": _money(row.get("saved_nanos")),
    }


def _sentence(row: Mapping[str, Any]) -> str:
    model = _plain(row["model"])
    parts = [f"{model} {row['status']} in {row['duration_ms']} ms"]
    if row["input_tokens"] is not None:
        parts.append(f"{row['input_tokens']} + {row['output_tokens']} tokens")
        cost = _money(row["cost_nanos"])
        parts.append("cost unknown" if cost is None else f"${cost}")
    if row["error_code"]:
        parts.append(_plain(row["error_code"]))
    if row["attempts"] > 1:
        parts.append(f"{row['attempts']} attempts")
    return ", ".join(parts)


def _plain(text: str) -> str:
    """Return a name from outside so that it stays within its line."""
    return text if text.isprintable() else ascii(text)


def _money(nanos: int | None) -> str | None:
    return None if nanos is None else usd(nanos)
