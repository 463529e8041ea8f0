"""What a tool gave back, as text, images and files for the model."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask_llm.chat.media import File, Image
from flask_llm.chat.parts import Text


def tool_output(value: object) -> tuple[str, tuple[Image | File, ...]]:
    """Take a tool's result apart: what is text, and the images and files in it.

    They are the result itself or stand in a list or tuple.

    :raises TypeError: where JSON has no form for the rest.
    :raises ValueError: where that holds itself, or a number that is none.
    """
    items = value if isinstance(value, (list, tuple)) else [value]
    media = tuple(item for item in items if isinstance(item, (Image, File)))
    if not media:
        return tool_text(value), ()
    texts = [tool_text(item) for item in items if not isinstance(item, (Image, File))]
    return "\n".join(texts), media


def tool_text(value: object) -> str:
    """Write a tool's result: a string or text part as it is, all else as JSON.

    :raises TypeError: where JSON has no form for it.
    :raises ValueError: where it holds itself, or a number that is none.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Text):
        return value.text
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)


_FORMS: dict[type, Callable[[Any], object]] = {
    Decimal: str,
    UUID: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    Mapping: dict,
    set: list,
    frozenset: list,
}


def _plain(value: Any) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: getattr(value, field.name) for field in fields}
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump(mode="json")
    if isinstance(value, enum.Enum):
        return value.value
    for kind, write in _FORMS.items():
        if isinstance(value, kind):
            return write(value)
    raise TypeError(f"a tool returns text or JSON, not {type(value).__name__}")
