"""Stream: the events of Chat Completions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from flask_llm.chat import Chunk
from flask_llm.protocols.base import JsonFold, present
from flask_llm.protocols.chat_completions.errors import error
from flask_llm.protocols.chat_completions.response import (
    calls_in,
    function_of,
    read_call,
    read_content,
    read_thought,
)
from flask_llm.wire import Event

_PASSING = {"choices", "error", "object", "obfuscation"}
"""Fields of an event that say nothing of the whole answer."""

_READ = {
    "content",
    "function_call",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "refusal",
    "role",
    "tool_calls",
}
"""Fields of a message that are put together one by one; others grow as they come."""

_GROWING = {"data", "summary", "text", "transcript"}
"""Fields of a part of which each event brings a piece."""


class _Fold(JsonFold):
    """Chunks merge by choice and index; usage is the last that is not null."""

    def __init__(self) -> None:
        super().__init__(error)
        self._head: dict[str, Any] = {}
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._extra: dict[str, Any] = {}
        self._logprobs: dict[str, Any] = {}
        self._calls: list[dict[str, Any]] = []
        self._shown = 0
        self._finish: str | None = None
        self._done = False

    @property
    def finished(self) -> bool:
        """Whether a finish reason or ``[DONE]`` has come."""
        return self._done or self._finish is not None

    @property
    def raw(self) -> dict[str, Any]:
        """What has come so far, in the shape of a whole answer."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._content) or None,
            **self._extra,
        }
        if self._reasoning:
            message.setdefault("reasoning_content", "".join(self._reasoning))
        if self._calls:
            message["tool_calls"] = self._calls
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        if self._logprobs:
            choice["logprobs"] = self._logprobs
        return self._head | {"choices": [choice]}

    def feed(self, event: Event) -> Iterator[Chunk]:
        """Take one event and yield what it adds for the reader."""
        if event.data == "[DONE]":
            self._done = True
            return self._complete()
        return super().feed(event)

    def _take(self, body: dict[str, Any]) -> Iterable[Chunk]:
        for name, value in body.items():
            if value and name not in _PASSING:
                self._head[name] = value
        choices = body.get("choices") or ()
        return chain.from_iterable(map(self._choice, choices))

    def _choice(self, choice: Mapping[str, Any]) -> Iterable[Chunk]:
        if choice.get("index"):
            return
        delta = choice.get("delta") or choice.get("message") or {}
        said = delta.get("content")
        if len(delta) > 1 or not isinstance(said, str):
            yield from self._message(delta)
        elif said:  # and nothing else, as in nearly all events
            self._content.append(said)
            yield Chunk(said)
        if choice.get("logprobs"):
            self._logprobs = _grown(self._logprobs, choice["logprobs"])
        if choice.get("finish_reason") and self._finish is None:
            self._finish = choice["finish_reason"]
            yield from self._complete()

    def _message(self, delta: Mapping[str, Any]) -> Iterator[Chunk]:
        """Take a piece of a message, whatever stands in it."""
        said, thought = read_content(delta.get("content"))
        thought = thought or read_thought(delta)
        if thought:
            self._reasoning.append(thought)
            yield Chunk(reasoning=thought)
        if said:
            self._content.append(said)
            yield Chunk(said)
        if delta.get("refusal"):
            self._extra["refusal"] = self._extra.get("refusal", "") + delta["refusal"]
        for detail in delta.get("reasoning_details") or ():
            _add_detail(self._extra.setdefault("reasoning_details", []), detail)
        calls = calls_in(delta)
        for place, call in enumerate(calls):
            self._merge(call, place if len(calls) > 1 else None)
        for name, value in delta.items():
            if value and name not in _READ:
                self._extra[name] = _grown(self._extra.get(name), value)

    def _complete(self) -> Iterator[Chunk]:
        """Yield the tool calls, once: now they are whole."""
        while self._shown < len(self._calls):
            call = self._calls[self._shown]
            yield Chunk(tool_call=read_call(self._shown, call))
            self._shown += 1

    def _merge(self, piece: Mapping[str, Any], place: int | None) -> None:
        """Add a piece to its call.

        :param place: of the piece, where several come at once.
        """
        function = function_of(piece)
        index = piece.get("index")
        if index is None and not piece.get("id"):
            index = place
        call = self._find(index, piece.get("id"))
        if piece.get("id"):
            call["id"] = piece["id"]
        if function.get("name"):
            call["function"]["name"] = function["name"]
        arguments = function.get("arguments", function.get("input"))
        if isinstance(arguments, str):
            call["function"]["arguments"] += arguments
        elif arguments is not None:
            call["function"]["arguments"] = arguments

    def _find(self, index: int | None, call_id: str | None) -> dict[str, Any]:
        """Find the call that a piece belongs to, or begin one.

        By index; servers that send none, or the same one for each call, tell calls
        apart by id.
        """
        call: dict[str, Any]
        for call in reversed(self._calls):
            same_id = not call_id or call["id"] in {None, call_id}
            if same_id and index in {None, call["index"]}:
                return call
        position = len(self._calls) if index is None else index
        call = {
            "index": position,
            "id": call_id,
            "type": "function",
            "function": {"name": "", "arguments": ""},
        }
        self._calls.append(call)
        return call


def _add_detail(details: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    """Append a piece of reasoning to the one of the same index, or begin one."""
    last = details[-1] if details else {}
    index, kind = piece.get("index"), piece.get("type")
    if index is None or (last.get("index"), last.get("type")) != (index, kind):
        details.append(dict(piece))
    else:
        details[-1] = _grown(last, piece)


def _grown(known: Any, piece: Any, name: str = "") -> Any:
    """Lay a piece of JSON over what is known: lists grow, and some texts do."""
    match known, piece:
        case list(), list():
            return known + piece
        case dict(), dict():
            fields = present(piece).items()
            return known | {
                key: _grown(known.get(key), new, key) for key, new in fields
            }
        case str(), str() if name in _GROWING:
            return known + piece
    return piece


def fold() -> _Fold:
    """Begin to put a stream together."""
    return _Fold()
