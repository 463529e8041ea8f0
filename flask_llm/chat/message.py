"""One turn of a conversation, and the plain dicts that people write for it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from flask_llm.chat.media import File, Image
from flask_llm.chat.parts import Part, Text, ToolCall, ToolResult
from flask_llm.errors import InvalidRequestError, nearest

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class ProviderState:
    """What a provider wants back untouched: signatures, encrypted reasoning.

    It means something to that provider and model alone, and is left out everywhere
    else.
    """

    provider: str
    model: str
    raw: Any
    """The provider's own items or parts, as JSON."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    :param role: ``system``, ``user``, ``assistant`` or ``tool``.
    :param content: a string, a part, or a sequence of strings and parts.
    """

    role: str
    content: tuple[Part, ...]
    provider_state: ProviderState | None = None

    def __init__(
        self,
        role: str,
        content: str | Part | Sequence[str | Part | Mapping[str, Any]] | None,
        provider_state: ProviderState | None = None,
    ) -> None:
        role = "system" if role == "developer" else role
        if role not in ROLES:
            raise InvalidRequestError(
                f"Unknown role {role!r}; it is one of {', '.join(ROLES)}."
                + nearest(role, ROLES)
            )
        object.__setattr__(self, "role", role)
        object.__setattr__(self, "content", _parts(content))
        object.__setattr__(self, "provider_state", provider_state)

    @property
    def text(self) -> str:
        """The text parts, joined with nothing between."""
        return "".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls among the parts."""
        return tuple(part for part in self.content if isinstance(part, ToolCall))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The tool results among the parts."""
        return tuple(part for part in self.content if isinstance(part, ToolResult))

    @property
    def media(self) -> tuple[Image | File, ...]:
        """The images and files: among the parts, and in the results of tools."""
        found: list[Image | File] = []
        for part in self.content:
            if isinstance(part, (Image, File)):
                found.append(part)
            elif isinstance(part, ToolResult):
                found += part.media
        return tuple(found)

    def state_for(self, provider: str, model: str) -> Any:
        """Return the provider's own form of this turn, if it was theirs."""
        state = self.provider_state
        if state and (state.provider, state.model) == (provider, model):
            return state.raw
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the turn as JSON, for a session or a table; see :meth:`from_dict`."""
        state = self.provider_state
        turn: dict[str, Any] = {
            "role": self.role,
            "content": [part.to_dict() for part in self.content],
        }
        if state:
            turn["provider_state"] = {
                "provider": state.provider,
                "model": state.model,
                "raw": state.raw,
            }
        return turn

    @classmethod
    def from_dict(cls, turn: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, or a dict in the style of Chat Completions.

        :raises InvalidRequestError: where the dict is neither; the message names the
            key.
        """
        unknown = set(turn) - _TURN_KEYS
        if "role" not in turn or unknown:
            key = min(unknown, key=str) if unknown else "role"
            raise InvalidRequestError(
                f"A message needs 'role' and 'content'; {key!r} is "
                + ("unknown." + nearest(key, _TURN_KEYS) if unknown else "missing.")
            )
        content = _parts(turn.get("content"))
        if turn["role"] == "tool" and "tool_call_id" in turn:
            text = "".join(part.text for part in content if isinstance(part, Text))
            content = (ToolResult(turn["tool_call_id"], text, turn.get("name")),)
        calls = turn.get("tool_calls") or ()
        if not isinstance(calls, Sequence):
            raise InvalidRequestError(
                f"tool_calls is a list, not {type(calls).__name__}."
            )
        content += tuple(_tool_call(call) for call in calls)
        return cls(turn["role"], content, _state(turn.get("provider_state")))


_TURN_KEYS = {"role", "content", "tool_calls", "tool_call_id", "name", "provider_state"}


def part_from_dict(part: Mapping[str, Any]) -> Part:
    """Read a part from JSON: our own form, or the one of Chat Completions."""
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _READERS:
        raise InvalidRequestError(
            f"Unknown content part type {kind!r}; it is one of "
            f"{', '.join(sorted(_READERS))}." + nearest(kind, _READERS)
        )
    try:
        return _READERS[kind](part)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"A content part of type {kind!r} is incomplete or of the wrong shape: "
            f"{type(error).__name__}."
        ) from error


def _parts(content: object) -> tuple[Part, ...]:
    if content is None or content == "":
        return ()
    if isinstance(content, (str, Text, Image, File, ToolCall, ToolResult)):
        content = (content,)
    if isinstance(content, Mapping) or not isinstance(content, Sequence):
        raise InvalidRequestError(
            "Message content is a string or a list of parts, "
            f"not {type(content).__name__}."
        )
    return tuple(_part(item) for item in content)


def _part(item: object) -> Part:
    match item:
        case str():
            return Text(item)
        case Text() | Image() | File() | ToolCall() | ToolResult():
            return item
        case Mapping():
            return part_from_dict(item)
    raise InvalidRequestError(
        f"A content part is a string, a part or a dict, not {type(item).__name__}."
    )


def _state(state: Mapping[str, Any] | None) -> ProviderState | None:
    if not state:
        return None
    try:
        return ProviderState(**state)
    except TypeError as error:
        raise InvalidRequestError(
            "provider_state is what Message.to_dict() wrote, untouched."
        ) from error


def _tool_call(call: Mapping[str, Any] | ToolCall) -> ToolCall:
    if isinstance(call, ToolCall):
        return call
    try:
        function = call.get("function", call)
        return ToolCall.from_wire(
            call["id"], function["name"], function.get("arguments", {})
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidRequestError(
            "A tool call needs 'id', 'name' and 'arguments'."
        ) from error


def _media(part: Mapping[str, Any]) -> dict[str, Any]:
    data = part.get("data")
    return {
        "url": part.get("url"),
        "data": base64.b64decode(data, validate=True)
        if isinstance(data, str)
        else data,
        "media_type": part.get("media_type"),
        "file_id": part.get("file_id"),
    }


def _image(part: Mapping[str, Any]) -> Image:
    return Image(**_media(part), detail=part.get("detail"))


def _image_url(part: Mapping[str, Any]) -> Image:
    image = part["image_url"]
    if isinstance(image, str):
        return Image(url=image)
    return Image(url=image["url"], detail=image.get("detail"))


def _file(part: Mapping[str, Any]) -> File:
    file = part.get("file")
    if file is None:
        return File(**_media(part), filename=part.get("filename"))
    return File(
        url=file.get("file_data"),
        file_id=file.get("file_id"),
        filename=file.get("filename"),
    )


def _tool_result(part: Mapping[str, Any]) -> ToolResult:
    return ToolResult(
        part["tool_call_id"],
        part["content"],
        part.get("name"),
        bool(part.get("is_error", False)),
        tuple(map(_tool_media, part.get("media", ()))),
    )


def _tool_media(part: Mapping[str, Any]) -> Image | File:
    return _image(part) if part["type"] == "image" else _file(part)


_READERS: dict[str, Callable[[Mapping[str, Any]], Part]] = {
    "text": lambda part: Text(part["text"]),
    "image": _image,
    "image_url": _image_url,
    "file": _file,
    "tool_call": lambda part: ToolCall.from_wire(
        part["id"], part["name"], part.get("raw_arguments") or part["arguments"]
    ),
    "tool_result": _tool_result,
}
