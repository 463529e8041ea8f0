"""Responses: whole answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flask_llm.emulator.dialect import Ask, Counts, Reply, ToolCall

# A fixed time keeps answers the same from run to run.
_CREATED = 1_795_000_000

_ENCRYPTED = "gAAAAAB-"

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_COMPLETED = ("stop", "tool_calls")
_LABELS_PHASES = re.compile(r"gpt-(5\.[3-9]|[6-9])")
_BROKEN = {
    "code": "server_error",
    "message": "The server had an error while processing your request.",
}


def whole(ask: Ask, reply: Reply) -> dict[str, Any]:
    """Write a ``response``, whose status is what the finish reason comes to."""
    reason = reply.finish_reason
    status = "completed" if reason in _COMPLETED else reason
    if reason in _INCOMPLETE:
        status = "incomplete"
    body = _head(ask) | {
        "status": status,
        "completed_at": _CREATED + 2 if status == "completed" else None,
        "error": _BROKEN if status == "failed" else None,
        "incomplete_details": (
            {"reason": _INCOMPLETE[reason]} if reason in _INCOMPLETE else None
        ),
        "service_tier": "default",
        "output": [] if status == "queued" else list(_items(ask, reply)),
    }
    if reply.usage is not None:
        body["usage"] = None if status == "queued" else _usage(reply.usage)
    return body


def begun(ask: Ask) -> dict[str, Any]:
    """Write the ``response`` that a stream begins with."""
    return _head(ask) | {"status": "in_progress", "service_tier": "auto", "output": []}


def encrypted(item_id: str) -> str:
    """Encrypt the reasoning of an item, as far as anybody can tell."""
    return f"{_ENCRYPTED}{item_id}"


def _head(ask: Ask) -> dict[str, Any]:
    return {
        "id": f"resp_{ask.serial}",
        "object": "response",
        "created_at": _CREATED,
        "completed_at": None,
        "model": ask.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "top_p": 0.98,
        "tool_choice": "auto",
        "tools": [],
        "store": False,
    }


def _items(ask: Ask, reply: Reply) -> Iterator[dict[str, Any]]:
    if reply.reasoning or (reply.usage is not None and reply.usage.reasoning):
        summary = [{"type": "summary_text", "text": reply.reasoning}]
        ident = f"rs_{ask.serial}"
        yield {
            "type": "reasoning",
            "id": ident,
            "summary": summary if reply.reasoning else [],
            "encrypted_content": encrypted(ident),
        }
    if reply.text or reply.refusal or not reply.tool_calls:
        yield _message(ask, reply)
    for number, call in enumerate(reply.tool_calls):
        yield _call(f"fc_{ask.serial}_{number}", call)


def _message(ask: Ask, reply: Reply) -> dict[str, Any]:
    text = {
        "type": "output_text",
        "text": reply.text,
        "annotations": [],
        "logprobs": [],
    }
    refusal = {"type": "refusal", "refusal": reply.refusal}
    message = {
        "type": "message",
        "id": f"msg_{ask.serial}",
        "role": "assistant",
        "status": "incomplete" if reply.finish_reason in _INCOMPLETE else "completed",
        "content": [refusal] if reply.refusal else [text],
    }
    if _LABELS_PHASES.match(ask.model.rpartition("/")[2]):
        message["phase"] = "commentary" if reply.tool_calls else "final_answer"
    return message


def _call(ident: str, call: ToolCall) -> dict[str, Any]:
    call_id = {} if call.id is None else {"call_id": call.id}
    return {
        "type": "function_call",
        "id": ident,
        **call_id,
        "name": call.name,
        "arguments": call.arguments,
        "status": "completed",
    }


def _usage(counts: Counts) -> dict[str, Any]:
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {
            "cached_tokens": counts.cache_read,
            "cache_write_tokens": counts.cache_write,
        },
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.input + counts.output,
    }
