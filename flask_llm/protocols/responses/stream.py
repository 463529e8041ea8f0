"""Stream: the events of Responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask_llm.chat import Chunk
from flask_llm.protocols.base import JsonFold, array, string
from flask_llm.protocols.problems import in_band
from flask_llm.protocols.responses.errors import error, failed_answer
from flask_llm.protocols.responses.response import (
    CALLS,
    read_call,
    read_text,
    read_thought,
)

_ENDS = {
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.cancelled",
}

_PARTS = {
    "response.output_text.delta": ("message", "content", "output_text", "text"),
    "response.refusal.delta": ("message", "content", "refusal", "refusal"),
    "response.reasoning_summary_text.delta": (
        "reasoning",
        "summary",
        "summary_text",
        "text",
    ),
    "response.reasoning_text.delta": (
        "reasoning",
        "content",
        "reasoning_text",
        "text",
    ),
}
"""Events that bring a piece of a part: the type of its item, the item's list of parts,
the type of the part and its field that grows."""

_ARGUMENTS = "response.function_call_arguments.delta"


class _Item:
    """One item of the output as it grows."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        string(start["type"])
        self._fields = dict(start)
        self._parts: dict[tuple[str, int], tuple[str, str, list[str]]] = {}
        self._arguments: list[str] = []
        self.shown: str | None = None
        """The event that has shown reasoning: a summary and the text are the same."""

    @property
    def raw(self) -> dict[str, Any]:
        """What has come of it, in the shape of a whole one."""
        grown: dict[str, Any] = {}
        for (parts, _), (kind, name, pieces) in sorted(self._parts.items()):
            part = {"type": kind, name: "".join(pieces)}
            grown.setdefault(parts, []).append(part)
        if self._arguments:
            grown["arguments"] = "".join(self._arguments)
        return self._fields | grown

    def append(self, event: Mapping[str, Any]) -> str:
        """Take a piece of a part and return it."""
        _, parts, kind, name = _PARTS[event["type"]]
        place = event.get("summary_index" if parts == "summary" else "content_index", 0)
        piece = string(event["delta"])
        self._parts.setdefault((parts, _number(place)), (kind, name, []))[2].append(
            piece
        )
        return piece

    def append_arguments(self, piece: str) -> None:
        """Take a piece of a call's arguments."""
        self._arguments.append(piece)


class _Fold(JsonFold):
    """Items grow by their index; one that is whole takes the place of its pieces.

    Servers that send no index (llama.cpp) name the item by its id. The last event holds
    the whole answer. Its items are taken where none came before that was whole: their
    encrypted reasoning is as good, and what was shown stays true.
    """

    def __init__(self) -> None:
        super().__init__(error)
        self._head: dict[str, Any] = {}
        self._items: dict[int, _Item] = {}
        self._whole: dict[int, dict[str, Any]] = {}
        self._places: dict[str, int] = {}
        self._finished = False

    @property
    def finished(self) -> bool:
        """Whether the event has come that holds the whole answer."""
        return self._finished

    @property
    def raw(self) -> dict[str, Any]:
        """What has come so far, in the shape of a whole answer."""
        grown = {index: item.raw for index, item in self._items.items()}
        output = grown | self._whole
        return self._head | {"output": [output[index] for index in sorted(output)]}

    def _is_error(self, body: object) -> bool:
        return in_band(body) or failed_answer(body) is not None

    def _take(self, body: dict[str, Any]) -> Iterator[Chunk]:
        kind = body.get("type")
        if kind in _PARTS:
            yield from self._grow(body)
        elif kind == _ARGUMENTS:
            self._items[self._place(body)].append_arguments(string(body["delta"]))
        elif kind == "response.output_item.added":
            self._items[self._place(body)] = _Item(body["item"])
        elif kind == "response.output_item.done":
            yield from self._complete(self._place(body), body["item"])
        elif isinstance(body.get("response"), Mapping):
            yield from self._answer(body["response"], ends=kind in _ENDS)
        elif body.get("object") == "response":  # no stream, though one was asked for
            yield from self._answer(body, ends=True)

    def _place(self, event: Mapping[str, Any]) -> int:
        """Return the index of the item that an event is about."""
        if "output_index" in event:
            return _number(event["output_index"])
        name = string(event.get("item_id") or event["item"]["id"])
        return self._places.setdefault(name, len(self._places))

    def _answer(self, answer: Mapping[str, Any], *, ends: bool) -> Iterator[Chunk]:
        self._head = {key: value for key, value in answer.items() if key != "output"}
        if ends:
            for index, item in enumerate(array(answer.get("output") or [])):
                if index not in self._whole:
                    yield from self._complete(index, item)
            self._finished = True

    def _grow(self, event: dict[str, Any]) -> Iterator[Chunk]:
        kind, index = event["type"], self._place(event)
        if index not in self._items:
            self._items[index] = _Item({"type": _PARTS[kind][0]})
        item = self._items[index]
        piece = item.append(event)
        if kind == "response.output_text.delta":
            yield Chunk(piece)
        elif kind != "response.refusal.delta" and item.shown in {None, kind}:
            item.shown = kind
            yield Chunk(reasoning=piece)

    def _complete(self, index: int, item: dict[str, Any]) -> Iterator[Chunk]:
        """Keep an item that is whole, and show what its pieces have not."""
        whole = _Item(item).raw
        grown = self._items[index].raw if index in self._items else {"type": ""}
        if thought := _rest(read_thought(grown), read_thought(whole)):
            yield Chunk(reasoning=thought)
        if whole["type"] == "message" and (
            text := _rest(read_text(grown), read_text(whole))
        ):
            yield Chunk(text)
        if whole["type"] in CALLS:
            yield Chunk(tool_call=read_call(whole))
        self._whole[index] = whole


def _rest(shown: str, whole: str) -> str:
    return whole.removeprefix(shown) if whole.startswith(shown) else ""


def _number(value: object) -> int:
    """Insist on a whole number."""
    if not isinstance(value, int):
        raise TypeError
    return value


def fold() -> _Fold:
    """Begin to put a stream together."""
    return _Fold()
