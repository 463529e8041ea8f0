"""Stream: the events of Chat Completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask_llm.chat import Chunk
from flask_llm.protocols.base import JsonFold, present
from flask_llm.protocols.chat_completions.errors import error
from flask_llm.protocols.chat_completions.response import (
    read_call,
    read_content,
    read_thought,
)
from flask_llm.wire import Event


class _Fold(JsonFold):
    """Chunks merge by choice and index; usage is the last that is not null."""

    def __init__(self) -> None:
        super().__init__(error)
        self._head: dict[str, Any] = {}
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._extra: dict[str, Any] = {}
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
        return self._head | {"choices": [choice]}

    def feed(self, event: Event) -> Iterator[Chunk]:
        """Take one event and yield what it adds for the reader."""
        if event.data == "[DONE]":
            self._done = True
            return self._complete()
        return super().feed(event)

    def _take(self, body: dict[str, Any]) -> Iterator[Chunk]:
        for name in ("id", "model", "service_tier", "usage", "x_groq"):
            if body.get(name):
                self._head[name] = body[name]
        for choice in body.get("choices") or ():
            if not choice.get("index"):
                yield from self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Chunk]:
        delta = choice.get("delta") or choice.get("message") or {}
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
        for call in delta.get("tool_calls") or ():
            self._merge(call)
        if choice.get("finish_reason") and self._finish is None:
            self._finish = choice["finish_reason"]
            yield from self._complete()

    def _complete(self) -> Iterator[Chunk]:
        """Yield the tool calls, once: now they are whole."""
        while self._shown < len(self._calls):
            call = self._calls[self._shown]
            yield Chunk(tool_call=read_call(self._shown, call))
            self._shown += 1

    def _merge(self, piece: Mapping[str, Any]) -> None:
        function = piece.get("function") or {}
        call = self._find(piece.get("index"), piece.get("id"))
        if piece.get("id"):
            call["id"] = piece["id"]
        if function.get("name"):
            call["function"]["name"] = function["name"]
        arguments = function.get("arguments")
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
        return
    for name, value in present(piece).items():
        grows = name in {"text", "summary"} and isinstance(last.get(name), str)
        last[name] = last[name] + value if grows else value


def fold() -> _Fold:
    """Begin to put a stream together."""
    return _Fold()
