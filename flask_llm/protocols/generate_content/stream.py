"""Stream: the events of generateContent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_llm.chat import Chunk
from flask_llm.protocols.base import JsonFold, array, dig, string
from flask_llm.protocols.generate_content.errors import error
from flask_llm.protocols.generate_content.response import read_call

_PLAIN = ({"text"}, {"text", "thought"})
"""The fields of parts that may be joined: one with a signature stays by itself."""


class _Fold(JsonFold):
    """Parts follow each other; everything else is as it was said last."""

    def __init__(self) -> None:
        super().__init__(error)
        self._head: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[tuple[dict[str, Any], list[str]]] = []
        self._calls = 0

    @property
    def finished(self) -> bool:
        """Whether a finish reason has come, or the word that the prompt is blocked."""
        return bool(self._candidate.get("finishReason")) or self._blocked

    @property
    def raw(self) -> dict[str, Any]:
        """What has come so far, in the shape of a whole answer."""
        if self._blocked and not self._candidate:
            return self._head
        parts = [
            part | ({"text": "".join(pieces)} if pieces else {})
            for part, pieces in self._parts
        ]
        content = {"role": "model", "parts": parts}
        return self._head | {"candidates": [self._candidate | {"content": content}]}

    @property
    def _blocked(self) -> bool:
        return bool(dig(self._head, "promptFeedback", "blockReason"))

    def _take(self, body: dict[str, Any]) -> Iterator[Chunk]:
        for name, value in body.items():
            if name not in {"candidates", "error"} and value:
                self._head[name] = value
        for candidate in array(body.get("candidates") or []):
            if not candidate.get("index"):
                self._candidate |= {
                    name: value for name, value in candidate.items() if value
                }
                content = candidate.get("content") or {}
                for part in array(content.get("parts") or []):
                    yield from self._add(part)

    def _add(self, part: dict[str, Any]) -> Iterator[Chunk]:
        if "functionCall" in part:
            yield Chunk(tool_call=read_call(self._calls, part["functionCall"]))
            self._calls += 1
        piece = string(part.get("text") or "")
        last, pieces = self._parts[-1] if self._parts else ({}, [])
        same = last.keys() == part.keys() and last.get("thought") == part.get("thought")
        if same and part.keys() in _PLAIN:
            pieces.append(piece)
        else:
            self._parts.append((part, [piece] if "text" in part else []))
        if piece:
            yield Chunk(reasoning=piece) if part.get("thought") else Chunk(piece)


def fold() -> _Fold:
    """Begin to put a stream together."""
    return _Fold()
