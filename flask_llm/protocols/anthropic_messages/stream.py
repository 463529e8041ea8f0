"""Stream: the events of Messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flask_llm.chat import Chunk
from flask_llm.protocols.anthropic_messages.errors import error
from flask_llm.protocols.anthropic_messages.response import read_call
from flask_llm.protocols.base import JsonFold, array, present, string

_GROWING = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
"""Kinds of deltas, and the field of each that holds the piece to append."""


class _Block:
    """One block of an answer as it grows."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        self.type = string(start["type"])
        self._fields = dict(start)
        self._pieces = {
            name: [string(start[name])]
            for name in ("text", "thinking", "signature")
            if start.get(name)
        }

    def grow(self, delta: Mapping[str, Any]) -> Sequence[Chunk]:
        """Take a delta and return what it adds for the reader."""
        name = _GROWING.get(delta["type"])
        if name:
            piece = string(delta[name])
            self._pieces.setdefault(name, []).append(piece)
            return _shown(name, piece)
        if delta["type"] == "citations_delta":
            cited = self._fields.get("citations") or []
            self._fields["citations"] = [*array(cited), delta["citation"]]
        else:
            self._fields |= {name: delta[name] for name in delta if name != "type"}
        return ()

    @property
    def whole(self) -> dict[str, Any]:
        """The block as it would stand in a whole answer."""
        grown = {name: "".join(pieces) for name, pieces in self._pieces.items()}
        written = grown.pop("partial_json", "")
        fields = self._fields | grown
        return fields | ({"input": _object(written)} if written else {})


def _shown(name: str, piece: str) -> Sequence[Chunk]:
    if piece and name == "text":
        return (Chunk(piece),)
    if piece and name == "thinking":
        return (Chunk(reasoning=piece),)
    return ()


def _object(written: str) -> Any:
    """Read arguments; those that broke off stay what they are, text."""
    try:
        return json.loads(written)
    except ValueError:
        return written


class _Fold(JsonFold):
    """Blocks grow by index; the last usage is laid over the first."""

    def __init__(self) -> None:
        super().__init__(error)
        self._head: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._done = False

    @property
    def finished(self) -> bool:
        """Whether a stop reason or ``message_stop`` has come."""
        return self._done or bool(self._head.get("stop_reason"))

    @property
    def raw(self) -> dict[str, Any]:
        """What has come so far, in the shape of a whole answer."""
        return self._head | {"content": [b.whole for b in self._blocks.values()]}

    def _take(self, body: dict[str, Any]) -> Iterable[Chunk]:
        match body.get("type"):
            case "content_block_delta":
                return self._blocks[body["index"]].grow(body["delta"])
            case "content_block_start":
                return self._start(body["index"], body["content_block"])
            case "content_block_stop":
                return self._stop(body["index"])
            case "message_start":
                self._open(body["message"])
            case "message_delta":
                self._overlay(body)
            case "message_stop":
                self._done = True
            case "message":
                return self._whole(body)
        return ()

    def _whole(self, body: dict[str, Any]) -> Iterator[Chunk]:
        """Take an answer as it is, from a server that does not stream."""
        self._head = dict(body)
        for index, block in enumerate(array(body["content"] or [])):
            yield from self._start(index, block)
            yield from self._stop(index)

    def _open(self, message: Mapping[str, Any]) -> None:
        """Take the beginning: its output count is of a token or so, and left out."""
        usage = dict(message.get("usage") or {})
        usage.pop("output_tokens", None)
        self._head = {**message, "usage": usage}

    def _start(self, index: int, start: Mapping[str, Any]) -> Iterator[Chunk]:
        self._blocks[index] = _Block(start)
        for name in ("text", "thinking"):
            yield from _shown(name, start.get(name) or "")

    def _stop(self, index: int) -> Iterator[Chunk]:
        if self._blocks[index].type == "tool_use":
            yield Chunk(tool_call=read_call(self._blocks[index].whole))

    def _overlay(self, body: Mapping[str, Any]) -> None:
        """Take the end of the message: its counts are final, not to be added."""
        self._head |= present(body["delta"])
        known = self._head.get("usage") or {}
        self._head["usage"] = known | present(body.get("usage") or {})


def fold() -> _Fold:
    """Begin to put a stream together."""
    return _Fold()
