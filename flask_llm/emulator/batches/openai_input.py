"""OpenAI's input file: one request a line, checked before any of them is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flask_llm.emulator.chat_completions import CHAT_COMPLETIONS
from flask_llm.emulator.dialect import mapping
from flask_llm.emulator.embeddings import EMBEDDINGS
from flask_llm.emulator.responses import RESPONSES

from .desk import Line

ENDPOINTS = {
    "/v1/chat/completions": CHAT_COMPLETIONS,
    "/v1/embeddings": EMBEDDINGS,
    "/v1/responses": RESPONSES,
}
"""What a batch may ask."""

_MOST = 50_000


@dataclass(slots=True)
class Input:
    """The lines of a file, and what is wrong with it."""

    lines: list[Line] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def model(self) -> str | None:
        """The one model that all lines name."""
        return self.lines[0].model if self.lines else None


def read_input(data: bytes, endpoint: str) -> Input:
    """Read a file for an endpoint."""
    found = Input()
    rows = data.splitlines()
    if not rows:
        found.errors.append(_error("empty_file", "The input file is empty.", None))
    if len(rows) > _MOST:
        message = f"The input file has more than {_MOST} lines."
        found.errors.append(_error("too_many_tasks", message, None))
        return found
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        _read_row(found, number, row, endpoint, seen)
    return found


def _read_row(
    found: Input, number: int, row: bytes, endpoint: str, seen: set[str]
) -> None:
    try:
        item = json.loads(row)
    except ValueError:
        item = None
    if not isinstance(item, dict):
        message = "This line is not parseable as valid JSON."
        found.errors.append(_error("invalid_json_line", message, number))
        return
    wrong = [
        _error(code, message, number, param)
        for code, message, param in _wrong(item, endpoint, found.model, seen)
    ]
    found.errors += wrong
    if not wrong:
        key, body = item["custom_id"], item["body"]
        seen.add(key)
        model = str(body.get("model") or "")
        found.lines.append(Line(key, ENDPOINTS[endpoint], model, body))


def _wrong(
    item: dict[str, Any], endpoint: str, model: str | None, seen: set[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield code, message and parameter of each mistake in a line."""
    for name, kind in (("custom_id", str), ("method", str), ("url", str)):
        if not isinstance(item.get(name), kind) or not item[name]:
            message = f"Missing required parameter: '{name}'."
            yield "missing_required_parameter", message, name
    if not isinstance(item.get("body"), dict):
        message = "Missing required parameter: 'body'."
        yield "missing_required_parameter", message, "body"
    key = item.get("custom_id")
    if isinstance(key, str) and key in seen:
        message = "The custom_id for this request is a duplicate of another request."
        yield "duplicate_custom_id", message, "custom_id"
    if item.get("method", "POST") != "POST":
        yield "invalid_method", "The HTTP method must be POST.", "method"
    if item.get("url", endpoint) != endpoint:
        message = "The URL of this request does not match the endpoint of the batch."
        yield "invalid_url", message, "url"
    named = mapping(item.get("body")).get("model")
    if model is not None and str(named or "") != model:
        message = "The model of this request does not match the rest of the batch."
        yield "mismatched_model", message, "body.model"


def _error(
    code: str, message: str, line: int | None, param: str | None = None
) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": line}
