"""What a message is made of beside images and files: text, tool calls and results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from flask_llm.chat.media import File, Image
from flask_llm.errors import InvalidRequestError


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
        """Read arguments that came as JSON text, as an object, or as neither.

        None, and the word ``null``, stand for a function without parameters.
        """
        if arguments in (None, "null"):
            arguments = {}
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
    media: tuple[Image | File, ...] = ()
    """Images and files that the tool gave back beside the text."""

    def __post_init__(self) -> None:
        if not isinstance(self.tool_call_id, str):
            raise InvalidRequestError(
                "ToolResult.tool_call_id is the id of the call that it answers."
            )
        if not isinstance(self.content, str):
            raise InvalidRequestError(
                "ToolResult.content is a string; use json.dumps() for other values."
            )
        if not all(isinstance(item, (Image, File)) for item in self.media):
            raise InvalidRequestError("ToolResult.media are images and files.")
        object.__setattr__(self, "media", tuple(self.media))

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON, as :func:`part_from_dict` reads it back."""
        media = [item.to_dict() for item in self.media]
        return {
            "type": "tool_result",
            "tool_call_id": self.tool_call_id,
            "content": self.content,
            "name": self.name,
            "is_error": self.is_error,
        } | ({"media": media} if media else {})


def _refuse(constant: str) -> None:
    """Refuse NaN and Infinity, which Python reads but no provider takes back."""
    raise ValueError(constant)


Part = Text | Image | File | ToolCall | ToolResult
