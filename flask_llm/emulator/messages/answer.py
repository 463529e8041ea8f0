"""Messages: whole answers and streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_llm.emulator.dialect import Ask, Counts, Frame, Reply, ToolCall, dumps

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}
_SIGNATURE = "RW11bGF0b3I="

_Block = tuple[dict[str, Any], list[dict[str, Any]]]


def whole(ask: Ask, reply: Reply) -> dict[str, Any]:
    """Write a ``message``."""
    body = {
        **_head(ask),
        "content": [block for block, _ in _blocks(ask, reply)],
        **_stop(reply),
    }
    if reply.usage is not None:
        body["usage"] = _usage(reply.usage)
    return body


def events(ask: Ask, reply: Reply) -> list[Frame]:
    """Write the events; usage is cumulative and final in ``message_delta``."""
    return [
        _frame("message_start", message=_opening(ask, reply)),
        _frame("ping"),
        *_content(ask, reply),
        _closing(reply),
        _frame("message_stop"),
    ]


def _opening(ask: Ask, reply: Reply) -> dict[str, Any]:
    message = {
        **_head(ask),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
    }
    if reply.usage is not None:
        message["usage"] = {**_usage(reply.usage), "output_tokens": 1}
        message["usage"].pop("output_tokens_details")
    return message


def _content(ask: Ask, reply: Reply) -> Iterator[Frame]:
    for index, (block, deltas) in enumerate(_blocks(ask, reply)):
        empty = {**block, **_EMPTY[block["type"]]}
        yield _frame("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            event = _frame("content_block_delta", index=index, delta=delta)
            yield Frame(event.data, paced=True)
        yield _frame("content_block_stop", index=index)


_EMPTY: dict[str, dict[str, Any]] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
    "server_tool_use": {"input": {}},
}


def _closing(reply: Reply) -> Frame:
    if reply.usage is None:
        return _frame("message_delta", delta=_stop(reply))
    usage = _usage(reply.usage)
    # The split by lifetime, tier and speed are told in message_start only.
    for name in ("cache_creation", "service_tier", "speed", "inference_geo"):
        del usage[name]
    return _frame("message_delta", delta=_stop(reply), usage=usage)


def _blocks(ask: Ask, reply: Reply) -> Iterator[_Block]:
    """Yield each content block as a whole, beside the deltas it streams as.

    A turn that pauses ends with a tool that Anthropic runs itself.
    """
    if reply.reasoning:
        block = {
            "type": "thinking",
            "thinking": reply.reasoning,
            "signature": _SIGNATURE,
        }
        deltas = _deltas(reply, "thinking_delta", "thinking", reply.reasoning)
        signature = {"type": "signature_delta", "signature": _SIGNATURE}
        yield block, [*deltas, signature]
    if reply.text:
        block = {"type": "text", "text": reply.text}
        yield block, _deltas(reply, "text_delta", "text", reply.text)
    for call in reply.tool_calls:
        deltas = _deltas(reply, "input_json_delta", "partial_json", call.arguments)
        yield _tool_use(call), deltas
    if reply.finish_reason == "pause":
        yield _search(ask, reply)


def _search(ask: Ask, reply: Reply) -> _Block:
    query = {"query": ask.user_text}
    block: dict[str, Any] = {
        "type": "server_tool_use",
        "id": f"srvtoolu_{ask.serial}",
        "name": "web_search",
        "input": query,
    }
    return block, _deltas(reply, "input_json_delta", "partial_json", dumps(query))


def _tool_use(call: ToolCall) -> dict[str, Any]:
    ident = {} if call.id is None else {"id": call.id.replace("call_", "toolu_")}
    return {"type": "tool_use", **ident, "name": call.name, "input": call.parsed}


def _deltas(reply: Reply, kind: str, name: str, text: str) -> list[dict[str, Any]]:
    return [{"type": kind, name: piece} for piece in reply.pieces(text)]


def _stop(reply: Reply) -> dict[str, Any]:
    refused = bool(reply.refusal) or reply.finish_reason == "content_filter"
    reason = "content_filter" if refused else reply.finish_reason
    details = {
        "type": "refusal",
        "category": None,
        "explanation": reply.refusal or None,
    }
    return {
        "stop_reason": _STOP_REASONS.get(reason, reason),
        "stop_sequence": None,
        "stop_details": details if refused else None,
    }


def _head(ask: Ask) -> dict[str, Any]:
    return {
        "id": f"msg_{ask.serial}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
    }


def _usage(counts: Counts) -> dict[str, Any]:
    """Write counts as Anthropic does: the three input counters are disjoint."""
    fresh = counts.input - counts.cache_read - counts.cache_write
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": counts.cache_write,
        "cache_read_input_tokens": counts.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.cache_write - counts.cache_write_1h,
            "ephemeral_1h_input_tokens": counts.cache_write_1h,
        },
        "output_tokens": counts.output,
        "output_tokens_details": {"thinking_tokens": counts.reasoning},
        "server_tool_use": None,
        "service_tier": "standard",
        "speed": "standard",
        "inference_geo": "global",
    }


def _frame(kind: str, **fields: object) -> Frame:
    data = dumps({"type": kind, **fields})
    return Frame(f"event: {kind}\ndata: {data}\n\n".encode())
