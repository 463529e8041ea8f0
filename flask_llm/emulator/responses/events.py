"""Responses: streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_llm.emulator.chat_completions.errors import error
from flask_llm.emulator.dialect import Ask, Frame, Problem, Reply, dumps

from .answer import begun, encrypted, whole

Event = dict[str, Any]

_TEXT_FIELDS = {"output_text": "text", "refusal": "refusal"}


def events(ask: Ask, reply: Reply) -> list[Frame]:
    """Write the events in the official order; the last one holds the whole answer."""
    answer = whole(ask, reply)
    told: list[Event] = [
        {"type": "response.created", "response": begun(ask)},
        {"type": "response.in_progress", "response": begun(ask)},
    ]
    for index, item in enumerate(answer["output"]):
        told += _item(index, item, reply)
    told.append({"type": f"response.{answer['status']}", "response": answer})
    return [_frame(event, number) for number, event in enumerate(told)]


def error_event(ask: Ask, problem: Problem) -> bytes:
    """Write ``event: error``, after which nothing comes."""
    _, body = error(ask.serial, problem)
    told = {name: body["error"][name] for name in ("code", "message", "param")}
    return _frame({"type": "error", **told}, 0).data


def _item(index: int, item: Event, reply: Reply) -> Iterator[Event]:
    write = {"reasoning": _reasoning, "message": _message, "function_call": _call}
    begin, inner = write[item["type"]](item, reply)
    place = {"item_id": item["id"], "output_index": index}
    yield {
        "type": "response.output_item.added",
        "output_index": index,
        "item": item | begin,
    }
    for event in inner:
        yield event | place
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _reasoning(item: Event, reply: Reply) -> tuple[Event, Iterator[Event]]:
    # What is encrypted when an item begins is not all of it.
    return {"summary": [], "encrypted_content": encrypted("")}, _summary(item, reply)


def _summary(item: Event, reply: Reply) -> Iterator[Event]:
    for number, part in enumerate(item["summary"]):
        kind, place = "response.reasoning_summary", {"summary_index": number}
        text = part["text"]
        begin = part | {"text": ""}
        yield {"type": f"{kind}_part.added", **place, "part": begin}
        for piece in reply.pieces(text):
            yield {"type": f"{kind}_text.delta", **place, "delta": piece}
        yield {"type": f"{kind}_text.done", **place, "text": text}
        yield {"type": f"{kind}_part.done", **place, "part": part}


def _message(item: Event, reply: Reply) -> tuple[Event, Iterator[Event]]:
    return {"status": "in_progress", "content": []}, _content(item, reply)


def _content(item: Event, reply: Reply) -> Iterator[Event]:
    for number, part in enumerate(item["content"]):
        kind, place = f"response.{part['type']}", {"content_index": number}
        name = _TEXT_FIELDS[part["type"]]
        logprobs: Event = {"logprobs": []} if name == "text" else {}
        begin = part | {name: ""}
        yield {"type": "response.content_part.added", **place, "part": begin}
        for piece in reply.pieces(part[name]):
            yield {"type": f"{kind}.delta", **place, "delta": piece, **logprobs}
        yield {"type": f"{kind}.done", **place, name: part[name], **logprobs}
        yield {"type": "response.content_part.done", **place, "part": part}


def _call(item: Event, reply: Reply) -> tuple[Event, Iterator[Event]]:
    return {"status": "in_progress", "arguments": ""}, _arguments(item, reply)


def _arguments(item: Event, reply: Reply) -> Iterator[Event]:
    kind, arguments = "response.function_call_arguments", item["arguments"]
    for piece in reply.pieces(arguments):
        yield {"type": f"{kind}.delta", "delta": piece}
    yield {"type": f"{kind}.done", "name": item["name"], "arguments": arguments}


def _frame(event: Event, number: int) -> Frame:
    data = dumps(event | {"sequence_number": number})
    paced = event["type"].endswith(".delta")
    return Frame(f"event: {event['type']}\ndata: {data}\n\n".encode(), paced=paced)
