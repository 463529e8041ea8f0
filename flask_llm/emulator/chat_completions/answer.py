"""Chat Completions: whole answers and streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask_llm.emulator.dialect import Ask, Counts, Frame, Reply, ToolCall, dumps

# A fixed time keeps answers the same from run to run.
_CREATED = 1_795_000_000


def whole(ask: Ask, reply: Reply) -> dict[str, Any]:
    """Write a ``chat.completion``."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": _content(reply),
        "refusal": reply.refusal or None,
        "annotations": [],
    }
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in reply.tool_calls]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": reply.finish_reason,
    }
    body = {**_head(ask, "chat.completion"), "choices": [choice]}
    if reply.usage is not None:
        body["usage"] = _usage(reply.usage)
    return body


def events(ask: Ask, reply: Reply) -> list[Frame]:
    """Write the chunks, the usage chunk if it was asked for, and ``[DONE]``."""
    counted = ask.include_usage and reply.usage is not None
    head = _head(ask, "chat.completion.chunk")
    pending = {"usage": None} if counted else {}

    def chunk(delta: dict[str, Any], *, end: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}
        return _event({**head, "choices": [choice], **pending})

    opening = {"role": "assistant", "content": "", "refusal": None}
    frames = [Frame(chunk(opening))]
    frames += [Frame(chunk(delta), paced=True) for delta in _deltas(reply)]
    frames.append(Frame(chunk({}, end=reply.finish_reason)))
    if counted and reply.usage is not None:
        tail = {**head, "choices": [], "usage": _usage(reply.usage)}
        frames.append(Frame(_event(tail)))
    return [*frames, Frame(b"data: [DONE]\n\n")]


def _deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    texts = {
        "reasoning_content": reply.reasoning,
        "content": reply.text,
        "refusal": reply.refusal,
    }
    for name, text in texts.items():
        for piece in reply.pieces(text):
            yield {name: piece}
    for index, call in enumerate(reply.tool_calls):
        opening = _tool_call(call)
        opening["function"] = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, **opening}]}
        for piece in reply.pieces(call.arguments):
            function = {"arguments": piece}
            yield {"tool_calls": [{"index": index, "function": function}]}


def _content(reply: Reply) -> str | None:
    return reply.text or (None if reply.tool_calls or reply.refusal else "")


def _tool_call(call: ToolCall) -> dict[str, Any]:
    ident = {} if call.id is None else {"id": call.id}
    function = {"name": call.name, "arguments": call.arguments}
    return {**ident, "type": "function", "function": function}


def _head(ask: Ask, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{ask.serial}",
        "object": kind,
        "created": _CREATED,
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": "fp_emulator",
    }


def _usage(counts: Counts) -> dict[str, Any]:
    return {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
        "prompt_tokens_details": {
            "cached_tokens": counts.cache_read,
            "cache_write_tokens": counts.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": counts.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {dumps(data)}\n\n".encode()
