"""What a message is made of: text, images, files, tool calls and their results."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from flask_llm.errors import InvalidRequestError

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF-": "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InvalidRequestError(
                f"Text needs a string, not {type(self.text).__name__}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON, as :func:`part_from_dict` reads it back."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class Media:
    """Bytes, a URL or a provider's file id: exactly one of them.

    A ``data:`` URL becomes bytes. Other URLs are handed to the provider and never
    fetched from here.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    media_type: str | None = None
    """As in ``image/png``; told from the bytes or the URL's ending when left out."""
    file_id: str | None = None

    def __post_init__(self) -> None:
        given = [self.url, self.data, self.file_id]
        if sum(source is not None for source in given) != 1:
            raise InvalidRequestError(
                f"{type(self).__name__} needs exactly one of url, data and file_id."
            )
        if self.data is not None and not isinstance(self.data, bytes):
            raise InvalidRequestError(
                f"{type(self).__name__}.data is bytes, not {type(self.data).__name__}."
            )
        if self.url is not None and not isinstance(self.url, str):
            raise InvalidRequestError(
                f"{type(self).__name__}.url is a string, not {type(self.url).__name__}."
            )
        if self.url is not None and self.url.startswith("data:"):
            self._read_data_url(self.url)
        if self.media_type is None:
            self._set("media_type", self._sniffed())

    @classmethod
    def from_path(cls, path: str | Path, **fields: Any) -> Self:
        """Read a file from disk."""
        file = Path(path)
        guess = mimetypes.guess_type(file.name)[0]
        return cls(data=file.read_bytes(), media_type=guess, **fields)

    @property
    def data_url(self) -> str:
        """The bytes as a ``data:`` URL, or the plain URL where there are none."""
        if self.data is None:
            return self.url or ""
        return f"data:{self.media_type};base64,{self.base64}"

    @property
    def base64(self) -> str:
        """The bytes in base64."""
        return base64.b64encode(self.data or b"").decode()

    def _read_data_url(self, url: str) -> None:
        head, comma, body = url.removeprefix("data:").partition(",")
        kind, *flags = head.split(";")
        try:
            raw = unquote_to_bytes(body)
            data = base64.b64decode(raw, validate=True) if "base64" in flags else raw
        except binascii.Error as error:
            comma = ""
            cause: Exception | None = error
        else:
            cause = None
        if not comma:
            raise InvalidRequestError("A data: URL could not be decoded.") from cause
        self._set("url", None)
        self._set("data", data)
        self._set("media_type", self.media_type or kind or None)

    def _sniffed(self) -> str | None:
        if self.data is not None:
            if self.data[:4] == b"RIFF" and self.data[8:12] == b"WEBP":
                return "image/webp"
            for magic, media_type in _MAGIC.items():
                if self.data.startswith(magic):
                    return media_type
            raise InvalidRequestError(
                f"{type(self).__name__}: the bytes are of an unknown kind; "
                "say media_type='image/png' or whatever they are."
            )
        path = re.split(r"[?#]", self.url or "")[0]
        return mimetypes.guess_type(path)[0]

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _source(self) -> dict[str, Any]:
        known = {
            "url": self.url,
            "data": self.base64 if self.data is not None else None,
            "media_type": self.media_type,
            "file_id": self.file_id,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Image(Media):
    """A picture for the model to look at."""

    detail: str | None = None
    """How closely OpenAI's models look: ``low``, ``high``, ``auto``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON, as :func:`part_from_dict` reads it back."""
        detail = {"detail": self.detail} if self.detail else {}
        return {"type": "image"} | self._source() | detail


@dataclass(frozen=True, slots=True)
class File(Media):
    """A document, usually a PDF, for the model to read."""

    filename: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON, as :func:`part_from_dict` reads it back."""
        name = {"filename": self.filename} if self.filename else {}
        return {"type": "file"} | self._source() | name


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool to be run."""

    id: str
    name: str
    arguments: dict[str, Any]
    """The arguments; empty when the model wrote something that is no JSON object."""
    raw_arguments: str = ""
    """What the model wrote, to the letter."""

    def __post_init__(self) -> None:
        if not (isinstance(self.id, str) and isinstance(self.name, str)):
            raise InvalidRequestError("ToolCall.id and ToolCall.name are strings.")
        if not isinstance(self.arguments, dict):
            raise InvalidRequestError(
                f"ToolCall.arguments is a dict, not {type(self.arguments).__name__}."
            )
        if not self.raw_arguments:
            written = json.dumps(self.arguments, ensure_ascii=False)
            object.__setattr__(self, "raw_arguments", written)

    @classmethod
    def from_wire(cls, call_id: str, name: str, arguments: object) -> Self:
        """Read arguments that came as JSON text, as an object, or as neither."""
        if isinstance(arguments, dict):
            return cls(call_id, name, arguments)
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        try:
            parsed = json.loads(text, parse_constant=_refuse) if text.strip() else {}
        except (ValueError, RecursionError):
            parsed = None
        return cls(call_id, name, parsed if isinstance(parsed, dict) else {}, text)

    @property
    def valid(self) -> bool:
        """Whether what the model wrote is the JSON object that ``arguments`` holds."""
        try:
            return bool(json.loads(self.raw_arguments or "{}") == self.arguments)
        except (ValueError, RecursionError):
            return not self.raw_arguments.strip()

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON, as :func:`part_from_dict` reads it back."""
        return {
            "type": "tool_call",
            "id": self.id,
            "name": self.name,
            "arguments": self.arguments,
            "raw_arguments": self.raw_arguments,
        }


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back, for the model to read."""

    tool_call_id: str
    content: str
    name: str | None = None
    """The tool's name; found from the call in the history when left out."""
    is_error: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.tool_call_id, str):
            raise InvalidRequestError(
                "ToolResult.tool_call_id is the id of the call that it answers."
            )
        if not isinstance(self.content, str):
            raise InvalidRequestError(
                "ToolResult.content is a string; use json.dumps() for other values."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON, as :func:`part_from_dict` reads it back."""
        return {
            "type": "tool_result",
            "tool_call_id": self.tool_call_id,
            "content": self.content,
            "name": self.name,
            "is_error": self.is_error,
        }


def _refuse(constant: str) -> None:
    """Refuse NaN and Infinity, which Python reads but no provider takes back."""
    raise ValueError(constant)


Part = Text | Image | File | ToolCall | ToolResult
